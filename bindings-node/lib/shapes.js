'use strict';
// Arguments in shapes that the grammar does not know: each function writes what one of them stands for. The names are
// those of codegen/surface/node.json.
const as = require('./arguments.js');

const MOMENTS = { EXAT: as.unixSeconds, PXAT: as.unixMilliseconds };
const EXPIRATIONS = ['EX', 'PX', 'EXAT', 'PXAT'];

/** `{ type: 'EX', value: 10 }`, `{ type: 'PERSIST' }` or `'KEEPTTL'`. */
function fieldExpiration(a, expiration, name) {
  if (typeof expiration === 'string') return a.push(expiration);
  const { type, value } = as.object(expiration, name);
  a.push(as.word(type, `${name}.type`));
  if (EXPIRATIONS.includes(type)) a.push((MOMENTS[type] ?? as.number)(value, `${name}.value`));
  return undefined;
}

/** The first of these members that is there, with its value. */
function expirationMember(a, options, name) {
  const type = EXPIRATIONS.find((type) => options[type] != null);
  if (type) a.push(type, (MOMENTS[type] ?? as.number)(options[type], `${name}.${type}`));
  return type;
}

function expiration(a, options, name) {
  if (options.expiration != null) fieldExpiration(a, options.expiration, `${name}.expiration`);
  else if (!expirationMember(a, options, name) && options.KEEPTTL) a.push('KEEPTTL');
}

function newExpiration(a, expiration, name) {
  if (!as.isRecord(expiration)) as.refuse(expiration, name, 'an object');
  if ('type' in expiration) fieldExpiration(a, expiration, name);
  else if (!expirationMember(a, expiration, name)) a.push('PERSIST');
}

function condition(a, options, name) {
  if (options.condition != null) {
    a.push(as.word(options.condition, `${name}.condition`));
    if (options.matchValue != null) a.push(as.text(options.matchValue, `${name}.matchValue`));
  } else if (options.NX) a.push('NX');
  else if (options.XX) a.push('XX');
}

function comparison(a, options, name) {
  if (options.comparison != null) a.push(as.word(options.comparison, `${name}.comparison`));
  else if (options.LT) a.push('LT');
  else if (options.GT) a.push('GT');
}

/** A number, or `{ LIMIT: number }`. */
function limit(a, limit, name) {
  const isObject = as.isRecord(limit);
  const value = isObject ? limit.LIMIT : limit;
  if (value != null) a.push('LIMIT', as.number(value, isObject ? `${name}.LIMIT` : name));
}

/** One field with its value, or several. */
function fields(a, field, value, name) {
  if (as.isText(field) || typeof field === 'number' || typeof field === 'bigint') {
    a.push(as.value(field, name), as.value(value, 'value'));
  } else {
    as.append(a, as.pairs(field, 'fields', as.value));
  }
}

function settings(a, parameter, value, name) {
  if (as.isText(parameter)) a.push(parameter, as.text(value, 'value'));
  else as.append(a, as.pairs(parameter, name));
}

function each(values, name, write) {
  if (!Array.isArray(values)) return write(as.object(values, name), name);
  for (let i = 0; i < values.length; i++) write(as.object(values[i], `${name}[${i}]`), `${name}[${i}]`);
  return undefined;
}

function scored(a, members, name) {
  each(members, name, ({ score, value }, name) => {
    a.push(as.number(score, `${name}.score`), as.text(value, `${name}.value`));
  });
}

/** Keys, each with a weight or all without. */
function weighted(a, keys, name) {
  const all = Array.isArray(keys) ? keys : [keys];
  const hasWeights = all.length > 0 && !as.isText(all[0]);
  a.push(String(all.length));
  all.forEach((key, i) => {
    const at = `${name}[${i}]`;
    a.push(hasWeights ? as.text(as.object(key, at).key, `${at}.key`) : as.text(key, at));
  });
  if (!hasWeights) return;
  a.push('WEIGHTS');
  all.forEach((key, i) => a.push(as.number(key.weight, `${name}[${i}].weight`)));
}

function rangeBy(a, by, name) {
  a.push(`BY${as.word(by, name)}`);
}

function coordinates(a, { longitude, latitude }, name) {
  a.push(as.number(longitude, `${name}.longitude`), as.number(latitude, `${name}.latitude`));
}

function places(a, members, name) {
  each(members, name, (place, name) => {
    coordinates(a, place, name);
    a.push(as.text(place.member, `${name}.member`));
  });
}

