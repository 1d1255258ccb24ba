import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ANSWER, DESKTOP, PAGE, SCRIPT, WECHAT, answer, failure, open, withoutOfficial } from './browser.mjs';

const skip = withoutOfficial;
const SIGNED = PAGE.split('#')[0];

// A stand-in for WeChat's interface that only writes down the order of calls; `ends` is what happens after wx.config.
function recorder(ends) {
  const calls = [];
  const handlers = {};
  const wx = {
    calls,
    error(callback) { calls.push('error'); handlers.error = callback; },
    ready(callback) { calls.push('ready'); handlers.ready = callback; },
    config(parameters) { calls.push('config'); wx.parameters = parameters; setImmediate(() => ends(handlers)); },
  };
  return wx;
}

describe('where the service is', () => {
  const at = (src, data) => open({ src, data }).wxsign.endpoint;
  test('beside the folder of the script', () => assert.equal(at(SCRIPT), 'https://sign.example.com/jsconfig'));
  test('under the prefix of a mounted service', () => assert.equal(at('https://a.example.com/wx/static/wxsign.js?v=1'), 'https://a.example.com/wx/jsconfig'));
  test('at the root of the host that a copy comes from', () => assert.equal(at('https://a.example.com/assets/wxsign.js'), 'https://a.example.com/jsconfig'));
  test('where data-endpoint says', () => assert.equal(at(SCRIPT, { endpoint: '/sign/jsconfig' }), '/sign/jsconfig'));
  test('at the page’s own host for an inline script', () => assert.equal(at(''), '/jsconfig'));
});

describe('the request', () => {
  const request = async (options, page) => {
    const { wxsign, seen } = open({ ...page });
    await wxsign.ready({ wx: recorder(({ ready }) => ready()), ...options });
    return seen.requests[0];
  };

  test('carries the URL up to the fragment, percent-encoded once', async () => {
    const { url, init } = await request();
    assert.equal(url, `https://sign.example.com/jsconfig?url=${encodeURIComponent(SIGNED)}`);
    assert.equal(init.method, undefined);
    assert.equal(init.credentials, 'omit');
  });
  test('names the account of the option, or of the script tag', async () => {
    assert.match((await request({ account: 'a&b' })).url, /&account=a%26b$/);
    assert.match((await request({}, { data: { account: 'shop' } })).url, /&account=shop$/);
  });
  test('goes on after a query that the endpoint has already', async () => {
    assert.match((await request({ endpoint: '/gateway?to=sign' })).url, /^\/gateway\?to=sign&url=https/);
  });
  test('takes a given URL, cut at its fragment', async () => {
    assert.match((await request({ url: 'https://m.example.com/landing#x' })).url, /landing$/);
  });
  test('becomes a JSON POST when the encoded URL is longer than 2 kB', async () => {
    const long = `https://m.example.com/?q=${'%'.repeat(700)}`;
    const { url, init } = await request({ url: long, account: 'shop' });
    assert.equal(url, 'https://sign.example.com/jsconfig');
    assert.equal(init.method, 'POST');
    assert.equal(init.headers['Content-Type'], 'application/json');
    assert.deepEqual(JSON.parse(init.body), { url: long, account: 'shop' });
  });
});

