'use strict';
const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const { test } = require('node:test');
const { ConnectionError, ProtocolError, TimeoutError, createClient } = require('..');
const { connect, freePort, next, runScript, sleep, startClient, startServer, startServerAt, until } = require('./rig');

/** A server that answers each read with what `answer(text)` makes of it. */
async function startFake(t, answer) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    socket.on('data', (bytes) => socket.write(answer(bytes.toString()) ?? ''));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { host: '127.0.0.1', port: server.address().port };
}

const HELLO = '%1\r\n+proto\r\n:3\r\n+OK\r\n+OK\r\n';

test('a lost connection fails what was sent, and serves what comes next', async (t) => {
  const { client } = await startClient(t);
  const errors = [];
  client.on('error', (error) => errors.push(error));
  const reconnecting = next(client, 'reconnecting');
  const id = await client.sendCommand(['CLIENT', 'ID']);
  const killed = client.sendCommand(['CLIENT', 'KILL', 'ID', String(id), 'SKIPME', 'no']);
  const behind = client.sendCommand(['EVAL', 'return 1', '0']);
  const [, { reason }] = await Promise.allSettled([killed, behind]);
  assert(reason instanceof ConnectionError);
  assert.deepEqual([reason.code, reason.outcome], [201, 'indeterminate']);
  await reconnecting;
  assert.equal(await client.sendCommand(['PING']), 'PONG');
  assert(errors[0] instanceof ConnectionError);
});

test('a server that comes back is found again', async (t) => {
  const { client, stop, port } = await startClient(t);
  client.on('error', () => {});
  const lost = next(client, 'error');
  await stop();
  await lost;
  assert.deepEqual([client.isOpen, client.isReady], [true, false]);
  const waiting = client.sendCommand(['PING']);
  const ready = next(client, 'ready');
  await startServerAt(port, t);
  assert.equal(await waiting, 'PONG');
  await ready;
});

test('nobody listens: connect says so, and the client is closed', async (t) => {
  const port = await freePort();
  const client = createClient({ socket: { host: '127.0.0.1', port }, commandTimeout: 200 });
  client.on('error', () => {});
  await assert.rejects(client.connect(), (error) => {
    assert(error instanceof ConnectionError);
    assert.deepEqual([error.code, error.outcome], [200, 'not_sent']);
    assert.match(error.message, /ECONNREFUSED/);
    return true;
  });
  assert.equal(client.isOpen, false);
  t.diagnostic('connect may be called again');
  await assert.rejects(client.connect(), ConnectionError);
});

test('a server that says nothing: connect ends in time', async (t) => {
  const { host, port } = await startFake(t, () => undefined);
  const client = createClient({ socket: { host, port, tls: true, connectTimeout: 1000 }, commandTimeout: 100 });
  client.on('error', () => {});
  const attempt = client.connect();
  await sleep(200);
  client.destroy();
  await assert.rejects(attempt, { code: 100 });
});

test('a reply that does not come in time fails its command alone', async (t) => {
  const { client } = await startClient(t, { commandTimeout: 300 });
  const slow = client.sendCommand(['DEBUG', 'SLEEP', '0.6']);
  await assert.rejects(slow, (error) => {
    assert(error instanceof TimeoutError);
    assert.deepEqual([error.code, error.outcome], [300, 'indeterminate']);
    return true;
  });
  await until(async () => await client.sendCommand(['ECHO', 'mine']).catch(() => {}) === 'mine');
});

test('bytes that are no RESP close the connection', async (t) => {
  const { host, port } = await startFake(t, (text) => text.includes('HELLO') ? HELLO : 'nonsense\r\n');
  const client = await connect(t, { socket: { host, port } });
  client.on('error', () => {});
  await assert.rejects(client.sendCommand(['GET', 'k']), (error) => {
    assert(error instanceof ProtocolError);
    return error.code === 203;
  });
});

