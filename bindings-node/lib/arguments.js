'use strict';
// What arguments become on the wire. Whatever does not fit is a TypeError that names the argument and its type, never
// its value: that may be a secret. lib/commands.js adds the method's name.

const NOTHING = Object.freeze({});

function refuse(value, name, wanted) {
  const type = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
  throw new TypeError(`${name} must be ${wanted}, not ${type}`);
}

function isText(value) {
  return typeof value === 'string' || value instanceof Uint8Array;
}

function text(value, name) {
  if (typeof value === 'string' || value instanceof Uint8Array) return value;
  return refuse(value, name, 'a string or a Buffer');
}

/** One of a few words. Which ones is the server's business: newer ones know more. */
function word(value, name) {
  if (typeof value === 'string') return value;
  return refuse(value, name, 'a string');
}

/** Numbers may come as text: `(1.5`, `-inf`, or an integer that JavaScript's numbers do not hold. */
function number(value, name) {
  switch (typeof value) {
    case 'number':
      if (value === Infinity) return '+inf';
      if (value === -Infinity) return '-inf';
      if (value !== value) throw new TypeError(`${name} must be a number, not NaN`);
      return String(value);
    case 'bigint':
      return String(value);
    default:
      return isText(value) ? value : refuse(value, name, 'a number');
  }
}

/** Text, which may come as a number. */
function value(value, name) {
  if (typeof value === 'string' || value instanceof Uint8Array) return value;
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  return refuse(value, name, 'a string, a Buffer or a number');
}

function moment(value, name, unit) {
  if (!(value instanceof Date)) return number(value, name);
  const time = value.getTime();
  if (time !== time) throw new TypeError(`${name} must be a valid Date`);
  return String(Math.floor(time / unit));
}

function unixSeconds(value, name) {
  return moment(value, name, 1000);
}

function unixMilliseconds(value, name) {
  return moment(value, name, 1);
}

/** One value, or an array of them, as an array. */
function list(values, name, convert) {
  return Array.isArray(values) ? values.map((value, at) => convert(value, `${name}[${at}]`)) : [convert(values, name)];
}

function texts(values, name) {
  if (!Array.isArray(values)) return [text(values, name)];
  for (let i = 0; i < values.length; i++) {
    if (!isText(values[i])) text(values[i], `${name}[${i}]`);
  }
  return values;
}

function numbers(values, name) {
  return list(values, name, number);
}

/** How many values `texts` gives. */
function count(values) {
  if (values == null) return '0';
  return Array.isArray(values) ? String(values.length) : '1';
}

/** The word in front of each value. */
function each(word, values) {
  return values.flatMap((value) => [word, value]);
}

/** An object, a Map, an array of pairs, or the pairs one after the other; as the last of these. */
function pairs(values, name, convert = text) {
  const flat = [];
  if (Array.isArray(values)) {
    for (const value of values) {
      if (Array.isArray(value)) for (const part of value) flat.push(convert(part, name));
      else flat.push(convert(value, name));
    }
  } else if (values instanceof Map) {
    for (const [key, value] of values) flat.push(convert(key, name), convert(value, name));
  } else if (isRecord(values)) {
    for (const key of Object.keys(values)) flat.push(key, convert(values[key], name));
  } else {
    refuse(values, name, 'an object, a Map or an array');
  }
  if (flat.length === 0 || flat.length % 2 !== 0) throw new TypeError(`${name} must have pairs of two, one at least`);
  return flat;
}

function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

/** An object whose members are looked at; none where nothing was given. */
function object(value, name) {
  if (value === undefined || value === null) return NOTHING;
  return isRecord(value) ? value : refuse(value, name, 'an object');
}

/** `push` takes its arguments on the stack: a long list would not fit. */
function append(target, values) {
  for (const value of values) target.push(value);
}

module.exports = {
  append, count, each, isRecord, isText, list, number, numbers, object, pairs, refuse, text, texts, unixMilliseconds,
  unixSeconds, value, word,
};
