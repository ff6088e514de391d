// npm's `ws` against `corelane serve` and `corelane echo`.
// Goal: the client that most programs in JavaScript use exchanges frames of the protocol and raw messages with us.
// Method: the frames of the protocol's test vectors; messages of all kinds and sizes, fragmented and compressed.
'use strict';

const assert = require('node:assert');
const {need, vectors, opcodeOf, withServer, run, test, finish} = require('./corelane.cjs');
const WebSocket = need('ws');

const frames = vectors();
const [ACK, EVENT, WHOAMI_REPLY, SUBSCRIBE_REPLY, PONG] = [19, 21, 22, 23, 3];

// A connection whose messages are taken one by one.
class Client {
  constructor(url, options) {
    this.socket = new WebSocket(url, options);
    this.messages = [];
    this.takers = [];
    this.closed = new Promise((resolve) => this.socket.on('close', (code) => resolve(code)));
    this.opened = new Promise((resolve, reject) => this.socket.on('open', resolve).on('error', reject));
    this.socket.on('message', (data, isBinary) => {
      const message = isBinary ? data : data.toString();
      const taker = this.takers.shift();
      if (taker) taker(message); else this.messages.push(message);
    });
  }
  take() {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift());
    return new Promise((resolve) => this.takers.push(resolve));
  }
  async takeOpcodes(count) {
    const opcodes = [];
    while (opcodes.length < count) opcodes.push(opcodeOf(await this.take()));
    return opcodes;
  }
  async close() {
    this.socket.close(1000);
    assert.strictEqual(await this.closed, 1000);
  }
}

async function open(url, options) {
  const client = new Client(url, options);
  await client.opened;
  return client;
}

test('requests of the vectors are answered', () => withServer('serve', [], async ({url}) => {
  const client = await open(url);
  client.socket.send(frames.whoami);
  client.socket.send(frames.ping);
  // In whatever order: WhoAmI may have to ask the kernel for the address.
  assert.deepStrictEqual((await client.takeOpcodes(2)).sort((a, b) => a - b), [PONG, WHOAMI_REPLY]);
  await client.close();
}));

test('what one client publishes reaches another', () => withServer('serve', [], async ({url}) => {
  const [subscriber, publisher] = [await open(url), await open(url)];
  subscriber.socket.send(frames.subscribe);
  assert.deepStrictEqual(await subscriber.takeOpcodes(1), [SUBSCRIBE_REPLY]);
  for (let i = 0; i < 100; ++i) publisher.socket.send(frames.publish);
  assert.deepStrictEqual(await subscriber.takeOpcodes(100), Array(100).fill(EVENT));
  assert.deepStrictEqual(await publisher.takeOpcodes(100), Array(100).fill(ACK));
  assert.strictEqual((await run('pub', 'a.b', 'from the command line', '-u', url)).code, 0);
  assert.ok((await subscriber.take()).includes('from the command line'));
  await subscriber.close();
  await publisher.close();
}));

async function exchange(url, options) {
  const client = await open(url, {maxPayload: 0, ...options});
  const messages = ['', 'text', 'Grüße, 世界 🌍', Buffer.alloc(0), Buffer.from([0, 255, 1]), 'x'.repeat(125),
    Buffer.alloc(126, 1), Buffer.alloc(65_535, 2), 'y'.repeat(65_536), Buffer.alloc(1024 * 1024, 3)];
  for (const message of messages) client.socket.send(message);
  for (const message of messages) assert.deepStrictEqual(await client.take(), message);
  const parts = ['Gr', 'ü', '', 'ße'];
  parts.forEach((part, index) => client.socket.send(part, {fin: index === parts.length - 1}));
  assert.strictEqual(await client.take(), 'Grüße');
  const ponged = new Promise((resolve) => client.socket.on('pong', resolve));
  client.socket.ping('are you there');
  assert.strictEqual((await ponged).toString(), 'are you there');
  const {extensions} = client.socket;
  await client.close();
  return extensions;
}

test('echo brings back messages of every kind and size', () => withServer('echo', [], async ({url}) => {
  assert.strictEqual(await exchange(`${url}any/path`, {}), '');
}));

test('echo brings them back compressed', () => withServer('echo', ['--deflate'], async ({url}) => {
  const perMessageDeflate = {threshold: 0};
  assert.match(await exchange(url, {perMessageDeflate}), /permessage-deflate/);
  perMessageDeflate.serverNoContextTakeover = true;
  perMessageDeflate.clientNoContextTakeover = true;
  perMessageDeflate.serverMaxWindowBits = 10;
  assert.match(await exchange(url, {perMessageDeflate}), /permessage-deflate/);
}));

test('a stopping server closes with 1001 and exits 0', () => withServer('serve', [], async (server) => {
  const client = await open(server.url);
  server.process.kill('SIGTERM');
  assert.strictEqual(await client.closed, 1001);
  assert.strictEqual(await server.ended, 0);
}));

finish();
