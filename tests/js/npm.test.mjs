// The npm package as `npm pack` makes it: for require, import, a server and TypeScript. The example apps are `make examples`.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const here = mkdtempSync(join(tmpdir(), 'wxsign-npm-'));
const node = (...words) => execFileSync(process.execPath, words, { cwd: here, encoding: 'utf8' }).trim();

before(() => {
  execFileSync('npm', ['pack', '--silent', '--pack-destination', here], { cwd: join(ROOT, 'npm'), stdio: 'ignore' });
  const [tarball] = readdirSync(here).filter((name) => name.endsWith('.tgz'));
  mkdirSync(join(here, 'node_modules/wxsign'), { recursive: true });
  execFileSync('tar', ['xzf', join(here, tarball), '--strip-components=1', '-C', join(here, 'node_modules/wxsign')]);
});
after(() => rmSync(here, { recursive: true }));

const REJECTED = "ready().catch((error) => console.log(error.code, error instanceof WxsignError))";

test('require gives the client, which rejects on a server instead of throwing', () => {
  assert.equal(node('-e', `const { ready, WxsignError } = require('wxsign'); ${REJECTED}`), 'not_a_browser true');
});

test('import gives the same by name and by default', () => {
  assert.equal(node('--input-type=module', '-e', `import wxsign, { ready, WxsignError } from 'wxsign'; if (wxsign.ready !== ready) throw 1; ${REJECTED}`), 'not_a_browser true');
});

test('the plugin is for vite dev alone, and puts the bridge before everything else', () => {
  const told = node('--input-type=module', '-e', `
    import wxsign from 'wxsign/vite';
    const plugin = wxsign({ mode: 'wecom' });
    console.log(JSON.stringify([plugin.apply, plugin.transformIndexHtml.handler(), Object.keys(plugin.config().server.proxy)]));`);
  assert.deepEqual(JSON.parse(told), ['serve',
    [{ tag: 'script', attrs: { src: 'http://127.0.0.1:8001/sandbox/bridge.js?mode=wecom' }, injectTo: 'head-prepend' }],
    ['/jsconfig', '/agentconfig', '/report', '/diagnose']]);
});

const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
test('what is misspelt does not compile', { skip: !existsSync(tsc) && process.env.CI !== 'true' && 'typescript is not installed (npm ci)' }, () => {
  symlinkSync(join(ROOT, 'node_modules/typescript'), join(here, 'node_modules/typescript'));
  writeFileSync(join(here, 'right.ts'), `import wxsign, { call, ready, share } from 'wxsign';
    void ready({ jsApiList: ['scanQRCode'], endpoint: '/jsconfig' }).then(({ wx }) => wx.hideOptionMenu());
    void call('scanQRCode', { needResult: 1 }).then(({ resultStr }) => resultStr.length);
    void share({ title: 'x' }); wxsign.endpoint = '/x';
    declare module 'wxsign' { interface Interfaces { openNewThing: [{ id: string }, { ok: boolean }] } }
    void call('openNewThing', { id: '1' }).then(({ ok }) => ok);`);
  const wrong = ["call('scanQrcode')", "call('updateAppMessageSharData', {})", "call('updateTimelineShareData', { titel: 'x' })", "ready({ jsApiList: ['scanQrcode'] })", "share({ titel: 'x' })"];
  wrong.forEach((line, at) => writeFileSync(join(here, `wrong${at}.ts`), `import { call, ready, share } from 'wxsign';\nvoid ${line};\nvoid [call, ready, share];\n`));
  const check = (...files) => spawnSync(process.execPath, [tsc, '--noEmit', '--strict', '--module', 'nodenext', '--moduleResolution', 'nodenext', '--lib', 'es2022,dom', '--types', 'wxsign', ...files], { cwd: here, encoding: 'utf8' });
  assert.equal(check('right.ts').status, 0, check('right.ts').stdout);
  const told = check(...wrong.map((_, at) => `wrong${at}.ts`)).stdout;
  wrong.forEach((line, at) => assert.match(told, new RegExp(`wrong${at}\\.ts\\(2,`), line));
});
