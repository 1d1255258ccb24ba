/*
 * The panel in the page's corner: the last verdict and why, the card that a share would send, and which client this browser is.
 * The choice of a client lives as long as the browser's tab, and comes before what the page's tag or the sandbox's settings say.
 */
(function () {
  'use strict';

  const SANDBOX = window.wxsignSandbox;
  const { text, element, ui, dialog, onOpen } = SANDBOX.layer;
  const KEPT = 'wxsign-sandbox';
  const RULES = {
    auto: ['由客户端决定', 'as the client does'],
    landing: ['打开时的网址（落地页）', 'the one the page was opened at'],
    current: ['当前网址', 'the present one'],
  };

  // What was chosen in this tab; nothing where the page may not store.
  function chosen() {
    try {
      return JSON.parse(sessionStorage.getItem(KEPT)) || {};
    } catch (error) {
      return {};
    }
  }

  // Keeps a choice for this tab and loads the page anew: WeChat's script looks at its browser only once.
  function choose(name, value) {
    sessionStorage.setItem(KEPT, JSON.stringify(Object.assign(chosen(), { [name]: value })));
    location.reload();
  }

  // A labelled choice; `labels`: value to its two texts.
  function choice(name, label, labels, present) {
    const options = Object.entries(labels).map(([value, words]) => {
      const option = element('option', '', text(...words));
      option.value = value;
      option.selected = value === present;
      return option;
    });
    const select = element('select', '', '', options);
    select.name = name;
    select.addEventListener('change', () => choose(name, select.value));
    return element('label', '', label, [select]);
  }

  // What the last wx.config came to.
  function verdictPart(verdict) {
    if (!verdict) return element('section', '', text('本页还没有调用 wx.config。', 'This page has not called wx.config yet.'));
    const head = verdict.accepted ? text('签名有效', 'The signature is valid') : `${text('签名被拒绝：', 'Refused: ')}${verdict.errMsg.replace(/^.*?:(fail_)?/, '')}`;
    const urls = [[text('签名的网址', 'signed'), verdict.signedUrl], [text('比对的网址', 'compared'), verdict.comparedUrl]];
    return element('section', 'verdict', '', [
      element('b', verdict.accepted ? 'accepted' : 'refused', head),
      ...(verdict.accepted ? [] : [element('p', '', verdict.message)]),
      ...urls.filter(([, url]) => url).map(([label, url]) => element('p', '', `${label}  ${url}`)),
    ]);
  }

  // The card for friends as it would arrive, and a button for each way to share.
  function sharePart(card, shares, close) {
    const { title, desc, link, imgUrl, remarks } = card();
    const buttons = shares().map(([label, share]) => {
      const button = element('button', '', label);
      button.type = 'button';
      button.addEventListener('click', () => { close(); share(); });
      return button;
    });
    return element('section', '', '', [
      ...(imgUrl ? [Object.assign(document.createElement('img'), { src: imgUrl, alt: '' })] : []),
      element('b', '', title || link),
      ...[desc, `→ ${link}`].filter(Boolean).map((line) => element('p', '', line)),
      ...remarks.map(({ zh, en }) => element('p', 'remark', text(zh, en))),
      element('div', 'shares', '', buttons),
    ]);
  }

  // The client and its rule.
  function clientPart({ mode, page }) {
    const labels = Object.fromEntries(Object.entries(SANDBOX.modes).map(([name, { label }]) => [name, label]));
    const link = element('a', '', text('沙箱页面', 'The sandbox’s page'));
    Object.assign(link, { href: page, target: '_blank', rel: 'noopener' });
    return element('section', '', '', [
      choice('mode', text('客户端', 'Client'), labels, mode),
      choice('rule', text('比对哪个网址', 'URL that is compared'), RULES, chosen().rule || 'auto'),
      element('p', '', text('选择后会刷新本页，并在这个标签页里一直有效。', 'A choice reloads the page, and holds in this tab.')),
      link,
    ]);
  }

  // Shows the control in the corner and keeps its light. `state`: {mode, page, card, shares}.
  function definePanel(state) {
    let last = null;
    document.addEventListener('wxsign:verdict', ({ detail }) => {
      last = detail;
      ui().querySelector('.menu').dataset.verdict = detail.accepted ? 'accepted' : 'refused';
    });
    onOpen(() => {
      const title = text('沙箱：模拟的微信', 'Sandbox: WeChat, simulated');
      const close = element('button', 'cancel', text('关闭', 'Close'));
      close.type = 'button';
      const panel = element('div', 'sheet panel', '', [
        element('h2', '', title),
        element('h3', '', text('最近一次验证', 'Last verdict')), verdictPart(last),
        element('h3', '', text('分享卡片', 'Share card')), sharePart(state.card, state.shares, () => end()),
        element('h3', '', text('平台', 'Platform')), clientPart(state),
        close,
      ]);
      const end = dialog('', title, [panel]);
      close.addEventListener('click', end);
    });
  }

  Object.assign(SANDBOX, { chosen, definePanel });
})();