describe('an accepted page', { skip }, () => {
  test('resolves with wx, the service’s answer and its warnings', async () => {
    const warnings = [{ code: 'cut_at_ampersand', message: 'cut', hint: 'encode' }];
    const { wxsign, seen, window } = open({ respond: () => answer({ ...ANSWER, warnings }, 200, { 'X-Request-Id': 'r-1' }) });
    const outcome = await wxsign.ready();
    assert.equal(outcome.wx, window.wx);
    assert.equal(outcome.config.requestId, 'r-1');
    assert.equal(outcome.warnings.length, 1);
    assert.deepEqual(seen.states.map(([, state]) => state), ['loading', 'ready']);
    assert.equal(seen.console.filter(([level, words]) => level === 'warn' && words.includes('cut_at_ampersand')).length, 1);
  });
  test('gives wx.config its own lists, because WeChat’s script rewrites them', async () => {
    const { wxsign, seen } = open();
    const jsApiList = ['previewImage'];
    const { config } = await wxsign.ready({ jsApiList });
    assert.deepEqual(jsApiList, ['previewImage']);
    assert.deepEqual([...config.jsApiList], ANSWER.jsApiList);
    assert.deepEqual([...seen.invoked[0][1].verifyJsApiList], ['imagePreview']);
  });
  test('passes open tags only where there are some', async () => {
    const { wxsign, seen } = open();
    await wxsign.ready();
    await wxsign.ready({ openTagList: ['wx-open-launch-app'] });
    assert.equal(seen.invoked[0][1].verifyOpenTagList, undefined);
    assert.deepEqual([...seen.invoked[1][1].verifyOpenTagList], ['wx-open-launch-app']);
  });
  test('tells every step in order, and survives a listener that throws', async () => {
    const { wxsign, seen } = open();
    const steps = [];
    await wxsign.ready({ onStep: (step) => { steps.push(`${step.name} ${step.state}`); throw new Error('listener'); } });
    assert.deepEqual(steps.slice(-4), ['config start', 'config done', 'ready start', 'ready done']);
    assert.deepEqual(steps.slice(0, 4).sort(), ['script done', 'script start', 'signature done', 'signature start']);
    assert.equal(seen.console.filter(([level]) => level === 'error').length, steps.length);
  });
  test('waits for a bridge that comes after the script', async () => {
    const { wxsign, installBridge, advance } = open({ bridge: false });
    const promise = wxsign.ready();
    await advance(500);
    installBridge();
    assert.equal((await promise).config.appId, ANSWER.appId);
  });
});

describe('the order of wx calls', () => {
  test('error and ready are registered before wx.config', async () => {
    const wx = recorder(({ ready }) => ready());
    await open().wxsign.ready({ wx });
    assert.deepEqual(wx.calls, ['error', 'ready', 'config']);
  });
  test('a ready that follows an error is no success', async () => {
    const wx = recorder(({ error, ready }) => { error({ errMsg: 'config:invalid signature' }); ready(); });
    const { wxsign, seen } = open();
    assert.equal((await failure(wxsign.ready({ wx }))).code, 'invalid_signature');
    assert.deepEqual(seen.states.at(-1), ['data-wxsign-state', 'error']);
  });
});

describe('a refused page', { skip }, () => {
  for (const [words, code, errMsg] of [
    ['preVerifyJSAPI:fail_invalid signature', 'invalid_signature', 'config:invalid signature'],
    ['preVerifyJSAPI:fail_invalid_signature', 'invalid_signature', 'config:invalid signature'],
    ['preVerifyJSAPI:fail,Error: 系统错误,错误码:63002,invalid signature [20201105 08:31:41][]', 'invalid_signature'],
    ['preVerifyJSAPI:fail_invalid url domain', 'invalid_url_domain', 'config:invalid url domain'],
    ['preVerifyJSAPI:fail 40048,invalid url domain', 'invalid_url_domain'],
    ['preVerifyJSAPI:fail_require subscribe', 'require_subscribe', 'config:require subscribe'],
    ['preVerifyJSAPI:fail_the permission value is offline verifying', 'offline_verifying'],
    ['preVerifyJSAPI:access_denied', 'permission_denied', 'config:permission denied'],
    ['preVerifyJSAPI:fail', 'config_failed', 'config:fail'],
  ]) {
    test(`rejects ${words} as ${code}`, async () => {
      const { wxsign } = open({ verdict: () => words, respond: () => answer(ANSWER, 200, { 'X-Request-Id': 'r-2' }) });
      const error = await failure(wxsign.ready());
      assert.ok(error instanceof wxsign.WxsignError);
      assert.equal(error.code, code);
      assert.equal(error.requestId, 'r-2');
      assert.ok(error.message && error.hint);
      if (errMsg) assert.equal(error.errMsg, errMsg);
    });
  }
  test('names the signed URL and the page’s in the hint, in the browser’s language', async () => {
    const respond = () => answer({ ...ANSWER, url: 'https://m.example.com/other' });
    const verdict = () => 'preVerifyJSAPI:fail_invalid signature';
    const english = await failure(open({ respond, verdict }).wxsign.ready());
    const chinese = await failure(open({ respond, verdict, language: 'zh-CN' }).wxsign.ready());
    assert.ok(english.hint.includes('https://m.example.com/other') && english.hint.includes(SIGNED));
    assert.equal(chinese.message, '微信拒绝了这个签名。');
    assert.match(chinese.hint, /other.*page/);
  });
  test('looks for another cause when the page’s own URL was signed', async () => {
    const { hint } = await failure(open({ verdict: () => 'preVerifyJSAPI:fail_invalid signature' }).wxsign.ready());
    assert.match(hint, /Another system replaced the ticket/);
  });
});

