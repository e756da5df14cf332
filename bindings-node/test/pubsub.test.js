'use strict';
// Subscriptions: what listeners get, beside node-redis's, and what becomes of them in trouble.
const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const { test } = require('node:test');
const reference = require('@redis/client');
const { ClientClosedError, InvalidArgumentError, NoPermissionError, createClient } = require('..');
const { connect, next, startClient, startServer, until } = require('./rig');

/** How many listeners the server knows of. */
async function listening(client) {
  const [[, channels], patterns, [, shards]] = await Promise.all([
    ['PUBSUB', 'NUMSUB', 'a'], ['PUBSUB', 'NUMPAT'], ['PUBSUB', 'SHARDNUMSUB', 's'],
  ].map((args) => client.sendCommand(args)).map(async (reply) => Object.entries(await reply)[0] ?? await reply));
  return [channels, patterns, shards];
}

/** Subscribes and publishes in many ways; what each listener got, in order. */
async function converse(client, publisher) {
  const got = [];
  const listener = (name) => (message, channel) => got.push([name, message, channel]);
  const [one, two, bytes] = ['one', 'two', 'bytes'].map(listener);
  const steps = [];
  const publish = async (...channels) => {
    const before = got.length;
    let sent = 0;
    for (const channel of channels) sent += await publisher.sendCommand(['PUBLISH', channel, `to ${channel}`]);
    await publisher.sendCommand(['SPUBLISH', 's', 'to s']);
    // The connection delivers in order: what came before this is here as well.
    const end = `end ${steps.length}`;
    await publisher.sendCommand(['PUBLISH', 'end', end]);
    await until(() => got.some(([, message]) => message === end));
    return [sent, got.length - before];
  };
  const step = async (...channels) => steps.push(await publish(...channels));
  await client.subscribe('end', listener('end'));
  await client.subscribe(['a', 'b'], one);
  await client.subscribe('a', two);
  await client.SUBSCRIBE('a', bytes, true);
  await client.pSubscribe('n*', listener('pattern'));
  await client.PSUBSCRIBE(['n*', 'm*'], listener('pattern bytes'), true);
  await client.sSubscribe('s', listener('shard'));
  await step('a', 'b', 'news', 'more', 'nobody');
  await client.subscribe('a', one);
  await step('a');
  await client.unsubscribe('a', one);
  await step('a', 'b');
  await client.unsubscribe('a', bytes, true);
  await client.unsubscribe('a', one);
  await step('a', 'b');
  await client.UNSUBSCRIBE('b');
  await step('a', 'b');
  await client.pUnsubscribe('m*');
  await step('news', 'more');
  await client.pUnsubscribe();
  await client.sUnsubscribe('s');
  await step('news', 'a');
  await client.unsubscribe('a', two);
  await client.subscribe('a', two);
  await step('a');
  await client.unsubscribe(['a', 'none']);
  await step('a');
  return { got, steps };
}

for (const RESP of [3, 2]) {
  test(`listeners get what node-redis's get, under RESP${RESP}`, async (t) => {
    const { client, host, port } = await startClient(t, {}, ...(RESP === 2 ? ['--rename-command', 'HELLO', ''] : []));
    const publisher = await connect(t, { socket: { host, port } });
    const theirs = reference.createClient({ RESP, socket: { host, port } });
    theirs.on('error', () => {});
    t.after(() => theirs.destroy());
    await theirs.connect();
    const expected = await converse(theirs, publisher);
    theirs.unsubscribe();
    const ours = await converse(client, publisher);
    assert.deepEqual(ours, expected);
    assert(ours.got.length > 30);
    assert.deepEqual(ours.got.find(([name]) => name === 'bytes').slice(1), [Buffer.from('to a'), Buffer.from('a')]);
    assert.equal(client.isPubSubActive, true);
    await client.unsubscribe();
    assert.equal(client.isPubSubActive, false);
    assert.equal(await client.ping(), 'PONG', 'ordinary commands go on beside subscriptions');
  });
}

test('messages come in order, however many, large or odd they are', async (t) => {
  const { client, host, port } = await startClient(t);
  const publisher = await connect(t, { socket: { host, port } });
  const texts = [];
  const bytes = [];
  await client.subscribe('grüße 🌍', (message) => texts.push(message));
  await client.pSubscribe('grüße*', (message, channel) => bytes.push([message, channel.toString()]), true);
  const sent = ['', 'x'.repeat(3 << 20), '世界', ...Array.from({ length: 20_000 }, (_, i) => `message ${i}`)];
  await Promise.all(sent.map((message) => publisher.publish('grüße 🌍', message)));
  const odd = Buffer.from([0, 255, 13, 10, 128]);
  await publisher.publish('grüße 🌍', odd);
  await until(() => bytes.length > sent.length, 'all messages');
  assert.deepEqual(texts.slice(0, -1), sent);
  assert.deepEqual(bytes.at(-1), [odd, 'grüße 🌍']);
});

test('a subscription is there when its promise resolves, also one of many at once', async (t) => {
  const { client, host, port } = await startClient(t);
  const publisher = await connect(t, { socket: { host, port } });
  const got = [];
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    await client.subscribe(`c${i}`, (message) => got.push(message));
    assert.equal(await publisher.publish(`c${i}`, String(i)), 1);
  }));
  await until(() => got.length === 200);
});

