// wxsign/vue: useWxSign() in a component's setup.
import { onBeforeUnmount, onMounted, ref, shallowRef } from 'vue';
import { ready } from 'wxsign';

export function useWxSign(options) {
  const state = ref('loading');
  const error = shallowRef(null);
  const outcome = shallowRef(null);
  // The client signs again after a route change (`follow`), and tells of it on the document.
  const on = {
    'wxsign:loading': () => { state.value = 'loading'; },
    'wxsign:ready': ({ detail }) => { state.value = 'ready'; outcome.value = detail; error.value = null; },
    'wxsign:error': ({ detail }) => { state.value = 'error'; error.value = detail; },
  };
  const sign = () => ready({ follow: true, ...options });
  onMounted(() => {
    Object.entries(on).forEach(([name, listener]) => document.addEventListener(name, listener));
    sign().then((detail) => on['wxsign:ready']({ detail }), (detail) => on['wxsign:error']({ detail }));
  });
  onBeforeUnmount(() => Object.entries(on).forEach(([name, listener]) => document.removeEventListener(name, listener)));
  return { state, error, outcome, sign };
}