describe('a refused signature', { skip }, () => {
  const REFUSED = () => 'preVerifyJSAPI:fail_invalid signature';
  const reported = (told) => (url, init) => (/\/report$/.test(url) ? told(JSON.parse(init.body)) : answer(ANSWER));

  test('is reported with what was signed, and signed again where the service says so', async () => {
    let verdicts = 0;
    const bodies = [];
    const respond = reported((body) => { bodies.push(body); return answer({ retry: true, after_seconds: 0 }); });
    const { wxsign, seen } = open({ respond, verdict: () => (verdicts++ ? 'preVerifyJSAPI:ok' : REFUSED()) });
    assert.equal((await wxsign.ready()).config.appId, ANSWER.appId);
    assert.equal(seen.requests.length, 3);
    assert.deepEqual([bodies[0].url, bodies[0].signature, bodies[0].nonceStr], [SIGNED, ANSWER.signature, ANSWER.nonceStr]);
    assert.equal(bodies[0].errMsg, 'config:invalid signature');
  });
  test('gets the causes that the service found, and the first one’s remedy', async () => {
    const finding = { id: 'WXS102', certainty: 'likely', message: 'The page has moved.', hint: 'Send landing_url.' };
    const { wxsign } = open({ verdict: REFUSED, respond: reported(() => answer({ retry: false, findings: [finding] })) });
    const error = await failure(wxsign.ready());
    assert.equal(JSON.stringify(error.findings), JSON.stringify([finding]));
    assert.equal(error.hint, 'The page has moved. Send landing_url.');
  });
  test('is signed again three times at the most, whatever the service says', async () => {
    const { wxsign, seen } = open({ verdict: REFUSED, respond: reported(() => answer({ retry: true, after_seconds: 0 })) });
    assert.equal((await failure(wxsign.ready())).code, 'invalid_signature');
    assert.equal(seen.requests.filter(({ url }) => /report/.test(url)).length, 3);
  });
  test('is reported to nobody where the page says so, and an older service changes nothing', async () => {
    const silent = open({ verdict: REFUSED });
    assert.equal((await failure(silent.wxsign.ready({ report: false }))).code, 'invalid_signature');
    assert.equal(silent.seen.requests.length, 1);
    const older = open({ verdict: REFUSED, respond: reported(() => { throw new TypeError('404'); }) });
    assert.equal((await failure(older.wxsign.ready())).findings.length, 0);
  });
});

