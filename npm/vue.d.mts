import type { Ref, ShallowRef } from 'vue';
import type { Options, Outcome, WxsignError } from 'wxsign';

/** Signs the page when the component is mounted, and after each route change; on a server it stays `loading`. */
export function useWxSign(options?: Options): {
  state: Ref<'loading' | 'ready' | 'error'>;
  error: ShallowRef<WxsignError | null>;
  /** What `ready()` gave: `outcome.value?.wx` is WeChat's script. */
  outcome: ShallowRef<Outcome | null>;
  /** Signs again, as after a log-in. */
  sign: () => Promise<Outcome>;
};
