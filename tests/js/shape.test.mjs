import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

const CLIENT = readFileSync(new URL('../../static/wxsign.js', import.meta.url), 'utf8');
// Either tool is there after `npm ci`; a check-out without them skips these tests, CI does not.
const tool = (name) => import(name).catch((error) => { if (process.env.CI === 'true') throw error; return null; });
const [acorn, terser] = [await tool('acorn'), await tool('terser')];

test('the client’s syntax is that of iOS 11.3 and Chromium 66', { skip: !acorn && 'acorn is not installed (npm ci)' }, () => {
  acorn.parse(CLIENT, { ecmaVersion: 2018 });
  assert.throws(() => acorn.parse('a?.b', { ecmaVersion: 2018 }));
});

test('the client is at most 6.5 kB on the wire when minified', { skip: !terser && 'terser is not installed (npm ci)' }, async () => {
  const { code } = await terser.minify(CLIENT);
  const bytes = gzipSync(code, { level: 9 }).length;
  assert.ok(bytes <= 6500, `${bytes} bytes`);
});
