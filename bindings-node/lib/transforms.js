'use strict';
// What becomes of replies. RESP2 sends maps as flat arrays and doubles as text, RESP3 as what they are; and maps may
// come as objects or as Maps. Each function takes any of these, and strings as Buffers, too.

/** The pairs of a map. */
function pairsOf(reply) {
  if (reply instanceof Map) return [...reply];
  if (!Array.isArray(reply)) return Object.entries(reply);
  return paired(reply);
}

/** Elements two by two, whether flat or in pairs already. */
function paired(reply) {
  if (Array.isArray(reply[0])) return reply;
  const pairs = [];
  for (let i = 0; i < reply.length; i += 2) pairs.push([reply[i], reply[i + 1]]);
  return pairs;
}

/** An object without a prototype: a field may be called `constructor`. */
function map(reply, convert) {
  const object = Object.create(null);
  if (Array.isArray(reply)) {
    for (let i = 0; i < reply.length; i += 2) object[reply[i]] = convert ? convert(reply[i + 1]) : reply[i + 1];
  } else {
    for (const [key, value] of pairsOf(reply)) object[key] = convert ? convert(value) : value;
  }
  return object;
}

function records(reply) {
  return reply.map((record) => map(record));
}

function double(reply) {
  if (reply === null || typeof reply === 'number') return reply;
  switch (String(reply)) {
    case 'inf':
    case '+inf':
      return Infinity;
    case '-inf':
      return -Infinity;
    case 'nan':
    case '-nan':
      return NaN;
    default:
      return Number(reply);
  }
}

function doubles(reply) {
  return reply.map(double);
}

function counts(reply) {
  return map(reply, Number);
}

function scored(reply) {
  return paired(reply).map(([value, score]) => ({ value, score: double(score) }));
}

function scoredOne(reply) {
  return reply.length === 0 ? null : scored(reply)[0];
}

function popped(reply) {
  return reply === null ? null : { key: reply[0], members: scored(reply[1]) };
}

function rank(reply) {
  return reply === null ? null : { rank: reply[0], score: double(reply[1]) };
}

function fields(reply) {
  return paired(reply).map(([field, value]) => ({ field, value }));
}

/** A step of SCAN, whose elements become this member. */
function scanOf(member) {
  return ([cursor, elements]) => ({ cursor, [member]: elements });
}

function hashScan([cursor, elements]) {
  return { cursor, entries: fields(elements) };
}

function scoredScan([cursor, elements]) {
  return { cursor, members: scored(elements) };
}

/** An entry of a stream; `null` where it was deleted in the meantime. */
function entry(reply) {
  if (reply === null) return null;
  const [id, message, idle, deliveries] = reply;
  const entry = { id, message: map(message) };
  if (idle !== undefined) entry.millisElapsedFromDelivery = idle;
  if (deliveries !== undefined) entry.deliveriesCounter = deliveries;
  return entry;
}

function entries(reply) {
  return reply === null ? null : reply.map(entry);
}

function streams(reply) {
  return reply === null ? null : pairsOf(reply).map(([name, messages]) => ({ name, messages: entries(messages) }));
}

function claimed([nextId, messages, deletedMessages]) {
  return { nextId, messages: entries(messages), deletedMessages };
}

function claimedIds([nextId, messages, deletedMessages]) {
  return { nextId, messages, deletedMessages };
}

function streamRecord(reply) {
  const record = map(reply);
  for (const name of ['first-entry', 'last-entry']) record[name] = entry(record[name] ?? null);
  return record;
}

function pending([count, firstId, lastId, consumers]) {
  const consumer = ([name, deliveries]) => ({ name, deliveriesCounter: Number(deliveries) });
  return { pending: count, firstId, lastId, consumers: consumers && consumers.map(consumer) };
}

function pendingRange(reply) {
  return reply.map(([id, consumer, millisecondsSinceLastDelivery, deliveriesCounter]) => ({
    id, consumer, millisecondsSinceLastDelivery, deliveriesCounter,
  }));
}

function points(reply) {
  return reply.map((point) => point && { longitude: point[0], latitude: point[1] });
}

/** Where the words can be at the earliest: what stands before may be called like one of them. */
const PLACE_WORDS_AT = 4;

/** Members with what the command asked for; the server sends that in an order of its own. */
function places(reply, argv) {
  const asked = new Set(argv.slice(PLACE_WORDS_AT));
  return reply.map(([member, ...rest]) => {
    const place = { member };
    if (asked.has('WITHDIST')) place.distance = double(rest.shift());
    if (asked.has('WITHHASH')) place.hash = rest.shift();
    if (asked.has('WITHCOORD')) {
      const [longitude, latitude] = rest.shift();
      place.coordinates = { longitude: double(longitude), latitude: double(latitude) };
    }
    return place;
  });
}

function user(reply) {
  if (reply === null) return null;
  const user = map(reply);
  if (user.selectors) user.selectors = records(user.selectors);
  return user;
}

