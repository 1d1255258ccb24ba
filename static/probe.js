/*
 * The field probe of /demo?probe=1: asks the WeChat that it runs in what nobody at Tencent says. It signs this page, tries the
 * signature on the bridge itself under several circumstances, and shows a report to copy: no signature, no address, no secret.
 * What it signed stays in this browser, so that a second visit can try an old signature.
 */
(function () {
  'use strict';

  const { text, element, copyButton } = window.wxsignPage;
  const section = document.getElementById('probe');
  const { endpoint, account } = document.getElementById('demo').dataset;
  const KEPT = 'wxsign-probe';
  const WAIT_MS = 8000;
  const LANDING = location.href.split('#')[0];
  // [name, what it asks in Chinese, in English]
  const QUESTIONS = {
    present: ['当前地址的签名', 'a signature of the present URL'],
    again: ['同一个签名再用一次（随机串重复）', 'the same signature once more (a nonce used twice)'],
    pushed_present: ['pushState 之后，当前地址的签名', 'after pushState: of the present URL'],
    pushed_landing: ['pushState 之后，打开时地址的签名', 'after pushState: of the URL that the page was opened at'],
    earlier: ['上次打开时的签名（旧时间戳）', 'the signature of an earlier visit (an old timestamp)'],
  };
  // Which ticket the earlier signature was made with, or its refusal could be for its age or for its ticket.
  const TICKETS = {
    present: ['ticket 未更换', 'of the present ticket'],
    replaced: ['ticket 已更换', 'of a ticket that was replaced'],
    unknown: ['ticket 已无从得知', 'of a ticket that is not known any more'],
  };

  function row(name, words) {
    const cell = element('div', 'cell', '', [element('div', 'cell-main', text(...QUESTIONS[name]), [
      document.createElement('br'), element('small', 'soft mono', words),
    ])]);
    cell.dataset.probe = name;
    section.append(cell);
  }

  async function signed(url) {
    const query = new URLSearchParams(account ? { url, account } : { url });
    const answer = await (await fetch(`${endpoint}?${query}`)).json();
    if (!answer.signature) throw new Error(answer.error ? answer.error.message : 'no signature');
    return answer;
  }

  async function ticketOf({ url, appId, timestamp, nonceStr, signature }) {
    const body = JSON.stringify({ page: url, config: { appId, timestamp, nonceStr, signature } });
    const at = new URL('diagnose', new URL(endpoint, location.href));
    const { verdict, findings = [] } = await (await fetch(at, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body })).json();
    if (verdict === 'right') return 'present';
    return findings.some(({ id, certainty }) => id === 'WXS108' && certainty === 'certain') ? 'replaced' : 'unknown';
  }

  // WeChat's own words for a configuration, from the bridge, which WeChat's script would shorten.
  function verified(config) {
    const fields = {
      verifyJsApiList: ['checkJsApi'], appId: config.appId, verifyAppId: config.appId, verifySignType: 'sha1',
      verifyTimestamp: String(config.timestamp), verifyNonceStr: config.nonceStr, verifySignature: config.signature,
    };
    return new Promise((resolve) => {
      setTimeout(() => resolve('no answer'), WAIT_MS);
      window.WeixinJSBridge.invoke('preVerifyJSAPI', fields, (res) => resolve((res && (res.err_msg || res.errMsg)) || 'no err_msg'));
    });
  }

  function bridge() {
    return new Promise((resolve, reject) => {
      if (window.WeixinJSBridge) { resolve(); return; }
      setTimeout(() => reject(new Error(text('没有 WeixinJSBridge：请在微信里打开本页', 'no WeixinJSBridge: open this page in WeChat'))), WAIT_MS);
      document.addEventListener('WeixinJSBridgeReady', resolve);
    });
  }

  function earlier() {
    try { return JSON.parse(localStorage.getItem(KEPT)); } catch (_) { return null; }
  }

  async function run() {
    const report = { agent: navigator.userAgent, at: new Date().toISOString(), answers: {} };
    const tell = (name, words) => { report.answers[name] = words; row(name, words); };
    await bridge();
    const first = await signed(LANDING);
    const before = earlier();
    tell('present', await verified(first));
    tell('again', await verified(first));
    const url = new URL(location.href);
    url.searchParams.set('pushed', '1');
    history.pushState(null, '', url);
    tell('pushed_present', await verified(await signed(location.href.split('#')[0])));
    tell('pushed_landing', await verified(await signed(LANDING)));
    history.back();
    await new Promise((resolve) => setTimeout(resolve, 300));
    if (before && before.url === LANDING) {
      report.earlier_seconds = first.timestamp - before.timestamp;
      report.earlier_ticket = await ticketOf(before);
      tell('earlier', `${await verified(before)} (${report.earlier_seconds} s, ${text(TICKETS[report.earlier_ticket])})`);
    } else {
      row('earlier', text('请几小时后再打开一次', 'open this page again in some hours'));
    }
    localStorage.setItem(KEPT, JSON.stringify(before && before.url === LANDING ? before : Object.assign({}, first, { url: LANDING })));
    return report;
  }

  run().catch((error) => ({ agent: navigator.userAgent, failed: error.message })).then((report) => {
    const output = document.getElementById('probe-report');
    output.value = JSON.stringify(report, null, 2);
    document.getElementById('probe-copy').append(copyButton(() => output.value));
    document.documentElement.dataset.probe = report.failed ? 'failed' : 'done';
  });
})();