test('what is asked for in one turn ends as it was asked for last', async (t) => {
  const { client, host, port } = await startClient(t);
  const publisher = await connect(t, { socket: { host, port } });
  const got = [];
  const listener = (message) => got.push(message);
  await Promise.all([
    client.subscribe('a', listener), client.unsubscribe('a'), client.subscribe('a', listener),
    client.subscribe('b', listener), client.unsubscribe('b'),
  ]);
  assert.deepEqual({ ...await publisher.pubSubNumSub(['a', 'b']) }, { a: 1, b: 0 });
  await publisher.publish('a', 'hello');
  await until(() => got.length > 0);
  assert.deepEqual(got, ['hello']);
});

test('a lost connection is a gap before the next message, and what was unsubscribed stays so', async (t) => {
  const { client, host, port } = await startClient(t);
  const publisher = await connect(t, { socket: { host, port } });
  const events = [];
  client.on('error', () => {});
  client.on('gap', ({ lane }) => events.push(lane));
  for (const channel of ['kept', 'left']) await client.subscribe(channel, (message) => events.push(message));
  await client.pSubscribe('p*', (message) => events.push(message));
  await publisher.publish('kept', 'before');
  await until(() => events.length === 1);
  await client.unsubscribe('left');
  await publisher.clientKill({ filter: 'TYPE', type: 'PUBSUB' });
  await until(async () => await publisher.publish('kept', 'after') === 1);
  await until(async () => await publisher.publish('pattern', 'matched') === 1);
  await until(() => events.includes('matched'));
  assert.deepEqual(events, ['before', 'subscriber', 'after', 'matched']);
  assert.equal(await publisher.publish('left', 'nobody'), 0);
});

test('an unsubscription whose connection is lost is done', async (t) => {
  const { host, port } = await startServer(t);
  let isDeaf = false;
  const links = new Set();
  const proxy = net.createServer((link) => {
    const onward = net.connect(port, host);
    links.add(link);
    for (const socket of [link, onward]) socket.on('error', () => {});
    link.on('data', (bytes) => isDeaf || onward.write(bytes)).on('close', () => onward.destroy());
    onward.on('data', (bytes) => link.write(bytes)).on('close', () => link.destroy());
  }).listen(0, '127.0.0.1');
  t.after(() => proxy.close());
  await once(proxy, 'listening');
  const client = await connect(t, { socket: { host, port: proxy.address().port } });
  client.on('error', () => {});
  await client.subscribe(['a', 'b'], () => {});
  isDeaf = true;
  const pending = client.unsubscribe('a');
  const asked = client.subscribe('c', () => {});
  setTimeout(() => {
    isDeaf = false;
    for (const link of links) link.destroy();
  }, 50);
  await Promise.all([pending, asked]);
  const publisher = await connect(t, { socket: { host, port } });
  assert.deepEqual({ ...await publisher.pubSubNumSub(['a', 'b', 'c']) }, { a: 0, b: 1, c: 1 });
  client.destroy();
});

test('a subscription that the server refuses rejects, and spares the others', async (t) => {
  const { client, host, port } = await startClient(t);
  await client.aclSetUser('limited', ['on', '>pw', '+@all', 'resetchannels', '&open*']);
  const limited = await connect(t, { socket: { host, port }, username: 'limited', password: 'pw' });
  const got = [];
  await limited.subscribe('open', (message) => got.push(message));
  for (const method of ['subscribe', 'pSubscribe', 'sSubscribe']) {
    await assert.rejects(limited[method](['open', 'closed'], (message) => got.push(message)), (error) => {
      assert(error instanceof NoPermissionError);
      assert.match(error.message, /NOPERM/);
      return true;
    });
    await assert.rejects(limited[method]('closed', () => {}), NoPermissionError);
  }
  await client.publish('closed', 'secret');
  await client.publish('open', 'hello');
  await until(() => got.length > 0);
  assert.deepEqual([...new Set(got)], ['hello']);
});

test('arguments of subscriptions are checked', async (t) => {
  const { client } = await startClient(t);
  await assert.rejects(client.subscribe('a'), InvalidArgumentError);
  await assert.rejects(client.subscribe('a', 'listener'), /listener is a function/);
  await assert.rejects(client.subscribe([], () => {}), /one channel at least/);
  await assert.rejects(client.subscribe([Buffer.from('a')], () => {}), /name is a string, not of type object/);
  assert.equal(client.isPubSubActive, false);
  await client.unsubscribe();
  await client.pUnsubscribe('none');
});

test('a client that is closed ends its subscriptions', async (t) => {
  const { host, port } = await startServer(t);
  const client = createClient({ socket: { host, port } });
  await assert.rejects(client.subscribe('a', () => {}), ClientClosedError);
  for (const end of ['close', 'destroy']) {
    await client.connect();
    await client.subscribe('a', () => {});
    const pending = client.subscribe('b', () => {});
    const ended = once(client, 'end');
    const [outcome] = await Promise.allSettled([pending, client[end]()]);
    if (outcome.status === 'rejected') assert(outcome.reason instanceof ClientClosedError);
    await ended;
    assert.equal(client.isPubSubActive, false);
    await assert.rejects(client.subscribe('a', () => {}), ClientClosedError);
  }
});

test('a listener may do anything to its client', async (t) => {
  const { client, host, port } = await startClient(t);
  const publisher = await connect(t, { socket: { host, port } });
  const got = [];
  const again = async (message) => {
    got.push(message);
    await client.unsubscribe('a', again);
    await client.set('k', message);
    await client.subscribe('a', () => {
      got.push('destroyed');
      client.destroy();
    });
    await publisher.publish('a', 'second');
    await publisher.publish('a', 'third');
  };
  await client.subscribe('a', again);
  const ended = next(client, 'end');
  await publisher.publish('a', 'first');
  await ended;
  assert.deepEqual(got, ['first', 'destroyed']);
  assert.equal(await publisher.get('k'), 'first');
});
