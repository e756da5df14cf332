'use strict';
// Command methods on a prototype, out of the table that is generated.
const commands = require('./generated/commands.js');

/**
 * Gives a prototype every command method, as `hSet` and `HSET`; methods of its own win. Each calls
 * `call(this, argv, transform)`: `argv` is an array of strings and Buffers, `transform(reply, client)` makes of a
 * reply (never of an error) what the method returns, as `client.typeMapping` wants it; it is undefined where the reply
 * is handed on as it is. Where an argument does not fit, the method returns `fail(error)`.
 */
function attach(prototype, call, fail = reject) {
  // A layer of its own: hundreds of properties are ten times as fast to define on an object that never had a shape.
  const layer = Object.create(null);
  for (const [names, build, transform] of commands) {
    const aliases = names.split(' ');
    const value = methodOf(aliases[0], build, transform, call, fail);
    for (const alias of aliases) Object.defineProperty(layer, alias, { value, writable: true, configurable: true });
  }
  Object.setPrototypeOf(layer, Object.getPrototypeOf(prototype));
  Object.setPrototypeOf(prototype, layer);
}

function methodOf(name, build, transform, call, fail) {
  // Some need to know what was asked.
  const finish = transform?.length > 2
    ? (argv) => (reply, client) => transform(reply, client, argv)
    : () => transform;
  const named = (error) => fail(error instanceof TypeError ? new TypeError(`${name}: ${error.message}`) : error);
  // A rest parameter costs an array for each call, which the few that need one may pay.
  if (build.length === 0) {
    return function (...args) {
      let argv;
      try {
        argv = build(...args);
      } catch (error) {
        return named(error);
      }
      return call(this, argv, finish(argv));
    };
  }
  return function (a, b, c, d, e, f) {
    let argv;
    try {
      argv = build(a, b, c, d, e, f);
    } catch (error) {
      return named(error);
    }
    return call(this, argv, finish(argv));
  };
}

function reject(error) {
  return Promise.reject(error);
}

/** Each iterator's method, whether it has a key, and the member that holds the page. */
const ITERATORS = [
  ['scanIterator', 'scan', false, (page) => page.keys],
  ['hScanIterator', 'hScan', true, (page) => page.entries],
  ['hScanValuesIterator', 'hScan', true, (page) => page.entries.map((entry) => entry.value)],
  ['hScanNoValuesIterator', 'hScanNoValues', true, (page) => page.fields],
  ['sScanIterator', 'sScan', true, (page) => page.members],
  ['zScanIterator', 'zScan', true, (page) => page.members],
];

/** Defines async iterators of pages, over the methods that `attach` defines. A page may be empty. */
function attachIterators(prototype) {
  for (const [name, method, hasKey, elements] of ITERATORS) {
    const value = hasKey
      ? function (key, options) { return pages((cursor) => this[method](key, cursor, options), options, elements); }
      : function (options) { return pages((cursor) => this[method](cursor, options), options, elements); };
    Object.defineProperty(prototype, name, { value, writable: true, configurable: true });
  }
}

async function* pages(next, options, elements) {
  let cursor = options?.cursor ?? '0';
  do {
    const page = await next(cursor);
    cursor = page.cursor;
    yield elements(page);
  } while (String(cursor) !== '0');
}

module.exports = { attach, attachIterators };
