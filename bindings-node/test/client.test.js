import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Client, RespassError } from '../lib/index.js';
import { startEmulator, startServer } from './rig.js';

async function connect(t, options = {}) {
  const { stop, host, port } = await startServer(t);
  const client = new Client({ host, port, ...options });
  t.after(() => client.close());
  return { client, stop };
}

test('replies of every kind become JavaScript values', async (t) => {
  const { client } = await connect(t);
  const reply = (...args) => client.command(args);
  assert.equal(await reply('SET', 'k', 'v'), 'OK');
  assert.equal(await reply('GET', 'k'), 'v');
  assert.equal(await reply('GET', 'none'), null);
  assert.equal(await reply('INCRBY', 'n', '-41'), -41);
  assert.equal(await reply('SET', 'big', '9007199254740993').then(() => reply('INCR', 'big')), 9007199254740994n);
  await reply('RPUSH', 'l', 'a', 'bc', '');
  assert.deepEqual(await reply('LRANGE', 'l', '0', '-1'), ['a', 'bc', '']);
  assert.deepEqual(await reply('HSET', 'h', 'f', 'v').then(() => reply('HGETALL', 'h')), { f: 'v' });
  assert.equal(await reply('ZADD', 'z', '1.5', 'm').then(() => reply('ZSCORE', 'z', 'm')), 1.5);
  assert.deepEqual(await reply('EVAL', 'return {1, {2, {"three"}}, false, 4}', '0'), [1, [2, ['three']], null, 4]);
});

test('an error of the server rejects one command alone', async (t) => {
  const { client } = await connect(t);
  const commands = [['SET', 'k', 'v'], ['LPOP', 'k'], ['GET', 'k']];
  const replies = Promise.allSettled(commands.map((command) => client.command(command)));
  const [, refused, last] = await replies;
  assert(refused.reason instanceof RespassError);
  assert.equal(refused.reason.code, 510);
  assert.match(refused.reason.message, /^WRONGTYPE/);
  assert.equal(last.value, 'v');
});

test('a command that cannot be sent spares the others of its turn', async (t) => {
  const { client } = await connect(t);
  const [first, refused, last] = await client.pipeline([['SET', 'k', 'v'], ['BLPOP', 'l', '0'], ['GET', 'k']]);
  assert.deepEqual([first, last], ['OK', 'v']);
  assert.equal(refused.code, 103);
  assert.equal(refused.outcome, 'not sent');
  await assert.rejects(client.command([]), RangeError);
});

test('text that is not ASCII and bytes survive the way there and back', async (t) => {
  const { client } = await connect(t);
  const text = 'grüße, 世界 🌍';
  const bytes = Buffer.from([0, 255, 13, 10, 128]);
  const pairs = [[text, text], ['plain', 'x'], ['b', bytes]];
  await Promise.all(pairs.map((pair) => client.command(['SET', ...pair])));
  assert.equal(await client.command(['GET', text]), text);
  assert.equal(await client.command(['GET', 'plain']), 'x');
  client.asBuffers = true;
  assert.deepEqual(await client.command(['GET', 'b']), bytes);
});

test('values and aggregates larger than the window', async (t) => {
  const { client } = await connect(t);
  const large = 'y'.repeat(8 << 20);
  const many = Array.from({ length: 100_000 }, (_, i) => `element-${i}`);
  const [, length, value, elements, small] = await client.pipeline([
    ['SET', 'large', large], ['RPUSH', 'many', ...many], ['GET', 'large'], ['LRANGE', 'many', '0', '-1'], ['PING'],
  ]);
  assert.equal(length, many.length);
  assert(value === large);
  assert.deepEqual(elements, many);
  assert.equal(small, 'PONG');
});

test('many tasks share a connection and each gets its own reply', async (t) => {
  const { client } = await connect(t);
  await Promise.all(Array.from({ length: 200 }, async (_, task) => {
    for (let i = 0; i < 20; i++) {
      const key = `task:${task}:${i}`;
      assert.equal(await client.command(['SET', key, key]), 'OK');
      assert.equal(await client.command(['GET', key]), key);
    }
  }));
});

test('a lost connection fails what was sent and serves what comes next', async (t) => {
  const { client } = await connect(t);
  const id = await client.command(['CLIENT', 'ID']);
  const killed = client.command(['CLIENT', 'KILL', 'ID', String(id), 'SKIPME', 'no']);
  const behind = client.command(['EVAL', 'return 1', '0']);
  const outcomes = await Promise.allSettled([killed, behind]);
  assert.equal(outcomes[1].reason.code, 201);
  assert.equal(outcomes[1].reason.outcome, 'indeterminate');
  assert.equal(await client.command(['PING']), 'PONG');
});

test('nobody listens: the error says so', async (t) => {
  const { stop, host, port } = await startServer(t);
  await stop();
  const client = new Client({ host, port, commandTimeoutMs: 200, connectTimeoutMs: 100 });
  t.after(() => client.close());
  await assert.rejects(client.command(['PING']), (error) => error.outcome === 'not sent');
});

const needsEmulator = { skip: !process.env.RESPASS_EMULATOR };

test('a token logs in over TLS and is renewed on the live connection', needsEmulator, async (t) => {
  const { host, port, ca_file: caFile, admin } = await startEmulator(t, '--token-ttl', '4');
  const credential = async () => {
    const reply = await fetch(`${admin}/token`, { method: 'POST', body: '{}' });
    const { access_token: token, expires_on: expiresOn } = await reply.json();
    return { token, expiresOnTimestamp: Number(expiresOn) * 1000 };
  };
  const client = new Client({ host, port, tls: { ca: readFileSync(caFile) }, credential });
  t.after(() => client.close());
  let reauths = 0;
  client.on('notice', ({ name }) => { reauths += name === 'reauthenticated'; });
  for (const end = Date.now() + 6000; Date.now() < end;) {
    const replies = await client.pipeline(Array.from({ length: 100 }, (_, i) => ['SET', `k:${i}`, 'v']));
    assert(replies.every((reply) => reply === 'OK'), String(replies.find((reply) => reply !== 'OK')));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert(reauths > 0);
});
