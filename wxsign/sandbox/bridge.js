/*
 * Gives a desktop browser what WeChat's in-app browser has: a MicroMessenger user agent and WeixinJSBridge, so that WeChat's
 * unmodified script runs wx.config and the JS interfaces. Put it BEFORE the official script:
 *
 *   <script src="http://127.0.0.1:8001/sandbox/bridge.js"></script>
 *
 * The signature is verified by the sandbox against the URL that WeChat compares: on an iPhone the one that the document was
 * opened at, which pushState and replaceState do not change and a reload does; elsewhere the present one. That is the consensus
 * of those who tried it, not Tencent's word. `bridge.js?rule=landing` or `?rule=current` chooses. Each verdict is the event
 * `wxsign:verdict` on the document: {accepted, errMsg, cause, message, signedUrl, comparedUrl, rule, mode, signature}.
 * `bridge.js?mode=` chooses the client: wechat, wecom, devtools, harmonyos, old, slow (`&delay_ms=`), none (modes.js).
 * `&mock=` switches on interfaces that this file does not know, or answers others anew: JSON, name to result, or to the words
 * after the colon of errMsg: `?mock={"openLuckyBag":"ok"}`. Each share is the event `wxsign:share`: {card, remarks}.
 * In the real WeChat this file does nothing.
 * Names, answers and their oddities per platform are those that jweixin-1.6.0.js expects of the bridge.
 */
