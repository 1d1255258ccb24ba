'use strict';

const screenOf = document.querySelector('#screen');
const list = document.querySelector('#configs');
const { words } = document.body.dataset;
const WORDS = JSON.parse(words);
const BRIDGE_MS = 4000;
let heard = false;
let last = '';
let times = 0;

// An element with a class, a text and children.
function element(tag, className, content, children) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = content;
  node.append(...(children || []));
  return node;
}

// What one wx.config of the page was, the latest on top.
function row({ href, accepted, errMsg, message, signedUrl, comparedUrl, signature, mode }, count) {
  const mark = element('span', 'mark', '');
  mark.setAttribute('role', 'img');
  mark.setAttribute('aria-label', accepted ? '✓' : '✗');
  const { pathname, search, hash } = new URL(href);
  const facts = [[WORDS.compared, comparedUrl], [WORDS.signed, signedUrl || (accepted ? comparedUrl : '')], ['signature', signature], [WORDS.client, mode]];
  const told = accepted ? [] : [element('small', 'refusal', `${errMsg.replace(/^.*?:(fail_)?/, '')}: ${message}`)];
  const lines = facts.filter(([, value]) => value).map(([name, value]) => element('small', 'soft mono', `${name}  ${value}`));
  const made = element('li', 'cell', '', [mark, element('div', 'cell-main', '', [element('b', 'mono', `${pathname}${search}${hash}${count > 1 ? ` ×${count}` : ''}`), ...told, ...lines])]);
  made.dataset.state = accepted ? 'success' : 'fail';
  return made;
}

// Adds a wx.config on top; the same one again is counted.
function show(config) {
  const key = JSON.stringify([config.href, config.accepted, config.signature]);
  times = key === last ? times + 1 : 1;
  if (times > 1) list.firstChild.remove();
  else if (!last) list.replaceChildren();
  last = key;
  list.prepend(row(config, times));
}

window.addEventListener('message', ({ source, data }) => {
  if (source !== screenOf.contentWindow || !data || !data.wxsign) return;
  heard = true;
  document.querySelector('#no-bridge').hidden = true;
  document.querySelector('#route').textContent = data.href;
  if (data.wxsign !== 'verdict') return;
  show(data);
});

screenOf.addEventListener('load', () => {
  heard = false;
  setTimeout(() => { document.querySelector('#no-bridge').hidden = heard; }, BRIDGE_MS);
});
document.querySelector('#reload').addEventListener('click', () => { screenOf.src = screenOf.dataset.page; });
screenOf.src = screenOf.dataset.page;