function from(a, from, name) {
  if (as.isText(from)) return a.push('FROMMEMBER', from);
  a.push('FROMLONLAT');
  return coordinates(a, as.object(from, name), name);
}

function by(a, by, name) {
  const { radius, width, height, unit } = as.object(by, name);
  if (radius != null) a.push('BYRADIUS', as.number(radius, `${name}.radius`));
  else a.push('BYBOX', as.number(width, `${name}.width`), as.number(height, `${name}.height`));
  a.push(as.word(unit, `${name}.unit`));
}

/** How many places: a number, or `{ value, ANY }`. */
function placeCount(a, count, name) {
  if (!as.isRecord(count)) return a.push('COUNT', as.number(count, name));
  a.push('COUNT', as.number(count.value, `${name}.value`));
  if (count.ANY) a.push('ANY');
  return undefined;
}

function placeStore(a, destination, options, name) {
  a.push(options.STOREDIST ? 'STOREDIST' : 'STORE', as.text(destination, name));
}

function words(a, words, name) {
  as.append(a, as.list(words, name, as.word));
}

function streams(a, streams, name) {
  const ids = [];
  a.push('STREAMS');
  each(streams, name, ({ key, id }, name) => {
    a.push(as.text(key, `${name}.key`));
    ids.push(as.text(id, `${name}.id`));
  });
  as.append(a, ids);
}

function slotRanges(a, ranges, name) {
  each(ranges, name, ({ start, end }, name) => {
    a.push(as.number(start, `${name}.start`), as.number(end, `${name}.end`));
  });
}

function slotState(a, state, nodeId, name) {
  a.push(as.word(state, name));
  if (nodeId != null) a.push(as.text(nodeId, 'nodeId'));
}

const BIT_OPERATIONS = { GET: [], SET: ['value'], INCRBY: ['increment'] };

function bitField(a, operation, name, members) {
  a.push(as.text(operation.encoding, `${name}.encoding`), as.number(operation.offset, `${name}.offset`));
  for (const member of members) a.push(as.number(operation[member], `${name}.${member}`));
}

function bitOperations(a, operations, name) {
  each(operations, name, (operation, name) => {
    a.push(as.word(operation.operation, `${name}.operation`));
    const members = BIT_OPERATIONS[operation.operation];
    if (members) bitField(a, operation, name, members);
    else a.push(as.word(operation.behavior, `${name}.behavior`));
  });
}

function bitReads(a, operations, name) {
  each(operations, name, (operation, name) => {
    a.push('GET');
    bitField(a, operation, name, []);
  });
}

/** The member that each filter's value is in. */
const FILTERS = {
  ADDR: 'address', LADDR: 'localAddress', ID: 'id', TYPE: 'type', USER: 'username', SKIPME: 'skipMe', MAXAGE: 'maxAge',
};

function clientFilters(a, filters, name) {
  as.list(filters, name, (filter, name) => {
    if (filter === 'SKIPME') return a.push(filter);
    const kind = as.word(as.object(filter, name).filter, `${name}.filter`);
    const member = FILTERS[kind];
    if (!member) throw new TypeError(`${name}.filter must be one of ${Object.keys(FILTERS).join(', ')}`);
    const value = kind === 'SKIPME' ? (filter.skipMe ? 'yes' : 'no') : as.value(filter[member], `${name}.${member}`);
    return a.push(kind, value);
  });
}

function clientSelection(a, filter, name) {
  const { TYPE: type, ID: ids } = as.object(filter, name);
  if (type != null) return a.push('TYPE', as.word(type, `${name}.TYPE`));
  a.push('ID');
  return as.append(a, as.list(ids, `${name}.ID`, as.value));
}

function onOff(a, value, name) {
  if (typeof value !== 'boolean') as.refuse(value, name, 'a boolean');
  a.push(value ? 'ON' : 'OFF');
}

function filterBy(a, filter, name) {
  const { type, value } = as.object(filter, name);
  a.push('FILTERBY', as.word(type, `${name}.type`), as.text(value, `${name}.value`));
}

module.exports = {
  bitOperations, bitReads, by, clientFilters, clientSelection, comparison, condition, expiration, fieldExpiration,
  fields, filterBy, from, limit, newExpiration, onOff, placeCount, placeStore, places, rangeBy, scored, settings,
  slotRanges, slotState, streams, weighted, words,
};
