// What the end-to-end tests in JavaScript share: servers on ephemeral ports, vectors, and TAP. A test file calls
// `test(name, function)` and in the end `finish()`. Arguments: the program, the folder with node_modules.
'use strict';

const {spawn, execFile} = require('node:child_process');
const {createRequire} = require('node:module');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');

const [program, modules] = process.argv.slice(2).map((name) => path.resolve(name));
const PATIENCE_MS = 120_000;  // for what happens at once: a slow machine must not fail a test

// A package of tests/e2e/setup; skips everything if it is not there.
function need(name) {
  try {
    return createRequire(path.join(modules, 'package.json'))(name);
  } catch (error) {
    console.log(`1..0 # SKIP npm's ${name} is not installed (tests/e2e/setup): ${error.code}`);
    process.exit(0);
  }
}

function vectors() {
  const file = path.join(__dirname, '../conformance/protocol_vectors.json');
  const entries = JSON.parse(fs.readFileSync(file, 'utf8')).vectors;
  return Object.fromEntries(entries.map((entry) => [entry.name, Buffer.from(entry.hex, 'hex')]));
}

// The opcode of a frame as our server lays it out (a FlatBuffers table, field 0).
function opcodeOf(frame) {
  const body = Buffer.from(frame).subarray(4);
  const table = body.readUInt32LE(0);
  const field = body.readUInt16LE(table - body.readInt32LE(table) + 4);
  return field === 0 ? 0 : body.readUInt16LE(table + field);
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took too long`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Runs `body({url, address, process})` with a server, and ends the server.
async function withServer(command, flags, body) {
  const child = spawn(program, [command, '--listen', '127.0.0.1:0', '--cores', '2', ...flags],
    {stdio: ['ignore', 'pipe', 'inherit']});
  const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal)));
  try {
    const line = await within(new Promise((resolve, reject) => {
      readline.createInterface(child.stdout).on('line', resolve).on('close', () => reject(new Error('no server')));
    }), 'the start of the server');
    const address = /^listening on (\S+) /.exec(line)[1];
    await body({address, url: `ws://${address}/`, process: child, ended});
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

function run(...words) {
  return new Promise((resolve) => {
    execFile(program, words, {timeout: PATIENCE_MS},
      (error, stdout, stderr) => resolve({code: error ? error.code : 0, stdout, stderr}));
  });
}

const tests = [];
function test(name, body) {
  tests.push({name, body});
}

async function finish() {
  let failed = 0;
  console.log('TAP version 13');
  for (const [index, {name, body}] of tests.entries()) {
    try {
      await within(body(), name);
      console.log(`ok ${index + 1} - ${name}`);
    } catch (error) {
      ++failed;
      console.log(`not ok ${index + 1} - ${name}`);
      console.log(String(error.stack ?? error).replace(/^/gm, '# '));
    }
  }
  console.log(`1..${tests.length}`);
  process.exit(failed === 0 ? 0 : 1);
}

module.exports = {need, vectors, opcodeOf, within, withServer, run, test, finish};
