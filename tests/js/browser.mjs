// A browser small enough to read: what wxsign.js and WeChat's script touch of window, document, fetch, time and the bridge.
import { existsSync, readFileSync } from 'node:fs';
import vm from 'node:vm';

const fileText = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');
const CLIENT = fileText('../../static/wxsign.js');
const OFFICIAL = new URL('../../node_modules/weixin-js-sdk/index.original.js', import.meta.url);

export const WECHAT = 'Mozilla/5.0 (X11; Linux x86_64) MicroMessenger/8.0.49.2600(0x28003133) NetType/WIFI Language/en';
export const DESKTOP = 'Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0';
export const SCRIPT = 'https://sign.example.com/static/wxsign.js';
export const PAGE = 'https://m.example.com/page?a=1&b=%E4%B8%AD#part';

// WeChat's unmodified script is there after `npm ci`; a check-out without it skips these tests, CI does not.
export const withoutOfficial = !existsSync(OFFICIAL) && process.env.CI !== 'true' && 'weixin-js-sdk is not installed (npm ci)';

export const ANSWER = Object.freeze({
  appId: 'wx0123456789abcdef', timestamp: 1414587457, nonceStr: 'Wm3WZYTPz0wzccnW', signature: '0'.repeat(40),
  url: 'https://m.example.com/page?a=1&b=%E4%B8%AD', jsApiList: ['previewImage', 'scanQRCode'], openTagList: [],
});

// Timers that move only when told to.
function clockwork() {
  const pending = new Map();
  let now = 0;
  let serial = 0;
  const settled = async () => { for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => { setImmediate(resolve); }); };
  return {
    setTimeout(callback, ms) { serial += 1; pending.set(serial, { at: now + (ms || 0), callback }); return serial; },
    clearTimeout(id) { pending.delete(id); },
    async advance(ms) {
      const end = now + ms;
      await settled();
      for (;;) {
        const due = [...pending].filter(([, timer]) => timer.at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
        if (!due) break;
        pending.delete(due[0]);
        now = due[1].at;
        due[1].callback();
        await settled();
      }
      now = end;
    },
  };
}

// An answer of the service as fetch gives it.
export function answer(body, status = 200, headers = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return { status, headers: { get: (name) => headers[name] || null }, text: async () => text, json: async () => JSON.parse(text) };
}

/**
 * Opens a page with wxsign.js on it. `respond(url, init)` is the service, `deliver(src)` says what happens to an added script
 * ('load' runs WeChat's own, 'bare' loads something else, 'error', 'hang'), `verdict(params)` is WeChat's err_msg or null for silence,
 * `dice` is every random number: one green page in a hundred is reported.
 */
export function open({
  userAgent = WECHAT, language = 'en', href = PAGE, src = SCRIPT, data = {}, globals = {}, bridge = true,
  respond = (url) => answer({ ...ANSWER, url: new URL(url, SCRIPT).searchParams.get('url') || ANSWER.url }), landing = href, deliver = () => 'load', verdict = () => 'preVerifyJSAPI:ok',
  dice = 0.5,
} = {}) {
  const seen = { requests: [], scripts: [], invoked: [], events: [], console: [], states: [], images: [] };
  const listeners = {};
  const time = clockwork();
  const write = (level) => (...words) => seen.console.push([level, ...words]);
  const window = {
    location: { href, host: new URL(href).host },
    navigator: { userAgent, language, platform: 'Linux x86_64' },
    console: { log: write('log'), info: write('info'), warn: write('warn'), error: write('error') },
    setTimeout: time.setTimeout, clearTimeout: time.clearTimeout, AbortController, alert: write('alert'),
    CustomEvent: class { constructor(type, { detail }) { Object.assign(this, { type, detail }); } },
    async fetch(url, init) { seen.requests.push({ url, init }); return respond(url, init); },
    addEventListener(type, callback) { (listeners[type] = listeners[type] || []).push(callback); },
    Image: class { set src(address) { seen.images.push(address); } },
    performance: { getEntriesByType: () => [{ name: landing }] },
    history: {},
    ...globals,
  };
  const move = (state, title, url) => { window.location.href = new URL(url, window.location.href).href; };
  Object.assign(window.history, { pushState: move, replaceState: move });
  window.window = window;
  window.document = {
    title: 'a page',
    currentScript: { src, dataset: data },
    documentElement: { setAttribute(name, value) { seen.states.push([name, value]); } },
    head: {
      appendChild(element) {
        seen.scripts.push(element.src);
        const fate = deliver(element.src, seen.scripts.length);
        if (fate === 'load') vm.runInContext(readFileSync(OFFICIAL, 'utf8'), window);
        if (fate === 'load' || fate === 'bare') setImmediate(() => element.onload());
        if (fate === 'error') setImmediate(() => element.onerror());
      },
    },
    createElement: (tag) => ({ tag }),
    addEventListener(type, callback) { (listeners[type] = listeners[type] || []).push(callback); },
    dispatchEvent(event) { seen.events.push(event); (listeners[event.type] || []).forEach((callback) => callback(event)); },
  };
  const installBridge = () => {
    window.WeixinJSBridge = {
      on() {},
      invoke(name, params, callback) {
        seen.invoked.push([name, params]);
        const words = name === 'preVerifyJSAPI' ? verdict(params, seen.invoked.length) : `${name}:ok`;
        if (words !== null) setImmediate(() => callback({ err_msg: words }));
      },
    };
    window.document.dispatchEvent({ type: 'WeixinJSBridgeReady' });
  };
  vm.createContext(window);
  vm.runInContext('Math', window).random = () => dice;
  vm.runInContext(CLIENT, window);
  window.document.currentScript = null;
  if (bridge) installBridge();
  const emit = (event) => (listeners[event.type] || []).forEach((callback) => callback(event));
  return { window, seen, installBridge, emit, wxsign: window.wxsign, advance: time.advance };
}

// The error of a promise that must fail.
export async function failure(promise) {
  return promise.then(() => { throw new Error('it succeeded'); }, (error) => error);
}
