// The npm package as `npm pack` makes it: for require, import, a server and TypeScript. The example apps are `make examples`.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { open, withoutOfficial } from './browser.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const text = (path) => readFileSync(join(ROOT, path), 'utf8');
const json = (path) => JSON.parse(text(path));
const here = mkdtempSync(join(tmpdir(), 'wxsign-npm-'));
const packed = join(here, 'node_modules/wxsign');
const node = (...words) => execFileSync(process.execPath, words, { cwd: here, encoding: 'utf8' }).trim();
const esm = (script) => node('--input-type=module', '-e', script);

before(() => {
  execFileSync('npm', ['pack', '--silent', '--pack-destination', here], { cwd: join(ROOT, 'npm'), stdio: 'ignore' });
  const [tarball] = readdirSync(here).filter((name) => name.endsWith('.tgz'));
  mkdirSync(packed, { recursive: true });
  execFileSync('tar', ['xzf', join(here, tarball), '--strip-components=1', '-C', packed]);
});
after(() => rmSync(here, { recursive: true }));

const REJECTED = 'ready().catch((error) => console.log(error.code, error instanceof WxsignError))';

test('require gives the client, which rejects on a server instead of throwing', () => {
  assert.equal(node('-e', `const { ready, WxsignError } = require('wxsign'); ${REJECTED}`), 'not_a_browser true');
});

test('import gives the same by name and by default', () => {
  assert.equal(esm(`import wxsign, { ready, WxsignError } from 'wxsign'; if (wxsign.ready !== ready) throw 1; ${REJECTED}`), 'not_a_browser true');
});

test('the core is static/wxsign.js and nothing else, under the version of the service', () => {
  const client = text('static/wxsign.js');
  assert.equal(readFileSync(join(packed, 'index.cjs'), 'utf8'), client);
  assert.ok(readFileSync(join(packed, 'index.mjs'), 'utf8').includes(client));
  const { version, dependencies = {} } = json('npm/package.json');
  assert.equal(version, /__version__ = "(.*)"/.exec(text('wxsign/__init__.py'))[1]);
  assert.deepEqual(dependencies, {});
});

test('every file that package.json names is in the package, and its licence', () => {
  const { exports, main, module, types } = json('npm/package.json');
  const named = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(named));
  const missing = [...named(exports), main, module, types, 'LICENSE', 'README.md'].filter((path) => !existsSync(join(packed, path)));
  assert.deepEqual(missing, []);
});

// What stands for Vue and React: mounted at once, with its state in one object. The real ones are in the example apps.
function peer(name, source) {
  mkdirSync(join(here, 'node_modules', name), { recursive: true });
  writeFileSync(join(here, 'node_modules', name, 'index.js'), source);
}

const ON_A_SERVER = 'const { state, sign } = useWxSign(); sign().catch((error) => console.log(state.value || state, error.code))';
for (const [name, source] of [
  ['vue', 'exports.onMounted = exports.onBeforeUnmount = () => {}; exports.shallowReactive = (value) => value; exports.toRefs = (value) => value;'],
  ['react', 'exports.useState = (value) => [value]; exports.useEffect = () => {}; exports.useCallback = (run) => run;'],
]) {
  test(`wxsign/${name} is there for require and import, and stays loading on a server`, () => {
    peer(name, source);
    assert.equal(node('-e', `const { useWxSign } = require('wxsign/${name}'); ${ON_A_SERVER}`), 'loading not_a_browser');
    assert.equal(esm(`import { useWxSign } from 'wxsign/${name}'; ${ON_A_SERVER}`), 'loading not_a_browser');
  });
}

test('the plugin is for vite dev alone, and puts the bridge before everything else', () => {
  const told = "console.log(JSON.stringify([plugin.apply, plugin.transformIndexHtml, plugin.transformIndexHtml.handler(), plugin.config().server.proxy['/jsconfig']]))";
  const expected = ['serve', { order: 'pre' },
    [{ tag: 'script', attrs: { src: 'http://127.0.0.1:8001/sandbox/bridge.js?mode=wecom' }, injectTo: 'head-prepend' }],
    { target: 'http://127.0.0.1:9000' }];
  const plugin = "const plugin = wxsign({ mode: 'wecom', service: 'http://127.0.0.1:9000' });";
  assert.deepEqual(JSON.parse(esm(`import wxsign from 'wxsign/vite'; ${plugin} ${told}`)), expected);
  assert.deepEqual(JSON.parse(node('-e', `const wxsign = require('wxsign/vite'); ${plugin} ${told}`)), expected);
});

