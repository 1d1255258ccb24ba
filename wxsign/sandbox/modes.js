/*
 * The clients that the bridge can be, by `?mode=` on its script or by the sandbox's setting `mode`:
 * what each one says it is, which URL it compares, what it lacks, and what is odd about it.
 */
(function () {
  'use strict';

  const WECHAT = 'MicroMessenger/8.0.49.2600(0x28003133) NetType/WIFI';
  // Since WeChat 6.7.2 and jweixin 1.4.0; the transfer came in 2025.
  const YOUNG = ['updateAppMessageShareData', 'updateTimelineShareData', 'requestMerchantTransfer'];
  const DEVTOOLS_WORDS = {
    'invalid signature': 'fail,Error: 系统错误,错误码:63002,invalid signature',
    'invalid url domain': 'fail 40048,invalid url domain',
  };

  // WeChat DevTools fill errMsg themselves, with numbers and a date, so WeChat's script does not touch the words.
  function devtoolsAnswer(errMsg) {
    const words = errMsg.replace(/^[^:]*:(fail_)?/, '');
    const stamp = new Date().toISOString().slice(0, 19).replace(/-/g, '').replace('T', ' ');
    const told = DEVTOOLS_WORDS[words] ? `${DEVTOOLS_WORDS[words]} [${stamp}][]` : words;
    return { errMsg: `config:${told}` };
  }

  // `label`: in two languages. `agent`: what follows the browser's own user agent, or all of it. `landing`: an iPhone compares the landing URL.
  window.wxsignSandbox.modes = {
    wechat: { label: ['微信（安卓或 iPhone，由浏览器的手机模拟决定）', 'WeChat, Android or iPhone by the browser’s emulation'], agent: (native) => `${native} wxdebugger ${WECHAT}`, landing: true },
    iphone: {
      label: ['iPhone 上的微信', 'WeChat on an iPhone'],
      agent: () => `Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 wxdebugger ${WECHAT}`,
      landing: true,
    },
    android: {
      label: ['安卓上的微信', 'WeChat on Android'],
      agent: () => `Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/130.0.0.0 Mobile Safari/537.36 wxdebugger ${WECHAT}`,
    },
    wecom: { label: ['企业微信', 'WeCom'], agent: (native) => `${native} wxdebugger wxwork/4.1.30 MicroMessenger/7.0.1`, wecom: true },
    devtools: { label: ['微信开发者工具', 'WeChat DevTools'], agent: (native) => `${native} wxdebugger wechatdevtools/1.06.2504030 MicroMessenger/8.0.5`, answer: devtoolsAnswer },
    // To WeChat's script this is neither Android nor iOS, and 1.0.3 is below 6.0.2: its wx.error never speaks.
    harmonyos: {
      label: ['鸿蒙版微信', 'WeChat on HarmonyOS'],
      agent: () => 'Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 '
        + 'ArkWeb/4.1.6.1 Mobile wxdebugger MicroMessenger/1.0.3.52',
      plain: true,
      iframeFault: true,
      noOpenTags: true, // they came with 1.0.3.53
    },
    old: { label: ['旧版微信 6.6.7', 'an old WeChat, 6.6.7'], agent: (native) => `${native} wxdebugger MicroMessenger/6.6.7.1321(0x26060739) NetType/WIFI`, landing: true, lacks: YOUNG, noOpenTags: true },
    slow: { label: ['bridge 来得晚', 'a bridge that comes late'], agent: (native) => `${native} wxdebugger ${WECHAT}`, landing: true, comesAfterMs: 3000 },
    none: { label: ['没有 bridge', 'no bridge'], agent: (native) => `${native} wxdebugger ${WECHAT}`, landing: true, absent: true },
  };
})();
