/*
 * Stands in for WeChat's jweixin-1.6.0.js where that cannot be loaded: on a laptop without a network, in a closed test. It is
 * written from what that script was seen to do, not from its text, and does it with its quirks: ready is called after a failed
 * config too, lists are rewritten in place, an answer without words counts as a success. For development only: it speaks to
 * the sandbox's bridge, and a page that is released loads the real one.
 */
(function () {
  'use strict';

  if (window.jWeixin) return;

  const AGENT = navigator.userAgent.toLowerCase();
  const ANDROID = AGENT.includes('android');
  const IOS = /iphone|ipad/.test(AGENT);
  const VERSION = (/micromessenger\/(\d+\.\d+\.\d+)/.exec(AGENT) || /micromessenger\/(\d+\.\d+)/.exec(AGENT) || ['', ''])[1];
  const IN_WECHAT = AGENT.includes('micromessenger');
  // JS name: the bridge's name, where it is another one.
  const NATIVE = {
    onMenuShareTimeline: 'menu:share:timeline', onMenuShareAppMessage: 'menu:share:appmessage', onMenuShareQQ: 'menu:share:qq',
    onMenuShareWeibo: 'menu:share:weiboApp', onMenuShareQZone: 'menu:share:QZone', previewImage: 'imagePreview', getLocation: 'geoLocation',
    openProductSpecificView: 'openProductViewWithPid', addCard: 'batchAddCard', openCard: 'batchViewCard', chooseWXPay: 'getBrandWCPayRequest',
    openEnterpriseRedPacket: 'getRecevieBizHongBaoRequest', startSearchBeacons: 'startMonitoringBeacons', stopSearchBeacons: 'stopMonitoringBeacons',
    onSearchBeacons: 'onBeaconsInRange', consumeAndShareCard: 'consumedShareCard', openAddress: 'editAddress',
  };
  const JS_NAME = Object.fromEntries(Object.entries(NATIVE).map(([name, native]) => [native, name]));
  // What a share menu item sends on when it is tapped.
  const SHARES = {
    onMenuShareTimeline: 'shareTimeline', onMenuShareAppMessage: 'sendAppMessage', onMenuShareQQ: 'shareQQ',
    onMenuShareWeibo: 'shareWeiboApp', onMenuShareQZone: 'shareQZone',
  };
  const EVENTS = ['onVoiceRecordEnd', 'onVoicePlayEnd', 'onSearchBeacons'];
  const PLAIN = [
    'startRecord', 'stopRecord', 'playVoice', 'pauseVoice', 'stopVoice', 'uploadVoice', 'downloadVoice', 'translateVoice', 'previewImage',
    'uploadImage', 'downloadImage', 'getLocation', 'openLocation', 'hideOptionMenu', 'showOptionMenu', 'closeWindow', 'hideMenuItems',
    'showMenuItems', 'hideAllNonBaseMenuItem', 'showAllNonBaseMenuItem', 'openProductSpecificView', 'openCard', 'consumeAndShareCard',
    'openEnterpriseRedPacket', 'startSearchBeacons', 'stopSearchBeacons', 'openEnterpriseChat', 'launchMiniProgram', 'openBusinessView',
    'updateAppMessageShareData', 'updateTimelineShareData', 'getLocalImgData', 'openAddress',
  ];

  let settings = { jsApiList: [] };
  let outcome = null; // the answer to config, once there is one
  let onReady = [];
  let onError = null;
  let reported = false;

  // The lists of config, by the bridge's names: rewritten in place, as the real script does.
  function toNative(list) {
    (list || []).forEach((name, at) => { if (NATIVE[name]) list[at] = NATIVE[name]; });
    return list;
  }

  // What every call tells of the page's rights.
  function rights() {
    return {
      appId: settings.appId, verifyAppId: settings.appId, verifySignType: 'sha1', verifyTimestamp: String(settings.timestamp),
      verifyNonceStr: settings.nonceStr, verifySignature: settings.signature,
    };
  }

  // The bridge's words as the page gets to see them; an errMsg of its own is handed on as it is.
  function words(name, result) {
    if (result.errMsg) return result.errMsg;
    let text = result.err_msg || '';
    text = text.includes(':') ? text.slice(text.indexOf(':') + 1) : text;
    if (!result.err_msg) return `${name}:ok`;
    if (text === 'confirm') text = 'ok';
    if (text === 'failed') text = 'fail';
    text = text.replace(/^failed_/, '').replace(/^fail_/, '').replace(/_/g, ' ').toLowerCase();
    if (text === 'access denied' || text === 'no permission to execute') text = 'permission denied';
    if (name === 'config' && text === 'function not exist') text = 'ok';
    return `${name}:${text || 'fail'}`;
  }

  // Tells the page's callbacks what came of a call.
  function settle(name, result, callbacks) {
    const told = Object.assign({}, result, { errMsg: words(name, result) });
    ['err_msg', 'err_code', 'err_desc', 'err_detail'].forEach((field) => delete told[field]);
    if (callbacks.shape) callbacks.shape(told);
    const kind = told.errMsg.slice(told.errMsg.indexOf(':') + 1);
    if (settings.debug) window.alert(JSON.stringify(told));
    if (kind === 'ok' && callbacks.success) callbacks.success(told);
    else if (kind === 'cancel' && callbacks.cancel) callbacks.cancel(told);
    else if (kind !== 'ok' && callbacks.fail) callbacks.fail(told);
    if (callbacks.complete) callbacks.complete(told);
  }

  // Runs once the bridge is there; in a browser without one, never.
  function withBridge(act) {
    if (window.WeixinJSBridge) act();
    else if (IN_WECHAT) document.addEventListener('WeixinJSBridgeReady', act, { once: true });
  }

  function invoke(name, native, params, callbacks) {
    if (!window.WeixinJSBridge) return;
    window.WeixinJSBridge.invoke(native, Object.assign({}, params, rights()), (result) => settle(name, result || {}, callbacks));
  }

  function on(name, native, callbacks, tapped) {
    if (!window.WeixinJSBridge) return;
    window.WeixinJSBridge.on(native, (result) => {
      if (callbacks.trigger) callbacks.trigger(result);
      if (tapped) tapped(result);
      else settle(name, result || {}, callbacks);
    });
  }

  // A value that travels as JSON text on Android.
  function unpacked(value) {
    return typeof value === 'string' && /^[[{]/.test(value) ? JSON.parse(value) : value;
  }

  // What the page's parameters become, and its results, where they are not handed on as they are.
  const PARAMETERS = {
    chooseImage: (given) => ({ scene: '1|2', count: given.count || 9, sizeType: given.sizeType || ['original', 'compressed'], sourceType: given.sourceType || ['album', 'camera'] }),
    scanQRCode: (given) => ({ needResult: given.needResult || 0, scanType: given.scanType || ['qrCode', 'barCode'] }),
    getLocation: (given) => ({ type: given.type || 'wgs84' }),
    chooseWXPay: (given) => ({
      timeStamp: String(given.timestamp), nonceStr: given.nonceStr, package: given.package, paySign: given.paySign, signType: given.signType || 'SHA1',
    }),
    addCard: (given) => ({ card_list: (given.cardList || []).map(({ cardId, cardExt }) => ({ card_id: cardId, card_ext: cardExt })) }),
    openCard: (given) => ({ card_list: (given.cardList || []).map(({ cardId, code }) => ({ card_id: cardId, code })) }),
    chooseCard: (given) => ({
      app_id: settings.appId, location_id: given.shopId || '', sign_type: given.signType || 'SHA1', card_id: given.cardId || '',
      card_type: given.cardType || '', card_sign: given.cardSign, time_stamp: `${given.timestamp}`, nonce_str: given.nonceStr,
    }),
  };
  const RESULTS = {
    chooseImage: (told) => { told.localIds = unpacked(told.localIds); },
    scanQRCode: (told) => {
      const inner = IOS && told.resultStr ? JSON.parse(told.resultStr) : null;
      if (inner && inner.scan_code) told.resultStr = inner.scan_code.scan_result;
    },
    getNetworkType: (told) => {
      const found = /:(.*)$/.exec(told.errMsg)[1];
      if (!['edge', 'fail', 'wwan', 'wifi'].includes(found)) return;
      told.networkType = found === 'wwan' ? told.subtype || 'wwan' : found;
      told.errMsg = 'getNetworkType:ok';
    },
    openAddress: (told) => {
      Object.assign(told, {
        postalCode: told.addressPostalCode, provinceName: told.proviceFirstStageName, cityName: told.addressCitySecondStageName,
        countryName: told.addressCountiesThirdStageName, detailInfo: told.addressDetailInfo,
      });
    },
    addCard: (told) => {
      told.cardList = (unpacked(told.card_list) || []).map((card) => ({ cardId: card.card_id, cardExt: card.card_ext, isSuccess: Boolean(card.is_succ), code: card.code }));
      delete told.card_list;
    },
    chooseCard: (told) => { told.cardList = told.choose_card_info; delete told.choose_card_info; },
  };

  function interfaceOf(name) {
    return (given) => {
      const params = Object.assign({}, given);
      ['success', 'fail', 'cancel', 'complete', 'trigger'].forEach((callback) => delete params[callback]);
      const callbacks = Object.assign({ shape: RESULTS[name] }, given);
      invoke(name, NATIVE[name] || name, PARAMETERS[name] ? PARAMETERS[name](params) : params, callbacks);
    };
  }

  const wx = {
    config(parameters) {
      settings = parameters;
      toNative(settings.jsApiList);
      wx.invoke = (native, params, callback) => invoke(native, native, params, { complete: (told) => callback && callback(told) });
      wx.on = (native, callback) => { if (window.WeixinJSBridge) window.WeixinJSBridge.on(native, callback); };
      withBridge(() => invoke('config', 'preVerifyJSAPI', { verifyJsApiList: settings.jsApiList, verifyOpenTagList: settings.openTagList }, {
        fail(told) {
          reported = Boolean(onError);
          if (onError) onError(told);
        },
        complete(told) {
          outcome = told;
          const waiting = onReady;
          onReady = [];
          waiting.forEach((act) => act());
        },
      }));
    },
    ready(act) {
      if (outcome) act();
      else if (IN_WECHAT || settings.debug) { onReady.push(act); if (!IN_WECHAT) act(); }
    },
    error(act) {
      if (VERSION < '6.0.2') return;
      onError = act;
      if (outcome && !outcome.errMsg.endsWith(':ok') && !reported) { reported = true; act(outcome); }
    },
    checkJsApi(given) {
      const asked = { jsApiList: toNative((given.jsApiList || []).slice()) };
      const shape = (told) => {
        const found = unpacked(told.checkResult) || {};
        told.checkResult = Object.fromEntries(Object.entries(found).map(([native, known]) => [JS_NAME[native] || native, known]));
      };
      invoke('checkJsApi', 'checkJsApi', asked, Object.assign({ shape }, given));
    },
    getNetworkType: interfaceOf('getNetworkType'),
    chooseImage: interfaceOf('chooseImage'),
    scanQRCode: interfaceOf('scanQRCode'),
    chooseWXPay: interfaceOf('chooseWXPay'),
    addCard: interfaceOf('addCard'),
    chooseCard: interfaceOf('chooseCard'),
    miniProgram: Object.fromEntries(['navigateBack', 'navigateTo', 'redirectTo', 'switchTab', 'reLaunch', 'postMessage'].map((name) => [
      name, (given) => invoke(name, 'invokeMiniProgramAPI', { name, arg: given || {} }, given || {}),
    ])),
  };
  wx.miniProgram.getEnv = (callback) => callback({ miniprogram: window.__wxjs_environment === 'miniprogram' });
  PLAIN.forEach((name) => { wx[name] = interfaceOf(name); });
  Object.keys(SHARES).forEach((name) => {
    wx[name] = (card) => on(name, NATIVE[name], card, () => invoke(SHARES[name], SHARES[name], {
      title: card.title || document.title, desc: card.desc || '', img_url: card.imgUrl || '', link: card.link || location.href,
      type: card.type || 'link', data_url: card.dataUrl || '',
    }, card));
  });
  EVENTS.forEach((name) => { wx[name] = (given) => on(name, NATIVE[name] || name, typeof given === 'function' ? { complete: given } : given); });

  // A picture whose address is a localId is fetched as data; Android's client shows it by itself.
  if (!ANDROID) {
    const asked = new WeakSet();
    document.addEventListener('error', ({ target }) => {
      const localId = /^(IMG|VIDEO|AUDIO|SOURCE)$/.test(target.tagName) ? target.src : '';
      if (!localId.includes('wxlocalresource://') || asked.has(target)) return;
      asked.add(target);
      wx.ready(() => wx.getLocalImgData({ localId, success: ({ localData }) => { target.src = localData; } }));
    }, true);
  }

  window.wx = wx;
  window.jWeixin = wx;
  document.dispatchEvent(new CustomEvent('wxsign:stand-in'));
})();
