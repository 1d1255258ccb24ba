// wxsign/vue: useWxSign() in a component's setup.
import { onBeforeUnmount, onMounted, shallowReactive, toRefs } from 'vue';
import { follow, LOADING, sign } from './follow.mjs';

export function useWxSign(options) {
  const found = shallowReactive({ ...LOADING });
  let end = () => {};
  onMounted(() => { end = follow(options, (change) => Object.assign(found, change)); });
  onBeforeUnmount(() => end());
  return { ...toRefs(found), sign: () => sign(options) };
}
