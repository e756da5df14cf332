'use strict';
// What becomes of replies: `(reply, client)`, where the client's type mapping says what maps and doubles become. RESP2
// sends maps as flat arrays and doubles as text, RESP3 as what they are; and maps may come as objects or as Maps. Each
// function takes any of these, and strings as Buffers, too.

/** Kinds of replies whose type a mapping may choose, by the byte that RESP3 begins them with. */
const MAP = 37;
const DOUBLE = 44;

/** The pairs of a map. */
function pairsOf(reply) {
  if (reply instanceof Map) return [...reply];
  return Array.isArray(reply) ? paired(reply) : Object.entries(reply);
}

/** Elements two by two, whether flat or in pairs already. */
function paired(reply) {
  if (Array.isArray(reply[0])) return reply;
  const pairs = [];
  for (let i = 0; i < reply.length; i += 2) pairs.push([reply[i], reply[i + 1]]);
  return pairs;
}

const same = (value) => value;

/** A map as the client's type mapping wants it; `convert(value, key)` makes its values. */
function map(reply, client, convert = same) {
  switch (client?.typeMapping?.[MAP]) {
    case Map:
      return new Map(pairsOf(reply).map(([key, value]) => [String(key), convert(value, String(key))]));
    case Array:
      return pairsOf(reply).flatMap(([key, value]) => [key, convert(value, String(key))]);
    default:
      return record(reply, convert);
  }
}

/** An object without a prototype: a field may be called `constructor`. */
function record(reply, convert = same) {
  const record = Object.create(null);
  if (Array.isArray(reply)) {
    for (let i = 0; i < reply.length; i += 2) record[reply[i]] = convert(reply[i + 1], String(reply[i]));
  } else {
    for (const [key, value] of pairsOf(reply)) record[key] = convert(value, String(key));
  }
  return record;
}

function records(reply, client) {
  return reply.map((record) => map(record, client));
}

function double(reply, client) {
  if (reply === null || client?.typeMapping?.[DOUBLE] === String) return reply;
  return toNumber(reply);
}

function toNumber(reply) {
  if (typeof reply === 'number') return reply;
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

function doubles(reply, client) {
  return reply.map((reply) => double(reply, client));
}

/** Distances are text under both protocols. */
function distance(reply) {
  return reply === null ? null : toNumber(reply);
}

function counts(reply) {
  return record(reply, Number);
}

function scored(reply, client) {
  return paired(reply).map(([value, score]) => ({ value, score: double(score, client) }));
}

function scoredOne(reply, client) {
  return reply.length === 0 ? null : scored(reply, client)[0];
}

function popped(reply, client) {
  return reply === null ? null : { key: reply[0], members: scored(reply[1], client) };
}

/** What a command waited for. */
function awaited(reply) {
  return reply === null ? null : { key: reply[0], element: reply[1] };
}

function awaitedScored(reply, client) {
  return reply === null ? null : { key: reply[0], value: reply[1], score: double(reply[2], client) };
}

function rank(reply, client) {
  return reply === null ? null : { rank: reply[0], score: double(reply[1], client) };
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
  return { cursor, members: paired(elements).map(([value, score]) => ({ value, score: toNumber(score) })) };
}

/** An entry of a stream; `null` where it was deleted in the meantime. */
function entry(reply, client) {
  if (reply === null) return null;
  const [id, message, idle, deliveries] = reply;
  const entry = { id, message: map(message, client) };
  if (idle !== undefined) entry.millisElapsedFromDelivery = idle;
  if (deliveries !== undefined) entry.deliveriesCounter = deliveries;
  return entry;
}

function entries(reply, client) {
  return reply === null ? null : reply.map((reply) => entry(reply, client));
}

function streams(reply, client) {
  if (reply === null) return null;
  return pairsOf(reply).map(([name, messages]) => ({ name: String(name), messages: entries(messages, client) }));
}

function claimed([nextId, messages, deletedMessages], client) {
  return { nextId, messages: entries(messages, client), deletedMessages };
}

function claimedIds([nextId, messages, deletedMessages]) {
  return { nextId, messages, deletedMessages };
}

const ENTRIES = new Set(['first-entry', 'last-entry']);

function streamRecord(reply, client) {
  return map(reply, client, (value, name) => (ENTRIES.has(name) ? entry(value, client) : value));
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
function places(reply, client, argv) {
  const asked = new Set(argv.slice(PLACE_WORDS_AT));
  return reply.map(([member, ...rest]) => {
    const place = { member };
    if (asked.has('WITHDIST')) place.distance = double(rest.shift(), client);
    if (asked.has('WITHHASH')) place.hash = rest.shift();
    if (asked.has('WITHCOORD')) {
      const [longitude, latitude] = rest.shift();
      place.coordinates = { longitude: double(longitude, client), latitude: double(latitude, client) };
    }
    return place;
  });
}

function user(reply, client) {
  if (reply === null) return null;
  return map(reply, client, (value, name) => (name === 'selectors' ? records(value, client) : value));
}

function denials(reply, client) {
  const convert = (value, name) => (name === 'age-seconds' ? double(value, client) : value);
  return reply.map((denial) => map(denial, client, convert));
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

function libraries(reply, client) {
  const convert = (value, name) => (name === 'functions' ? records(value, client) : value);
  return reply.map((library) => map(library, client, convert));
}

function functionFigures(reply, client) {
  return map(reply, client, (value, name) => {
    if (name === 'engines') return map(value, client, (engine) => map(engine, client));
    return value && map(value, client);
  });
}

function histograms(reply, client) {
  const convert = (value, name) => (name === 'histogram_usec' ? map(value, client) : value);
  return map(reply, client, (histogram) => map(histogram, client, convert));
}

const MEMORY_DOUBLES = new Set([
  'dataset.percentage', 'peak.percentage', 'allocator-fragmentation.ratio', 'allocator-rss.ratio', 'rss-overhead.ratio',
  'fragmentation',
]);

function memory(reply, client) {
  return map(reply, client, (value, name) => (MEMORY_DOUBLES.has(name) ? double(value, client) : value));
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

function node([host, port, id]) {
  return { host, port, id };
}

function slots(reply) {
  return reply.map(([from, to, master, ...replicas]) => ({
    from, to, master: node(master), replicas: replicas.map(node),
  }));
}

const UNKNOWN = { type: 'unknown' };

function beginSearch(reply) {
  const { type, spec } = record(reply);
  const members = record(spec);
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
  const { type, spec } = record(reply);
  const members = record(spec);
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
  const { begin_search: begin, find_keys: find } = record(reply);
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
  awaited, awaitedScored, claimed, claimedIds, client, clients, commands, counts, denials, distance, double, doubles,
  entries, fields, functionFigures, hashScan, histograms, keysAndFlags, libraries,
  map: (reply, client) => map(reply, client), memory, pending, pendingRange, places, points, popped, rank, records,
  role, scanOf, scored, scoredOne, scoredScan, slots, streamRecord, streams, user,
};
