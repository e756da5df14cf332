'use strict';
// Command methods beside node-redis's: the same names, the same words on the wire, the same results, under both
// protocols.
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { test } = require('node:test');
const reference = require('@redis/client');
const { BasicCommandParser } = require('@redis/client/dist/lib/client/parser');
const { default: COMMANDS } = require('@redis/client/dist/lib/commands');
const { attach, attachIterators } = require('../lib/commands.js');
const table = require('../lib/generated/commands.js');
const { CALLS, SEED } = require('./calls.js');

/** What node-redis has and we do not, by why. */
const MISSING = {
  'concerns the connection that wrote': ['WAIT'],
  'the client does it': ['ASKING', 'AUTH', 'CLIENT_CACHING', 'CLIENT_TRACKING', 'HELLO', 'READONLY', 'SCRIPT_DEBUG'],
  'of administrators and between servers': ['COMMAND_DOCS', 'MIGRATE', 'REPLICAOF', 'RESTORE-ASKING'],
  'not in the facts: later than Redis 7.4, but for hash fields': [
    'BLESS_*', 'BLMOVEM', 'AR*', 'DELEX', 'DIGEST', 'HIMPORT_*', 'HOTKEYS_*', 'HSETEX', 'INCREX', 'INCREXBYFLOAT',
    'LMOVEM', 'MSETEX', 'SDIFFCARD', 'SUNIONCARD', 'XACKDEL', 'XCFGSET', 'XDELEX', 'XNACK', 'V*',
  ],
};

/** What we have and node-redis does not. */
const OURS = new Set([
  'clusterShards', 'hmSet', 'lolwut', 'slowlogGet', 'slowlogLen', 'slowlogReset', 'substr', 'zRevRange',
  'zRevRangeByLex', 'zRevRangeByScore', 'zRevRangeByScoreWithScores', 'zRevRangeWithScores',
]);

/** What the server answers otherwise each time: only the form is compared. */
const VARYING = new Set([
  'aclGenPass', 'clientId', 'clientInfo', 'clientList', 'info', 'lolwut', 'memoryDoctor', 'memoryMallocStats',
  'memoryStats', 'randomKey', 'scan', 'time', 'xInfoConsumers', 'xPendingRange',
]);

/** What answers according to what ran before. */
const UNREPEATABLE = new Set(['bgRewriteAof', 'bgSave']);

const NAMES = new Map(table.map(([names]) => [names.split(' ')[0], names.split(' ').slice(1)]));

/** Command methods that hand over their words and what becomes of the reply. */
class Words {}
attach(Words.prototype, (_, argv, transform = (reply) => reply) => ({ argv, transform }), (error) => { throw error; });

function argvOf(name, args) {
  const parser = new BasicCommandParser();
  COMMANDS[name].parseCommand(parser, ...args);
  return parser.redisArgs.map(String);
}

/** Without what differs but means the same: prototypes, the order of members, and those that are undefined. */
function plain(value) {
  if (value instanceof Error) return { error: value.message };
  if (Buffer.isBuffer(value) || value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Set) return [...value].map(plain);
  const pairs = value instanceof Map ? [...value] : Object.entries(value);
  const members = pairs.filter(([, member]) => member !== undefined && !Number.isNaN(member));
  members.sort(([one], [other]) => (one < other ? -1 : 1));
  return new Map(members.map(([name, member]) => [name, plain(member)]));
}

/** The types of a value. */
function formOf(value) {
  if (Array.isArray(value)) return [...new Set(value.map(formOf).map((form) => JSON.stringify(form)))].sort();
  if (!(value instanceof Map)) return value === null ? 'null' : typeof value;
  return [...value].map(([name, member]) => [name, formOf(member)]);
}

async function outcome(promise) {
  try {
    return plain(await promise);
  } catch (error) {
    return plain(error);
  }
}

/** node-redis takes Buffers for strings in these, or leaves numbers out, where a type mapping is set. */
const UNMAPPED = ['command', 'commandInfo', 'pubSubShardNumSub', 'role', 'xInfoStream'];

