// Headless Chromium against `corelane serve` and `corelane echo`, and behind nginx with TLS.
// Goal: a browser's WebSocket, with its Origin and its compression, exchanges binary frames with us. Method:
// Debian's Chromium driven by playwright-core, with a profile of its own; the page is served by `corelane echo`, or by
// nginx with tools/docs/proxies/nginx.conf, under the name and the port that a public site has.
'use strict';

const assert = require('node:assert');
const {spawn} = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const {need, vectors, opcodeOf, within, withServer, test, finish} = require('./corelane.cjs');
const {chromium} = need('playwright-core');

const executablePath = '/usr/bin/chromium';
if (!fs.existsSync(executablePath)) {
  console.log(`1..0 # SKIP there is no ${executablePath} (Debian: chromium)`);
  process.exit(0);
}

const frames = vectors();
const [ACK, EVENT, WHOAMI_REPLY, SUBSCRIBE_REPLY, PONG] = [19, 21, 22, 23, 3];

async function withPage(body, flags = []) {
  const profile = fs.mkdtempSync(path.join(process.argv[4] ?? os.tmpdir(), 'chromium-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', ...flags],
  });
  try {
    await body(await context.newPage());
  } finally {
    await context.close();
    fs.rmSync(profile, {recursive: true, force: true});
  }
}

// In the page: opens a WebSocket, sends `messages` (arrays of bytes, or text) and returns what came back.
async function exchangeInPage({url, messages, expected}) {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  const received = [];
  await new Promise((resolve, reject) => {
    socket.onerror = () => reject(new Error('the browser could not open the WebSocket'));
    socket.onclose = (event) => reject(new Error(`closed with ${event.code}`));
    socket.onopen = () => {
      for (const message of messages) socket.send(typeof message === 'string' ? message : new Uint8Array(message));
    };
    socket.onmessage = ({data}) => {
      received.push(typeof data === 'string' ? data : [...new Uint8Array(data)]);
      if (received.length === expected) resolve();
    };
  });
  const closed = new Promise((resolve) => { socket.onclose = (event) => resolve(event.code); });
  const {extensions} = socket;
  socket.close(1000);
  return {received, extensions, code: await closed};
}

// Runs `body(page, target, site)`: a page of the echo server `site`, and the server under test.
function withTarget(command, flags, body) {
  return withServer('echo', [], (site) => withServer(command, flags(site), (target) => withPage(async (page) => {
    await page.goto(`http://${site.address}/`);
    await body(page, target, site);
  })));
}

test('a page exchanges frames of the protocol', () => withServer('serve', [], ({address, url}) =>
  withPage(async (page) => {
    await page.goto(`http://${address}/healthz`);
    const messages = [frames.whoami, frames.ping, frames.subscribe, frames.publish].map((frame) => [...frame]);
    const {received, code} = await page.evaluate(exchangeInPage, {url, messages, expected: 5});
    const opcodes = received.map((bytes) => opcodeOf(Buffer.from(bytes)));
    // An event may overtake the acknowledgement of its publisher.
    assert.deepStrictEqual([...opcodes].sort((a, b) => a - b), [PONG, ACK, EVENT, WHOAMI_REPLY, SUBSCRIBE_REPLY]);
    assert.ok(Buffer.from(received[opcodes.indexOf(EVENT)]).includes('hello'));
    assert.strictEqual(code, 1000);
  })));

test('a page of another origin is kept out', () => withTarget('serve', () => [], async (page, {url}) => {
  const exchange = page.evaluate(exchangeInPage, {url, messages: [[1]], expected: 1});
  await assert.rejects(exchange, /could not open|closed with 1006/);
}));

const listed = (site) => ['--origin', `http://${site.address}`];
test('a listed origin is let in', () => withTarget('serve', listed, async (page, {url}) => {
  const {received} = await page.evaluate(exchangeInPage, {url, messages: [[...frames.ping]], expected: 1});
  assert.strictEqual(opcodeOf(Buffer.from(received[0])), PONG);
}));

for (const flags of [[], ['--deflate']]) {
  const name = `a page gets its messages back${flags.length > 0 ? ', compressed' : ''}`;
  test(name, () => withServer('echo', flags, ({address, url}) => withPage(async (page) => {
    await page.goto(`http://${address}/`);
    const big = Array.from({length: 100_000}, (_, index) => index % 251);
    const messages = ['', 'text', 'Grüße, 世界 🌍', [], [0, 255], big, 'x'.repeat(1024 * 1024)];
    const given = {url, messages, expected: messages.length};
    const {received, extensions, code} = await page.evaluate(exchangeInPage, given);
    assert.deepStrictEqual(received, messages);
    assert.strictEqual(extensions.includes('permessage-deflate'), flags.length > 0);
    assert.strictEqual(code, 1000);
  })));
}

// Runs `body(page)` with a page that reaches nginx as example.org and as other.example, both over TLS at port 443.
async function withPageBehindNginx(upstream, body) {
  const script = path.join(__dirname, 'proxies.py');
  const proxy = spawn('/usr/bin/python3', ['-B', script, process.argv[2], 'Nginx', upstream],
    {stdio: ['pipe', 'pipe', 'inherit']});
  const ended = new Promise((resolve) => proxy.on('exit', resolve));
  try {
    const line = await within(new Promise((resolve, reject) => {
      readline.createInterface(proxy.stdout).on('line', resolve).on('close', () => reject(new Error('no nginx')));
    }), 'the start of nginx');
    const port = /^port (\d+)$/.exec(line)?.[1];
    if (port === undefined) return false;
    const rules = ['example.org', 'other.example'].map((name) => `MAP ${name} 127.0.0.1:${port}`).join(', ');
    await withPage(body, [`--host-resolver-rules=${rules}`, '--ignore-certificate-errors']);
    return true;
  } finally {
    proxy.stdin.end();
    await ended;
  }
}

test('behind nginx with TLS, a page of its host exchanges frames with a server of defaults, and no other page does',
  () => withServer('serve', [], async ({address}) => {
    const url = 'wss://example.org/';
    const ran = await withPageBehindNginx(address, async (page) => {
      await page.goto('https://example.org/healthz');
      const {received, code} = await page.evaluate(exchangeInPage, {url, messages: [[...frames.ping]], expected: 1});
      assert.strictEqual(opcodeOf(Buffer.from(received[0])), PONG);
      assert.strictEqual(code, 1000);
      await page.goto('https://other.example/healthz');
      const exchange = page.evaluate(exchangeInPage, {url, messages: [[...frames.ping]], expected: 1});
      await assert.rejects(exchange, /could not open|closed with 1006/);
    });
    if (!ran) console.log('# skipped: there is no nginx');
  }));

finish();
