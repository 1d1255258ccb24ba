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

  // `agent`: what follows the browser's own user agent, or all of it. `landing`: an iPhone compares the landing URL.
  window.wxsignSandbox.modes = {
    wechat: { agent: (native) => `${native} wxdebugger ${WECHAT}`, landing: true },
    wecom: { agent: (native) => `${native} wxdebugger wxwork/4.1.30 MicroMessenger/7.0.1`, wecom: true },
    devtools: { agent: (native) => `${native} wxdebugger wechatdevtools/1.06.2504030 MicroMessenger/8.0.5`, answer: devtoolsAnswer },
    // To WeChat's script this is neither Android nor iOS, and 1.0.3 is below 6.0.2: its wx.error never speaks.
    harmonyos: {
      agent: () => 'Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 '
        + 'ArkWeb/4.1.6.1 Mobile wxdebugger MicroMessenger/1.0.3.52',
      plain: true,
      iframeFault: true,
      noOpenTags: true, // they came with 1.0.3.53
    },
    old: { agent: (native) => `${native} wxdebugger MicroMessenger/6.6.7.1321(0x26060739) NetType/WIFI`, landing: true, lacks: YOUNG, noOpenTags: true },
    slow: { agent: (native) => `${native} wxdebugger ${WECHAT}`, landing: true, comesAfterMs: 3000 },
    none: { agent: (native) => `${native} wxdebugger ${WECHAT}`, landing: true, absent: true },
  };
})();