describe('WeChat’s script', { skip }, () => {
  const OTHER = { wx: { not: 'WeChat’s' } };

  test('is not loaded when wx is given or on the page already', async () => {
    const given = open({ deliver: () => 'error' });
    await given.wxsign.ready({ wx: recorder(({ ready }) => ready()) });
    const present = open({ deliver: () => 'error', globals: { wx: recorder(({ ready }) => ready()) } });
    await present.wxsign.ready();
    assert.deepEqual([given.seen.scripts, present.seen.scripts], [[], []]);
  });
  test('comes from the backup host when the first one fails', async () => {
    const { wxsign, seen } = open({ deliver: (src) => (src.includes('//res.') ? 'error' : 'load') });
    const notes = [];
    await wxsign.ready({ onStep: (step) => step.state === 'note' && notes.push(step.detail) });
    assert.deepEqual(seen.scripts.map((src) => src.split('/')[2]), ['res.wx.qq.com', 'res2.wx.qq.com']);
    assert.equal(notes.length, 1);
  });
  test('comes from the backup host when the first one hangs', async () => {
    const { wxsign, seen, advance } = open({ deliver: (src) => (src.includes('//res.') ? 'hang' : 'load') });
    const promise = wxsign.ready();
    await advance(6000);
    await promise;
    assert.equal(seen.scripts.length, 2);
  });
  test('is missing when no host delivers it', async () => {
    const error = await failure(open({ deliver: () => 'error' }).wxsign.ready());
    assert.equal(error.code, 'script_failed');
    assert.match(error.message, /res\.wx\.qq\.com, res2\.wx\.qq\.com/);
  });
  test('left no wx because a module loader took it', async () => {
    assert.equal((await failure(open({ deliver: () => 'bare' }).wxsign.ready())).code, 'no_wx');
  });
  test('is told from another library’s wx', async () => {
    const { wxsign, seen } = open({ globals: OTHER });
    await wxsign.ready();
    assert.equal(seen.scripts.length, 1);
  });
  test('comes from given addresses', async () => {
    const { wxsign, seen } = open();
    await wxsign.ready({ scripts: ['/vendor/jweixin.js'] });
    assert.deepEqual(seen.scripts, ['/vendor/jweixin.js']);
  });
});

describe('silence', { skip }, () => {
  test('outside WeChat is told as such after two seconds', async () => {
    const { wxsign, advance, seen } = open({ userAgent: DESKTOP, bridge: false });
    const promise = failure(wxsign.ready());
    await advance(2000);
    assert.equal((await promise).code, 'not_wechat');
    assert.deepEqual(seen.states.at(-1), ['data-wxsign-state', 'error']);
  });
  test('outside WeChat stays a failure in a second run with debug, where WeChat’s script calls ready at once', async () => {
    const { wxsign, advance } = open({ userAgent: DESKTOP, bridge: false });
    for (const options of [{ debug: true }, { debug: true, account: 'again' }]) {
      const promise = failure(wxsign.ready(options));
      await advance(2000);
      assert.equal((await promise).code, 'not_wechat');
    }
  });
  test('inside WeChat ends after timeoutMs', async () => {
    const { wxsign, advance } = open({ verdict: () => null });
    const promise = failure(wxsign.ready({ timeoutMs: 5000 }));
    await advance(4999);
    assert.equal(await Promise.race([promise, 'pending']), 'pending');
    await advance(1);
    const error = await promise;
    assert.equal(error.code, 'no_answer');
    assert.match(error.message, /5 s/);
  });
});