async function seed(client) {
  await Promise.all(SEED.map((words) => client.sendCommand(words)));
}

async function startReference(t, port, RESP) {
  const client = reference.createClient({ RESP, socket: { host: '127.0.0.1', port } });
  // The server may be ended before the client is.
  client.on('error', () => {});
  await client.connect();
  t.after(() => client.destroy());
  return client;
}

function each(visit) {
  for (const [name, calls] of Object.entries(CALLS)) {
    for (const args of calls) visit(name, args);
  }
}

test('every method has a call, and there are hundreds', () => {
  assert.deepEqual([...NAMES.keys()].filter((name) => !CALLS[name]), []);
  assert.deepEqual(Object.keys(CALLS).filter((name) => !NAMES.has(name)), []);
  assert(Object.values(CALLS).flat().length >= 300);
});

test('every method of node-redis is there by both names, but for those with a reason', () => {
  const patterns = Object.values(MISSING).flat().map((name) => new RegExp(`^${name.replace('*', '.*')}$`));
  const upper = Object.keys(COMMANDS).filter((name) => name === name.toUpperCase());
  const words = new Words();
  const missing = upper.filter((name) => typeof words[name] !== 'function');
  assert.deepEqual(missing.filter((name) => !patterns.some((pattern) => pattern.test(name))), []);
  for (const pattern of patterns) assert(missing.some((name) => pattern.test(name)), `${pattern} is not missing`);
  for (const [name, aliases] of NAMES) {
    for (const alias of aliases) assert.equal(words[alias], words[name]);
    if (OURS.has(name)) assert.equal(COMMANDS[name], undefined);
    else assert(aliases.some((alias) => COMMANDS[alias] === COMMANDS[name]), name);
  }
});

test('each call has the words that node-redis sends', () => {
  let count = 0;
  each((name, args) => {
    if (OURS.has(name)) return;
    assert.deepEqual(new Words()[name](...args).argv.map(String), argvOf(name, args), name);
    count++;
  });
  assert(count >= 300);
});

test('what goes out is strings and bytes', () => {
  each((name, args) => {
    const { argv } = new Words()[name](...args);
    assert(argv.every((word) => typeof word === 'string' || Buffer.isBuffer(word)), name);
  });
});

/** Makes each call with node-redis and, by `send`, with our words and what we make of replies. */
async function compare(theirs, send, client, but = []) {
  let count = 0;
  for (const [name, calls] of Object.entries(CALLS)) {
    if (UNREPEATABLE.has(name) || but.includes(name)) continue;
    for (const args of calls) {
      const { argv, transform } = new Words()[name](...args);
      const finish = (reply) => transform(reply, client);
      await seed(theirs);
      const expected = await outcome(OURS.has(name) ? send(argv).then(finish) : theirs[name](...args));
      await seed(theirs);
      const got = await outcome(send(argv).then(finish));
      const what = `${name} ${JSON.stringify(args)}`;
      if (VARYING.has(name)) assert.deepEqual(formOf(got), formOf(expected), what);
      else assert.deepEqual(got, expected, what);
      count++;
    }
  }
  assert(count >= 300);
}

for (const RESP of [2, 3]) {
  test(`each call gives what node-redis gives, under RESP${RESP}`, { timeout: 120_000 }, async (t) => {
    const { startServer } = await import('./rig.js');
    const { port } = await startServer(t);
    const theirs = await startReference(t, port, RESP);
    await compare(theirs, (argv) => theirs.sendCommand(argv));
  });
}

test('each call gives through our own client what it gives through node-redis', { timeout: 120_000 }, async (t) => {
  const { startServer } = await import('./rig.js');
  const { createClient } = require('../lib/index.js');
  const { port } = await startServer(t);
  const theirs = await startReference(t, port, 3);
  const ours = await createClient({ socket: { host: '127.0.0.1', port } }).connect();
  t.after(() => ours.destroy());
  await compare(theirs, (argv) => ours.sendCommand(argv));
});

