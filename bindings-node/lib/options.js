'use strict';
// The options of a client: names as in node-redis, checked, and brought into the core's form.

const { readFileSync } = require('node:fs');
const { parseAddresses } = require('./addresses');
const { misconfigured } = require('./errors');
const { TARGETS } = require('./resp_types');

const OPTIONS = new Set([
  'url', 'socket', 'username', 'password', 'credential', 'commandTimeout', 'tokenTimeout', 'name', 'database', 'RESP',
  'commandOptions', 'allowPlaintextToken', 'addressMap', 'nodeAddressMap', 'allowedHosts', 'ownConnectionsMax',
  'maintenanceEvents',
]);
const SOCKET_OPTIONS = new Set(['host', 'port', 'tls', 'ca', 'cert', 'key', 'servername', 'connectTimeout']);
const COMMAND_OPTIONS = new Set(['typeMapping', 'signal', 'abortSignal']);

/** Options that users may know, and why they are not taken. */
const ELSEWHERE = {
  reconnectStrategy: 'a client reconnects by itself, at growing random intervals; remove it',
  rejectUnauthorized: 'TLS without verification of the server is not offered: give socket.ca',
  credentialsProvider: 'give the credential itself, as credential: new DefaultAzureCredential()',
  disableOfflineQueue: 'commands wait for a connection up to commandTimeout; remove it',
  commandsQueueMaxLength: 'the queue is limited by its bytes; remove it',
  pingInterval: 'idle connections are probed without being told to; remove it',
  keepAlive: 'idle connections are probed without being told to; remove it',
  socketTimeout: 'give commandTimeout',
  noDelay: 'it is always on; remove it',
  path: 'Unix sockets are not offered; give host and port',
  keyPrefix: 'it is not offered: put the prefix into the keys',
  readonly: 'commands go to primaries; remove it',
  useReplicas: 'commands go to primaries; remove it',
  minimizeConnections: 'connections are opened where they are needed; remove it',
  maxCommandRedirections: 'a command is redirected five times at most; remove it',
  topologyRefreshOnReconnectionAttemptStrategy: 'the cluster is looked at whenever a connection is lost; remove it',
  rootNodes: 'it is for createCluster',
  defaults: 'it is for createCluster',
  clientSideCache: 'it is not offered; remove it',
  maintNotifications: 'give maintenanceEvents, or nothing: those of Azure Cache for Redis are followed by themselves',
  db: 'give database',
  host: 'give socket: { host }',
  port: 'give socket: { port }',
  tls: 'give socket: { tls: true }, or a rediss:// URL',
};

/** Where Azure Managed Redis and others have TLS by default is not guessed: a port is 6379 unless given. */
const PORT = 6379;

/**
 * The parts of `options`: `settings` for the core (fields of `Settings` in src/settings.rs), `credential`, and
 * `commandOptions`. No error shows a value that may be a secret.
 */
function parse(options = {}) {
  object(options, 'the options');
  known(options, OPTIONS, '');
  const { socket = {}, credential, RESP } = options;
  object(socket, 'socket');
  known(socket, SOCKET_OPTIONS, 'socket.');
  if (RESP !== undefined && RESP !== 3) {
    throw misconfigured('RESP: the protocol is 3, and falls back to 2 where a server knows no other; remove it');
  }
  const fromUrl = options.url === undefined ? {} : parseUrl(options.url);
  const username = text(options.username ?? fromUrl.username, 'username');
  const password = text(options.password ?? fromUrl.password, 'password');
  if (credential !== undefined && password !== undefined) {
    throw misconfigured('give a credential or a password, not both');
  }
  const addresses = parseAddresses(options);
  const allowPlaintextToken = boolean(options.allowPlaintextToken, 'allowPlaintextToken');
  const isTls = boolean(socket.tls, 'socket.tls') ?? fromUrl.tls
    ?? (socket.ca !== undefined || (credential !== undefined && !allowPlaintextToken));
  const settings = {
    host: text(socket.host ?? fromUrl.host, 'socket.host') ?? 'localhost',
    port: whole(socket.port ?? fromUrl.port, 'socket.port', 1, 0xffff) ?? PORT,
    tls: isTls ? tlsOf(socket) : undefined,
    username: username || undefined,
    password: password ?? (username && credential === undefined ? '' : undefined),
    token: credential !== undefined,
    allowPlaintextToken,
    clientName: text(options.name, 'name'),
    database: whole(options.database ?? fromUrl.database, 'database', 0, 0x7fffffff),
    commandTimeoutMs: whole(options.commandTimeout, 'commandTimeout', 1, 0xffffffff),
    connectTimeoutMs: whole(socket.connectTimeout, 'socket.connectTimeout', 1, 0xffffffff),
    tokenTimeoutMs: whole(options.tokenTimeout, 'tokenTimeout', 1, 0xffffffff),
    ownConnectionsMax: whole(options.ownConnectionsMax, 'ownConnectionsMax', 1, 0xffff),
    maintenanceEvents: boolean(options.maintenanceEvents, 'maintenanceEvents'),
    ...addresses.settings,
  };
  const commandOptions = parseCommandOptions(options.commandOptions);
  return { settings, credential, locate: addresses.locate, commandOptions };
}

