/*
 * What wxsign.js adds to a page in debug mode when it has given up: a small panel with the cause and the remedy, in the
 * browser's language, and a way to /diagnose with everything filled in. Loaded by wxsign.js itself; a page needs no tag for it.
 */
(function () {
  'use strict';

  const { error } = window.wxsign || {};
  if (!error || document.getElementById('wxsign-debug')) return;
  const SERVICE = new URL('..', document.currentScript.src);
  const COLOURS = 'color:#111;background:#fff;border:1px solid #fa5151;border-radius:8px';

  // One text of two.
  function text(chinese, english) {
    return /^zh/i.test(navigator.language) ? chinese : english;
  }

  // An element with styles and a text; nothing that came from outside ever becomes markup.
  function element(name, styles, words) {
    const made = document.createElement(name);
    made.style.cssText = styles; // by script, which a policy without unsafe-inline allows
    made.textContent = words || '';
    return made;
  }

  // What a developer would paste at /diagnose; it travels behind the #, which no log has.
  function pasted() {
    const config = error.refused || {};
    const known = { appId: config.appId, timestamp: config.timestamp, nonceStr: config.nonceStr, signature: config.signature };
    const block = config.signature ? `wx.config(${JSON.stringify(known)})` : '';
    return [location.href, block, error.errMsg].filter(Boolean).join('\n');
  }

  const panel = element('aside', `${COLOURS};position:fixed;left:8px;right:8px;bottom:8px;z-index:2147483647;padding:12px;max-height:60vh;overflow:auto;font:14px/1.5 sans-serif`);
  panel.id = 'wxsign-debug';
  panel.setAttribute('role', 'alert');
  panel.append(element('strong', '', `wxsign: ${error.code}`), element('p', 'margin:4px 0', error.message));
  const findings = error.findings.length ? error.findings : [{ id: '', message: '', hint: error.hint }];
  findings.forEach(({ id, message, hint }) => {
    if (message) panel.append(element('p', 'margin:4px 0', `${id} ${message}`));
    if (hint) panel.append(element('p', 'margin:4px 0', `→ ${hint}`));
  });
  if (error.errMsg) panel.append(element('p', 'margin:4px 0;color:#666', error.errMsg));
  const link = element('a', 'color:#576b95;margin-right:16px', text('详细诊断', 'Diagnose'));
  link.href = new URL(`diagnose#${encodeURIComponent(pasted())}`, SERVICE).href;
  link.target = '_blank';
  link.rel = 'noopener';
  const close = element('button', 'font:inherit', text('关闭', 'Close'));
  close.type = 'button';
  close.onclick = () => panel.remove();
  panel.append(link, close);
  document.body.append(panel);
})();