for (const [target, name] of [[Map, 'Maps'], [Array, 'arrays']]) {
  test(`a type mapping makes ${name} of maps, and text of doubles`, { timeout: 120_000 }, async (t) => {
    const { startServer } = await import('./rig.js');
    const { port } = await startServer(t);
    const { MAP, DOUBLE, BLOB_STRING } = reference.RESP_TYPES;
    const typeMapping = { [MAP]: target, [DOUBLE]: String, [BLOB_STRING]: Buffer };
    const theirs = (await startReference(t, port, 3)).withTypeMapping(typeMapping);
    await compare(theirs, (argv) => theirs.sendCommand(argv), { typeMapping }, UNMAPPED);
  });
}

/** Replies that the server of the tests is too old for, or that tell times: by method, as RESP2 and RESP3 send them. */
const REPLIES = [
  ['zRankWithScore', [1, '2.5'], [1, 2.5]],
  ['zRevRankWithScore', null, null],
  ['hScanNoValues', ['0', ['f', 'g']], ['0', ['f', 'g']]],
  ['hGetEx', ['v', null], ['v', null]],
  ['latencyHistogram', ['set', ['calls', 3, 'histogram_usec', [1, 2, 4, 3]]],
    { set: { calls: 3, histogram_usec: { 1: 2, 4: 3 } } }],
  ['aclLog',
    [['count', 1, 'reason', 'auth', 'context', 'c', 'object', 'o', 'username', 'u', 'age-seconds', '1.5',
      'client-info', 'i', 'entry-id', 0, 'timestamp-created', 5, 'timestamp-last-updated', 6]],
    [{ count: 1, reason: 'auth', context: 'c', object: 'o', username: 'u', 'age-seconds': 1.5, 'client-info': 'i',
      'entry-id': 0, 'timestamp-created': 5, 'timestamp-last-updated': 6 }]],
  ['role', ['slave', '10.0.0.1', 6379, 'connected', 14], ['slave', '10.0.0.1', 6379, 'connected', 14]],
  ['role', ['master', 14, [['10.0.0.2', '6379', '14']]], ['master', 14, [['10.0.0.2', '6379', '14']]]],
  ['role', ['sentinel', ['m']], ['sentinel', ['m']]],
  ['functionStats', ['running_script', ['name', 'f', 'command', ['FCALL'], 'duration_ms', 5], 'engines', []],
    { running_script: { name: 'f', command: ['FCALL'], duration_ms: 5 }, engines: {} }],
  ['xAutoClaim', ['0-0', [['1-0', ['a', '1']], null], ['2-0']], ['0-0', [['1-0', ['a', '1']], null], ['2-0']]],
  ['clusterSlots', [[0, 5, ['h', 1, 'i'], ['g', 2, 'j']]], [[0, 5, ['h', 1, 'i'], ['g', 2, 'j']]]],
  ['clusterLinks',
    [['direction', 'to', 'node', 'i', 'create-time', 5, 'events', 'rw', 'send-buffer-allocated', 1,
      'send-buffer-used', 0]],
    [{ direction: 'to', node: 'i', 'create-time': 5, events: 'rw', 'send-buffer-allocated': 1,
      'send-buffer-used': 0 }]],
  ['moduleList', [['name', 'm', 'ver', 1]], [{ name: 'm', ver: 1 }]],
];

test('replies of other servers become the same under both protocols', () => {
  for (const [name, ...replies] of REPLIES) {
    const [second, third] = replies.map((reply) => plain(new Words()[name](...CALLS[name][0]).transform(reply)));
    assert.deepEqual(second, third, name);
    const theirs = COMMANDS[name].transformReply;
    const finish = typeof theirs === 'function' ? theirs : theirs?.[2];
    if (finish) assert.deepEqual(second, plain(finish(replies[0])), name);
  }
  assert.deepEqual(new Words().zRankWithScore('z', 'm').transform([1, '2.5']), { rank: 1, score: 2.5 });
});

