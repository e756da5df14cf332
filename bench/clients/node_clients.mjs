// The Node clients, each behind the same few methods. BENCH_NODE is the folder with node_modules.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.BENCH_NODE}/`);

/** The shape of node-redis, which respass has, too. */
function nodeRedis(module, tls) {
  return ({ host, port, ca, user, password }) => {
    const socket = { host, port, ...(ca && { ca: readFileSync(ca), ...tls }) };
    const client = require(module).createClient({ socket, ...(user && { username: user, password }) });
    client.on('error', (error) => { throw error; });
    const batch = (keys, add) => {
      const multi = client.multi();
      for (const key of keys) add(multi, key);
      return multi.execAsPipeline();
    };
    return {
      open: () => client.connect(),
      close: () => client.close(),
      ping: () => client.ping(),
      get: (key) => client.get(key),
      set: (key, value) => client.set(key, value),
      getAll: (keys) => batch(keys, (multi, key) => multi.get(key)),
      setAll: (keys, value) => batch(keys, (multi, key) => multi.set(key, value)),
      list: (key) => client.lRange(key, 0, -1),
    };
  };
}

function nodeRedisCluster({ host, port, ca, user, password }) {
  const tls = ca && { ca: readFileSync(ca), tls: true, servername: 'localhost' };
  const { createCluster } = require('redis');
  const client = createCluster({
    rootNodes: [{ socket: { host, port, ...tls } }],
    defaults: { username: user, password, socket: { ...tls } },
  });
  client.on('error', (error) => { throw error; });
  return {
    open: () => client.connect(),
    close: () => client.close(),
    get: (key) => client.get(key),
    set: (key, value) => client.set(key, value),
  };
}

function ioredisCluster(enableAutoPipelining) {
  return ({ host, port, ca, user, password }) => {
    const { Cluster } = require('ioredis');
    const tls = ca && { ca: readFileSync(ca), servername: 'localhost' };
    const client = new Cluster([{ host, port }], {
      enableAutoPipelining, lazyConnect: true, redisOptions: { username: user, password, ...(tls && { tls }) },
    });
    return {
      open: () => client.connect(),
      close: async () => client.disconnect(),
      get: (key) => client.get(key),
      set: (key, value) => client.set(key, value),
    };
  };
}

function ioredis(enableAutoPipelining) {
  return ({ host, port, ca, user, password }) => {
    const Redis = require('ioredis');
    const options = { host, port, username: user, password, enableAutoPipelining, lazyConnect: true };
    const client = new Redis({ ...options, ...(ca && { tls: { ca: readFileSync(ca), servername: host } }) });
    return {
      open: () => client.connect(),
      close: async () => client.disconnect(),
      get: (key) => client.get(key),
      set: (key, value) => client.set(key, value),
    };
  };
}

const glide = (kind) => ({ host, port, ca, user, password }) => {
  const { [kind]: GlideClient, Logger } = require('@valkey/valkey-glide');
  Logger.init('error');
  const options = {
    addresses: [{ host, port }], useTLS: Boolean(ca), requestTimeout: 60_000,
    ...(user && { credentials: { username: user, password } }),
    ...(ca && { advancedConfiguration: { tlsAdvancedConfiguration: { rootCertificates: readFileSync(ca) } } }),
  };
  let client;
  return {
    open: async () => { client = await GlideClient.createClient(options); },
    close: async () => client.close(),
    ping: () => client.ping(),
    get: (key) => client.get(key),
    set: (key, value) => client.set(key, value),
  };
};

export const CLIENTS = {
  respass: nodeRedis('respass', {}),
  'node-redis': nodeRedis('redis', { tls: true, servername: 'localhost' }),
  ioredis: ioredis(false),
  'ioredis-auto': ioredis(true),
  glide: glide('GlideClient'),
  'node-redis-cluster': nodeRedisCluster,
  'ioredis-cluster': ioredisCluster(false),
  'ioredis-cluster-auto': ioredisCluster(true),
  'glide-cluster': glide('GlideClusterClient'),
};
