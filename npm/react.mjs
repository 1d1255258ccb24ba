// wxsign/react: useWxSign() in a component.
import { useCallback, useEffect, useState } from 'react';
import { follow, LOADING, sign } from './follow.mjs';

export function useWxSign(options) {
  const [found, setFound] = useState(LOADING);
  // Options that are written in place are another object at every render, and the same to us.
  const key = JSON.stringify(options);
  useEffect(() => follow(options, (change) => setFound((before) => ({ ...before, ...change }))), [key]);
  return { ...found, sign: useCallback(() => sign(options), [key]) };
}
