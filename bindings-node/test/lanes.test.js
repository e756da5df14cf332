'use strict';
// What has a connection of its own: blocking commands, WATCH, execute, MONITOR.
const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const { test } = require('node:test');
const reference = require('@redis/client');
const { AbortError, ClientClosedError, NoPermissionError, WatchError } = require('..');
const { connect, next, sleep, startClient, startServer, until } = require('./rig');

test('a blocking command waits as long as it says, and holds up nobody', async (t) => {
  const { client } = await startClient(t, { commandTimeout: 300 });
  const popped = client.blPop(['none', 'list'], 0);
  const several = Array.from({ length: 10 }, (_, i) => client.bzPopMin(`z${i}`, 5));
  const entry = client.xRead({ key: 'stream', id: '$' }, { BLOCK: 0 });
  const before = performance.now();
  assert.equal(await client.blPop('none', 0.5), null);
  assert(performance.now() - before > 450, 'longer than commands may take');
  await client.rPush('list', 'a');
  assert.deepEqual(await popped, { key: 'list', element: 'a' });
  await Promise.all(several.map((_, i) => client.zAdd(`z${i}`, { score: i, value: 'm' })));
  assert.deepEqual(await Promise.all(several), several.map((_, i) => ({ key: `z${i}`, value: 'm', score: i })));
  await client.xAdd('stream', '1-0', { f: 'v' });
  assert.deepEqual(await entry, [{ name: 'stream', messages: [{ id: '1-0', message: { f: 'v' } }] }].map(plain));
});

/** As the client makes it: without prototypes. */
function plain({ name, messages }) {
  const bare = ({ id, message }) => ({ id, message: Object.assign(Object.create(null), message) });
  return { name, messages: messages.map(bare) };
}

test('more blocking commands than connections take turns', async (t) => {
  const { client } = await startClient(t, { ownConnectionsMax: 2 });
  const popped = Array.from({ length: 8 }, (_, i) => client.blPop(`list${i}`, 5));
  for (let i = 0; i < 8; i++) await client.rPush(`list${i}`, String(i));
  assert.deepEqual((await Promise.all(popped)).map(({ element }) => Number(element)), [0, 1, 2, 3, 4, 5, 6, 7]);
  const lanes = client.authStatus().connections.map(({ lane }) => lane);
  assert(lanes.filter((lane) => lane !== 'main').length <= 2, lanes.join());
});

test('a blocking command that is given up takes nothing any more', async (t) => {
  const { client } = await startClient(t);
  const controller = new AbortController();
  const given = client.withAbortSignal(controller.signal).blPop('list', 0);
  await until(async () => (await client.clientList()).some(({ cmd }) => cmd === 'blpop'));
  controller.abort(new Error('enough'));
  await assert.rejects(given, (error) => {
    assert(error instanceof AbortError);
    assert.equal(error.cause.message, 'enough');
    return true;
  });
  await until(async () => !(await client.clientList()).some(({ cmd }) => cmd === 'blpop'));
  await client.rPush('list', 'kept');
  assert.deepEqual(await client.blPop('list', 1), { key: 'list', element: 'kept' });
});

test('a client that is destroyed ends blocking commands', async (t) => {
  const { client } = await startClient(t);
  const waiting = client.blPop('none', 0);
  await client.ping();
  const ended = next(client, 'end');
  client.destroy();
  await assert.rejects(waiting, ClientClosedError);
  await ended;
});

test('a transaction runs where no watched key was written to, and is a WatchError where one was', async (t) => {
  const { client, host, port } = await startClient(t);
  const other = await connect(t, { socket: { host, port } });
  const raise = () => client.multi().incr('n').get('n').exec();
  assert.equal(await client.watch(['n', 'm']), 'OK');
  assert.equal(client.isWatching, true);
  assert.deepEqual(await raise(), [1, '1']);
  assert.equal(client.isWatching, false);
  await client.watch('n');
  await other.set('n', '5');
  await assert.rejects(raise(), (error) => {
    assert(error instanceof WatchError);
    assert.equal(error.outcome, 'refused');
    return true;
  });
  assert.deepEqual(await raise(), [6, '6'], 'the watch ended with the transaction');
  await client.WATCH('n');
  await other.set('n', '7');
  assert.equal(await client.UNWATCH(), 'OK');
  assert.deepEqual(await raise(), [8, '8']);
  await client.watch('n');
  assert.deepEqual(await client.multi().exec(), [], 'no transaction ends the watch as well');
  assert.equal(client.isWatching, false);
});

test('a connection that is lost after WATCH is a WatchError', async (t) => {
  const { client, host, port } = await startClient(t);
  const other = await connect(t, { socket: { host, port } });
  await client.watch('n');
  const watching = (await other.clientList()).find(({ cmd }) => cmd === 'watch');
  const lost = next(client, 'error');
  await other.clientKill({ filter: 'ID', id: watching.id });
  await lost;
  await assert.rejects(client.multi().incr('n').exec(), WatchError);
  assert.equal(await other.get('n'), null);
  assert.deepEqual(await client.multi().incr('n').exec(), [1]);
});

