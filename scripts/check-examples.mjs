// The example apps with the package as `npm pack` makes it: types, a render on a server, `vite build` with no trace of the sandbox,
// and `vite dev` beside `wxsign dev` in Chromium, as Android and as an iPhone.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from './chromium.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const WXSIGN = resolve(ROOT, process.env.VENV ?? '.venv', 'bin/wxsign');
const APPS = ['vue', 'react'];
const ANDROID = 'Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36';
const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148';
const START_MS = 30_000;
const READY = "document.querySelector('[data-state]').dataset.state === 'ready'";
const SCAN = "[...document.querySelectorAll('button')].find((button) => button.textContent === 'scanQRCode').click()";
const ROUTE = "[...document.querySelectorAll('a, button')].find((element) => element.textContent === '/a?b=1').click()";
const ANSWER = "document.querySelector('wxsign-sandbox').shadowRoot.querySelector('.sheet button').click()";

const here = mkdtempSync(join(tmpdir(), 'wxsign-examples-'));
const endings = [() => rmSync(here, { recursive: true, force: true, maxRetries: 5 })];
const execute = promisify(execFile);
const pause = () => new Promise((done) => { setTimeout(done, 50); });

async function run(cwd, program, ...words) {
  try {
    return (await execute(program, words, { cwd })).stdout;
  } catch (error) { // its own words are in what it printed
    throw new Error(`${program} ${words.join(' ')}:\n${error.stdout ?? ''}${error.stderr ?? ''}${error.message}`);
  }
}

function everything(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name)).sort().map((path) => [path.slice(folder.length), readFileSync(path, 'utf8')]);
}

function freePort() {
  return new Promise((found) => {
    const server = createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => found(port)); });
  });
}

// A program that runs until the end, once it answers at `url`. Returns what it has printed so far, as a function.
async function running(url, cwd, program, ...words) {
  let printed = '';
  const child = spawn(program, words, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((done) => { child.once('close', done); });
  endings.unshift(() => { child.kill(); return ended; });
  [child.stdout, child.stderr].forEach((stream) => stream.on('data', (chunk) => { printed += chunk; }));
  for (const end = Date.now() + START_MS; Date.now() < end && child.exitCode === null;) {
    if (await fetch(url).catch(() => null)) return () => printed;
    await pause();
  }
  throw new Error(`${program} ${words.join(' ')} does not answer at ${url}:\n${printed}`);
}

// The app as its owner has it, with the packed package among the locked ones.
async function install(name, tarball) {
  const app = join(here, name);
  cpSync(join(ROOT, 'examples', name), app, { recursive: true, filter: (path) => !/node_modules|dist/.test(path.slice(ROOT.length)) });
  await run(app, 'npm', 'install', '--no-save', '--prefer-offline', '--no-audit', '--no-fund', tarball);
  return app;
}

async function compiles(app) {
  await run(app, 'npm', 'run', 'types');
  await run(app, 'npm', 'run', 'build');
  assert.match(await run(app, 'npm', 'run', 'render'), /data-state="loading"/);
  const built = everything(join(app, 'dist'));
  assert.ok(built.some(([, text]) => text.includes('jsconfig')), 'the client is in the build');
  // The same app without the plugin gives the same, to the byte.
  writeFileSync(join(app, 'plain.config.ts'), readFileSync(join(app, 'vite.config.ts'), 'utf8').replace(/, wxsign\(\)|^import wxsign .*$/gm, ''));
  await run(app, 'node_modules/.bin/vite', 'build', '--config', 'plain.config.ts', '--outDir', 'dist-plain');
  assert.deepEqual(built, everything(join(app, 'dist-plain')));
}

// Green when it opens and after a change of route, where it signs again as often as `expected` says; then an interface answers.
async function turnsGreen(browser, url, userAgent, signed, expected) {
  const signedAsExpected = () => assert.equal(signed(), expected, `${userAgent}: signatures of the new route`);
  const page = await browser.open(url, userAgent);
  await page.until(READY);
  await page.evaluate(ROUTE);
  for (const end = Date.now() + START_MS; signed() < expected && Date.now() < end;) await pause();
  signedAsExpected(); // before the interface is asked for, which would sign as well
  await page.until(`location.href.endsWith('/a?b=1') && ${READY}`);
  await page.evaluate(SCAN);
  await page.until(`${ANSWER}, true`);
  await page.until("document.body.textContent.includes('https://')");
  signedAsExpected();
}

async function runs(app, browser, wxsign) {
  const config = join(app, 'vite.config.ts');
  writeFileSync(config, readFileSync(config, 'utf8').replace('wxsign()', `wxsign(${JSON.stringify({ sandbox: wxsign.sandbox, service: wxsign.service })})`));
  const port = await freePort();
  const url = `http://localhost:${port}/`;
  await running(url, app, join(app, 'node_modules/.bin/vite'), '--port', port, '--strictPort');
  const signed = () => wxsign.printed().split('\n').filter((line) => line.includes(`signed ${url}a?b=1`)).length;
  // An iPhone compares the URL that the page was opened at, Android the present one.
  await turnsGreen(browser, url, IPHONE, signed, 0);
  await turnsGreen(browser, url, ANDROID, signed, 1);
}

async function dev() {
  const [port, sandboxPort] = [await freePort(), await freePort()];
  const service = `http://127.0.0.1:${port}`;
  const printed = await running(service, here, WXSIGN, 'dev', '--port', port, '--sandbox-port', sandboxPort);
  return { service, sandbox: `http://127.0.0.1:${sandboxPort}`, printed };
}

async function browserOf() {
  try {
    const browser = await chromium(join(here, 'chromium'));
    endings.unshift(browser.close);
    return browser;
  } catch (error) {
    if (process.env.CI === 'true' || error.code !== 'ENOENT') throw error;
    console.log('Chromium is not installed: the example apps are not opened in it.');
    return null;
  }
}

async function check() {
  await run(join(ROOT, 'npm'), 'npm', 'pack', '--pack-destination', here);
  const tarball = join(here, readdirSync(here).find((name) => name.endsWith('.tgz')));
  const apps = await Promise.all(APPS.map((name) => install(name, tarball)));
  await Promise.all(apps.map(compiles));
  const browser = existsSync(WXSIGN) || process.env.CI === 'true' ? await browserOf() : null;
  if (browser) {
    const wxsign = await dev();
    await Promise.all(apps.map((app) => runs(app, browser, wxsign)));
  }
  console.log(`examples/{${APPS}}: types, build, render on a server${browser ? ', and vite dev in Chromium' : ''} are right`);
}

try {
  await check();
} finally {
  for (const end of endings) await Promise.resolve().then(end).catch(console.error); // what failed before is the error
}
