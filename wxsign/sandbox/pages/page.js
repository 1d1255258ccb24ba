'use strict';

const body = document.body;
const problem = document.querySelector('.problem');
const POLL_MS = 2000;
const LANGUAGE = document.documentElement.lang.startsWith('zh') ? 'zh' : 'en';

// An element with a class, a text and children.
function element(tag, className, content, children) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = content;
  node.append(...(children || []));
  return node;
}

// Puts a text where it is not there yet.
function put(selector, value, root = document) {
  const element = root.querySelector(selector);
  if (element && element.textContent !== value) element.textContent = value;
}

function left(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}

function clock(at) {
  return new Date(at * 1000).toLocaleTimeString();
}

function showCredential(row, credential, now) {
  put('.digest', credential ? credential.digest : body.dataset.none, row);
  put('.issued', credential ? clock(credential.issued_at) : '', row);
  const remaining = credential && credential.alive ? left(credential.ends_at - now) : '';
  put('.left', credential && !credential.alive ? body.dataset.dead : remaining, row);
  row.querySelector('.left').classList.toggle('dead', Boolean(credential) && !credential.alive);
}

function showState(state) {
  const accounts = new Map(state.accounts.map((account) => [account.appid, account]));
  for (const row of document.querySelectorAll('tr[data-credential]')) {
    const account = accounts.get(row.dataset.appid) || {};
    showCredential(row, account[row.dataset.credential], state.now);
  }
  for (const row of document.querySelectorAll('tr[data-endpoint]')) {
    put('.count', String(state.calls[row.dataset.endpoint]), row);
    put('.most', String(state.in_flight_max[row.dataset.endpoint] ?? ''), row);
  }
  put('#faults', JSON.stringify(state.faults.map(({ endpoint, kind, times }) => ({ endpoint, kind, times }))));
  put('#settings', JSON.stringify(state.settings, null, 2));
  for (const select of document.querySelectorAll('select[data-setting]')) {
    if (select !== document.activeElement) select.value = state.settings[select.dataset.setting];
  }
}

function showRemarks(remarks) {
  const list = document.querySelector('#remarks');
  const sentences = remarks.map((remark) => remark[LANGUAGE]);
  const shown = sentences.length ? sentences : [list.dataset.none];
  redraw(list, shown, shown.map((sentence) => element('li', 'cell', sentence)));
}

// Puts children into a list unless it shows the same already: what is read aloud is only what is new.
function redraw(list, shown, children) {
  const key = JSON.stringify(shown);
  if (list.dataset.shown === key) return;
  list.dataset.shown = key;
  list.replaceChildren(...children);
}

function verdictRow(verdict) {
  const mark = element('span', 'mark', '');
  mark.setAttribute('role', 'img');
  mark.setAttribute('aria-label', verdict.ok ? '✓' : '✗');
  const told = verdict.ok ? [] : [element('small', '', verdict.detail[LANGUAGE])];
  const row = element('li', 'cell', '', [mark, element('div', 'cell-main', '', [element('code', '', verdict.url), ...told])]);
  row.dataset.state = verdict.ok ? 'success' : 'fail';
  return row;
}

function showVerdicts(verdicts) {
  const list = document.querySelector('#verdicts');
  const rows = verdicts.length ? verdicts.map(verdictRow) : [element('li', 'cell', list.dataset.none)];
  redraw(list, verdicts, rows);
}

function line(call) {
  const outcome = call.seconds === null ? '…' : `${call.status}  errcode ${call.errcode ?? '-'}  ${(call.seconds * 1000).toFixed(1)} ms`;
  const extra = [call.fault && `fault ${call.fault}`, call.rotated && 'new value'].filter(Boolean).join(', ');
  return `${clock(call.at)}  ${call.method} ${call.endpoint}  ${outcome}  ${extra}`;
}

async function ask(path, options) {
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

async function refresh() {
  try {
    const [state, log] = await Promise.all([ask('state'), ask('requests')]);
    showState(state);
    showVerdicts(state.verdicts);
    put('#log', log.requests.slice(-30).reverse().map(line).join('\n'));
    showRemarks(log.remarks);
    problem.hidden = true;
  } catch {
    problem.textContent = body.dataset.failed;
    problem.hidden = false;
  }
}

function control(name, body) {
  return ask(name, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
}

async function act(button) {
  const row = button.closest('tr');
  const named = row && { appid: row.dataset.appid, credential: row.dataset.credential };
  await control(button.dataset.control, button.dataset.body || JSON.stringify(named));
}

document.addEventListener('change', async (event) => {
  const { setting } = event.target.dataset;
  if (!setting) return;
  await control('settings', JSON.stringify({ [setting]: event.target.value })).catch(() => {});
  await refresh();
});

document.addEventListener('click', async (event) => {
  const button = event.target.closest('button[data-control]');
  if (!button) return;
  await act(button).catch(() => {});
  await refresh();
});

refresh();
setInterval(() => { if (!document.hidden) refresh(); }, POLL_MS);