describe('the service', { skip }, () => {
  const refused = { error: { code: 'host_not_allowed', message: 'This host is not allowed.', hint: 'Add it.', docs: '', request_id: 'r-3' } };

  test('refusing keeps its code, message, hint and request id', async () => {
    const error = await failure(open({ respond: () => answer(refused, 403) }).wxsign.ready());
    assert.deepEqual([error.code, error.message, error.hint, error.requestId], ['host_not_allowed', 'This host is not allowed.', 'Add it.', 'r-3']);
  });
  test('passing WeChat’s refusal on keeps WeChat’s words', async () => {
    const body = { error: { ...refused.error, code: 'ip_not_whitelisted' }, errcode: 40164, errmsg: 'invalid ip' };
    assert.equal((await failure(open({ respond: () => answer(body, 503) }).wxsign.ready())).errMsg, 'invalid ip');
  });
  test('unreachable is a network error that names the address', async () => {
    const error = await failure(open({ respond: () => { throw new TypeError('Failed to fetch'); } }).wxsign.ready());
    assert.equal(error.code, 'network');
    assert.match(error.message, /sign\.example\.com\/jsconfig.*Failed to fetch/);
  });
  test('hanging is aborted after timeoutMs', async () => {
    const hang = (url, { signal }) => new Promise((_, reject) => { signal.addEventListener('abort', () => reject(new Error('aborted'))); });
    const { wxsign, advance } = open({ respond: hang });
    const promise = failure(wxsign.ready({ timeoutMs: 3000 }));
    await advance(3000);
    assert.match((await promise).message, /time-out \(3 s\)/);
  });
  for (const [what, response] of [
    ['HTML of a proxy', answer('<html>Bad Gateway</html>', 502)],
    ['a page instead of JSON', answer('<!doctype html>')],
    ['JSON without a signature', answer({ hello: 'world' })],
    ['an empty answer', answer('')],
  ]) {
    test(`answering ${what} is a bad answer`, async () => {
      assert.equal((await failure(open({ respond: () => response }).wxsign.ready())).code, 'bad_answer');
    });
  }
});

describe('clients of version 10, for which WeChat’s wx.error is deaf', { skip }, () => {
  const userAgent = WECHAT.replace('8.0.49.2600', '10.0.1');

  test('are refused by the bridge’s own word', async () => {
    const { wxsign } = open({ userAgent, verdict: () => 'preVerifyJSAPI:fail_invalid_signature' });
    const error = await failure(wxsign.ready());
    assert.deepEqual([error.code, error.errMsg], ['invalid_signature', 'config:invalid signature']);
  });
  test('are accepted by the bridge’s own word, also when it comes late', async () => {
    const { wxsign, installBridge, advance } = open({ userAgent, bridge: false });
    const promise = wxsign.ready();
    await advance(100);
    installBridge();
    assert.equal((await promise).config.appId, ANSWER.appId);
  });
});

describe('a second run on the same page', { skip }, () => {
  test('succeeds after a first one that was refused', async () => {
    let words = 'preVerifyJSAPI:fail_invalid signature';
    const { wxsign } = open({ verdict: () => words });
    await failure(wxsign.ready());
    words = 'preVerifyJSAPI:ok';
    assert.equal((await wxsign.ready()).config.appId, ANSWER.appId);
  });
  test('is refused although the first one was accepted', async () => {
    let words = 'preVerifyJSAPI:ok';
    const { wxsign, window } = open({ verdict: () => words });
    await wxsign.ready();
    words = 'preVerifyJSAPI:fail_invalid signature';
    window.location.href = 'https://m.example.com/route/2';
    assert.equal((await failure(wxsign.ready())).code, 'invalid_signature');
  });
  test('does not believe the old verdict while the new one is open', async () => {
    let words = 'preVerifyJSAPI:ok';
    const { wxsign, advance } = open({ verdict: () => words });
    await wxsign.ready();
    words = null;
    const promise = failure(wxsign.ready({ timeoutMs: 1000, account: 'other' }));
    await advance(1000);
    assert.equal((await promise).code, 'no_answer');
  });
  test('takes over after a page’s own wx.config that failed without a handler', async () => {
    let words = 'preVerifyJSAPI:fail_invalid signature';
    const { wxsign, window, advance } = open({ verdict: () => words });
    window.document.head.appendChild({ src: 'by the page itself', onload() {} });
    window.wx.config({ ...ANSWER, jsApiList: [] });
    await advance(10);
    words = 'preVerifyJSAPI:ok';
    assert.equal((await wxsign.ready()).config.appId, ANSWER.appId);
  });
});