test('there is a type for each interface that the service signs and that WeChat’s script has, and for no other', { skip: withoutOfficial }, async () => {
  const types = text('static/wxsign.d.ts');
  const typed = [...types.matchAll(/^ {2}(\w+): \[/gm)].map(([, name]) => name).sort();
  const listed = [...types.matchAll(/'([^']+)'/g)].map(([, name]) => name);
  const [apis, tags] = [...text('wxsign/signing/interfaces.py').matchAll(/= \(\n([\s\S]*?)\n\)/g)].map(([, names]) => [...names.matchAll(/"([^"]+)"/g)].map(([, name]) => name));
  assert.deepEqual([...apis, ...tags].filter((name) => !typed.includes(name) && !listed.includes(name)), []);
  const { wx } = await open().wxsign.ready();
  const ours = ['config', 'ready', 'error', 'invoke', 'on'];
  assert.deepEqual(Object.keys(wx).filter((name) => typeof wx[name] === 'function' && !ours.includes(name)).sort(), typed);
});

const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
const RIGHT = `
  void ready({ jsApiList: ['scanQRCode', 'requestMerchantTransfer'], openTagList: ['wx-open-launch-app'], endpoint: '/jsconfig' }).then(({ wx }) => wx.hideOptionMenu());
  void call('scanQRCode', { needResult: 1 }).then(({ resultStr }) => resultStr.length);
  void [share({ title: 'x' }), call('closeWindow'), call('chooseImage'), call('hideMenuItems', { menuList: ['menuItem:share:qq'] })];
  void ready().then(({ wx }) => wx.miniProgram?.navigateTo({ url: '/pages/a' }));
  declare module 'wxsign' { interface Interfaces { openNewThing: [{ id: string }, { ok: boolean }] } }
  void call('openNewThing', { id: '1' }).then(({ ok }) => ok);`;
const WRONG = [
  "call('scanQrcode')", "call('updateAppMessageSharData', {})", "call('updateTimelineShareData', { titel: 'x' })", "share({ titel: 'x' })",
  "ready({ jsApiList: ['scanQrcode'] })", "ready({ openTagList: ['wx-open-lunch-app'] })", "call('openLocation')", "call('openLocation', { latitude: 1 })",
  "call('downloadImage', {})", "call('hideOptionMenu', { menu: 1 })", "call('scanQRCode', { success() {} })", "call('hideMenuItems', { menuList: ['share:qq'] })",
  "ready().then(({ wx }) => wx.updateAppMessageSharData({}))", "ready().then(({ wx }) => wx.getLocation({ typ: 'gcj02' }))", "ready({ jsApilist: [] })",
];

test('what is misspelt or missing does not compile, for import and for require', { skip: !existsSync(tsc) && process.env.CI !== 'true' && 'typescript is not installed (npm ci)' }, () => {
  symlinkSync(join(ROOT, 'node_modules/typescript'), join(here, 'node_modules/typescript'));
  for (const kind of ['mts', 'cts']) {
    writeFileSync(join(here, `right.${kind}`), `import { call, ready, share } from 'wxsign';${RIGHT}`);
    writeFileSync(join(here, `wrong.${kind}`), `import { call, ready, share } from 'wxsign';\n${WRONG.map((line) => `void ${line};`).join('\n')}\n`);
  }
  writeFileSync(join(here, 'default.mts'), "import wxsign from 'wxsign';\nwxsign.endpoint = '/x';\n// @ts-expect-error a module has no such name\nimport { endpoint } from 'wxsign';\n");
  const compilerOptions = { noEmit: true, skipDefaultLibCheck: true, strict: true, module: 'nodenext', lib: ['es2022', 'dom'], types: [] };
  writeFileSync(join(here, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.mts', '*.cts'] }));
  const { stdout } = spawnSync(process.execPath, [tsc, '--project', here], { encoding: 'utf8' });
  const found = [...new Set([...stdout.matchAll(/(\w+\.[cm]ts)\((\d+),/g)].map(([, file, line]) => `${file} ${line}`))].sort();
  const expected = ['cts', 'mts'].flatMap((kind) => WRONG.map((_, at) => `wrong.${kind} ${at + 2}`)).sort();
  assert.deepEqual(found, expected, stdout);
});

for (const name of ['examples/vue', 'examples/react']) {
  test(`the lock of ${name} is that of its package.json, with a hash and no address for each package`, () => {
    const [wanted, { packages: { '': root, ...packages } }] = [json(`${name}/package.json`), json(`${name}/package-lock.json`)];
    assert.deepEqual([root.dependencies, root.devDependencies], [wanted.dependencies, wanted.devDependencies]);
    const bad = Object.entries(packages).filter(([, { integrity = '', resolved, inBundle }]) => resolved || !(integrity.startsWith('sha512-') || inBundle));
    assert.deepEqual(bad.map(([path]) => path), []);
  });
}
