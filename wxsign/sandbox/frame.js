/*
 * Inside the sandbox's phone (/sandbox/phone): tells it which route the page is at, and of each wx.config what was signed,
 * with which signature, and the verdict. Nobody else is told: the message is for the sandbox's own origin.
 */
(function () {
  'use strict';

  const LOOK_MS = 200;
  const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];

  // The origin of the phone that holds this page, or ''. Under localhost it is the same sandbox as under 127.0.0.1.
  function phoneOf(script) {
    if (window.parent === window) return '';
    const above = (location.ancestorOrigins || [script.origin])[0];
    const { protocol, port, hostname } = new URL(above);
    const same = hostname === script.hostname || (LOOPBACK.includes(hostname) && LOOPBACK.includes(script.hostname));
    return same && protocol === script.protocol && port === script.port ? above : '';
  }

  // Begins to tell the phone at `origin`. A route may change without any event that every browser has, so it is looked at.
  function tellPhone(origin, mode) {
    const tell = (kind, more) => window.parent.postMessage(Object.assign({ wxsign: kind, href: location.href, mode }, more), origin);
    let known = '';
    const look = () => {
      if (location.href === known) return;
      known = location.href;
      tell('route', {});
    };
    document.addEventListener('wxsign:verdict', ({ detail }) => {
      look();
      tell('verdict', detail);
    });
    look();
    setInterval(look, LOOK_MS);
  }

  Object.assign(window.wxsignSandbox, { phoneOf, tellPhone });
})();