describe('calls of ready', { skip }, () => {
  test('without options share the page’s run', async () => {
    const { wxsign, seen, window } = open();
    const first = wxsign.ready();
    assert.equal(wxsign.ready(), first);
    await first;
    window.location.href = `${SIGNED}#another-fragment`;
    await wxsign.ready();
    assert.equal(seen.requests.length, 1);
  });
  test('run again for another URL, and after a failure', async () => {
    let status = 503;
    const { wxsign, seen, window } = open({ respond: () => (status === 200 ? answer(ANSWER) : answer('', status)) });
    await failure(wxsign.ready());
    status = 200;
    await wxsign.ready();
    window.location.href = 'https://m.example.com/route/2';
    await wxsign.ready();
    assert.equal(seen.requests.length, 3);
  });
  test('of the same URL, account and lists share a run, with options too', async () => {
    const { wxsign, seen } = open();
    assert.equal(wxsign.ready({ jsApiList: ['scanQRCode'] }), wxsign.ready({ jsApiList: ['scanQRCode'], timeoutMs: 3000 }));
    await wxsign.ready({ jsApiList: ['scanQRCode'] });
    assert.equal(seen.requests.length, 1);
  });
  test('that a later one takes the place of end as that one does', async () => {
    const { wxsign, seen } = open();
    const [first, second] = await Promise.all([wxsign.ready({ account: 'a' }), wxsign.ready({ account: 'b' })]);
    assert.equal(first, second);
    assert.deepEqual(seen.states.map(([, state]) => state), ['loading', 'ready']);
    assert.match(seen.requests[0].url, /account=b/);
  });
});

const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 MicroMessenger/8.0.49(0x18003137) NetType/WIFI';
const WECOM_IPHONE = `${IPHONE} wxwork/4.1.20`;
const FIRST = 'https://m.example.com/first?code=0123&state=x';
const both = (url) => {
  const query = new URL(url, SCRIPT).searchParams;
  const landing = query.get('landing_url');
  return answer({
    ...ANSWER, url: query.get('url'), signature: `of ${query.get('url')}`,
    ...(landing ? { landing: { url: landing, signature: `of ${landing}` } } : {}),
  });
};
// WeChat, which compares this URL.
const compares = (url) => (params) => (params.verifySignature === `of ${url()}` ? 'preVerifyJSAPI:ok' : 'preVerifyJSAPI:fail_invalid signature');

