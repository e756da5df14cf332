'use strict';
// What a client does to its process: its end, its memory, its threads.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Worker } = require('node:worker_threads');
const { runScript, sleep, startClient, startServer, until } = require('./rig');

test('a process whose client is closed ends by itself', async (t) => {
  const { host, port } = await startServer(t);
  const { code, stdout, stderr } = await runScript(`
    (async () => {
      for (const end of ['close', 'destroy']) {
        const client = await respass.createClient({ socket: { host: '${host}', port: ${port} } }).connect();
        await client.sendCommand(['PING']);
        const ended = new Promise((resolve) => client.once('end', resolve));
        await client[end]();
        await ended;
      }
      console.log(process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap' && name !== 'TTYWrap').join());
    })();`);
  assert.deepEqual([code, stdout, stderr], [0, '\n', ''], 'neither a timer nor a socket is left');
});

test('subscriptions, monitors and blocking commands end with their client, and with them the process', async (t) => {
  const { host, port } = await startServer(t);
  for (const end of ['close', 'destroy', 'unref']) {
    const { code, stdout, stderr } = await runScript(`
      (async () => {
        const client = await respass.createClient({ socket: { host: '${host}', port: ${port} } }).connect();
        await client.subscribe('a', () => {});
        await client.monitor(() => {});
        await client.watch('k');
        if ('${end}' !== 'close') client.blPop('none', 0).catch((error) => console.log(error.name));
        await client.ping();
        await client['${end}']();
      })();`);
    const ended = end === 'destroy' ? 'ClientClosedError\n' : '';
    assert.deepEqual([code, stdout, stderr], [0, ended, ''], end);
  }
});

test('what a listener throws is an uncaught exception, and nobody else\'s trouble', async (t) => {
  const { client: publisher, host, port } = await startClient(t);
  const running = runScript(`
    (async () => {
      process.on('uncaughtException', (error) => console.log('uncaught', error.message));
      const client = await respass.createClient({ socket: { host: '${host}', port: ${port} } }).connect();
      const listen = (name) => (message) => {
        console.log(name, message);
        if (message === 'end') return client.close();
        if (name === 'one') throw new Error(message);
      };
      client.on('gap', () => {});
      for (const name of ['one', 'two']) await client.subscribe('a', listen(name));
      await client.pSubscribe('a', listen('three'), true);
    })();`);
  await until(async () => (await publisher.pubSubNumPat()) === 1);
  for (const message of ['first', 'second', 'end']) await publisher.publish('a', message);
  const { code, stdout, stderr } = await running;
  assert.deepEqual([code, stderr], [0, '']);
  const lines = stdout.trim().split('\n');
  for (const message of ['first', 'second']) {
    for (const name of ['one', 'two', 'uncaught']) assert(lines.includes(`${name} ${message}`), stdout);
  }
});

test('an unref\'d client lets its process end', async (t) => {
  const { host, port } = await startServer(t);
  const { code, stdout } = await runScript(`
    respass.createClient({ socket: { host: '${host}', port: ${port} } }).connect()
      .then((client) => { client.unref(); console.log('connected'); });`);
  assert.deepEqual([code, stdout], [0, 'connected\n']);
});

test('a process may exit at any moment, with its own code', async (t) => {
  const { host, port } = await startServer(t);
  await Promise.all(['0', '1', 'ready', 'busy', 'closing'].map(async (when) => {
    const { code, stderr } = await runScript(`
      const when = '${when}';
      const client = respass.createClient({ socket: { host: '${host}', port: ${port} } });
      const connected = client.connect();
      if (when === '0') process.exit(7);
      if (when === '1') setImmediate(() => process.exit(7));
      connected.then(() => {
        if (when === 'ready') process.exit(7);
        for (let i = 0; i < 10000; i++) client.sendCommand(['SET', 'k' + i, 'v'.repeat(100)]).catch(() => {});
        if (when === 'closing') client.close();
        setTimeout(() => process.exit(7), 2);
      });`);
    assert.deepEqual([code, stderr], [7, ''], when);
  }));
});

