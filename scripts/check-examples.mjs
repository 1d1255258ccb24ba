// The example apps with the package as `npm pack` makes it: types, a render on a server, `vite dev` with the sandbox's bridge,
// and `vite build` without a trace of it.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, cpSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = new URL('..', import.meta.url).pathname;
const BRIDGE = '/sandbox/bridge.js';
const here = mkdtempSync(join(tmpdir(), 'wxsign-examples-'));
const run = (cwd, program, ...words) => execFileSync(program, words, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
const npm = (cwd, ...words) => run(cwd, 'npm', ...words, '--silent', '--no-audit', '--no-fund');

function everything(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile()).map((entry) => readFileSync(join(entry.parentPath ?? entry.path, entry.name), 'utf8')).join('\n');
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
  });
}

async function served(app) {
  const port = await freePort();
  const server = spawn(join(app, 'node_modules/.bin/vite'), ['--port', String(port), '--strictPort', '--host', '127.0.0.1'], { cwd: app, stdio: 'ignore' });
  try {
    for (let tries = 0; tries < 100; tries += 1) {
      try { return await (await fetch(`http://127.0.0.1:${port}/`)).text(); } catch { await new Promise((resolve) => setTimeout(resolve, 100)); }
    }
    throw new Error('vite dev does not answer');
  } finally {
    server.kill();
  }
}

run(join(ROOT, 'npm'), 'npm', 'pack', '--silent', '--pack-destination', here);
const [tarball] = readdirSync(here).filter((name) => name.endsWith('.tgz'));
for (const name of ['vue', 'react']) {
  const app = join(here, name);
  cpSync(join(ROOT, 'examples', name), app, { recursive: true, filter: (path) => !/node_modules|dist/.test(path.slice(ROOT.length)) });
  npm(app, 'ci');
  npm(app, 'install', '--no-save', join(here, tarball));
  npm(app, 'run', 'types');
  npm(app, 'run', 'build');
  const built = everything(join(app, 'dist'));
  assert.ok(built.includes('jsconfig'), 'the client is in the build');
  assert.ok(!built.includes(BRIDGE) && !built.includes('127.0.0.1:8001'), 'no trace of the sandbox');
  assert.match(npm(app, 'run', 'render'), /data-state="loading"/);
  const page = await served(app);
  assert.ok(page.indexOf(BRIDGE) > 0 && page.indexOf(BRIDGE) < page.indexOf('/src/main'), 'the bridge comes first in dev');
  console.log(`examples/${name}: types, build, render and dev are right`);
}
