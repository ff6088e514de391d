// npm's `websocket` against `corelane serve`.
// Goal: a client that is still sending when the server closes reads the close code and its reason.
// Method: messages far larger than what the kernel's buffers take, in one frame and in fragments.
'use strict';

const assert = require('node:assert');
const {need, withServer, test, finish} = require('./corelane.cjs');
const {client: WebSocketClient} = need('websocket');

const MIB = 1024 * 1024;

// How a connection ends that sends `data`: [code, reason].
function endOf(url, data, config) {
  return new Promise((resolve, reject) => {
    const client = new WebSocketClient({maxReceivedFrameSize: 64 * MIB, ...config});
    client.on('connectFailed', reject);
    client.on('connect', (connection) => {
      connection.on('error', reject);
      connection.on('close', (code, reason) => resolve([code, reason]));
      connection.sendBytes(data);
    });
    client.connect(url);
  });
}

const tooLarge = [1009, 'message larger than limits.message_bytes_max (1048576)'];
const tooMany = [1009, 'message in more fragments than limits.fragments_max (1024)'];

test('a message past the limit is closed with 1009 and its reason', () => withServer('serve', [], async ({url}) => {
  for (const size of [MIB + 1, 1.1 * MIB, 8 * MIB, 15 * MIB]) {
    assert.deepStrictEqual(await endOf(url, Buffer.alloc(size), {fragmentOutgoingMessages: false}), tooLarge);
  }
}));

test('so is one in fragments', () => withServer('serve', [], async ({url}) => {
  const config = {fragmentOutgoingMessages: true, fragmentationThreshold: 64 * 1024};
  assert.deepStrictEqual(await endOf(url, Buffer.alloc(8 * MIB), config), tooLarge);
  const small = {fragmentOutgoingMessages: true, fragmentationThreshold: 1000};
  assert.deepStrictEqual(await endOf(url, Buffer.alloc(8 * MIB), small), tooMany);
}));

finish();
