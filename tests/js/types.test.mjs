import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const tsc = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
const project = fileURLToPath(new URL('tsconfig.json', import.meta.url));
const skip = !existsSync(tsc) && process.env.CI !== 'true' && 'typescript is not installed (npm ci)';

test('the type declarations describe the ES module and the global', { skip }, () => {
  const { status, stdout } = spawnSync(process.execPath, [tsc, '--noEmit', '--project', project], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});
