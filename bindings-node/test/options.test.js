'use strict';
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { test } = require('node:test');
const { inspect } = require('node:util');
const { Cluster, ConfigurationError, RESP_TYPES, createClient, createCluster } = require('..');
const { parse, parseCluster } = require('../lib/options.js');
const { connect, startClient, startServer, until } = require('./rig');

test('options that cannot work are named, with what to do', () => {
  const credential = async () => 'token';
  for (const [options, text] of [
    [{ pasword: 'x' }, /^pasword is not an option: there are url, socket/],
    [{ socket: { reconnectStrategy: () => 1 } }, /^socket.reconnectStrategy is not an option: a client reconnects/],
    [{ socket: { rejectUnauthorized: false } }, /without verification of the server is not offered: give socket.ca/],
    [{ credentialsProvider: {} }, /give the credential itself/],
    [{ host: 'localhost' }, /^host is not an option: give socket: \{ host \}/],
    [{ url: 'http://localhost' }, /^url begins with redis:\/\/ or, with TLS, rediss:\/\//],
    [{ url: 'redis://localhost/first' }, /database number/],
    [{ url: 'redis://localhost?db=1' }, /takes no \?options/],
    [{ url: 'nonsense' }, /looks like rediss:\/\/host:port/],
    [{ socket: { port: 0 } }, /^socket.port must be a whole number from 1 to 65535/],
    [{ socket: { port: '6379' } }, /^socket.port must be a whole number/],
    [{ socket: { host: 'a b' } }, /the host is not a name or an address/],
    [{ socket: { tls: true, ca: 'no certificate' } }, /certificate|PEM/i],
    [{ socket: { tls: true, cert: 'x' } }, /both socket.cert and socket.key/],
    [{ socket: { ca: 1 } }, /socket.ca is PEM/],
    [{ database: -1 }, /^database must be a whole number/],
    [{ commandTimeout: 0 }, /^commandTimeout must be a whole number from 1/],
    [{ name: 'a b' }, /printable ASCII/],
    [{ password: 1 }, /^password must be a string/],
    [{ RESP: 2 }, /^RESP: the protocol is 3/],
    [{ credential, password: 'x' }, /a credential or a password, not both/],
    [{ credential, socket: { tls: false } }, /needs TLS/],
    [{ credential, socket: { host: 'example.net' }, allowPlaintextToken: true }, /needs TLS/],
    [{ credential: 'auto' }, /new DefaultAzureCredential\(\)/],
    [{ credential: 'secret' }, /not so a value of type string/],
    [{ credential: null }, /a credential has getToken/],
    [{ commandOptions: { typeMapping: { 99: Buffer } } }, /keys are of RESP_TYPES/],
    [{ commandOptions: { typeMapping: { [RESP_TYPES.MAP]: Buffer } } }, /becomes one of Object, Map, Array/],
    [{ commandOptions: { signal: true } }, /signal is an AbortSignal/],
    [{ commandOptions: { asap: true } }, /command option asap is not an option/],
    [{ rootNodes: [] }, /^rootNodes is not an option: it is for createCluster/],
    [{ useReplicas: true }, /commands go to primaries/],
    [{ addressMap: 'internal' }, /^addressMap is one of auto, azure, advertised; or/],
    [{ addressMap: { localhost: { host: 'h', port: 1 } } }, /'localhost' is no 'host:port'/],
    [{ addressMap: { 'h:1': 'localhost:1' } }, /gives \{ host, port \}/],
    [{ nodeAddressMap: 5 }, /^addressMap is one of/],
    [{ addressMap: 'azure', nodeAddressMap: {} }, /the same: give one of them/],
    [{ allowedHosts: ['h'] }, /goes with addressMap: 'advertised'/],
    [{ addressMap: 'advertised', allowedHosts: 'h' }, /an array of names/],
    [{ ownConnectionsMax: 0 }, /^ownConnectionsMax must be a whole number from 1/],
    [{ maintenanceEvents: 'on' }, /^maintenanceEvents must be/],
    [null, /must be an object/],
  ]) {
    assert.throws(() => createClient(options), (error) => {
      assert(error instanceof ConfigurationError, inspect(error));
      assert.equal(error.code, 105);
      assert.match(error.message, text);
      return true;
    }, inspect(options));
  }
});

test('a cluster has one root node, and defaults that give way to options', () => {
  const rootNodes = [{ url: 'redis://first:7000', socket: { connectTimeout: 5 } }];
  for (const [options, text] of [
    [undefined, /^rootNodes is an array of one node/],
    [{}, /^rootNodes is an array of one node/],
    [{ rootNodes: [...rootNodes, ...rootNodes] }, /has several addresses/],
    [{ rootNodes: ['redis://first:7000'] }, /must be an object/],
    [{ rootNodes, database: 1 }, /one database/],
    [{ rootNodes, defaults: { pasword: '' } }, /^pasword is not an option/],
    [{ rootNodes, maxCommandRedirections: 16 }, /five times at most; remove it/],
  ]) {
    assert.throws(() => createCluster(options), (error) => {
      assert(error instanceof ConfigurationError, inspect(error));
      assert.match(error.message, text);
      return true;
    }, inspect(options));
  }
  const socket = { connectTimeout: 9, servername: 's', tls: true };
  const defaults = { username: 'u', password: 'p', name: 'n', socket };
  const { settings } = parseCluster({ rootNodes, defaults, name: 'm', commandTimeout: 7 });
  const { host, port, username, password, clientName } = settings;
  assert.deepEqual([host, port, username, password, clientName], ['first', 7000, 'u', 'p', 'm']);
  const { connectTimeoutMs, commandTimeoutMs, tls, cluster } = settings;
  assert.deepEqual([connectTimeoutMs, commandTimeoutMs, tls.servername, cluster], [5, 7, 's', true]);
  const client = createCluster({ rootNodes, defaults });
  assert(client instanceof Cluster && client.duplicate() instanceof Cluster);
});

test('an address map is a word, a table or a function', () => {
  const here = { host: 'localhost', port: 8500 };
  const addresses = (options) => {
    const { settings, locate } = parse(options);
    const located = [['10.0.0.1', 85], ['::1', 85]].map((address) => locate?.(...address));
    return [settings.addressMap, settings.allowedHosts, settings.addresses, ...located];
  };
  assert.deepEqual(addresses({}), [undefined, undefined, undefined, undefined, undefined]);
  assert.deepEqual(addresses({ addressMap: 'azure' }).slice(0, 3), ['azure', undefined, undefined]);
  assert.deepEqual(addresses({ addressMap: 'advertised', allowedHosts: ['*.example.com'] }).slice(0, 3),
    ['advertised', ['*.example.com'], undefined]);
  const table = [{ fromHost: '10.0.0.1', fromPort: 85, ...here }, { fromHost: '::1', fromPort: 86, ...here }];
  assert.deepEqual(addresses({ addressMap: { '10.0.0.1:85': here, '[::1]:86': here } }).slice(0, 3),
    ['table', undefined, table]);
  const map = (address) => address === '10.0.0.1:85' ? here : undefined;
  const driven = ['driver', undefined, undefined, here, undefined];
  assert.deepEqual(addresses({ addressMap: map }), driven);
  assert.deepEqual(addresses({ nodeAddressMap: map }), driven);
  assert.deepEqual(addresses({ nodeAddressMap: { '10.0.0.1:85': here } }), driven);
  assert.throws(() => addresses({ addressMap: () => ({ host: 'h' }) }), /gives \{ host, port \}/);
  createClient({ addressMap: { '10.0.0.1:85': here } });
});

test('authorities that the environment names and that cannot be read are named', (t) => {
  t.after(() => delete process.env.NODE_EXTRA_CA_CERTS);
  process.env.NODE_EXTRA_CA_CERTS = '/nowhere/ca.pem';
  assert.throws(() => createClient({ url: 'rediss://localhost' }),
    (error) => error instanceof ConfigurationError && /NODE_EXTRA_CA_CERTS .*ENOENT/.test(error.message));
  createClient({ url: 'redis://localhost' });
});

test('a URL is split, and its parts give way to options', async (t) => {
  const { client: admin, port } = await startClient(t);
  await admin.sendCommand(['ACL', 'SETUSER', 'us@er', 'on', '>p@ss:w%rd', '~*', '&*', '+@all']);
  const url = `redis://us%40er:p%40ss%3Aw%25rd@127.0.0.1:${port}/3`;
  const client = await connect(t, { url });
  assert.match(await client.sendCommand(['CLIENT', 'INFO']), / db=3 .* user=us@er /);
  const other = await connect(t, { url, database: 1 });
  assert.match(await other.sendCommand(['CLIENT', 'INFO']), / db=1 /);
});

test('no secret is shown by inspection or in an error', async (t) => {
  const { host, port } = await startServer(t, '--requirepass', 'open sesame');
  const shown = [];
  const all = { depth: 20, showHidden: true, getters: true };
  const see = (value) => shown.push(inspect(value, all), JSON.stringify(value));
  const client = await connect(t, { socket: { host, port }, password: 'open sesame' });
  see(client);
  see(client.withTypeMapping({}));
  see(client.multi());
  see(client._endpoint);
  see(client._endpoint.driver);
  see(client.authStatus());
  const stranger = createClient({ socket: { host, port }, password: 'open barley' });
  stranger.on('error', see);
  await assert.rejects(stranger.connect(), (error) => {
    assert.equal(error.name, 'AuthenticationError');
    see(error);
    return true;
  });
  see(stranger);
  assert.throws(() => createClient({ url: 'redis://user:open%20sesame@host:99999' }), (error) => {
    see(error);
    return true;
  });
  assert(shown.length > 10);
  for (const text of shown) assert.doesNotMatch(text ?? '', /open.{0,3}(sesame|barley)/);
});

test('maintenance events are listened for where that is asked for', async (t) => {
  const { client, host, port } = await startClient(t, { maintenanceEvents: true });
  const other = await connect(t, { socket: { host, port } });
  const listeners = async () => (await other.pubSubNumSub('AzureRedisEvents')).AzureRedisEvents;
  await client.ping();
  await until(async () => Number(await listeners()) === 1, 'one client listens');
  const told = once(client, 'notice', { signal: AbortSignal.timeout(5000) });
  const body = 'NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|2026-11-21T20:00:00';
  await other.publish('AzureRedisEvents', body);
  const [{ name, text }] = await told;
  const expected = 'the service told of maintenance: Scheduled at 2026-11-21T20:00:00';
  assert.deepEqual([name, text], ['maintenance', expected]);
});
