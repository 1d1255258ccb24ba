// The page /diagnose: asks the service about what was pasted, and computes a signature from a ticket that stays in the browser.
(function () {
  'use strict';

  const { element } = window.wxsignPage;
  const main = document.querySelector('main');
  const ask = document.getElementById('ask');
  const told = document.getElementById('told');
  const compute = document.getElementById('compute');
  const computed = document.getElementById('computed');

  function cell(head, ...lines) {
    const row = element('div', 'cell', '');
    const inner = element('div', 'cell-main', head);
    lines.filter(Boolean).forEach((line) => inner.append(element('small', 'soft finding', line)));
    row.append(inner);
    return row;
  }

  function show(answer) {
    told.hidden = false;
    told.replaceChildren();
    if (answer.error) {
      told.append(cell(answer.error.message, answer.error.hint));
      return;
    }
    told.append(cell(told.dataset[answer.verdict]));
    answer.findings.forEach((finding) => {
      const evidence = Object.entries(finding.evidence).map(([name, value]) => `${name}: ${value}`).join(' · ');
      const row = cell(`${finding.id} · ${told.dataset[finding.certainty]} · ${finding.message}`, finding.hint, evidence);
      row.dataset.finding = finding.id;
      told.append(row);
    });
  }

  async function diagnose() {
    try {
      const response = await fetch(main.dataset.endpoint, {
        method: 'POST', headers: { 'Content-Type': 'application/json', 'Accept-Language': document.documentElement.lang }, body: JSON.stringify({ text: ask.elements.text.value }),
      });
      show(await response.json());
    } catch (error) {
      show({ error: { message: String(error), hint: '' } });
    }
  }

  ask.addEventListener('submit', (event) => {
    event.preventDefault();
    diagnose();
  });

  // What follows # never leaves the browser by itself: a page may lead here with everything filled in.
  if (location.hash.length > 1) {
    ask.elements.text.value = decodeURIComponent(location.hash.slice(1));
    diagnose();
  }

  compute.addEventListener('submit', async (event) => {
    event.preventDefault();
    const given = (name) => compute.elements[name].value.trim();
    const string1 = ['jsapi_ticket', 'noncestr', 'timestamp', 'url']
      .map((name) => `${name}=${name === 'url' ? given(name).split('#')[0] : given(name)}`).join('&');
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-1', new TextEncoder().encode(string1)));
    const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
    const wanted = given('signature');
    computed.textContent = `${hex} ${wanted ? `· ${compute.dataset[wanted === hex ? 'equal' : 'differs']}` : ''}`;
  });
})();