test('workers come and go with work in flight', async (t) => {
  const { client, host, port } = await startClient(t);
  await client.sendCommand(['SET', 'large', 'x'.repeat(1 << 20)]);
  await client.sendCommand(['RPUSH', 'list', ...Array.from({ length: 1000 }, (_, i) => 'an element of a list ' + i)]);
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { createClient } = require(workerData.respass);
    createClient({ socket: workerData.socket }).connect().then(async (client) => {
      globalThis.kept = await Promise.all([['GET', 'large'], ['LRANGE', 'list', '0', '-1']]
        .map((args) => client.sendCommand(args)));
      await client.subscribe('channel', () => {});
      client.blPop('none', 0).catch(() => {});
      const work = () => Promise.all(Array.from({ length: 50 }, () => client.sendCommand(['INCR', 'n']))).then(work);
      work().catch(() => {});
      parentPort.postMessage('works');
    });`;
  const workerData = { respass: require.resolve('..'), socket: { host, port } };
  const run = () => new Promise((resolve, reject) => {
    const worker = new Worker(program, { eval: true, workerData });
    worker.on('error', reject).on('exit', resolve);
    worker.once('message', () => worker.terminate());
  });
  for (let started = 0; started < 100; started += 10) {
    assert.deepEqual(await Promise.all(Array.from({ length: 10 }, run)), new Array(10).fill(1));
  }
});

const USED = `
  const used = () => {
    gc();
    gc();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };`;

test('a small part of a reply keeps no large one alive', async (t) => {
  const { host, port } = await startServer(t);
  const { code, stdout, stderr } = await runScript(`
    const { RESP_TYPES } = respass;
    ${USED}
    (async () => {
      const client = await respass.createClient({ socket: { host: '${host}', port: ${port} } }).connect();
      const buffers = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
      const values = Array.from({ length: 20000 }, (_, i) => 'a value of some length ' + i);
      await client.sendCommand(['RPUSH', 'list', ...values]);
      await client.sendCommand(['SET', 'large', 'x'.repeat(2 << 20)]);
      const commands = [['LRANGE', 'list', '0', '-1'], ['GET', 'large']];
      for (const view of [client, buffers]) {
        await Promise.all(commands.map((args) => view.sendCommand(args)));
        const before = used();
        const kept = [];
        for (let i = 0; i < 50; i++) {
          const [list, large] = await Promise.all(commands.map((args) => view.sendCommand(args)));
          kept.push(list[i * 100], large.length);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
        console.log(Math.round((used() - before) / 50));
        globalThis.kept = kept;
      }
      await client.close();
    })();`, { flags: ['--expose-gc'] });
  assert.equal(code, 0, stderr);
  const [strings, buffers] = stdout.trim().split('\n').map(Number);
  assert(strings < 6 * 1024, `a short string keeps ${strings} bytes`);
  assert(buffers < 12 * 1024, `a short Buffer keeps ${buffers} bytes`);
});

test('memory does not grow with the commands that were run', async (t) => {
  const { host, port } = await startServer(t);
  const { code, stdout, stderr } = await runScript(`
    ${USED}
    (async () => {
      const client = await respass.createClient({ socket: { host: '${host}', port: ${port} } }).connect();
      const work = async () => {
        for (let i = 0; i < 40; i++) {
          await Promise.all(Array.from({ length: 500 }, (_, j) => client.sendCommand(['SET', 'k' + j, 'v' + i])));
          await client.multi().addCommand(['GET', 'k1']).addCommand(['NOPE']).exec().catch(() => {});
          await client.subscribe('channel' + i, () => {});
          await client.publish('channel' + i, 'message');
          await client.unsubscribe('channel' + i);
          await client.execute(async (own) => own.watch('k1'));
          const once = await client.duplicate().connect();
          await once.sendCommand(['PING'], { signal: new AbortController().signal });
          await once.close();
        }
      };
      await work();
      const before = used();
      await work();
      await work();
      console.log(used() - before);
      await client.close();
    })();`, { flags: ['--expose-gc'], seconds: 40 });
  assert.equal(code, 0, stderr);
  assert(Number(stdout) < 256 * 1024, `${stdout} bytes more`);
});

test('a command that waits does not block the process, and nothing is sent before its turn ends', async (t) => {
  const { client } = await startClient(t);
  const order = [];
  const slow = client.sendCommand(['DEBUG', 'SLEEP', '0.1']).then(() => order.push('reply'));
  await sleep(10);
  order.push('timer');
  await slow;
  assert.deepEqual(order, ['timer', 'reply']);
  await until(() => client.isReady);
});
