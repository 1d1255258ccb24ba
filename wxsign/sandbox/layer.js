/*
 * The sandbox's own layer over a page: WeChat's sheets and dialogs, in a shadow tree, so that neither side's styles reach the
 * other. A dialog keeps the keyboard's focus, Escape closes it, and the focus goes back to where it was.
 */
(function () {
  'use strict';

  const CHINESE = /^zh/i.test(navigator.language);
  const TOAST_MS = 2000;
  const STYLE = `
    :host { all: initial; --bg: #fff; --fg: rgba(0,0,0,.9); --soft: rgba(0,0,0,.6); --line: rgba(0,0,0,.1); --gap: #f7f7f7; --good: #067f40; --bad: #c62f2f; }
    @media (prefers-color-scheme: dark) {
      :host { --bg: #2c2c2c; --fg: rgba(255,255,255,.8); --soft: rgba(255,255,255,.6); --line: rgba(255,255,255,.12); --gap: #1e1e1e; --good: #3cc873; --bad: #fa7b7b; }
    }
    * { box-sizing: border-box; font: 17px/1.4 system-ui, -apple-system, "PingFang SC", "Helvetica Neue", "Noto Sans CJK SC", sans-serif; }
    .menu { position: fixed; z-index: 2147483600; right: 12px; bottom: 16px; display: flex; align-items: center; gap: 8px; min-height: 36px;
      padding: 0 14px; border: 1px solid var(--line); border-radius: 18px; background: var(--bg); color: var(--fg); box-shadow: 0 2px 12px rgba(0,0,0,.12); font-size: 14px; cursor: pointer; }
    .menu::before { content: ""; width: 10px; height: 10px; border-radius: 50%; background: #9a9a9a; }
    .menu[data-verdict=accepted]::before { background: #07c160; }
    .menu[data-verdict=refused]::before { background: #fa5151; }
    .line { position: fixed; z-index: 2147483600; left: 0; right: 0; bottom: 0; padding: 6px 12px; background: #fff3cd; color: #4d3800; font-size: 13px; }
    .line + .menu, .menu:has(+ .line) { bottom: 44px; }
    .toast { position: fixed; z-index: 2147483647; left: 50%; bottom: 18%; transform: translateX(-50%); max-width: 80%; padding: 10px 16px;
      border-radius: 8px; background: rgba(76,76,76,.95); color: #fff; font-size: 14px; text-align: center; white-space: pre-line; pointer-events: none; overflow-wrap: anywhere; }
    .mask { position: fixed; inset: 0; display: flex; flex-direction: column; justify-content: flex-end; width: 100%; height: 100%; max-width: none; max-height: none;
      margin: 0; padding: 0; border: 0; background: rgba(0,0,0,.6); }
    .mask::backdrop { background: none; }
    .sheet { width: 100%; max-width: 480px; max-height: 92%; margin: 0 auto; border-radius: 12px 12px 0 0; overflow: auto; background: var(--gap); color: var(--fg); text-align: center; }
    .sheet p { margin: 0; padding: 16px 24px; background: var(--bg); color: var(--soft); font-size: 13px; overflow-wrap: anywhere; white-space: pre-line; }
    .sheet button { display: block; width: 100%; padding: 15px; border: 0; border-top: 1px solid var(--line); background: var(--bg); color: inherit; cursor: pointer; }
    .sheet button:hover { background: var(--gap); }
    .sheet button:focus-visible, .sheet select:focus-visible, .sheet a:focus-visible, .menu:focus-visible { outline: 2px solid var(--good); outline-offset: -2px; }
    .sheet button.cancel { margin-top: 8px; border: 0; }
    .panel { text-align: left; }
    .panel h2, .panel h3 { margin: 0; padding: 12px 16px; font-weight: 600; }
    .panel h3 { padding: 14px 16px 4px; color: var(--soft); font-size: 14px; font-weight: 400; }
    .panel section { padding: 10px 16px; background: var(--bg); font-size: 15px; overflow-wrap: anywhere; }
    .panel section p { padding: 4px 0 0; }
    .panel b { font-weight: 600; font-size: 15px; }
    .panel .accepted { color: var(--good); }
    .panel .refused { color: var(--bad); }
    .panel img { width: 40px; height: 40px; object-fit: cover; }
    .panel .shares { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }
    .panel .shares button { width: auto; min-height: 36px; padding: 4px 12px; border: 1px solid var(--line); border-radius: 6px; font-size: 14px; }
    .panel label { display: block; padding: 4px 0; color: var(--soft); font-size: 14px; }
    .panel select { display: block; width: 100%; min-height: 36px; margin-top: 4px; padding: 4px 8px; border: 1px solid var(--line); border-radius: 6px; background: var(--bg); color: var(--fg); font-size: 15px; }
    .panel a { color: var(--good); font-size: 14px; }
    .card { width: 320px; margin: auto; padding: 12px; border: 0; border-radius: 8px; background: var(--bg); color: var(--fg); text-align: left; cursor: pointer; }
    .card b { display: block; font-weight: 600; overflow-wrap: anywhere; }
    .card p { margin: 4px 0 0; color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
    .card img { display: block; width: 48px; height: 48px; margin-top: 8px; object-fit: cover; }
    .remark, .panel p.remark, .card .remark { color: var(--bad); }
    .viewer { justify-content: center; align-items: center; background: rgba(0,0,0,.9); }
    .viewer button { max-width: 100%; max-height: 100%; padding: 0; border: 0; background: none; cursor: zoom-out; }
    .viewer img { display: block; max-width: 100%; max-height: 100vh; }`;

  let layer = null;
  let open = () => {};

  // One text of two.
  function text(zh, en) {
    return CHINESE ? zh : en;
  }

  // An element with a class, a text and children; no markup, no style attribute, so any strict policy holds.
  function element(tag, className, content, children) {
    const node = document.createElement(tag);
    node.className = className;
    if (content) node.textContent = content;
    node.append(...(children || []));
    return node;
  }

  // The layer, with the control in its corner.
  function ui() {
    if (layer && layer.isConnected) return layer.shadowRoot;
    layer = document.createElement('wxsign-sandbox');
    const tree = layer.attachShadow({ mode: 'open' });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    tree.adoptedStyleSheets = [sheet];
    const menu = element('button', 'menu', text('沙箱', 'Sandbox'));
    menu.type = 'button';
    menu.setAttribute('aria-haspopup', 'dialog');
    menu.addEventListener('click', () => open());
    tree.append(menu);
    document.body.append(layer);
    return tree;
  }

  // A dialog of the browser's own, which holds the focus and closes by Escape; `closed` is told once, however it ends. Returns what
  // ends it: at once, while the browser's own event of a dialog that was closed comes later.
  function dialog(className, label, children, closed) {
    const mask = element('dialog', `mask ${className}`, '', children);
    mask.setAttribute('aria-label', label);
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      if (mask.open) mask.close();
      mask.remove();
      if (closed) closed();
    };
    mask.addEventListener('click', (event) => { if (event.target === mask) end(); });
    mask.addEventListener('close', end);
    ui().append(mask);
    mask.showModal();
    return end;
  }

  // WeChat's action sheet; tells the index of the chosen item, or -1.
  function sheet(title, items, tell) {
    let chosen = -1;
    const pick = (index) => {
      chosen = index;
      end();
    };
    const button = (className, label, index) => {
      const made = element('button', className, label);
      made.type = 'button';
      made.addEventListener('click', () => pick(index));
      return made;
    };
    const buttons = items.map((label, index) => button('', label, index));
    const inner = [element('p', '', title), ...buttons, button('cancel', text('取消', 'Cancel'), -1)];
    const end = dialog('', title, [element('div', 'sheet', '', inner)], () => tell(chosen));
  }

  // A short message that goes away by itself.
  function toast(zh, en) {
    const tree = ui();
    tree.querySelectorAll('.toast').forEach((old) => old.remove());
    const note = element('div', 'toast', text(zh, en));
    note.setAttribute('role', 'status');
    tree.append(note);
    setTimeout(() => note.remove(), TOAST_MS);
  }

  // A line that stays: nobody shall take the stand-in for WeChat's own script.
  function sayStandIn() {
    const line = element('div', 'line', text(
      '沙箱：无法加载微信官方脚本（没有网络？），正在使用它的替身。',
      'Sandbox: WeChat’s own script could not be loaded (no network?); a stand-in runs in its place.',
    ));
    line.setAttribute('role', 'note');
    const show = () => ui().append(line);
    if (document.body) show();
    else document.addEventListener('DOMContentLoaded', show);
  }

  window.wxsignSandbox.layer = { text, element, ui, dialog, sheet, toast, sayStandIn, onOpen: (callback) => { open = callback; } };
})();
