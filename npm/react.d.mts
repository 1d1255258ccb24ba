import type { Options, Outcome, WxsignError } from 'wxsign';

/** Signs the page after the first render, and after each route change; on a server it stays `loading`. */
export function useWxSign(options?: Options): {
  state: 'loading' | 'ready' | 'error';
  error: WxsignError | null;
  /** What `ready()` gave: `outcome?.wx` is WeChat's script. */
  outcome: Outcome | null;
  /** Signs again, as after a log-in. */
  sign: () => Promise<Outcome>;
};