test('a field may be called anything', () => {
  const { transform } = new Words().hGetAll('h');
  for (const reply of [['__proto__', 'a', 'constructor', 'b'], new Map([['__proto__', 'a'], ['constructor', 'b']])]) {
    const hash = transform(reply);
    assert.deepEqual(Object.entries(hash), [['__proto__', 'a'], ['constructor', 'b']]);
    assert.equal(Object.getPrototypeOf(hash), null);
  }
});

/** Calls with arguments that do not fit, and what is said of them. */
const WRONG = [
  ['get', [], 'key must be a string or a Buffer, not undefined'],
  ['get', [5], 'key must be a string or a Buffer, not number'],
  ['set', ['k', null], 'value must be a string, a Buffer or a number, not null'],
  ['set', ['k', { a: 1 }], 'value must be a string, a Buffer or a number, not object'],
  ['set', ['k', 'v', 'EX'], 'options must be an object, not string'],
  ['set', ['k', 'v', { PX: {} }], 'options.PX must be a number, not object'],
  ['set', ['k', 'v', { expiration: { type: 'EX' } }], 'options.expiration.value must be a number, not undefined'],
  ['set', ['k', 'v', { condition: true }], 'options.condition must be a string, not boolean'],
  ['getEx', ['k'], 'expiration must be an object, not undefined'],
  ['expire', ['k', NaN], 'seconds must be a number, not NaN'],
  ['expireAt', ['k', new Date(NaN)], 'timestamp must be a valid Date'],
  ['del', [['a', undefined]], 'keys[1] must be a string or a Buffer, not undefined'],
  ['mSet', [{}], 'pairs must have pairs of two, one at least'],
  ['mSet', [['a']], 'pairs must have pairs of two, one at least'],
  ['mSet', ['a'], 'pairs must be an object, a Map or an array, not string'],
  ['hSet', ['h'], 'fields must be an object, a Map or an array, not undefined'],
  ['hSet', ['h', 'f'], 'value must be a string, a Buffer or a number, not undefined'],
  ['hSet', ['h', { f: true }], 'fields must be a string, a Buffer or a number, not boolean'],
  ['zAdd', ['z', { score: '1' }], 'members.value must be a string or a Buffer, not undefined'],
  ['zAdd', ['z', [{ score: 1, value: 'a' }, null]], 'members[1].score must be a number, not undefined'],
  ['zRange', ['z', 0, 1, { LIMIT: 5 }], 'options.LIMIT.offset must be a number, not undefined'],
  ['zUnion', [[{ key: 'a' }]], 'keys[0].weight must be a number, not undefined'],
  ['xAdd', ['s', '*', { f: 1 }], 'message must be a string or a Buffer, not number'],
  ['xAdd', ['s', '*', { f: 'v' }, { TRIM: {} }], 'options.TRIM.strategy must be a string, not undefined'],
  ['xRead', [{ key: 's' }], 'streams.id must be a string or a Buffer, not undefined'],
  ['geoSearch', ['g', { longitude: 1 }, { radius: 1, unit: 'm' }], 'from.latitude must be a number, not undefined'],
  ['geoSearchWith', ['g', 'm', { radius: 1, unit: 'm' }], 'replyWith must be a string, not undefined'],
  ['bitField', ['b', [{ operation: 'SET', encoding: 'u8', offset: 0 }]],
    'operations[0].value must be a number, not undefined'],
  ['clientKill', [{ filter: 'NOBODY' }],
    'filters.filter must be one of ADDR, LADDR, ID, TYPE, USER, SKIPME, MAXAGE'],
  ['clientNoEvict', ['yes'], 'value must be a boolean, not string'],
  ['eval', ['return 1', { arguments: [1] }], 'options.arguments[0] must be a string or a Buffer, not number'],
];