test('execute gives each caller a connection: transactions that watch do not get into each other\'s way', async (t) => {
  const { client } = await startClient(t);
  const raise = () => client.execute(async (own) => {
    await own.watch('n');
    const value = Number(await own.get('n'));
    return own.multi().set('n', value + 1).exec();
  }).catch((error) => {
    if (!(error instanceof WatchError)) throw error;
    return raise();
  });
  await Promise.all(Array.from({ length: 20 }, async () => {
    for (let i = 0; i < 5; i++) await raise();
  }));
  assert.equal(await client.get('n'), '100');
});

test('inside of execute commands run in order, and none after it', async (t) => {
  const { client } = await startClient(t);
  let kept;
  const result = await client.execute(async (own) => {
    kept = own;
    const replies = await Promise.all([own.set('k', 'a'), own.append('k', 'b'), own.get('k')]);
    assert.deepEqual(await own.multi().get('k').lPop('k').exec().catch((error) => error.replies[0]), 'ab');
    const piped = await own.multi().get('k').strLen('k').execAsPipeline();
    await assert.rejects(own.lPop('k'), /WRONGTYPE/);
    assert.equal(await own.sendCommand(['WAIT', '0', '10']), 0);
    return [...replies, ...piped];
  });
  assert.deepEqual(result, ['OK', 2, 'ab', 'ab', 2]);
  await assert.rejects(kept.get('k'), ClientClosedError);
  let unawaited;
  await client.execute((own) => { unawaited = [own.set('k', 'c'), own.get('k')]; });
  assert.deepEqual(await Promise.all(unawaited), ['OK', 'c'], 'what was sent is not given up');
  await assert.rejects(client.execute(() => { throw new Error('mine'); }), /mine/);
  await assert.rejects(client.execute(async (own) => own.lPop('k')), /WRONGTYPE/);
});

test('a socket that takes nothing holds up itself alone', async (t) => {
  const { host, port } = await startServer(t);
  const links = [];
  const proxy = net.createServer((link) => {
    const onward = net.connect(port, host);
    links.push(link);
    for (const socket of [link, onward]) socket.on('error', () => {});
    link.pipe(onward).on('close', () => link.destroy());
    onward.pipe(link).on('close', () => onward.destroy());
  }).listen(0, '127.0.0.1');
  t.after(() => proxy.close());
  await once(proxy, 'listening');
  const client = await connect(t, { socket: { host, port: proxy.address().port } });
  await client.execute(async (own) => {
    await own.ping();
    links[1].pause();
    const large = 'x'.repeat(24 << 20);
    let isStored = false;
    const stored = own.set('large', large).then(() => { isStored = true; });
    for (let i = 0; i < 100; i++) assert.equal(await client.set('small', String(i)), 'OK');
    const also = client.set('other', large);
    assert.equal(await client.blPop('none', 0.05), null);
    await also;
    assert.equal(isStored, false);
    links[1].resume();
    await stored;
    assert.equal(await own.strLen('large'), large.length);
  });
  client.destroy();
});

test('monitor tells every command, in the words of node-redis, until it is ended', async (t) => {
  const { client, host, port } = await startClient(t);
  const theirs = reference.createClient({ socket: { host, port } });
  theirs.on('error', () => {});
  t.after(() => theirs.destroy());
  await theirs.connect();
  const expected = [];
  const lines = [];
  await theirs.monitor((line) => expected.push(line));
  const stop = await client.monitor((line) => lines.push(line));
  await client.set('grüße', 'a "value"');
  await client.get('last');
  const has = (some) => some.some((line) => line.includes('"last"'));
  await until(() => has(lines) && has(expected));
  const commands = (some) => some.filter((line) => /"(SET|GET)"/.test(line));
  assert.deepEqual(commands(lines), commands(expected));
  assert.equal(commands(lines).length, 2);
  stop();
  stop();
  const count = lines.length;
  await client.set('k', 'v');
  await until(() => expected.some((line) => line.includes('"k"')));
  await sleep(20);
  assert.equal(lines.length, count);
  await assert.rejects(client.monitor('no function'), /takes a function/);
});

test('a monitor goes on after its connection was lost, and one that is refused rejects', async (t) => {
  const { client, host, port } = await startClient(t);
  client.on('error', () => {});
  const lines = [];
  client.on('gap', ({ lane }) => lines.push(lane));
  const stop = await client.monitor((line) => lines.push(line.split(' ').at(-1)));
  const own = (await client.clientList()).find(({ flags }) => flags.includes('O'));
  await client.clientKill({ filter: 'ID', id: own.id });
  await until(() => lines.includes('monitor'));
  await client.echo('again');
  await until(() => lines.includes('"again"'));
  assert(lines.indexOf('monitor') < lines.indexOf('"again"'));
  stop();
  await client.aclSetUser('limited', ['on', '>pw', '+@all', '-monitor', '~*']);
  const limited = await connect(t, { socket: { host, port }, username: 'limited', password: 'pw' });
  await assert.rejects(limited.monitor(() => {}), NoPermissionError);
});

test('the status names every connection and what it is for', async (t) => {
  const { client, host, port } = await startClient(t);
  await client.subscribe('a', () => {});
  const blocked = client.blPop('none', 0).catch(() => {});
  await client.watch('k');
  await until(() => client.authStatus().connections.filter(({ isReady }) => isReady).length === 4);
  const { connections } = client.authStatus();
  assert.deepEqual(connections.map(({ lane }) => lane).sort(), ['blocking', 'main', 'session', 'subscriber']);
  for (const connection of connections) assert.deepEqual([connection.host, connection.port], [host, port]);
  client.destroy();
  await blocked;
});