(function () {
  'use strict';

  if (window.WeixinJSBridge || /micromessenger/i.test(navigator.userAgent)) {
    console.info('wxsign sandbox bridge: this is WeChat already, nothing to do');
    return;
  }

  const TAG = document.currentScript; // null where a test runner puts this into the page
  const SCRIPT = new URL(TAG ? TAG.src : window.wxsignSandbox.src);
  const VERIFY_URL = new URL('bridge/verify', SCRIPT).href;
  const CARD_URL = new URL('bridge/card', SCRIPT).href;
  // Where wxsign.js finds a script in place of WeChat's, if neither of its hosts can be reached.
  window.wxsignStandIn = new URL('jweixin.js', SCRIPT).href;
  if (window.wx || window.jWeixin) {
    console.warn('wxsign sandbox: put bridge.js before WeChat’s script, which looks for its browser when it is loaded. '
      + '请把 bridge.js 放在微信官方脚本之前：官方脚本在加载时就会检查浏览器。');
  }
  const NATIVE_UA = navigator.userAgent;
  const SANDBOX = window.wxsignSandbox; // what stands before this in the same script
  const { text, element, ui, dialog, sheet, toast, sayStandIn } = SANDBOX.layer;
  const CHOSEN = SANDBOX.chosen();
  const MODE_NAME = CHOSEN.mode || SCRIPT.searchParams.get('mode') || SANDBOX.mode;
  const MODE = SANDBOX.modes[MODE_NAME] || SANDBOX.modes.wechat;
  if (!SANDBOX.modes[MODE_NAME]) {
    const known = Object.keys(SANDBOX.modes).join(', ');
    console.warn(`wxsign sandbox: there is no mode ${MODE_NAME}; known: ${known}. 没有这个模式；可用：${known}。`);
  }
  const AGENT = MODE.agent(NATIVE_UA);
  const ANDROID = !MODE.plain && /android/i.test(AGENT); // by the mode, or a browser that emulates a phone
  const IPHONE = !MODE.plain && /iphone|ipad/i.test(AGENT);
  const RULE = [CHOSEN.rule, SCRIPT.searchParams.get('rule'), SANDBOX.rule].find((rule) => rule === 'landing' || rule === 'current')
    || (IPHONE && MODE.landing ? 'landing' : 'current');
  const NAVIGATION = performance.getEntriesByType('navigation')[0];
  const LANDING = (NAVIGATION && NAVIGATION.name) || location.href; // what the document was opened at, however late this script runs
  const PHONE = SANDBOX.phoneOf(SCRIPT); // in its frame a page is as in WeChat itself
  const NOT_VERIFIED = 'fail_the permission value is offline verifying';
  const LONGEST_RECORD_MS = 60000;
  const PLAY_MS = 2000;

  // What a call needs in jsApiList when that is not its own name; '' means any verified config.
  const RIGHTS = {
    checkJsApi: '', invokeMiniProgramAPI: '', shareTimeline: 'menu:share:timeline', sendAppMessage: 'menu:share:appmessage',
    shareQQ: 'menu:share:qq', shareWeiboApp: 'menu:share:weiboApp', shareQZone: 'menu:share:QZone',
  };
  const SHARE_MENU = [
    ['menu:share:appmessage', '发送给朋友', 'Send to Chat', 'menuItem:share:appMessage'],
    ['menu:share:timeline', '分享到朋友圈', 'Share on Moments', 'menuItem:share:timeline'],
    ['menu:share:qq', '分享到手机QQ', 'Share to QQ', 'menuItem:share:qq'],
    ['menu:share:QZone', '分享到QQ空间', 'Share to QZone', 'menuItem:share:QZone'],
    ['menu:share:weiboApp', '分享到微博', 'Share to Weibo', 'menuItem:share:weiboApp'],
  ];
  const BEACON = { uuid: 'FDA50693-A4E2-4FB1-AFCF-C6EB07647825', major: 10, minor: 7, rssi: -58, proximity: 2, accuracy: 1.2, heading: 0 };

  const handlers = new Map(); // event name: callback of the page
  const media = new Map(); // localId or serverId: data URL of an image, or '' for a voice
  const shared = {}; // share cards by native menu name
  const hiddenItems = new Set();
  let verified = null; // Set of native names, once a config was accepted
  let ofAgent = null; // the same of WeCom's agentConfig
  let tags = null; // what the accepted config says of open tags: their names, and the URL that they hold for
  let drawTags = () => {};
  let faulty = false; // HarmonyOS, once an iframe was loaded
  let menuHidden = false;
  let serial = 0;
  let recordTimer = 0;
  let playTimer = 0;

  // A fresh id that looks like WeChat's.
  function newId(prefix) {
    serial += 1;
    return `${prefix}${Date.now()}${String(serial).padStart(4, '0')}`;
  }

  // An answer that the person at the screen chooses between ok and cancel.
  function confirmed(title, label, done, result) {
    sheet(title, [label], (index) => (index < 0 ? done('cancel') : done('ok', result ? result() : {})));
  }

  // A small picture to stand for a photo.
  function samplePicture(number) {
    const canvas = Object.assign(document.createElement('canvas'), { width: 480, height: 360 });
    const brush = canvas.getContext('2d');
    const sky = brush.createLinearGradient(0, 0, 0, 360);
    sky.addColorStop(0, `hsl(${150 + number * 47} 60% 62%)`);
    sky.addColorStop(1, `hsl(${120 + number * 47} 55% 38%)`);
    brush.fillStyle = sky;
    brush.fillRect(0, 0, 480, 360);
    Object.assign(brush, { fillStyle: 'rgba(255,255,255,.9)', font: '28px sans-serif', textAlign: 'center' });
    brush.fillText(`sandbox photo ${number}`, 240, 190);
    return canvas.toDataURL('image/jpeg', 0.8);
  }

  // Stores a picture and gives its localId; real ones read wxLocalResource://… on iOS and weixin://resourceid/… on Android.
  function newPicture() {
    const localId = newId(ANDROID ? 'weixin://resourceid/' : 'wxLocalResource://imageid');
    media.set(localId.toLowerCase(), samplePicture(serial));
    return localId;
  }

  // Stores a voice and gives its localId.
  function newVoice() {
    const localId = newId('wxLocalResource://voiceLocalId');
    media.set(localId.toLowerCase(), '');
    return localId;
  }

  // The stored medium of an id (browsers lower-case the scheme of an image's src), or undefined.
  function medium(id) {
    return media.get(String(id).toLowerCase());
  }

  // Objects travel as JSON text on Android.
  function packed(value) {
    return ANDROID ? JSON.stringify(value) : value;
  }

  // Calls the page's handler of an event, if the verified list has it.
  function fire(name, result) {
    const handler = handlers.get(name);
    if (handler && verified && verified.has(name)) handler(result);
  }

  // The two cards of a page: one for friends, one for the places where only the title is shown.
  function onTimeline(name) {
    return name === 'menu:share:timeline' || name === 'menu:share:QZone' || name === 'shareTimeline' || name === 'shareQZone';
  }

  // The ways to share that WeChat's menu has, as the page has left them: label, and what a tap does.
  function shares() {
    const items = menuHidden ? [] : SHARE_MENU.filter(([, , , item]) => !hiddenItems.has(item) && !hiddenItems.has('*'));
    return items.map(([name, zh, en]) => [text(zh, en), () => {
      if (handlers.has(name) && verified && verified.has(name)) fire(name, { scene: 'friend' });
      else showCard(shared[onTimeline(name) ? 'timeline' : 'appmessage'], name);
    }]);
  }

  // What is sent to a friend or to a timeline for the card that the page set, with remarks; a page that set none sends itself.
  function sent(given, timeline) {
    const page = { title: document.title, href: location.href };
    const card = SANDBOX.shareCard(given || page, page, timeline);
    return given ? card : Object.assign(card, { remarks: [] });
  }

  // Shows a share card as the friend would get it: what the page set, else the page itself; and says what was changed.
  function showCard(given, name) {
    const { remarks, refused, ...card } = sent(given, onTimeline(name));
    const lines = remarks.map((remark) => element('p', 'remark', text(remark.zh, remark.en)));
    const picture = card.imgUrl ? [Object.assign(document.createElement('img'), { src: card.imgUrl, alt: '' })] : [];
    const words = [element('p', '', text('已分享（沙箱）', 'shared (sandbox)')), element('b', '', card.title), element('p', '', card.desc), element('p', '', `→ ${card.link}`)];
    const shown = element('button', 'card', '', [...words, ...picture, ...lines]);
    shown.addEventListener('click', dialog('', card.title, [shown]));
    remarks.forEach((remark) => console.warn(`wxsign sandbox: ${text(remark.zh, remark.en)}`));
    document.dispatchEvent(new CustomEvent('wxsign:share', { detail: { card, remarks: remarks.map(({ code }) => code) } }));
    return !refused;
  }

  // The answer to a share menu item that the page has taken over.
  function shareAnswer(params, done, name) {
    done(showCard(params, name) ? 'confirm' : 'fail');
  }

  // Remembers a share card set beforehand; a link that WeChat does not take fails at once.
  function keepCard(slot) {
    return (params, done) => {
      shared[slot] = params;
      done(SANDBOX.linkFault(params.link, location) ? 'fail' : 'ok');
    };
  }

  // Moves an image or voice to the imaginary server, or back.
  function transfer(from, to, makeId) {
    return (params, done) => {
      const found = medium(params[from]);
      if (found === undefined) return done(`fail_invalid ${from}`);
      const id = makeId();
      media.set(id.toLowerCase(), found);
      return done('ok', { [to]: id });
    };
  }

  const absent = (params, done) => done(null);

  // An answer that also tells the person at the screen what WeChat would do.
  function told(zh, en) {
    return (params, done) => {
      toast(zh, en);
      done('ok');
    };
  }

  // Hides or shows items of the simulated menu.
  function menuItems(change) {
    return (params, done) => {
      change(params.menuList || []);
      done('ok');
    };
  }

  // Hides or shows WeChat's menu: the panel offers no way to share then.
  function optionMenu(hidden) {
    return (params, done) => {
      menuHidden = hidden;
      done('ok');
    };
  }

  // Ends a recording; by itself after a minute, as WeChat does.
  function endRecord() {
    clearTimeout(recordTimer);
    recordTimer = 0;
    return { localId: newVoice() };
  }

  // What scanQRCode gives: a string, wrapped in JSON on iOS.
  function scanned(value, type) {
    return { resultStr: IPHONE ? JSON.stringify({ scan_code: { scan_type: type, scan_result: value } }) : value };
  }

  const ANSWERS = {
    checkJsApi(params, done) {
      const events = ['onVoiceRecordEnd', 'onVoicePlayEnd', 'onBeaconsInRange', ...SHARE_MENU.map(([name]) => name)];
      const names = (params.jsApiList || []).map((name) => [name, has(name) || events.includes(name)]);
      done('ok', { checkResult: packed(Object.fromEntries(names)) });
    },
    getNetworkType: (params, done) => done('wifi', {}, 'network_type'),
    geoLocation(params, done) {
      const [latitude, longitude] = params.type === 'gcj02' ? [22.540503, 113.934528] : [22.543544, 113.929634];
      done('ok', { type: params.type, latitude, longitude, speed: 0, accuracy: 30 });
    },
    openLocation: (params, done) => {
      sheet(`${params.name || ''}\n${params.address || ''}\n${params.latitude}, ${params.longitude}`, [], () => {});
      done('ok');
    },
    imagePreview(params, done) {
      const picture = document.createElement('img');
      picture.src = medium(params.current) || params.current || (params.urls || [])[0] || '';
      picture.alt = text('关闭图片', 'Close the picture');
      const shown = element('button', '', '', [picture]);
      shown.addEventListener('click', dialog('viewer', text('图片', 'Picture'), [shown]));
      done('ok');
    },
    chooseImage(params, done) {
      sheet(text('沙箱：选图片', 'Sandbox: choose pictures'), [text('拍照', 'Take Photo'), text('从相册选择', 'From Album')], (index) => {
        if (index < 0) return done('cancel');
        const localIds = Array.from({ length: index ? Math.min(params.count, 2) : 1 }, newPicture);
        return done('ok', { sourceType: index ? 'album' : 'camera', localIds: packed(localIds) });
      });
    },
    uploadImage: transfer('localId', 'serverId', () => newId('sandbox-media-')),
    downloadImage: transfer('serverId', 'localId', newPicture),
    getLocalImgData(params, done) {
      const data = medium(params.localId);
      if (!data) return done('fail_invalid localId');
      return done('ok', { localData: ANDROID ? data.split(',')[1] : data }); // Android leaves the data: prefix off
    },
    startRecord(params, done) {
      if (recordTimer) return done('fail_recording');
      recordTimer = setTimeout(() => fire('onVoiceRecordEnd', endRecord()), LONGEST_RECORD_MS);
      toast('正在录音（沙箱）', 'recording (sandbox)');
      return done('ok');
    },
    stopRecord: (params, done) => (recordTimer ? done('ok', endRecord()) : done('fail_not recording')),
    playVoice(params, done) {
      if (medium(params.localId) === undefined) return done('fail_invalid localId');
      clearTimeout(playTimer);
      playTimer = setTimeout(() => fire('onVoicePlayEnd', { localId: params.localId }), PLAY_MS);
      toast('正在播放语音（沙箱）', 'playing a voice (sandbox)');
      return done('ok');
    },
    pauseVoice: (params, done) => { clearTimeout(playTimer); done('ok'); },
    stopVoice: (params, done) => { clearTimeout(playTimer); done('ok'); },
    uploadVoice: transfer('localId', 'serverId', () => newId('sandbox-media-')),
    downloadVoice: transfer('serverId', 'localId', newVoice),
    translateVoice(params, done) {
      if (medium(params.localId) === undefined) return done('fail_invalid localId');
      return done('ok', { translateResult: '今天天气不错。' });
    },
    scanQRCode(params, done) {
      const samples = [['https://example.com/?from=sandbox', 'QR_CODE'], ['EAN_13,6901234567892', 'EAN_13']];
      sheet(text('沙箱：扫到了什么？', 'Sandbox: what is scanned?'), samples.map(([value]) => value), (index) => {
        if (index < 0) return done('cancel');
        return done('ok', Number(params.needResult) === 1 ? scanned(...samples[index]) : {});
      });
    },
    requestMerchantTransfer(params, done) {
      const missing = ['mchId', 'appId', 'package'].filter((name) => !params[name]);
      if (missing.length) return done('fail', { err_desc: `missing ${missing.join(', ')}` });
      return confirmed(text('沙箱：确认收款', 'Sandbox: confirm a transfer'), text('收款', 'Accept'), done);
    },
    getBrandWCPayRequest(params, done) {
      const missing = ['timeStamp', 'nonceStr', 'package', 'signType', 'paySign'].filter((name) => !params[name] || params[name] === 'undefined');
      if (missing.length) return done('fail', { err_desc: `missing ${missing.join(', ')}` }, 'get_brand_wcpay_request');
      const labels = [text('支付成功', 'Paid'), text('支付失败', 'Failed')];
      return sheet(text(`沙箱：模拟支付\n${params.package}`, `Sandbox: a simulated payment\n${params.package}`), labels, (index) => {
        done(index < 0 ? 'cancel' : ['ok', 'fail'][index], {}, 'get_brand_wcpay_request');
      });
    },
    openProductViewWithPid: told('打开商品页（沙箱）', 'a product page opens (sandbox)'),
    async batchAddCard(params, done) {
      for (const card of params.card_list || []) {
        const ext = JSON.parse(card.card_ext || '{}');
        const signed = [card.card_id, ext.timestamp, ext.code, ext.openid, ext.nonce_str, ext.balance];
        if (!await cardAccepted(params.appId, signed, ext.signature)) return done('fail_invalid card signature');
      }
      const cards = (params.card_list || []).map((card) => Object.assign({ code: newId(''), is_succ: 1 }, card));
      const title = text(`沙箱：领取 ${cards.length} 张卡券`, `Sandbox: add ${cards.length} card(s)`);
      return confirmed(title, text('领取', 'Add'), done, () => ({ card_list: JSON.stringify(cards) }));
    },
    async chooseCard(params, done) {
      const signed = [params.appId, params.location_id, params.time_stamp, params.nonce_str, params.card_id, params.card_type];
      // WeChat shows an empty list then; all that is left to do there is to go back.
      if (!await cardAccepted(params.appId, signed, params.card_sign)) return done('cancel');
      const card = { card_id: params.card_id || 'pSandboxCard000000000000000', encrypt_code: newId('sandbox'), app_id: params.app_id };
      return confirmed(text('沙箱：选择卡券', 'Sandbox: choose a card'), card.card_id, done, () => ({ choose_card_info: JSON.stringify([card]) }));
    },
    batchViewCard: told('打开卡券（沙箱）', 'cards open (sandbox)'),
    consumedShareCard: told('核销并分享卡券（沙箱）', 'card consumed and shared (sandbox)'),
    editAddress: (params, done) => confirmed(text('沙箱：选择收货地址', 'Sandbox: choose an address'), '张三 广州市海珠区新港中路397号', done, () => ({
      userName: '张三', telNumber: '020-81167888', addressPostalCode: '510000', nationalCode: '440105', proviceFirstStageName: '广东省',
      addressCitySecondStageName: '广州市', addressCountiesThirdStageName: '海珠区', addressDetailInfo: '新港中路397号',
    })),
    getRecevieBizHongBaoRequest: (params, done) => confirmed(text('沙箱：领取红包', 'Sandbox: a red packet'), text('领取', 'Open'), done),
    startMonitoringBeacons(params, done) {
      done('ok');
      setTimeout(() => fire('onBeaconsInRange', { beacons: [BEACON] }), 500);
    },
    stopMonitoringBeacons: (params, done) => done('ok'),
    launchMiniProgram: told('打开小程序（沙箱）', 'a Mini Program opens (sandbox)'),
    openBusinessView: (params, done) => done('ok', { err_code: 0, extraData: packed({ sandbox: true }) }),
    openEnterpriseChat: absent, // WeCom only
    updateAppMessageShareData: keepCard('appmessage'),
    updateTimelineShareData: keepCard('timeline'),
    shareTimeline: shareAnswer,
    sendAppMessage: shareAnswer,
    shareQQ: shareAnswer,
    shareWeiboApp: shareAnswer,
    shareQZone: shareAnswer,
    hideOptionMenu: optionMenu(true),
    showOptionMenu: optionMenu(false),
    hideMenuItems: menuItems((list) => list.forEach((item) => hiddenItems.add(item))),
    showMenuItems: menuItems((list) => list.forEach((item) => hiddenItems.delete(item))),
    hideAllNonBaseMenuItem: menuItems(() => hiddenItems.add('*')),
    showAllNonBaseMenuItem: menuItems(() => hiddenItems.clear()),
    closeWindow: told('微信会关闭这个页面（沙箱不关）', 'WeChat would close this page (the sandbox does not)'),
    invokeMiniProgramAPI: (params, done) => done('fail_not in a mini program'),
  };

  // Whether the wx_card ticket gives a card's signature; says why not.
  async function cardAccepted(appId, signed, signature) {
    const values = signed.filter((value) => value !== undefined && value !== null && value !== '').map(String);
    const verdict = await (await fetch(CARD_URL, {
      method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: JSON.stringify({ appId, values, signature: String(signature) }),
    })).json();
    if (!verdict.ok) console.warn(`wxsign sandbox: ${text(verdict.detail.zh, verdict.detail.en)}`);
    return verdict.ok;
  }

  // Has the sandbox verify a page's config, and keeps the list of what it may call from then on.
  async function preVerify(params, answer) {
    verified = null;
    const fields = [params.appId, params.verifyTimestamp, params.verifyNonceStr, params.verifySignature];
    const verdict = await verify('preVerifyJSAPI', params, fields, params.verifyJsApiList);
    verified = verdict.names;
    tags = verdict.names && { names: params.verifyOpenTagList || [], url: presentUrl() };
    setTimeout(drawTags, 0); // after the page has heard of its config
    answer(MODE.answer ? MODE.answer(verdict.errMsg) : { err_msg: verdict.errMsg });
  }

  async function agentConfig(params, answer) {
    ofAgent = null;
    const fields = [params.corpid, params.agentid, params.timestamp, params.nonceStr, params.signature];
    const verdict = await verify('agentConfig', params, fields, params.jsApiList);
    ofAgent = verdict.names;
    answer({ err_msg: verdict.errMsg });
  }

  // Has the sandbox verify a signature against this page's URL: the words of the answer, and the set of `names` where it is right.
  async function verify(kind, params, fields, names) {
    const [compared, other] = RULE === 'landing' ? [LANDING, location.href] : [location.href, LANDING];
    if (fields.some((value) => !value || value === 'undefined')) return { errMsg: `${kind}:fail`, names: null };
    try {
      const response = await fetch(VERIFY_URL, {
        method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: JSON.stringify(Object.assign({}, params, { url: compared, otherUrl: other, rule: RULE })),
      });
      const verdict = await response.json();
      const accepted = verdict.err_msg === `${kind}:ok`;
      const message = text(verdict.detail.zh, verdict.detail.en);
      if (!accepted) console.warn(`wxsign sandbox: ${verdict.err_msg.replace(/^.*?:/, '')}: ${message}`);
      document.dispatchEvent(new CustomEvent('wxsign:verdict', { detail: {
        accepted, errMsg: verdict.err_msg, cause: verdict.cause || '', message,
        signedUrl: verdict.signedUrl || '', comparedUrl: compared.split('#')[0], rule: RULE, mode: MODE_NAME, signature: fields[fields.length - 1],
      } }));
      return { errMsg: verdict.err_msg, names: accepted ? new Set(names || []) : null };
    } catch (error) {
      console.error(`wxsign sandbox: ${VERIFY_URL} cannot be reached`, error);
      return { errMsg: `${kind}:fail_sandbox unreachable`, names: null };
    }
  }

  // Whether this client has an interface of that name.
  function has(name) {
    return Object.prototype.hasOwnProperty.call(ANSWERS, name) && ANSWERS[name] !== absent && !(MODE.lacks || []).includes(name);
  }

  function presentUrl() {
    return location.href.split('#')[0];
  }

  // Why an open tag has no right; '' when it has one, undefined before any config was accepted.
  function faultOfTag(name) {
    if (!tags) return undefined;
    if (window !== window.top && !PHONE) return text('开放标签不能用在 iframe 里', 'open tags do not work in an iframe');
    if (!tags.names.includes(name)) return text('不在 openTagList 里', 'not in openTagList');
    return tags.url === presentUrl() ? '' : text('config 之后页面网址变了，需要重新 config', 'the page’s URL has changed since wx.config: call it again');
  }

  // What the page's owner has switched on by `?mock=`.
  function mocked() {
    const given = SCRIPT.searchParams.get('mock');
    if (!given) return {};
    try {
      return Object.fromEntries(Object.entries(JSON.parse(given)).map(([name, result]) => [name, (params, done) => (
        typeof result === 'string' ? done(result) : done('ok', result)
      )]));
    } catch (error) {
      console.warn('wxsign sandbox: mock is no JSON object like {"openLuckyBag":{"bag":1}}. mock 不是 JSON 对象。', error);
      return {};
    }
  }

  // Whether the last accepted config covers this call; a payment needs none where the page asks the bridge itself.
  function permitted(name, given) {
    if (name === 'getBrandWCPayRequest' && !given.verifyAppId) return true;
    const right = name in RIGHTS ? RIGHTS[name] : name;
    return Boolean(verified) && (right === '' || verified.has(right)) || Boolean(ofAgent) && ofAgent.has(name);
  }

  // Answers one call: later, as the real bridge does, and never twice.
  function invoke(name, params, callback) {
    const answer = (result) => { if (callback) callback(result); };
    const given = Object.assign({}, params); // a copy, as the real call crosses a process
    const done = (words, result, prefix) => {
      const errMsg = words === null ? 'system:function_not_exist' : `${prefix || name}:${words}`;
      setTimeout(() => answer(Object.assign({ err_msg: errMsg }, result)), 0);
    };
    if (name === 'preVerifyJSAPI') preVerify(given, answer);
    else if (name === 'agentConfig' && MODE.wecom) agentConfig(given, answer);
    else if (!has(name)) done(null);
    else if (!permitted(name, given)) done(NOT_VERIFIED);
    else if (faulty) done('fail_invalid signature');
    else ANSWERS[name](given, done, name);
  }

  // The old one-way call; pages use it for closeWindow, which needs no config.
  function call(name) {
    if (has(name)) ANSWERS[name]({}, () => {});
  }

  // WeChat on HarmonyOS loses a page's rights when an iframe is loaded: so users report it, Tencent does not say.
  function watchIframes() {
    document.addEventListener('load', (event) => {
      if (event.target.tagName !== 'IFRAME' || faulty) return;
      faulty = true;
      console.warn(`wxsign sandbox: ${text(
        'iframe 加载之后，鸿蒙版微信对后续调用都返回 invalid signature，尽管 config 是 ok',
        'after an iframe has loaded, WeChat on HarmonyOS answers every later call with invalid signature, although config was ok',
      )}`);
    }, true);
  }

  // Makes the browser look like WeChat; `wxdebugger` keeps the official script from reporting the page's URL to Tencent.
  Object.defineProperty(navigator, 'userAgent', {
    configurable: true,
    get: () => `${AGENT} Language/${text('zh_CN', 'en')}`,
  });
  // A chosen picture's localId is an address in WeChat; on iOS and elsewhere WeChat's script turns it into data itself.
  function showLocalPictures() {
    document.addEventListener('error', ({ target }) => {
      const data = target.tagName === 'IMG' && medium(target.getAttribute('src'));
      if (data) target.src = data;
    }, true);
  }

  // A log-in of WeChat's that the page itself goes to is answered by the sandbox. One that its server redirects to is not seen here.
  function catchLogin() {
    if (!window.navigation) return;
    window.navigation.addEventListener('navigate', (event) => {
      const target = new URL(event.destination.url);
      if (target.hostname !== 'open.weixin.qq.com' || target.pathname !== '/connect/oauth2/authorize' || !event.cancelable) return;
      event.preventDefault();
      location.assign(new URL(`../connect/oauth2/authorize${target.search}`, SCRIPT).href);
    });
  }

  catchLogin();
  Object.assign(ANSWERS, mocked());
  if (ANDROID) showLocalPictures();
  if (MODE.iframeFault) watchIframes();
  if (!MODE.noOpenTags && !MODE.absent) drawTags = SANDBOX.defineOpenTags({ text, toast, faultOf: faultOfTag });

  // Does something once there is a body.
  function withBody(action) {
    if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', action);
    else setTimeout(action, 0);
  }

  // Sets up the bridge, and tells the page.
  function appear() {
    window.WeixinJSBridge = { invoke, on: (name, callback) => handlers.set(name, callback), call };
    withBody(() => document.dispatchEvent(new Event('WeixinJSBridgeReady')));
  }

  document.addEventListener('wxsign:stand-in', sayStandIn);
  SANDBOX.definePanel({ mode: MODE_NAME, page: new URL('.', SCRIPT).href, card: () => sent(shared.appmessage, false), shares });
  if (PHONE) SANDBOX.tellPhone(PHONE, MODE_NAME);
  withBody(ui); // without a bridge too, or nobody could choose another client
  if (MODE.absent) console.info('wxsign sandbox: mode none, WeixinJSBridge never comes');
  else if (MODE.comesAfterMs) setTimeout(appear, Number(SCRIPT.searchParams.get('delay_ms')) || MODE.comesAfterMs);
  else appear();
})();
