// wxsign/react: useWxSign() in a component.
import { useCallback, useEffect, useState } from 'react';
import { ready } from 'wxsign';

export function useWxSign(options) {
  const [found, setFound] = useState({ state: 'loading', error: null, outcome: null });
  // Options that are written in place are another object at every render, and the same to us.
  const key = JSON.stringify(options);
  const sign = useCallback(() => ready({ follow: true, ...options }), [key]);
  useEffect(() => {
    // The client signs again after a route change (`follow`), and tells of it on the document.
    const on = {
      'wxsign:ready': ({ detail }) => setFound({ state: 'ready', error: null, outcome: detail }),
      'wxsign:error': ({ detail }) => setFound({ state: 'error', error: detail, outcome: null }),
    };
    Object.entries(on).forEach(([name, listener]) => document.addEventListener(name, listener));
    sign().then((detail) => on['wxsign:ready']({ detail }), (detail) => on['wxsign:error']({ detail }));
    return () => Object.entries(on).forEach(([name, listener]) => document.removeEventListener(name, listener));
  }, [sign]);
  return { ...found, sign };
}