function denials(reply) {
  return records(reply).map((denial) => ({ ...denial, 'age-seconds': double(denial['age-seconds']) }));
}

const CLIENT_FIELD = /([^\s=]+)=(\S*)/g;
const CLIENT_TEXTS = new Set(['addr', 'laddr', 'name', 'flags', 'events', 'cmd', 'user', 'lib-name', 'lib-ver']);

function camel(name) {
  return name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
}

function client(reply) {
  const client = {};
  for (const [, name, value] of String(reply).matchAll(CLIENT_FIELD)) {
    client[camel(name)] = CLIENT_TEXTS.has(name) ? value : Number(value);
  }
  return client;
}

function clients(reply) {
  return String(reply).split('\n').filter(Boolean).map(client);
}

function libraries(reply) {
  return records(reply).map((library) => ({ ...library, functions: records(library.functions) }));
}

function functionFigures(reply) {
  const { running_script: script, engines } = map(reply);
  return { running_script: script && map(script), engines: map(engines, (engine) => map(engine)) };
}

function histograms(reply) {
  return map(reply, (histogram) => {
    const { calls, histogram_usec: usec } = map(histogram);
    return { calls, histogram_usec: map(usec) };
  });
}

const MEMORY_DOUBLES = [
  'dataset.percentage', 'peak.percentage', 'allocator-fragmentation.ratio', 'allocator-rss.ratio', 'rss-overhead.ratio',
  'fragmentation',
];

function memory(reply) {
  const memory = map(reply);
  for (const name of MEMORY_DOUBLES) {
    if (name in memory) memory[name] = double(memory[name]);
  }
  return memory;
}

function replica([host, port, offset]) {
  return { host, port: Number(port), replicationOffest: Number(offset) };
}

/** `replicationOffest` is how node-redis spells it. */
function role([role, ...rest]) {
  switch (String(role)) {
    case 'master':
      return { role, replicationOffest: rest[0], replicas: rest[1].map(replica) };
    case 'slave':
      return { role, master: { host: rest[0], port: rest[1] }, state: rest[2], dataReceived: rest[3] };
    default:
      return { role, masterNames: rest[0] };
  }
}

const UNKNOWN = { type: 'unknown' };

function beginSearch(reply) {
  const { type, spec } = map(reply);
  const members = map(spec);
  switch (String(type)) {
    case 'index':
      return { type: 'index', index: members.index };
    case 'keyword':
      return { type: 'keyword', keyword: members.keyword, startFrom: members.startfrom };
    default:
      return UNKNOWN;
  }
}

function findKeys(reply) {
  const { type, spec } = map(reply);
  const members = map(spec);
  switch (String(type)) {
    case 'range':
      return { type: 'range', lastKey: members.lastkey, keyStep: members.keystep, limit: members.limit };
    case 'keynum':
      return {
        type: 'keynum', keyNumIdx: members.keynumidx, firstKey: members.firstkey, keyStep: members.keystep,
      };
    default:
      return UNKNOWN;
  }
}

function keySpec(reply) {
  const { begin_search: begin, find_keys: find } = map(reply);
  return { beginSearch: beginSearch(begin), findKeys: findKeys(find) };
}

const POLICIES = { 'request_policy:': 'request', 'response_policy:': 'response' };

function tipsOf(reply) {
  const policies = { request: undefined, response: undefined };
  const tips = [];
  for (const tip of reply.map(String)) {
    const prefix = Object.keys(POLICIES).find((prefix) => tip.startsWith(prefix));
    if (prefix) policies[POLICIES[prefix]] = tip.slice(prefix.length);
    else tips.push(tip);
  }
  return { policies, tips, nondeterministicOutput: tips.includes('nondeterministic_output') };
}

/** Before Redis 7 commands have neither tips nor key specifications nor subcommands. */
function command(reply) {
  if (reply === null) return null;
  const [name, arity, flags, firstKeyIndex, lastKeyIndex, step, categories, tips, specs, subcommands] = reply;
  return {
    name, arity, flags: new Set(flags), firstKeyIndex, lastKeyIndex, step, categories: new Set(categories),
    ...tipsOf(tips ?? []),
    isKeyless: (specs ?? []).length === 0,
    keySpecs: (specs ?? []).map(keySpec),
    subcommands: (subcommands ?? []).map(command),
  };
}

function commands(reply) {
  return reply.map(command);
}

function keysAndFlags(reply) {
  return reply.map(([key, flags]) => ({ key, flags }));
}

module.exports = {
  claimed, claimedIds, client, clients, commands, counts, denials, double, doubles, entries, fields, functionFigures,
  hashScan, histograms, keysAndFlags, libraries, map: (reply) => map(reply), memory, pending, pendingRange, places,
  points, popped, rank, records, role, scanOf, scored, scoredOne, scoredScan, streamRecord, streams, user,
};
