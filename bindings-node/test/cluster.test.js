'use strict';
// What users of a cluster see; how clusters behave in trouble is tried elsewhere.
const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { before, test } = require('node:test');
const { Cluster, ClusterError, ConnectionError, createCluster } = require('..');
const { connect, startEmulator, startServer, until } = require('./rig');

before(() => assert(process.env.RESPASS_EMULATOR, 'RESPASS_EMULATOR names the emulator program'));

/** A cluster of three shards that advertise addresses where nobody is, and options of a client. */
async function startCluster(t) {
  const emulator = await startEmulator(t, '--profile', 'amr-oss', '--shards', '3', '--token-ttl', '600');
  const socket = { host: emulator.host, port: emulator.port, ca: readFileSync(emulator.ca_file) };
  const credential = async () => {
    const { access_token: token, expires_on: expiresOn } = await emulator.ask('/token', {});
    return [token, Number(expiresOn) * 1000];
  };
  return { socket, credential };
}

test('commands of a cluster find their nodes', async (t) => {
  const { socket, credential } = await startCluster(t);
  const cluster = createCluster({ rootNodes: [{ socket }], defaults: { credential } });
  t.after(() => cluster.isOpen && cluster.destroy());
  const events = [];
  for (const name of ['ready', 'reconnecting', 'error']) cluster.on(name, () => events.push(name));
  await cluster.connect();
  assert(cluster instanceof Cluster && cluster.isReady);
  const keys = Array.from({ length: 50 }, (_, i) => `k${i}`);
  assert.equal(await cluster.mSet(keys.map((key) => [key, key])), 'OK');
  assert.deepEqual(await cluster.mGet([...keys, 'none']), [...keys, null]);
  const found = [];
  for await (const page of cluster.scanIterator({ COUNT: 5 })) found.push(...page);
  assert.deepEqual(found.sort(), keys.sort());
  assert.deepEqual(await cluster.multi().set('{a}1', 'x').get('{a}1').exec(), ['OK', 'x']);
  assert.deepEqual(await cluster.multi().get('k1').get('k2').get('k3').execAsPipeline(), ['k1', 'k2', 'k3']);
  for (const refused of [() => cluster.sInter(['a', 'b']), () => cluster.multi().get('k1').get('k2').exec()]) {
    await assert.rejects(refused, (error) => {
      assert(error instanceof ClusterError);
      assert.deepEqual([error.code, error.outcome], [514, 'not_sent']);
      assert.match(error.message, /hash tag/);
      return true;
    });
  }
  assert.equal(await cluster.sendCommand(['GET', 'k1']), 'k1');
  assert.equal(await cluster.sendCommand('k1', true, ['GET', 'k1']), 'k1', 'as node-redis has it');
  assert.equal(await cluster.del(keys), 50);
  assert.deepEqual(events, ['ready']);
  await cluster.close();
});

test('a client has sessions, messages and blocking commands on every node of a cluster', async (t) => {
  const { socket, credential } = await startCluster(t);
  const client = await connect(t, { socket, credential });
  const raise = (key) => client.execute(async (own) => {
    await own.watch(key);
    return own.multi().incr(key).exec();
  });
  const got = [];
  const listener = (message, channel) => got.push(`${channel} ${message}`);
  await client.subscribe('a', listener);
  await client.pSubscribe('a*', listener);
  await client.sSubscribe(['s1', 's2', 's3', 's4'], listener);
  for (const key of ['a', 'b', 'c', 'd']) {
    assert.deepEqual(await raise(key), [1]);
    await client.watch(key);
    assert.deepEqual(await client.multi().incr(key).exec(), [2]);
    const popped = client.blPop(`list-${key}`, 5);
    await client.rPush(`list-${key}`, key);
    assert.equal((await popped).element, key);
  }
  await client.publish('a', 'm');
  for (const channel of ['s1', 's2', 's3', 's4']) await client.sPublish(channel, 'm');
  await until(() => got.length === 6);
  assert.deepEqual(got.sort(), ['a m', 'a m', 's1 m', 's2 m', 's3 m', 's4 m']);
  await client.sUnsubscribe();
  assert.equal(client.isPubSubActive, true);
  const hosts = new Set(client.authStatus().connections.map(({ host }) => host));
  assert.deepEqual([...hosts], [socket.host], 'nobody goes where the nodes say they are');
});

test('an address map says where the nodes are', async (t) => {
  const { socket, credential } = await startCluster(t);
  const seen = new Set();
  const here = (address) => {
    seen.add(address);
    return { host: 'localhost', port: Number(address.split(':')[1]) };
  };
  const use = async (options) => {
    const client = await connect(t, { socket, credential, commandTimeout: 500, ...options });
    client.on('error', () => {});
    for (const key of ['a', 'b', 'c', 'd']) await client.set(key, 'v');
    client.destroy();
  };
  await use({ addressMap: 'azure' });
  await use({ addressMap: here });
  assert.equal(seen.size, 3);
  const table = Object.fromEntries([...seen].map((address) => [address, here(address)]));
  await use({ addressMap: table });
  await use({ nodeAddressMap: table });
  for (const [options, code, text] of [
    [{ addressMap: {} }, 205, /address table has no row for 127\.0\.0\.2/],
    [{ addressMap: 'advertised' }, 205, /127\.0\.0\.2 is none of them/],
    [{ addressMap: () => { throw new Error('no map'); } }, 200, /no map/],
  ]) {
    await assert.rejects(use(options), (error) => {
      assert(error instanceof ConnectionError, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, text);
      return true;
    });
  }
});

test('a server that is no cluster is an error to the client of a cluster', async (t) => {
  const { host, port } = await startServer(t);
  const cluster = createCluster({ rootNodes: [{ socket: { host, port } }] });
  cluster.on('error', () => {});
  await assert.rejects(cluster.connect(), (error) => {
    assert.deepEqual([error.name, error.code], ['ConnectionError', 205]);
    assert.match(error.message, /no node of a cluster/);
    return true;
  });
  assert.equal(cluster.isOpen, false);
  assert.equal(await (await connect(t, { socket: { host, port } })).ping(), 'PONG');
});