describe('landing and present URL', { skip }, () => {
  test('on an iPhone one call serves five routes, with the signature of the landing URL', async () => {
    const { wxsign, window, seen } = open({ userAgent: IPHONE, landing: FIRST, respond: both, verdict: compares(() => FIRST) });
    for (let route = 0; route < 5; route += 1) {
      window.history.pushState({}, '', `/route/${route}`);
      await wxsign.ready();
    }
    assert.equal(seen.requests.length, 1);
  });
  test('one green page in a hundred is reported, the others are not', async () => {
    const sent = async (dice) => {
      const { wxsign, seen } = open({ dice });
      await wxsign.ready();
      return seen.requests.map(({ url }) => new URL(url).pathname);
    };
    assert.deepEqual(await sent(0.011), ['/jsconfig']);
    assert.deepEqual(await sent(0.009), ['/jsconfig', '/report']);
  });
  test('on Android each route is signed', async () => {
    const page = open({ landing: FIRST, respond: both, verdict: compares(() => page.window.location.href.split('#')[0]) });
    for (let route = 0; route < 5; route += 1) {
      page.window.history.pushState({}, '', `/route/${route}`);
      assert.equal((await page.wxsign.ready()).config.url, `https://m.example.com/route/${route}`);
    }
    assert.equal(page.seen.requests.length, 5);
  });
  test('in WeCom the present one counts on an iPhone too', async () => {
    const { wxsign } = open({ userAgent: WECOM_IPHONE, landing: FIRST, respond: both, verdict: compares(() => SIGNED) });
    assert.equal((await wxsign.ready()).config.url, SIGNED);
  });
  test('where the one is refused as invalid the other one is tried, once', async () => {
    const android = open({ landing: FIRST, respond: both, verdict: compares(() => FIRST) });
    assert.equal((await android.wxsign.ready()).config.url, FIRST);
    assert.equal(android.seen.requests.length, 1);
    const neither = open({ landing: FIRST, respond: both, verdict: () => 'preVerifyJSAPI:fail_invalid signature' });
    assert.equal((await failure(neither.wxsign.ready())).code, 'invalid_signature');
    const tried = neither.seen.invoked.filter(([name]) => name === 'preVerifyJSAPI').map(([, params]) => params.verifySignature);
    assert.deepEqual([...new Set(tried)], [`of ${SIGNED}`, `of ${FIRST}`]);
  });
  test('a URL of the caller’s own is signed alone', async () => {
    const { wxsign, seen } = open({ landing: FIRST });
    await wxsign.ready({ url: FIRST });
    assert.ok(!seen.requests[0].url.includes('landing_url'));
  });
  test('a URL that is cleaned while the run is under way is signed again', async () => {
    const page = open({
      respond: (url) => { page.window.history.replaceState({}, '', '/page?a=1'); return both(url); },
      verdict: compares(() => page.window.location.href.split('#')[0]),
    });
    assert.equal((await page.wxsign.ready()).config.url, 'https://m.example.com/page?a=1');
    assert.equal(page.seen.requests.length, 2);
  });
  test('follow signs after a route change, and five of them in one tick once', async () => {
    const page = open({ data: { follow: '' }, respond: both, verdict: compares(() => page.window.location.href.split('#')[0]) });
    await page.wxsign.ready();
    for (let route = 0; route < 5; route += 1) page.window.history.pushState({}, '', `/route/${route}`);
    await page.advance(1000);
    assert.equal(page.seen.requests.length, 2);
    assert.match(page.seen.requests[1].url, /route%2F4/);
  });
  test('a page that comes back from the back-forward cache is configured anew', async () => {
    const page = open({ respond: both });
    await page.wxsign.ready();
    page.emit({ type: 'pageshow', persisted: false });
    page.emit({ type: 'pageshow', persisted: true });
    await page.wxsign.ready();
    assert.equal(page.seen.requests.length, 2);
  });
});

describe('ready', { skip }, () => {
  test('with what a bundler made of the official script uses the page’s', async () => {
    const { wxsign } = open();
    assert.equal((await wxsign.ready({ wx: {} })).config.appId, ANSWER.appId);
  });
  test('takes an empty list as none', async () => {
    const { wxsign, seen } = open();
    await wxsign.ready({ jsApiList: [] });
    assert.ok(seen.invoked[0][1].verifyJsApiList.length > 0);
  });
  test('asks once more where the service says in how many seconds, up to five', async () => {
    const away = { error: { code: 'credential_unavailable', message: 'starting', hint: '' } };
    const answers = [answer(away, 503, { 'Retry-After': '2' }), answer(ANSWER)];
    const page = open({ respond: () => answers.shift() });
    const promise = page.wxsign.ready();
    await page.advance(2000);
    assert.equal((await promise).config.appId, ANSWER.appId);
    const long = open({ respond: () => answer(away, 503, { 'Retry-After': '60' }) });
    assert.equal((await failure(long.wxsign.ready())).code, 'credential_unavailable');
    assert.equal(long.seen.requests.length, 1);
  });
  test('says what an open tag reports', async () => {
    const { seen, window } = open();
    window.document.dispatchEvent({ type: 'WeixinOpenTagsError', detail: { errMsg: 'no right' } });
    assert.ok(seen.console.some(([level, words]) => level === 'warn' && words.includes('no right')));
  });
});

