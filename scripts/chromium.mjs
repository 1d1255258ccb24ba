// Chromium by its DevTools pipe: opens a page, runs a script in it, waits for one to become true. Only loopback is reachable.
import { spawn } from 'node:child_process';

const ARGUMENTS = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--remote-debugging-pipe',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
];
const WAIT_MS = 30_000;

/** Starts Chromium with its profile in `folder`; rejects where there is no Chromium. */
export async function chromium(folder) {
  const program = spawn('chromium', [...ARGUMENTS, `--user-data-dir=${folder}`], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
  const ended = new Promise((resolve) => { program.once('close', resolve); });
  const [, , , to, from] = program.stdio;
  await new Promise((resolve, reject) => { program.once('spawn', resolve).once('error', reject); });
  const waiting = new Map();
  let serial = 0;
  let rest = '';
  to.on('error', () => {}); // it may end before it has read everything
  from.setEncoding('utf8').on('data', (chunk) => {
    const messages = (rest + chunk).split('\0');
    rest = messages.pop();
    for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
      if (error) waiting.get(id)?.reject(new Error(error.message));
      else waiting.get(id)?.resolve(result);
      waiting.delete(id);
    }
  });
  const send = (method, params, sessionId) => new Promise((resolve, reject) => {
    serial += 1;
    waiting.set(serial, { resolve, reject });
    to.write(`${JSON.stringify({ id: serial, method, params, sessionId })}\0`);
  });
  async function open(url, userAgent) {
    const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
    await send('Emulation.setUserAgentOverride', { userAgent }, sessionId);
    await send('Page.navigate', { url }, sessionId);
    return new Page((method, params) => send(method, params, sessionId), url);
  }
  async function close() {
    send('Browser.close'); // it ends its children first, which a signal leaves writing into the folder
    await ended;
  }
  return { open, close };
}

class Page {
  constructor(send, url) { Object.assign(this, { send, url }); }

  /** The value of an expression in the page. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits until an expression is true; what it throws meanwhile, as while the page loads, counts as false. */
  async until(expression) {
    for (const end = Date.now() + WAIT_MS; Date.now() < end;) {
      if (await this.evaluate(expression).catch(() => false)) return;
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    const seen = await this.evaluate('document.documentElement.outerHTML');
    throw new Error(`${this.url}: never true: ${expression}\n${seen}`);
  }
}
