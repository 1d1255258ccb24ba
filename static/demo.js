/*
 * The demo page: shows each step of wxsign.ready() as it happens, then offers a button for every JS interface of WeChat's script.
 * Settings come from data-* attributes; everything is built with DOM calls, so a strict Content-Security-Policy holds.
 */
(function () {
  'use strict';

  const { text, element } = window.wxsignPage;
  const page = document.getElementById('demo');
  const remembered = {}; // what one interface gave and another needs: localId, serverId …
  let wx = null;

  // An absolute address of one of our own files.
  function absolute(path) {
    return new URL(path, location.href).href;
  }

  // The card that the share interfaces send.
  function card() {
    return {
      title: text('wxsign 签名演示', 'wxsign signature demo'),
      desc: text('这张卡片来自 JS-SDK', 'This card was made by the JS-SDK'),
      link: location.href.split('#')[0],
      imgUrl: absolute(page.dataset.shareImage),
    };
  }

  // Parameters made of something that another interface gave before, or the name of that interface.
  function from(name, source) {
    return () => (remembered[name] ? { [name]: remembered[name] } : source);
  }

  const MENU_ITEMS = ['menuItem:share:qq', 'menuItem:share:weiboApp', 'menuItem:copyUrl'];
  const EVERYTHING = () => GROUPS.flatMap(([, , rows]) => rows.map(([name]) => name)).filter((name) => !name.includes('.') && name !== 'checkJsApi');
  const LISTEN_SHARE = ['已登记；现在从右上角菜单分享', 'registered; now share from the menu in the corner'];
  const FAKE_PAY = () => ({ timestamp: 1414587457, nonceStr: 'fake-nonce', package: 'prepay_id=fake', signType: 'MD5', paySign: 'FAKE' });
  const FAKE_CARD = 'pFAKE0000000000000000000000';

  // [Chinese title, English title, rows]; row = [interface, Chinese label, English label, parameters or name of the interface to call first, more]
  const GROUPS = [
    ['基础接口', 'Basics', [
      ['checkJsApi', '检查接口是否可用', 'Which interfaces are there?', () => ({ jsApiList: EVERYTHING() })],
      ['getNetworkType', '网络类型', 'Network type'],
    ]],
    ['分享', 'Sharing', [
      ['updateAppMessageShareData', '设置“分享给朋友”和“分享到QQ”', 'Set the card for chats and QQ', card],
      ['updateTimelineShareData', '设置“分享到朋友圈”和“QQ空间”', 'Set the card for Moments and QZone', card],
      ['onMenuShareAppMessage', '监听“分享给朋友”', 'Listen: share to chat', card, { listens: LISTEN_SHARE, old: true }],
      ['onMenuShareTimeline', '监听“分享到朋友圈”', 'Listen: share on Moments', card, { listens: LISTEN_SHARE, old: true }],
      ['onMenuShareQQ', '监听“分享到QQ”', 'Listen: share to QQ', card, { listens: LISTEN_SHARE, old: true }],
      ['onMenuShareWeibo', '监听“分享到微博”', 'Listen: share to Weibo', card, { listens: LISTEN_SHARE }],
      ['onMenuShareQZone', '监听“分享到QQ空间”', 'Listen: share to QZone', card, { listens: LISTEN_SHARE, old: true }],
    ]],
    ['图像', 'Images', [
      ['chooseImage', '拍照或从相册选图', 'Take or choose a picture', () => ({ count: 2 }), { keep: (res) => ({ localId: res.localIds[0] }) }],
      ['previewImage', '预览图片', 'Preview a picture', () => ({ current: card().imgUrl, urls: [card().imgUrl] })],
      ['uploadImage', '上传图片', 'Upload the picture', from('localId', 'chooseImage'), { keep: (res) => ({ serverId: res.serverId }) }],
      ['downloadImage', '下载图片', 'Download the picture', from('serverId', 'uploadImage')],
      ['getLocalImgData', '读取本地图片', 'Read the picture', from('localId', 'chooseImage')],
    ]],
    ['音频', 'Voice', [
      ['startRecord', '开始录音', 'Start recording'],
      ['stopRecord', '停止录音', 'Stop recording', null, { keep: (res) => ({ voiceId: res.localId }) }],
      ['onVoiceRecordEnd', '监听录音自动停止', 'Listen: recording ends', null, { listens: ['已登记；录满一分钟时触发', 'registered; fires after one minute'], keep: (res) => ({ voiceId: res.localId }) }],
      ['playVoice', '播放语音', 'Play the voice', voice],
      ['pauseVoice', '暂停播放', 'Pause', voice],
      ['stopVoice', '停止播放', 'Stop', voice],
      ['onVoicePlayEnd', '监听播放完毕', 'Listen: playing ends', null, { listens: ['已登记；播放完毕时触发', 'registered; fires when a voice has played'] }],
      ['uploadVoice', '上传语音', 'Upload the voice', voice, { keep: (res) => ({ voiceServerId: res.serverId }) }],
      ['downloadVoice', '下载语音', 'Download the voice', () => (remembered.voiceServerId ? { serverId: remembered.voiceServerId } : 'uploadVoice')],
      ['translateVoice', '识别语音', 'Recognise speech', voice],
    ]],
    ['地理位置', 'Location', [
      ['getLocation', '获取位置', 'Where am I?', () => ({ type: 'gcj02' })],
      ['openLocation', '在地图上查看', 'Show on the map', () => ({ latitude: 22.540503, longitude: 113.934528, scale: 16, name: '腾讯大厦', address: '深圳市南山区深南大道10000号' })],
    ]],
    ['扫一扫', 'Scanning', [
      ['scanQRCode', '扫码并返回结果', 'Scan and return the result', () => ({ needResult: 1 })],
    ]],
    ['界面与菜单', 'Window and menu', [
      ['hideOptionMenu', '隐藏右上角菜单', 'Hide the menu'],
      ['showOptionMenu', '显示右上角菜单', 'Show the menu'],
      ['hideMenuItems', '隐藏部分菜单项', 'Hide some items', () => ({ menuList: MENU_ITEMS })],
      ['showMenuItems', '显示部分菜单项', 'Show some items', () => ({ menuList: MENU_ITEMS })],
      ['hideAllNonBaseMenuItem', '隐藏所有非基础菜单项', 'Hide all but the basic items'],
      ['showAllNonBaseMenuItem', '显示所有功能菜单项', 'Show all items'],
      ['closeWindow', '关闭窗口', 'Close the window'],
    ]],
    ['卡券', 'Cards', [
      ['addCard', '添加卡券', 'Add a card', () => ({ cardList: [{ cardId: FAKE_CARD, cardExt: '{"timestamp":"1414587457","nonce_str":"fake-nonce","signature":"FAKE"}' }] }), { fake: true }],
      ['chooseCard', '选择卡券', 'Choose a card', () => ({ timestamp: 1414587457, nonceStr: 'fake-nonce', cardSign: 'FAKE' }), { fake: true }],
      ['openCard', '查看卡券', 'Open a card', () => ({ cardList: [{ cardId: FAKE_CARD, code: '000000000000' }] }), { fake: true }],
      ['consumeAndShareCard', '核销并分享', 'Consume and share a card', () => ({ cardId: FAKE_CARD, code: '000000000000' }), { fake: true }],
    ]],
    ['支付与商品', 'Pay and shop', [
      ['chooseWXPay', '微信支付', 'WeChat Pay', FAKE_PAY, { fake: true }],
      ['openEnterpriseRedPacket', '企业红包', 'Enterprise red packet', FAKE_PAY, { fake: true }],
      ['openProductSpecificView', '商品页', 'Product page', () => ({ productId: 'fake-product', viewType: 0 }), { fake: true }],
      ['openAddress', '收货地址', 'Shipping address'],
    ]],
    ['周边设备', 'Beacons', [
      ['startSearchBeacons', '开始查找', 'Start searching', () => ({ ticket: '' })],
      ['stopSearchBeacons', '停止查找', 'Stop searching'],
      ['onSearchBeacons', '监听周边设备', 'Listen: beacons in range', null, { listens: ['已登记；找到设备时触发', 'registered; fires when a beacon is found'] }],
    ]],
    ['跳转与小程序', 'Leaving for elsewhere', [
      ['launchMiniProgram', '打开小程序', 'Open a Mini Program', () => ({ targetAppId: 'wx0123456789abcdef', path: 'pages/index' }), { fake: true }],
      ['openBusinessView', '打开业务页面', 'Open a business view', () => ({ businessType: 'fake', queryString: 'a=1' }), { fake: true }],
      ['openEnterpriseChat', '打开企业会话', 'Open an enterprise chat', () => ({ userIds: 'zhangsan;lisi', groupName: 'wxsign' }), { fake: true }],
      ['miniProgram.getEnv', '是否在小程序里', 'Inside a Mini Program?'],
      ['miniProgram.postMessage', '向小程序发消息', 'Post a message to it', () => ({ data: { from: 'wxsign' } })],
      ['miniProgram.navigateTo', '小程序：打开页面', 'Mini Program: open a page', () => ({ url: '/pages/index/index' }), { fake: true }],
      ['miniProgram.navigateBack', '小程序：返回', 'Mini Program: go back'],
      ['miniProgram.redirectTo', '小程序：替换页面', 'Mini Program: replace the page', () => ({ url: '/pages/index/index' }), { fake: true }],
      ['miniProgram.switchTab', '小程序：切换标签', 'Mini Program: switch tab', () => ({ url: '/pages/index/index' }), { fake: true }],
      ['miniProgram.reLaunch', '小程序：重新启动', 'Mini Program: relaunch', () => ({ url: '/pages/index/index' }), { fake: true }],
    ]],
  ];

  // Parameters of the voice interfaces.
  function voice() {
    return remembered.voiceId ? { localId: remembered.voiceId } : 'stopRecord';
  }

  // A result as text, with pictures and other long strings cut short.
  function readable(result) {
    if (result === undefined) return '';
    const short = (key, value) => (typeof value === 'string' && value.length > 300 ? `${value.slice(0, 120)}… (${value.length})` : value);
    return JSON.stringify(result, short, 2);
  }

  // Shows an interface's result under its row.
  function show(row, state, word, result) {
    const block = row.querySelector('.result') || row.appendChild(element('pre', 'result'));
    block.dataset.state = state;
    block.replaceChildren(element('b', '', word), ` ${readable(result)}`);
    row.querySelector('.cell').dataset.state = state;
  }

  // The callbacks that WeChat's script takes, each showing what it got.
  function callbacks(row, more) {
    const on = (state) => (result) => {
      if (state === 'success' && more.keep) Object.assign(remembered, more.keep(result));
      show(row, state, state, result);
    };
    const ended = (result) => { if (more.keep && result && /:ok$/.test(result.errMsg)) Object.assign(remembered, more.keep(result)); };
    return { success: on('success'), fail: on('fail'), cancel: on('cancel'), trigger: on('start'), complete: ended };
  }

  // Calls one interface and shows its result, or why there will be none.
  function run(row, name, parameters, more) {
    const given = parameters ? parameters() : {};
    if (typeof given === 'string') return show(row, 'cancel', text(`请先运行 ${given}`, `run ${given} first`));
    if (!wx) return show(row, 'cancel', text('微信官方脚本还没有加载', 'WeChat’s script has not been loaded'));
    if (!/micromessenger/i.test(navigator.userAgent)) return show(row, 'cancel', text('不在微信里，不会有应答', 'not in WeChat: there will be no answer'));
    show(row, 'start', more.listens ? text(...more.listens) : text('等待微信应答…', 'waiting for WeChat …'));
    const takes = callbacks(row, more);
    const [owner, method] = name.startsWith('miniProgram.') ? [wx.miniProgram, name.split('.')[1]] : [wx, name];
    if (typeof owner[method] !== 'function') return takes.fail({ errMsg: `${name}: not in this script` });
    return owner[method](name === 'miniProgram.getEnv' ? takes.success : Object.assign({}, given, takes));
  }

  // The row of one interface: a button, and room for the result.
  function interfaceRow([name, chinese, english, parameters, options]) {
    const more = options || {};
    const label = element('span', '', text(chinese, english));
    if (more.fake) label.append(element('span', 'tag', text('假参数', 'fake parameters')));
    if (more.old) label.append(element('span', 'tag', text('旧接口', 'deprecated')));
    const button = element('button', 'cell', '', [
      element('div', 'cell-main', '', [label, element('small', 'soft mono', name)]),
      element('span', 'mark'),
    ]);
    button.type = 'button';
    button.dataset.api = name;
    const row = element('div', 'interface', '', [button]);
    button.addEventListener('click', () => run(row, name, parameters, more));
    return row;
  }

  // All groups of interfaces.
  function drawInterfaces() {
    const blocks = GROUPS.flatMap(([chinese, english, rows]) => [
      element('h2', 'cells-title', text(chinese, english)),
      element('section', 'cells', '', rows.map(interfaceRow)),
    ]);
    document.getElementById('interfaces').append(...blocks);
  }

  // Shows one step's progress.
  function showStep(step) {
    const cell = page.querySelector(`[data-step=${step.name}]`);
    const note = cell.querySelector('.step-note');
    const remark = step.detail || (step.error && step.error.errMsg) || (step.error && step.error.message) || '';
    if (step.state !== 'note') cell.dataset.state = step.state;
    if (step.state === 'start' || remark) note.textContent = remark;
    note.hidden = !note.textContent;
    if (step.state === 'done' || step.state === 'failed') {
      cell.querySelector('.time').textContent = `${step.name === 'ready' ? step.atMs + step.ms : step.ms} ms`;
    }
    if (step.name === 'script' && step.state === 'done') wx = step.result;
    if (step.name === 'signature' && step.state === 'done') showAnswer(step.result);
  }

  // Shows what was signed and what the service remarked on it.
  function showAnswer(config) {
    const facts = [['url', config.url], ['appId', config.appId], ['timestamp', config.timestamp], ['nonceStr', config.nonceStr], ['signature', config.signature]];
    document.querySelector('#signed dl').replaceChildren(...facts.map(([name, value]) => (
      element('div', 'cell fact', '', [element('dt', '', name), element('dd', '', String(value))]))));
    document.getElementById('signed').hidden = false;
    const warnings = (config.warnings || []).map(({ code, message, hint }) => (
      element('li', 'cell', '', [element('div', 'cell-main', '', [element('strong', '', message), element('p', '', hint), element('p', 'mono', code)])])));
    document.querySelector('#warnings ul').replaceChildren(...warnings);
    document.getElementById('warnings').hidden = !warnings.length;
  }

  // Fills the head of the page.
  function showVerdict(title, sentence, words) {
    document.getElementById('verdict-title').textContent = title;
    document.getElementById('verdict-text').textContent = sentence;
    const place = document.getElementById('verdict-words');
    place.textContent = words || '';
    place.hidden = !words;
  }

  // The page after a success.
  function succeed({ config }) {
    showVerdict(text('签名有效', 'The signature is valid'), text(`wx.ready 已触发，${config.jsApiList.length} 个接口可用`, `wx.ready has fired, ${config.jsApiList.length} interfaces may be used`));
  }

  // The head line of a failure.
  function failureTitle(code) {
    if (code === 'not_wechat') return text('请在微信里打开', 'Open this page in WeChat');
    return /^invalid_|_denied$|config_failed/.test(code) ? text('微信拒绝了签名', 'WeChat refused the signature') : text('签名没有完成', 'The page could not be signed');
  }

  // The page after a failure: what happened, WeChat's words, what to do.
  function fail(error) {
    showVerdict(failureTitle(error.code), error.code === 'invalid_signature' ? '' : error.message, error.errMsg);
    document.getElementById('advice').hidden = false;
    document.getElementById('advice-text').textContent = error.hint || '';
    const ids = [error.code, error.requestId && `request id ${error.requestId}`];
    document.getElementById('advice-ids').textContent = ids.filter(Boolean).join(' · ');
  }

  // One run of the client, from the first step to the verdict.
  function start() {
    document.getElementById('advice').hidden = true;
    showVerdict(text('正在验证签名', 'Verifying the signature'), text('微信正在核对本页的签名', 'WeChat is checking this page'));
    page.querySelectorAll('.step').forEach((cell) => {
      cell.dataset.state = 'waiting';
      cell.querySelector('.time').textContent = '';
      cell.querySelector('.step-note').hidden = true;
    });
    window.wxsign.ready({ onStep: showStep }).then(succeed, fail);
  }

  drawInterfaces();
  document.getElementById('again').addEventListener('click', start);
  start();
})();