test('an argument that does not fit is refused by name, before anything is sent', async () => {
  let sent = 0;
  class Client {}
  attach(Client.prototype, () => { sent++; });
  const client = new Client();
  for (const [name, args, message] of WRONG) {
    await assert.rejects(client[name](...args), { name: 'TypeError', message: `${name}: ${message}` });
    assert.throws(() => new Words()[name](...args), TypeError);
  }
  assert.equal(sent, 0);
  await client.get('k');
  assert.equal(sent, 1);
});

test('a value that does not fit is not told: it may be a secret', () => {
  const calls = [['aclSetUser', 'u', [{ secret: 1 }]], ['set', 'k', ['secret']], ['get', Symbol('secret')]];
  for (const [name, ...args] of calls) {
    assert.throws(() => new Words()[name](...args), (error) => !error.message.includes('secret'));
  }
});

test('methods of a prototype win over those that are attached', () => {
  class Base { inherited() { return 'base'; } }
  class Client extends Base { command() { return 'own'; } }
  attach(Client.prototype, (client, argv) => argv);
  const client = new Client();
  assert.equal(client.command(), 'own');
  assert.equal(client.inherited(), 'base');
  assert.deepEqual(client.get('k'), ['GET', 'k']);
  assert(client instanceof Base);
  assert.deepEqual(Object.keys(Object.getPrototypeOf(Client.prototype)), []);
});

test('iterators give every element once, page by page', { timeout: 60_000 }, async (t) => {
  const { startServer } = await import('./rig.js');
  const { createClient } = require('../lib/index.js');
  const { port } = await startServer(t);
  const client = await createClient({ socket: { host: '127.0.0.1', port } }).connect();
  t.after(() => client.destroy());
  class Commands {}
  attach(Commands.prototype, (_, argv, transform = (reply) => reply) => client.sendCommand(argv).then(transform));
  attachIterators(Commands.prototype);
  const commands = new Commands();
  const names = Array.from({ length: 1000 }, (_, i) => `n${i}`);
  await commands.mSet(names.flatMap((name) => [name, 'v']));
  await commands.hSet('hash', names.flatMap((name) => [name, `${name}'s`]));
  await commands.sAdd('set', names);
  await commands.zAdd('zset', names.map((value, score) => ({ score, value })));
  const all = async (iterator) => {
    const elements = [];
    for await (const page of iterator) {
      assert(Array.isArray(page));
      elements.push(...page);
    }
    return elements.sort((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1));
  };
  const sorted = (elements) => all([elements]);
  const keys = commands.scanIterator({ MATCH: 'n*', COUNT: 100, TYPE: 'string' });
  assert.deepEqual(await all(keys), await sorted(names));
  assert.deepEqual(await all(commands.hScanIterator('hash', { COUNT: 100 })),
    await sorted(names.map((field) => ({ field, value: `${field}'s` }))));
  assert.deepEqual(await all(commands.hScanValuesIterator('hash')), await sorted(names.map((name) => `${name}'s`)));
  assert.deepEqual(await all(commands.sScanIterator('set')), await sorted(names));
  assert.deepEqual(await all(commands.zScanIterator('zset', { MATCH: 'n99*' })),
    await sorted(names.map((value, score) => ({ value, score })).filter(({ value }) => value.startsWith('n99'))));
  assert.deepEqual(await all(commands.scanIterator({ MATCH: 'none' })), []);
});

test('the types say what the methods do', { timeout: 120_000 }, () => {
  const options = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'node16', '--types', 'node'];
  const declarations = ['commands.d.ts', 'shapes.d.ts', 'generated/commands.d.ts'];
  const files = ['test/types/commands.ts', ...declarations.map((name) => `lib/${name}`)];
  const compiler = require.resolve('typescript/bin/tsc');
  const root = path.dirname(__dirname);
  const run = spawnSync(process.execPath, [compiler, ...options, ...files], { cwd: root, encoding: 'utf8' });
  assert.equal(run.status, 0, run.stdout);
});