test('close ends although the server never answers', async (t) => {
  const { host, port } = await startFake(t, (text) => text.includes('HELLO') ? HELLO : undefined);
  const client = await connect(t, { socket: { host, port }, commandTimeout: 200 });
  const unanswered = client.sendCommand(['GET', 'k']);
  const closing = client.close();
  await assert.rejects(unanswered, TimeoutError);
  await closing;
});

test('a server that takes nothing holds up neither the caller nor the end', async (t) => {
  const server = net.createServer((socket) => {
    socket.once('data', () => {
      socket.write(HELLO);
      socket.pause();
    });
    t.after(() => socket.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const client = await connect(t, { socket: { host: '127.0.0.1', port: server.address().port }, commandTimeout: 300 });
  const large = Buffer.alloc(4 << 20, 'x');
  const stuck = Array.from({ length: 8 }, () => client.sendCommand(['SET', 'k', large]));
  const outcomes = await Promise.allSettled(stuck);
  assert(outcomes.every(({ reason }) => reason instanceof TimeoutError), String(outcomes[0].reason));
  await client.close();
});

test('a reset under back-pressure: what was not written yet runs on the next connection', async (t) => {
  const { host, port } = await startServer(t);
  let connections = 0;
  const relay = net.createServer((socket) => {
    const isFirst = connections++ === 0;
    const server = net.connect(port, host);
    let passed = 0;
    for (const end of [socket, server]) end.on('error', () => {});
    t.after(() => [socket, server].forEach((end) => end.destroy()));
    server.on('data', (bytes) => socket.write(bytes));
    socket.on('data', (bytes) => {
      passed += bytes.length;
      if (!isFirst || passed < 10_000) return server.write(bytes);
      socket.pause();
      setTimeout(() => socket.resetAndDestroy(), 300);
    });
  }).listen(0, '127.0.0.1');
  await once(relay, 'listening');
  t.after(() => relay.close());
  const client = await connect(t, { socket: { host, port: relay.address().port }, commandTimeout: 10_000 });
  client.on('error', () => {});
  const value = 'x'.repeat(10_000);
  const sets = Array.from({ length: 3000 }, (_, i) => client.sendCommand(['SET', `k:${i}`, value]));
  const lost = (await Promise.allSettled(sets)).filter(({ status }) => status === 'rejected');
  assert(lost.length < 1500, `${lost.length} were lost`);
  for (const { reason } of lost) assert.deepEqual([reason.code, reason.outcome], [201, 'indeterminate']);
});

test('trouble without a listener ends no process: it is warned once per kind', async (t) => {
  const { host, port } = await startServer(t);
  const { code, stdout, stderr } = await runScript(`
    (async () => {
      const client = await respass.createClient({ socket: { host: '${host}', port: ${port} } }).connect();
      for (let i = 0; i < 3; i++) {
        const id = await client.sendCommand(['CLIENT', 'ID']);
        await client.sendCommand(['CLIENT', 'KILL', 'ID', String(id), 'SKIPME', 'no']).catch(() => {});
        while (await client.sendCommand(['PING']).catch(() => {}) !== 'PONG');
      }
      console.log('lives');
      await client.close();
    })();`);
  assert.deepEqual([code, stdout], [0, 'lives\n'], stderr);
  assert.equal(stderr.match(/RespassWarning/g).length, 1, stderr);
  assert.match(stderr, /\[RESPASS_CONNECTION_LOST\] RespassWarning: /);
});

test('what a listener throws is its own: the client goes on', async (t) => {
  const { host, port } = await startServer(t);
  const { code, stdout, stderr } = await runScript(`
    process.on('uncaughtException', (error) => console.log(error.message));
    (async () => {
      const client = respass.createClient({ socket: { host: '${host}', port: ${port} } });
      client.on('ready', () => { throw new Error('mine'); });
      await client.connect();
      console.log(await client.sendCommand(['PING']));
      await client.close();
    })();`);
  assert.deepEqual([code, stdout], [0, 'mine\nPONG\n'], stderr);
});
