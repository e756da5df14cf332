'use strict';
// Command methods beside node-redis's: the same names, the same words on the wire, the same results, under both
// protocols.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const reference = require('redis');
const { BasicCommandParser } = require('@redis/client/dist/lib/client/parser');
const { default: COMMANDS } = require('@redis/client/dist/lib/commands');
const { attach, attachIterators } = require('../lib/commands.js');
const table = require('../lib/generated/commands.js');
const { CALLS, SEED } = require('./calls.js');

/** What node-redis has and we do not, by why. */
const MISSING = {
  'needs a connection of its own': [
    'BLMOVE', 'BLMPOP', 'BLPOP', 'BRPOP', 'BRPOPLPUSH', 'BZMPOP', 'BZPOPMAX', 'BZPOPMIN', 'WAIT',
  ],
  'the client does it': ['ASKING', 'AUTH', 'CLIENT_CACHING', 'CLIENT_TRACKING', 'HELLO', 'READONLY', 'SCRIPT_DEBUG'],
  'of administrators and between servers': ['COMMAND_DOCS', 'MIGRATE', 'REPLICAOF', 'RESTORE-ASKING', 'XSETID'],
  'not in the facts: later than Redis 7.4, but for hash fields': [
    'BLESS_*', 'BLMOVEM', 'AR*', 'DELEX', 'DIGEST', 'HIMPORT_*', 'HOTKEYS_*', 'HSETEX', 'INCREX', 'INCREXBYFLOAT',
    'LMOVEM', 'MSETEX', 'SDIFFCARD', 'SUNIONCARD', 'XACKDEL', 'XCFGSET', 'XDELEX', 'XNACK', 'V*',
  ],
  'of a cluster': ['CLUSTER_*'],
};

/** What we have and node-redis does not. */
const OURS = new Set([
  'hmSet', 'lolwut', 'slowlogGet', 'slowlogLen', 'slowlogReset', 'substr', 'zRevRange', 'zRevRangeByLex',
  'zRevRangeByScore', 'zRevRangeByScoreWithScores', 'zRevRangeWithScores',
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

/** Without what differs between protocols and clients but not in meaning: prototypes, and members that are undefined. */
function plain(value) {
  if (value instanceof Error) return { error: value.message };
  if (Buffer.isBuffer(value) || value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Set) return [...value].map(plain);
  const members = Object.entries(value).filter(([, member]) => member !== undefined && !Number.isNaN(member));
  return new Map(members.sort(([one], [other]) => (one < other ? -1 : 1)).map(([name, member]) => [name, plain(member)]));
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
    for (const word of new Words()[name](...args).argv) assert(typeof word === 'string' || Buffer.isBuffer(word), name);
  });
});

/** Makes each call with node-redis and, by `send`, with our words and what we make of replies. */
async function compare(theirs, send) {
  let count = 0;
  for (const [name, calls] of Object.entries(CALLS)) {
    for (const args of UNREPEATABLE.has(name) ? [] : calls) {
      const { argv, transform } = new Words()[name](...args);
      await seed(theirs);
      const expected = await outcome(OURS.has(name) ? theirs.sendCommand(argv).then(transform) : theirs[name](...args));
      await seed(theirs);
      const got = await outcome(send(argv).then((reply) => transform(reply)));
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