describe('call and share', { skip }, () => {
  test('a call resolves with WeChat’s answer, and says which name is none', async () => {
    const { wxsign } = open();
    assert.match((await wxsign.call('scanQRCode', { needResult: 0 })).errMsg, /ok$/);
    assert.equal((await failure(wxsign.call('scanQrcode'))).code, 'no_such_interface');
  });
  test('a call is made under the options of the ready before it, in the same run', async () => {
    const { wxsign, seen } = open();
    await wxsign.ready({ endpoint: 'https://other.example.com/jsconfig', jsApiList: ['scanQRCode'] });
    await wxsign.call('scanQRCode');
    assert.deepEqual(seen.requests.map(({ url }) => url.split('?')[0]), ['https://other.example.com/jsconfig']);
  });
  test('a call right after a route change does not end the following', async () => {
    const { wxsign, seen, window, advance } = open({ respond: both });
    await wxsign.ready({ follow: true, account: 'shop' });
    window.history.pushState({}, '', '/one');
    await wxsign.call('scanQRCode');
    window.history.pushState({}, '', '/two');
    await advance(1000);
    assert.deepEqual(seen.requests.map(({ url }) => /url=.*?example.com%2F(\w+).*account=shop/.exec(url)?.[1]), ['page', 'one', 'two']);
  });
  test('both cards are set, their link without what WeChat and the log-in added, and what is no address is warned of', async () => {
    const { wxsign, seen } = open({ href: 'https://m.example.com/a?code=1&b=2&from=singlemessage&state=x#top' });
    await wxsign.share({ title: 'A', imgUrl: '/logo.png' });
    const cards = seen.invoked.filter(([name]) => name.startsWith('update'));
    assert.deepEqual(cards.map(([name]) => name).sort(), ['updateAppMessageShareData', 'updateTimelineShareData']);
    assert.ok(cards.every(([, card]) => card.link === 'https://m.example.com/a?b=2#top'));
    assert.ok(seen.console.some(([level, words]) => level === 'warn' && words.includes('imgUrl')));
  });
  test('the card follows the route where its link is the page’s own', async () => {
    const { wxsign, seen, window, advance } = open({ respond: both });
    await wxsign.share({ title: 'A' });
    window.history.pushState({}, '', '/other');
    await advance(1000);
    const links = seen.invoked.filter(([name]) => name === 'updateAppMessageShareData').map(([, card]) => card.link);
    assert.deepEqual(links, [PAGE, 'https://m.example.com/other']);
  });
});

describe('data-wxsign-auto', { skip }, () => {
  test('starts by itself and tells the document', async () => {
    const { wxsign, seen } = open({ data: { wxsignAuto: '' } });
    await wxsign.ready();
    assert.deepEqual(seen.events.map(({ type }) => type).filter((type) => type.startsWith('wxsign:')), ['wxsign:loading', 'wxsign:ready']);
    assert.equal(seen.requests.length, 1);
  });
  test('prints why it failed', async () => {
    const { seen, advance } = open({ data: { wxsignAuto: '' }, verdict: () => 'preVerifyJSAPI:fail_invalid url domain' });
    await advance(100);
    const [, words] = seen.console.find(([level]) => level === 'error');
    assert.match(words, /m\.example\.com is not registered.*JS接口安全域名/);
  });
  test('passes data-debug on', async () => {
    const { wxsign, seen } = open({ data: { wxsignAuto: '', debug: '' } });
    await wxsign.ready();
    assert.ok(seen.console.some(([level]) => level === 'alert'));
  });
});

test('the ES module door offers the same functions, on a server too', async () => {
  const door = await import('../../static/wxsign.mjs');
  assert.equal(door.default.ready, door.ready);
  assert.equal((await failure(door.ready())).code, 'not_a_browser');
  assert.equal((await failure(door.share({}))).code, 'not_a_browser');
  assert.equal((await failure(door.call('scanQRCode'))).code, 'not_a_browser');
  assert.equal(new door.WxsignError('a_code', 'words').hint, '');
  assert.equal(door.endpointBeside('https://a.example.com/wx/static/wxsign.mjs'), 'https://a.example.com/wx/jsconfig');
});