/** The same of a cluster's: options of any client beside `rootNodes` and `defaults`, which they go before. */
function parseCluster(options = {}) {
  object(options, 'the options');
  const { rootNodes, defaults = {}, ...others } = options;
  if (!Array.isArray(rootNodes) || rootNodes.length !== 1) {
    throw misconfigured('rootNodes is an array of one node, through which the others are found. Where several names '
      + 'lead into the cluster, give the one whose name look-up has several addresses');
  }
  const parts = [defaults, rootNodes[0], others];
  for (const part of parts) object(part, 'a root node, and defaults,');
  const socket = Object.assign({}, ...parts.map((part) => part.socket));
  const parsed = parse(Object.assign({}, ...parts, { socket }));
  if (parsed.settings.database) throw misconfigured('a cluster has one database: remove database');
  parsed.settings.cluster = true;
  return parsed;
}

function parseUrl(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    throw misconfigured(
      'url is none: it looks like rediss://host:port (characters such as @ in a password have to be encoded)');
  }
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') {
    throw misconfigured('url begins with redis:// or, with TLS, rediss://');
  }
  const path = url.pathname.replace(/^\//, '');
  if (!/^\d*$/.test(path)) {
    throw misconfigured('url: what follows the port is a database number, as in rediss://host:port/0');
  }
  if (url.search || url.hash) throw misconfigured('url takes no ?options and no #fragment: give them beside it');
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1') || undefined,
    port: url.port === '' ? undefined : Number(url.port),
    username: decoded(url.username),
    password: decoded(url.password),
    database: path === '' ? undefined : Number(path),
    tls: url.protocol === 'rediss:' || undefined,
  };
}

function decoded(part) {
  try {
    return part === '' ? undefined : decodeURIComponent(part);
  } catch {
    throw misconfigured('url: user name or password hold a % that encodes nothing');
  }
}

function tlsOf({ ca, cert, key, servername }) {
  if ((cert === undefined) !== (key === undefined)) {
    throw misconfigured('a client certificate needs both socket.cert and socket.key');
  }
  return {
    ca: pem(ca, 'socket.ca'),
    extraCa: ca === undefined ? extraAuthorities() : undefined,
    cert: pem(cert, 'socket.cert'), key: pem(key, 'socket.key'),
    servername: text(servername, 'socket.servername'),
  };
}

/** Those that Node itself trusts beside its own. */
function extraAuthorities() {
  const file = process.env.NODE_EXTRA_CA_CERTS;
  try {
    return file ? readFileSync(file) : undefined;
  } catch (error) {
    throw misconfigured(`NODE_EXTRA_CA_CERTS names a file that cannot be read: ${error.message}`);
  }
}

function pem(value, name) {
  if (value === undefined) return undefined;
  const parts = (Array.isArray(value) ? value : [value]).map((part) => {
    if (typeof part !== 'string' && !(part instanceof Uint8Array)) {
      throw misconfigured(`${name} is PEM: a string or a Buffer, as readFileSync gives it`);
    }
    return Buffer.from(part);
  });
  return Buffer.concat(parts.flatMap((part) => [part, Buffer.from('\n')]));
}

/** Options of commands: those of `{ typeMapping, signal }` that were given; `undefined` where there are none. */
function parseCommandOptions(options) {
  if (options === undefined) return undefined;
  object(options, 'command options');
  known(options, COMMAND_OPTIONS, 'the command option ');
  const signal = options.signal ?? options.abortSignal;
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw misconfigured('signal is an AbortSignal');
  }
  const { typeMapping } = options;
  if (typeMapping !== undefined) checkMapping(typeMapping);
  // Only what was given: it is laid over other options.
  return { ...(typeMapping !== undefined && { typeMapping }), ...(signal !== undefined && { signal }) };
}

function checkMapping(mapping) {
  object(mapping, 'typeMapping');
  for (const [type, target] of Object.entries(mapping)) {
    const targets = TARGETS.get(Number(type));
    if (targets === undefined) {
      throw misconfigured(`typeMapping: ${type} cannot be mapped; its keys are of RESP_TYPES, as in `
        + '{ [RESP_TYPES.BLOB_STRING]: Buffer }');
    }
    if (!targets.includes(target)) {
      const names = targets.map(({ name }) => name).join(', ');
      throw misconfigured(`typeMapping: RESP type ${String.fromCharCode(type)} becomes one of ${names}`);
    }
  }
}

function known(options, names, prefix) {
  for (const name of Object.keys(options)) {
    if (names.has(name) || options[name] === undefined) continue;
    const reason = Object.hasOwn(ELSEWHERE, name) ? ELSEWHERE[name] : `there are ${[...names].join(', ')}`;
    throw misconfigured(`${prefix}${name} is not an option: ${reason}`);
  }
}

function object(value, name) {
  if (typeof value !== 'object' || value === null) throw misconfigured(`${name} must be an object`);
}

function text(value, name) {
  if (value !== undefined && typeof value !== 'string') throw misconfigured(`${name} must be a string`);
  return value;
}

function boolean(value, name) {
  if (value !== undefined && typeof value !== 'boolean') throw misconfigured(`${name} must be true or false`);
  return value;
}

function whole(value, name, min, max) {
  if (value !== undefined && !(Number.isInteger(value) && value >= min && value <= max)) {
    throw misconfigured(`${name} must be a whole number from ${min} to ${max}`);
  }
  return value;
}

module.exports = { parse, parseCluster, parseCommandOptions };
