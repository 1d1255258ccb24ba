/*
 * Stand-ins for WeChat's open tags: labelled, so that nobody takes them for the real ones, and they can be tapped.
 *
 * As in WeChat (developers.weixin.qq.com/doc/service/guide/h5/opentag.md) a tag needs an accepted config whose openTagList names
 * it, loses its right when the page's URL changes, is not drawn in an iframe, and its failure is WeixinOpenTagsError on the document.
 */
(function () {
  'use strict';

  // needs: one of these attributes. tapped: the event, and its detail.
  const TAGS = {
    'wx-open-launch-weapp': { needs: ['username', 'appid'], tapped: () => ['launch', {}], zh: '打开小程序', en: 'opens a Mini Program' },
    'wx-open-launch-app': { needs: ['appid'], tapped: (tag) => ['launch', { appId: tag.getAttribute('appid'), extInfo: tag.getAttribute('extinfo') || '' }], zh: '打开 App', en: 'opens an app' },
    'wx-open-subscribe': { needs: ['template'], tapped: (tag) => ['success', subscribed(tag)], zh: '订阅通知', en: 'asks to subscribe' },
    'wx-open-audio': { needs: ['src'], tapped: played, zh: '播放音频', en: 'plays audio' },
  };
  const STYLE = `
    :host { position: relative; display: inline-block; min-width: 96px; min-height: 32px; cursor: pointer; outline: 1px dashed #07c160; outline-offset: 1px; }
    .label { position: absolute; z-index: 1; left: 0; top: -16px; padding: 0 4px; background: #07c160; color: #fff; font: 11px/16px sans-serif; white-space: nowrap; pointer-events: none; }`;

  function subscribed(tag) {
    const details = tag.getAttribute('template').split(',').map((id) => [id.trim(), JSON.stringify({ status: 'accept' })]);
    return { errMsg: 'subscribe:ok', subscribeDetails: JSON.stringify(Object.fromEntries(details)) };
  }

  function played(tag) {
    tag.playing = !tag.playing;
    return [tag.playing ? 'play' : 'pause', {}];
  }

  // The page's own picture of the tag: of its template, or of a script that holds markup, as Vue's users write it.
  function contentOf(tag) {
    const holder = tag.querySelector('template, script[type="text/wxtag-template"]');
    const markup = document.createElement('template');
    markup.innerHTML = holder ? holder.innerHTML : '';
    return markup.content;
  }

  // Moves a template's own styles into a sheet, which a policy without 'unsafe-inline' allows as WeChat does.
  function stylesOf(content) {
    const texts = Array.from(content.querySelectorAll('style'), (style) => { style.remove(); return style.textContent; });
    return [STYLE, ...texts].map((words) => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(words);
      return sheet;
    });
  }

  // Defines the four tags. `faultOf(name)` says why a tag has no right at present, or ''; `undefined` before any config.
  function defineOpenTags({ text, toast, faultOf }) {
    function tell(tag, name, detail) {
      tag.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
    }

    function tapped(tag) {
      const name = tag.localName;
      const fault = faultOf(name);
      if (fault !== '') return tell(tag, 'error', { errMsg: `${name}:fail ${fault}` });
      toast(`${TAGS[name].zh}（沙箱）`, `${TAGS[name].en} (sandbox)`);
      return tell(tag, ...TAGS[name].tapped(tag));
    }

    function refuse(tag, fault) {
      if (tag.fault === fault) return;
      tag.fault = fault;
      console.warn(`wxsign sandbox: <${tag.localName}>: ${fault}`);
      document.dispatchEvent(new CustomEvent('WeixinOpenTagsError', { detail: { errMsg: `${tag.localName}:fail ${fault}` } }));
    }

    function draw(tag) {
      const { needs, zh, en } = TAGS[tag.localName];
      const right = faultOf(tag.localName);
      if (tag.shadowRoot || !tag.isConnected || right === undefined) return;
      const fault = right || (needs.some((name) => tag.getAttribute(name)) ? '' : `missing attribute ${needs.join(' or ')}`);
      if (fault) {
        refuse(tag, fault);
        return;
      }
      const content = contentOf(tag);
      const tree = tag.attachShadow({ mode: 'open' });
      tree.adoptedStyleSheets = stylesOf(content);
      const label = Object.assign(document.createElement('span'), { className: 'label', textContent: text(`沙箱：${zh}`, `sandbox: ${en}`) });
      tree.append(label, content);
      tag.addEventListener('click', () => tapped(tag));
      tell(tag, 'ready', {});
    }

    Object.keys(TAGS).forEach((name) => customElements.define(name, class extends HTMLElement {
      // A tag's content is parsed after the tag itself.
      connectedCallback() { setTimeout(() => draw(this), 0); }
    }));
    return () => document.querySelectorAll(Object.keys(TAGS).join(',')).forEach(draw);
  }

  window.wxsignSandbox.defineOpenTags = defineOpenTags;
})();
