/*
 * wxsign.js: makes WeChat's JS interfaces work in a page, or says in plain words why they don't.
 *
 *   <script src="https://sign.example.com/static/wxsign.js"></script>
 *   <script>wxsign.ready().then(({ wx }) => wx.scanQRCode({ needResult: 1 }));</script>
 *
 * WeChat on iOS compares the URL that the document was opened at, on Android the present one: so those say who tried it, not
 * Tencent. Both are signed in one call, and the one that fits is used; refused, the other one, once. MIT.
 * One file, no build, no dependency; for browsers from iOS 11.3 and Chromium 66 on.
 */
(function () {
  'use strict';

  const root = typeof window === 'undefined' ? globalThis : window;
  const OFFICIAL_SCRIPTS = [
    'https://res.wx.qq.com/open/js/jweixin-1.6.0.js',
    'https://res2.wx.qq.com/open/js/jweixin-1.6.0.js',
  ];
  const TIMEOUT_MS = 12000; // the service may wait 10 s for WeChat when it holds no ticket yet
  const OUTSIDE_WECHAT_MS = 2000; // a browser without WeChat's bridge never answers, so there is little to wait for
  const LONGEST_RETRY_S = 5; // a service that is starting says when to ask again
  const SETTLE_MS = 120; // a router may change the URL several times for one route
  const MOST_MOVES = 3; // a page that changes its URL all the time is signed no more often than this
  const ADDED = /^(?:code|state|from|isappinstalled|nsukey)$/; // what WeChat and its log-in add to a page's URL
  const LONGEST_GET = 2048; // characters of the encoded page URL; longer ones travel in a POST

  // code: [message, hint] in English and Chinese; {name} is filled in by `say`.
  const TEXTS = {
    en: {
      script_failed: ['WeChat’s script could not be loaded from {hosts}.',
        'Check network, ad blocker and CSP (script-src).'],
      no_wx: ['WeChat’s script left no global wx.', 'A module loader took it: wxsign.ready({ wx }).'],
      network: ['The signature service {endpoint} could not be reached: {reason}.',
        'Check endpoint, service and CSP (connect-src).'],
      bad_answer: ['{endpoint} did not answer with a signature (HTTP {status}).', 'Check the option endpoint.'],
      not_wechat: ['This page is not open in WeChat, so wx.config got no answer.',
        'Open it in WeChat; on a desktop use the sandbox: wxsign dev.'],
      no_answer: ['WeChat did not answer wx.config within {seconds} s.', 'Reload; open it by itself, not in an iframe.'],
      invalid_signature: ['WeChat refused the signature.',
        'Another system replaced the ticket (try again in a minute), or the appId is another account’s.'],
      other_url: ['WeChat refused the signature.',
        'Signed was {signed}, but this page is {page}. Leave out the option url.'],
      invalid_url_domain: ['The domain {host} is not registered for this account.',
        'Add {host} to the JS interface security domains (JS接口安全域名) of {appId}; no IP address, ports 80 and 443 only.'],
      require_subscribe: ['This user does not follow the account.', 'A 测试号 works for its followers only.'],
      permission_denied: ['The account lacks the right to use these interfaces.',
        'See 微信开发者平台 → 接口管理 → 接口权限与额度 of {appId}; most need a verified account.'],
      offline_verifying: ['WeChat could not verify this page’s rights.', 'wx.config was not accepted for this URL; reload.'],
      not_a_browser: ['wx.config needs a browser; this is none.', 'Call it after mounting, not while rendering on a server.'],
      no_such_interface: ['WeChat’s script has no interface {name}.', 'Check the spelling, capitals too.'],
      call_failed: ['{name} failed.', 'WeChat’s own words are in errMsg.'],
      cancelled: ['{name} was cancelled by the user.', ''],
      config_failed: ['WeChat refused wx.config.', 'WeChat’s own words are in errMsg.'],
    },
    zh: {
      script_failed: ['无法从 {hosts} 加载微信官方脚本。', '请检查网络、广告拦截和 CSP（script-src）。'],
      no_wx: ['微信官方脚本没有留下全局变量 wx。', '被模块加载器接管，请传入：wxsign.ready({ wx })。'],
      network: ['无法访问签名服务 {endpoint}：{reason}。', '请检查参数 endpoint、服务和 CSP（connect-src）。'],
      bad_answer: ['{endpoint} 返回的不是签名（HTTP {status}）。', '请检查参数 endpoint。'],
      not_wechat: ['本页面不是在微信里打开的，wx.config 不会有应答。', '请在微信里打开；在电脑上可用沙箱：wxsign dev。'],
      no_answer: ['微信在 {seconds} 秒内没有应答 wx.config。', '请刷新页面；如果在 iframe 里，请直接打开。'],
      invalid_signature: ['微信拒绝了这个签名。',
        '可能是别的系统换掉了 ticket（请一分钟后重试），或 appId 属于另一个账号。'],
      other_url: ['微信拒绝了这个签名。', '签名用的网址是 {signed}，而本页是 {page}。请去掉参数 url。'],
      invalid_url_domain: ['域名 {host} 没有绑定到这个公众号。', '请把 {host} 加到 {appId} 的“JS接口安全域名”；不能是 IP，端口只能是 80 或 443。'],
      require_subscribe: ['当前用户没有关注该公众号。', '测试号只对关注者有效。'],
      permission_denied: ['该公众号没有使用这些接口的权限。', '请查看 微信开发者平台 → 接口管理 → 接口权限与额度（{appId}）；多数接口需要认证的账号。'],
      offline_verifying: ['微信没有验证通过本页面的权限。', 'wx.config 没有在当前网址上通过，请刷新页面。'],
      not_a_browser: ['wx.config 需要浏览器，这里不是。', '请在页面挂载之后调用，而不是在服务端渲染时。'],
      no_such_interface: ['微信官方脚本里没有接口 {name}。', '请检查拼写和大小写。'],
      call_failed: ['{name} 调用失败。', '微信的原话在 errMsg 里。'],
      cancelled: ['用户取消了 {name}。', ''],
      config_failed: ['微信拒绝了 wx.config。', '微信的原话在 errMsg 里。'],
    },
  };

  // WeChat's words for a refused wx.config, in the order they are looked for.
  const REFUSALS = [
    [/invalid[ _]signature/i, 'invalid_signature'],
    [/invalid[ _]url[ _]domain/i, 'invalid_url_domain'],
    [/require[ _]subscribe/i, 'require_subscribe'],
    [/offline[ _]verifying/i, 'offline_verifying'],
    [/permission[ _]denied|access[ _]denied|no permission to execute/i, 'permission_denied'],
  ];

  // An error that a page can show as it is: what happened, what to do, WeChat's own words, the id to look for in the log.
  class WxsignError extends Error {
    // Keeps the code and whatever else is known; absent strings are empty, never undefined.
    constructor(code, message, more) {
      super(message);
      Object.assign(this, { name: 'WxsignError', code, hint: '', errMsg: '', requestId: '', warnings: [], findings: [] });
      Object.keys(more || {}).forEach((name) => { if (more[name]) this[name] = more[name]; });
    }
  }

  // The error of one of our own codes, in the browser's language; `variant` names other texts for the same code.
  function say(code, values, more, variant) {
    const texts = TEXTS[/^zh/i.test((root.navigator && root.navigator.language) || '') ? 'zh' : 'en'][variant || code];
    const fill = (text) => text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
    return new WxsignError(code, fill(texts[0]), Object.assign({ hint: fill(texts[1]) }, more));
  }

  // The page's URL as WeChat compares it: everything before the first '#', nothing else touched.
  function pageUrl() {
    return root.location.href.split('#')[0];
  }

  // The URL that the document was opened at, which pushState and replaceState do not change and a reload does.
  function landingUrl() {
    const navigation = root.performance && root.performance.getEntriesByType && root.performance.getEntriesByType('navigation')[0];
    return ((navigation && navigation.name) || (root.location && root.location.href) || '').split('#')[0];
  }

  // Whether WeChat compares the landing URL here; WeCom compares the present one everywhere.
  function comparesLanding() {
    return /iphone|ipad|ipod/i.test(root.navigator.userAgent) && !/wxwork/i.test(root.navigator.userAgent);
  }

  // /jsconfig beside the folder this script came from, so that a service mounted at /wx is found at /wx/jsconfig.
  function endpointBeside(scriptUrl) {
    const found = /^(https?:\/\/[^/?#]+)([^?#]*)/.exec(scriptUrl || '');
    if (!found) return '/jsconfig';
    const prefix = /^(.*)\/static\/wxsign(?:\.v2)?\.m?js$/.exec(found[2]);
    return found[1] + (prefix ? prefix[1] : '') + '/jsconfig';
  }

  // What the script tag says: data-endpoint, data-account, data-debug and data-wxsign-auto.
  function tagSettings() {
    const tag = root.document && root.document.currentScript;
    const data = (tag && tag.dataset) || {};
    return {
      endpoint: data.endpoint || endpointBeside(tag && tag.src),
      account: data.account || '',
      debug: 'debug' in data && data.debug !== 'false',
      follow: 'follow' in data && data.follow !== 'false',
      report: data.report !== 'false',
      auto: 'wxsignAuto' in data,
    };
  }

  const tag = tagSettings();
  const LANDING = landingUrl();

  // The call's own options over what the script tag says over the defaults.
  function settle(options) {
    const settings = Object.assign({
      endpoint: api.endpoint, account: tag.account, debug: tag.debug, follow: tag.follow, report: tag.report, url: pageUrl(),
      scripts: OFFICIAL_SCRIPTS.concat(root.wxsignStandIn || []), timeoutMs: TIMEOUT_MS, onStep: () => {},
    }, options);
    settings.fixed = Boolean(options && options.url); // a URL of the caller's own is signed as it is, and nothing else
    settings.url = String(settings.url).split('#')[0];
    return settings;
  }

  // What one run serves: on iOS all routes of a document, for there only its landing URL counts.
  function keyOf(settings) {
    const url = !settings.fixed && comparesLanding() ? LANDING : settings.url;
    return JSON.stringify([url, settings.account, settings.endpoint, settings.jsApiList, settings.openTagList, settings.debug]);
  }

  // Runs one step and reports its start, its end and its duration; a listener's own error must not break the page.
  async function step(settings, name, run) {
    const startedAt = Date.now();
    const report = (state, more) => {
      const event = Object.assign({ name, state, atMs: startedAt - settings.startedAt, ms: Date.now() - startedAt }, more);
      try { settings.onStep(event); } catch (error) { root.console.error(error); }
    };
    report('start');
    try {
      const result = await run((detail) => report('note', { detail }));
      report('done', { result });
      return result;
    } catch (error) {
      report('failed', { error });
      throw error;
    }
  }

  // WeChat's interface: the one given, else that of its script on the page (which sets both names; other software may own `wx`,
  // and what a bundler makes of the script may be an empty object).
  function presentWx(given) {
    return [given, root.jWeixin, root.wx].find((candidate) => candidate && typeof candidate.config === 'function');
  }

  // Adds one script to the page; rejects when it fails or takes longer than waitMs.
  function loadScript(src, waitMs) {
    return new Promise((resolve, reject) => {
      const element = root.document.createElement('script');
      const timer = setTimeout(() => reject(new Error(`time-out: ${src}`)), waitMs);
      element.onload = () => { clearTimeout(timer); resolve(); };
      element.onerror = () => { clearTimeout(timer); reject(new Error(`failed: ${src}`)); };
      element.async = true;
      element.src = src;
      (root.document.head || root.document.documentElement).appendChild(element);
    });
  }

  // The given wx, the one on the page, or WeChat's script from the first host that delivers it.
  async function obtainWx(settings, note) {
    let wx = presentWx(settings.wx);
    for (const src of wx ? [] : settings.scripts) {
      try {
        // The sandbox has another one at hand where no network is.
        await loadScript(src, root.wxsignStandIn ? 1000 : settings.timeoutMs / settings.scripts.length);
      } catch (error) {
        note(error.message);
        continue;
      }
      wx = presentWx();
      if (!wx) throw say('no_wx', {});
      break;
    }
    if (!wx) throw say('script_failed', { hosts: settings.scripts.map((src) => src.split('/')[2]).join(', ') });
    return wx;
  }

  // A GET with the page's URL percent-encoded once; a POST when that gets long.
  function signatureRequest(settings) {
    const init = { credentials: 'omit', cache: 'no-store', headers: { Accept: 'application/json' } };
    const fields = Object.assign({ url: settings.url }, settings.account ? { account: settings.account } : {});
    if (!settings.fixed && LANDING !== settings.url) fields.landing_url = LANDING;
    if (encodeURIComponent(settings.url + (fields.landing_url || '')).length > LONGEST_GET) {
      init.method = 'POST';
      init.headers['Content-Type'] = 'application/json';
      init.body = JSON.stringify(fields);
      return [settings.endpoint, init];
    }
    const query = Object.keys(fields).map((name) => `${name}=${encodeURIComponent(fields[name])}`).join('&');
    return [settings.endpoint + (settings.endpoint.includes('?') ? '&' : '?') + query, init];
  }

  // Status, request id and parsed body (null when it is no JSON) of one request, within timeoutMs.
  async function exchange(settings) {
    const [url, init] = signatureRequest(settings);
    const aborter = new AbortController();
    const timer = setTimeout(() => aborter.abort(), settings.timeoutMs);
    try {
      const response = await root.fetch(url, Object.assign(init, { signal: aborter.signal }));
      const body = await response.text();
      const retryAfterS = Number(response.headers.get('Retry-After')) || 0;
      return { status: response.status, requestId: response.headers.get('X-Request-Id') || '', body: parseJson(body), retryAfterS };
    } catch (error) {
      const reason = aborter.signal.aborted ? `time-out (${settings.timeoutMs / 1000} s)` : error.message;
      throw say('network', { endpoint: settings.endpoint, reason });
    } finally {
      clearTimeout(timer);
    }
  }

  // The value of a JSON text, or null.
  function parseJson(text) {
    try { return JSON.parse(text); } catch (error) { return null; }
  }

  // The service's answer for this page; its refusals keep its own code, message and hint.
  async function fetchConfig(settings) {
    let { status, requestId, body, retryAfterS } = await exchange(settings);
    if (status === 503 && retryAfterS > 0 && retryAfterS <= LONGEST_RETRY_S) {
      await new Promise((resolve) => setTimeout(resolve, retryAfterS * 1000));
      ({ status, requestId, body, retryAfterS } = await exchange(settings));
    }
    const refusal = body && body.error;
    if (refusal && refusal.code) {
      throw new WxsignError(refusal.code, refusal.message, {
        hint: refusal.hint, errMsg: body.errmsg, requestId: refusal.request_id || requestId, warnings: body.warnings,
      });
    }
    if (status !== 200 || !body || !body.signature || !body.appId) {
      throw say('bad_answer', { endpoint: settings.endpoint, status }, { requestId });
    }
    return Object.assign({}, body, { requestId });
  }

  // What wx.config gets: always fresh lists, because WeChat's script rewrites them in place.
  function configParameters(settings, answer) {
    const given = (list) => (list && list.length ? list : null); // an empty list is WeChat's way to nothing at all
    const openTagList = given(settings.openTagList) || answer.openTagList || [];
    const parameters = {
      debug: Boolean(settings.debug), appId: answer.appId, timestamp: answer.timestamp, nonceStr: answer.nonceStr,
      signature: answer.signature, jsApiList: (given(settings.jsApiList) || answer.jsApiList || []).slice(),
    };
    if (openTagList.length) parameters.openTagList = openTagList.slice();
    return parameters;
  }

  // Whether this is WeChat's browser, or one that says so.
  function inWeChat() {
    return /micromessenger/i.test(root.navigator.userAgent);
  }

  // WeChat's script compares versions as strings: for a client "10.x" its wx.error never registers anything.
  function errorIsDeaf() {
    const version = /micromessenger\/(\d+\.\d+(\.\d+)?)/i.exec(root.navigator.userAgent);
    return Boolean(version) && version[1] < '6.0.2';
  }

  // The reason why nothing came back from wx.config.
  function noAnswer(waitMs) {
    return inWeChat() ? say('no_answer', { seconds: waitMs / 1000 }) : say('not_wechat', {});
  }

  // The error for WeChat's "config:…" message.
  function refusal(errMsg, settings, answer) {
    const known = REFUSALS.find(([pattern]) => pattern.test(errMsg));
    const code = known ? known[1] : 'config_failed';
    const values = { signed: answer.url || settings.url, page: pageUrl(), host: root.location.host, appId: answer.appId };
    const variant = code === 'invalid_signature' && values.signed !== values.page ? 'other_url' : code;
    return say(code, values, { errMsg, requestId: answer.requestId, warnings: answer.warnings }, variant);
  }

  // Asks the bridge itself for the verdict on the present configuration, where WeChat's script cannot report it.
  function askBridge(wx, parameters, tell) {
    const ask = () => wx.invoke('preVerifyJSAPI', {
      verifyJsApiList: parameters.jsApiList, verifyOpenTagList: parameters.openTagList, // native names by now
    }, (res) => {
      const words = String(res.errMsg || res.err_msg || ':ok').replace(/^[^:]*:/, '').replace(/^(fail|failed)_/, '').replace(/_/g, ' ');
      tell(/^(ok|confirm|function not exist)$/i.test(words) ? '' : `config:${words || 'fail'}`);
    });
    if (root.WeixinJSBridge) ask();
    else root.document.addEventListener('WeixinJSBridgeReady', ask, { once: true });
  }

  // Calls wx.config and tells '' or WeChat's refusal. wx.ready fires after a *failed* config too (error first), and at once,
  // with the old state, when an earlier config on this page was answered: then the bridge is asked.
  function listen(wx, parameters, tell) {
    const deaf = errorIsDeaf();
    let configured = false;
    let answeredBefore = false;
    wx.error((res) => { if (configured) tell((res && res.errMsg) || 'config:fail'); });
    wx.ready(() => {
      if (!configured) answeredBefore = true;
      else if (!deaf) tell('');
    });
    configured = true;
    wx.config(parameters);
    if ((deaf || answeredBefore) && typeof wx.invoke === 'function') askBridge(wx, parameters, tell);
  }

  // Resolves when WeChat accepted the configuration; rejects with its reason, or when it stays silent.
  function configure(wx, settings, answer) {
    const waitMs = inWeChat() ? settings.timeoutMs : Math.min(settings.timeoutMs, OUTSIDE_WECHAT_MS);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(noAnswer(waitMs)), waitMs);
      listen(wx, configParameters(settings, answer), (errMsg) => {
        clearTimeout(timer);
        if (errMsg) reject(refusal(errMsg, settings, answer));
        else resolve();
      });
    });
  }

  // The service's remarks on the signed URL, for the developer's console.
  function warn(warnings) {
    (warnings || []).forEach(({ code, message, hint }) => root.console.warn(`wxsign: ${code}: ${message} ${hint || ''}`));
  }

  // data-wxsign-state on <html> and an event on the document, for style sheets, tests and other scripts.
  function announce(state, detail) {
    root.document.documentElement.setAttribute('data-wxsign-state', state);
    root.document.dispatchEvent(new root.CustomEvent(`wxsign:${state}`, { detail }));
  }

  // The answer with the signature of its landing URL in the place of the present one's.
  function atLanding(answer) {
    return Object.assign({}, answer, answer.landing);
  }

  // The signature that fits this platform first; refused as invalid, the other one, once.
  async function configureEither(wx, settings, answer) {
    const both = answer.landing ? [answer, atLanding(answer)] : [answer];
    if (comparesLanding()) both.reverse();
    for (let at = 0; ; at += 1) {
      try {
        await configure(wx, settings, both[at]);
        return both[at];
      } catch (error) {
        error.refused = both[at];
        if (error.code !== 'invalid_signature' || at === both.length - 1) throw error;
      }
    }
  }

  // Whether the URL changed since it was asked for, where WeChat compares the present one.
  function moved(settings) {
    return !settings.fixed && !comparesLanding() && pageUrl() !== settings.url;
  }

  // What the service has beside /jsconfig.
  function beside(settings, name) {
    return settings.endpoint.replace(/jsconfig(?=$|[?#])/, name);
  }

  // Tells the service what WeChat said to a signature.
  async function report(settings, { url, timestamp, nonceStr, signature }, errMsg) {
    const body = JSON.stringify({ account: settings.account, url, landing_url: LANDING, timestamp, nonceStr, signature, errMsg });
    return (await root.fetch(beside(settings, 'report'), { method: 'POST', credentials: 'omit', body })).json();
  }

  // Tells the service of a refused signature: it may find that the ticket was replaced, and says whether to sign again; else why.
  async function mayRetry(settings, error) {
    if (!settings.report || error.code !== 'invalid_signature') return false;
    try {
      const answer = await report(settings, error.refused, error.errMsg);
      error.findings = answer.findings || [];
      if (error.findings[0]) error.hint = `${error.findings[0].message} ${error.findings[0].hint}`;
      if (answer.after_seconds) await new Promise((resolve) => setTimeout(resolve, answer.after_seconds * 1000));
      return Boolean(answer.retry);
    } catch (_) { // an older service, or none
      return false;
    }
  }

  // Signs and configures, anew where the URL moves meanwhile: a page that has just come from a log-in cleans its URL.
  async function signAndConfigure(wx, first, settings, isLatest) {
    let answer = first;
    for (let moves = 0; ; moves += 1) {
      if (!isLatest()) return SUPERSEDED;
      try {
        if (!moved(settings)) return await configureEither(wx, settings, answer);
      } catch (error) {
        if (!moved(settings) && !(moves < MOST_MOVES && await mayRetry(settings, error))) throw error;
      }
      if (moves === MOST_MOVES) throw refusal('config:invalid signature', settings, answer);
      settings.url = pageUrl();
      answer = await fetchConfig(settings);
    }
  }

  // WeCom's second configuration, for the interfaces of one agent.
  function configureAgent(wx, parameters) {
    return new Promise((resolve, reject) => {
      if (typeof wx.agentConfig !== 'function') resolve();
      else wx.agentConfig(Object.assign({}, parameters, { success: resolve, fail: (res) => reject(say('config_failed', {}, { errMsg: res.errMsg })) }));
    });
  }

  const SUPERSEDED = {};

  // One whole run: script and signature side by side, then wx.config, then WeChat's verdict.
  async function run(settings, isLatest) {
    settings.startedAt = Date.now();
    announce('loading', null);
    try {
      const [wx, first] = await Promise.all([
        step(settings, 'script', (note) => obtainWx(settings, note)),
        step(settings, 'signature', () => fetchConfig(settings)),
      ]);
      warn(first.warnings);
      const answer = await step(settings, 'config', () => signAndConfigure(wx, first, settings, isLatest));
      if (answer === SUPERSEDED) return SUPERSEDED;
      if (answer.agentConfig) await step(settings, 'agent', () => configureAgent(wx, answer.agentConfig));
      const outcome = { wx, config: answer, warnings: answer.warnings || [] };
      await step(settings, 'ready', () => Promise.resolve(outcome));
      announce('ready', outcome);
      // One page of a hundred says that all is well, so that the service knows what share is not.
      if (settings.report && Math.random() < 0.01) report(settings, answer, 'config:ok').catch(() => {});
      return outcome;
    } catch (error) {
      if (settings.debug) { // shows cause and remedy on the page
        api.error = error;
        loadScript(beside(settings, 'static/wxsign-debug.js'), TIMEOUT_MS).catch(() => {});
      }
      announce('error', error);
      throw error;
    }
  }

  let last = null; // { key, options, promise, done, failed }: the latest run

  // Starts a run after the one before it (WeChat's script has one error handler). One that serves the same is shared; one that
  // a later run takes the place of before it has configured anything ends as that one does.
  function start(options) {
    const settings = settle(options);
    const key = keyOf(settings);
    if (last && last.key === key && !last.failed) return last.promise;
    const current = { key, options, failed: false };
    const isLatest = () => current === last;
    const own = (last ? last.done : Promise.resolve()).then(() => (isLatest() ? run(settings, isLatest) : SUPERSEDED));
    current.done = own.catch(() => { current.failed = true; });
    current.promise = own.then((outcome) => (outcome === SUPERSEDED ? last.promise : outcome));
    current.promise.catch(() => {});
    last = current;
    if (settings.follow) onRoute(() => { if (last && last.options === options) ready(options); }, 'follow');
    return current.promise;
  }

  // Resolves when WeChat accepted the configuration. Never throws: whatever is wrong, the promise rejects with a code.
  function ready(options) {
    if (!root.document || !root.location) return Promise.reject(say('not_a_browser', {}));
    try { return start(options); } catch (error) { return Promise.reject(error); }
  }

  const listeners = {}; // what happens after a route change, by name
  let settling = 0;

  // Runs `act` once after the page's router has changed the URL, and not again before it has settled.
  function onRoute(act, name) {
    if (!Object.keys(listeners).length) watchRoutes();
    listeners[name] = act;
  }

  // Hears of every change of the URL that is no navigation.
  function watchRoutes() {
    const changed = () => {
      clearTimeout(settling);
      settling = setTimeout(() => Object.keys(listeners).forEach((name) => listeners[name]()), SETTLE_MS);
    };
    ['pushState', 'replaceState'].forEach((name) => {
      const original = root.history[name];
      root.history[name] = function change() {
        const before = pageUrl();
        const result = original.apply(this, arguments);
        if (pageUrl() !== before) changed();
        return result;
      };
    });
    root.addEventListener('popstate', changed);
  }

  // Calls an interface by name, after ready() as the page last called it; resolves with WeChat's answer.
  function call(name, params) {
    return ready(last && last.options).then(({ wx }) => new Promise((resolve, reject) => {
      if (typeof wx[name] !== 'function') { reject(say('no_such_interface', { name })); return; }
      const refuse = (code) => (res) => reject(say(code, { name }, { errMsg: (res && res.errMsg) || '' }));
      wx[name](Object.assign({}, params, { success: resolve, cancel: refuse('cancelled'), fail: refuse('call_failed') }));
    }));
  }

  // A URL without what WeChat and its log-in added to it: a friend's code is worth nothing, and a second `from` looks odd.
  function withoutAdded(url) {
    const [, base, query, hash] = /^([^?#]*)(?:\?([^#]*))?(#.*)?$/.exec(url);
    const kept = (query || '').split('&').filter((part) => part && !ADDED.test(part.split('=')[0])).join('&');
    return base + (kept ? `?${kept}` : '') + (hash || '');
  }

  // The card of a share, for a friend and for Moments; set again after a route change, where the page's own URL is its link.
  function share(card) {
    const apply = () => {
      const whole = Object.assign({ title: root.document.title, desc: '', link: root.location.href }, card);
      whole.link = withoutAdded(whole.link);
      ['link', 'imgUrl'].forEach((name) => {
        if (whole[name] && !/^https?:\/\//i.test(whole[name])) {
          root.console.warn(`wxsign: share: ${name} is no absolute http(s) address, so WeChat shows none: ${whole[name]}`);
        }
      });
      return call('updateAppMessageShareData', whole).then(() => call('updateTimelineShareData', whole));
    };
    if (root.document) onRoute(() => apply().catch(() => {}), 'share');
    return root.document ? apply() : Promise.reject(say('not_a_browser', {}));
  }

  const api = { ready, call, share, WxsignError, endpoint: tag.endpoint, endpointBeside };

  if (root.document && root.addEventListener) {
    // A page that comes back from the back-forward cache lives on, its configuration does not always.
    root.addEventListener('pageshow', (event) => {
      if (!event.persisted || !last) return;
      last.failed = true;
      ready(last.options).catch(() => {});
    });
    root.document.addEventListener('WeixinOpenTagsError', (event) => {
      root.console.warn(`wxsign: WeixinOpenTagsError: ${(event.detail && event.detail.errMsg) || ''}`);
    });
  }

  if (typeof module === 'object' && module && module.exports) module.exports = api;
  root.wxsign = api;
  if (tag.auto) ready().catch((error) => root.console.error(`wxsign: ${error.message} ${error.hint}`, error));
})();
