/*
 * What the scripts of all pages share: a sentence in two languages, elements made without markup, and examples to copy that
 * carry the address under which the reader has opened the page. Loaded before a page's own script.
 */
(function () {
  'use strict';

  const zh = document.documentElement.lang.startsWith('zh');
  const COPIED_MS = 2000;

  // One text of two.
  function text(chinese, english) {
    return zh ? chinese : english;
  }

  // An element with a class, a text and children; nothing that came from outside ever becomes markup.
  function element(tag, className, content, children) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (content) node.textContent = content;
    node.append(...(children || []));
    return node;
  }

  // Without a secure context, as at a LAN address, and in some versions of WeChat there is no clipboard interface.
  function copyByHand(words) {
    const area = element('textarea', '', words);
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }

  // Puts words on the clipboard; resolves to whether they are there.
  async function copied(words) {
    try {
      await navigator.clipboard.writeText(words);
      return true;
    } catch (error) {
      return copyByHand(words);
    }
  }

  // A button that copies what `words()` gives, and says that it has.
  function copyButton(words) {
    const label = text('复制', 'Copy');
    const button = element('button', 'copy', label);
    button.type = 'button';
    button.setAttribute('aria-live', 'polite');
    button.addEventListener('click', async () => {
      button.textContent = await copied(words()) ? text('已复制', 'Copied') : text('无法复制', 'Not copied');
      setTimeout(() => { button.textContent = label; }, COPIED_MS);
    });
    return button;
  }

  document.querySelectorAll('[data-origin]').forEach((place) => { place.textContent = location.origin; });
  document.querySelectorAll('pre.code').forEach((block) => block.before(copyButton(() => block.textContent)));

  window.wxsignPage = { text, element, copyButton };
})();
