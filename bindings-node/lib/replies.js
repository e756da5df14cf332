'use strict';
// Replies and messages out of the window that the core fills; its layout is described in src/window.rs.

const { replied, unreadable } = require('./errors');
const { Messages, WORDS } = require('./messages');
const { segmentOf } = require('./native');
const { RESP_TYPES } = require('./resp_types');

/** What `Core.advance` returns; LAST is added where nothing follows. Mirrors src/core.rs. */
const OUTPUT = {
  NONE: 0, CONNECT: 1, DISCONNECT: 2, TRANSMIT: 3, TOKEN_NEEDED: 4, REPLIES: 5, FAILED: 6, NOTICE: 7, GROW: 8,
  MESSAGES: 9, LAST: 16,
};

/** Numbers at the front of the window. Mirrors src/window.rs. */
const REGISTER = {
  ID: 0, ANSWERS: 1, NODES_AT: 2, BYTES_AT: 3, BYTES_LEN: 4, IS_ASCII: 5, NEEDED: 6, WAKEUP: 7, FIRST: 8, SENDABLE: 9,
};
const HEADER_WORDS = 10;

const KIND = {
  SIMPLE: 1, ERROR: 2, INTEGER: 3, BULK: 4, ARRAY: 5, NULL: 6, BOOLEAN: 7, DOUBLE: 8, BIG: 9, VERBATIM: 10,
  MAP: 11, SET: 12, PUSH: 13,
};

const WINDOW_LEN = 512 * 1024;
const WINDOW_LEN_KEPT = 4 << 20;

/**
 * Substrings of one longer string cost a fraction of strings of their own, but each keeps all of it alive: this is
 * the most that a small string keeps beside itself, however large the reply was that it came in.
 */
const SEGMENT_LEN = 4096;

/**
 * Segments of so long a block lie outside of JavaScript's heap: there the collector does not copy them, which is most
 * of what large aggregates cost. Those of shorter ones are garbage before it comes, and cheapest inside.
 */
const BLOCK_LEN_OUTSIDE = 1 << 20;

/** A Buffer that is so much of a reply's block is a view of it; a smaller one is a copy, and keeps none of it. */
const VIEW_SHARE_MIN = 0.5;

class Replies {
  #numbers;
  #words;
  #signed;
  /** Has the block where that is long and was not taken. */
  #core;
  /** The block holds one string and nothing else. */
  #isOneText = false;
  /** The block that string nodes point into, and where it begins there. */
  #block;
  #blockAt = 0;
  #isAscii = false;
  #segment = '';
  #segmentFrom = 0;
  #segmentTo = 0;
  #nodesAt = 0;
  #blockLen = 0;

  constructor() {
    this.grow(WINDOW_LEN);
  }

  get id() { return this.#numbers[REGISTER.ID]; }
  get wakeup() { return this.#numbers[REGISTER.WAKEUP]; }
  get first() { return this.#numbers[REGISTER.FIRST]; }
  get sendable() { return this.#numbers[REGISTER.SENDABLE]; }
  get needed() { return this.#numbers[REGISTER.NEEDED]; }

  grow(len) {
    const memory = new ArrayBuffer(Math.ceil(len / 16) * 16);
    this.window = Buffer.from(memory);
    this.#numbers = new Float64Array(memory);
    this.#words = new Uint32Array(memory);
    this.#signed = new Int32Array(memory);
  }

  /** Hands each reply to who waits for it, as `settle(command, this, at)`: `value(at, mapping)` makes a value of it. */
  read(core, waiters) {
    const numbers = this.#numbers;
    this.#blockLen = numbers[REGISTER.BYTES_LEN];
    this.#blockAt = numbers[REGISTER.BYTES_AT];
    this.#isAscii = numbers[REGISTER.IS_ASCII] === 1;
    this.#core = this.#blockAt === 0 ? core : undefined;
    this.#block = this.#blockAt === 0 ? undefined : this.window;
    this.#segmentFrom = this.#segmentTo = 0;
    this.#nodesAt = numbers[REGISTER.NODES_AT] / 4;
    this.#isOneText = numbers[REGISTER.ANSWERS] === 1 && (this.#words[this.#nodesAt] & 0xff) === KIND.BULK;
    const end = HEADER_WORDS + numbers[REGISTER.ANSWERS] * 2;
    for (let at = HEADER_WORDS; at < end; at += 2) {
      const command = numbers[at];
      const waiter = waiters.take(command);
      if (waiter === undefined) continue;
      try {
        waiter.settle(command, this, this.#nodesAt + numbers[at + 1] * 4);
      } catch (error) {
        // One reply that JavaScript cannot hold is nobody else's trouble.
        waiter.fail(command, unreadable(error));
      }
    }
    // Nobody may have waited for it.
    this.#core?.takeBytes();
    this.#block = this.#core = undefined;
    this.#segment = '';
    if (this.window.length > WINDOW_LEN_KEPT) this.grow(WINDOW_LEN);
  }

  /** Messages, which may be read later. */
  messages(core) {
    const numbers = this.#numbers;
    const at = numbers[REGISTER.BYTES_AT];
    const block = at === 0 ? core.takeBytes() : Buffer.from(this.window.subarray(at, at + numbers[REGISTER.BYTES_LEN]));
    const end = HEADER_WORDS + numbers[REGISTER.ANSWERS] * WORDS;
    return new Messages(numbers.slice(HEADER_WORDS, end), block, numbers[REGISTER.IS_ASCII] === 1);
  }

  /** The value whose node is at a word of the window; `mapping` says what kinds become, where not the default. */
  value(at, mapping) {
    const words = this.#words;
    switch (words[at] & 0xff) {
      case KIND.BULK:
        if (mapping !== undefined && mapping[RESP_TYPES.BLOB_STRING] === Buffer) return this.#buffer(at);
        return this.#text(words[at + 2] + words[at + 3] * 0x100000000, words[at + 1]);
      case KIND.SIMPLE:
        if (mapping !== undefined && mapping[RESP_TYPES.SIMPLE_STRING] === Buffer) return this.#buffer(at);
        return this.#text(words[at + 2] + words[at + 3] * 0x100000000, words[at + 1]);
      case KIND.NULL:
        return null;
      case KIND.INTEGER:
        return mapping === undefined ? this.#integer(at) : mapped(this.#integer(at), mapping[RESP_TYPES.NUMBER]);
      case KIND.ARRAY:
        return this.#elements(at, words[at + 1], mapping);
      default:
        return this.#rareValue(at, mapping);
    }
  }

  #rareValue(at, mapping) {
    switch (this.#words[at] & 0xff) {
      case KIND.ERROR:
        return replied(this.#buffer(at));
      case KIND.BOOLEAN:
        return this.#words[at + 2] !== 0;
      case KIND.DOUBLE:
        return double(this.#numbers[at / 2 + 1], mapping?.[RESP_TYPES.DOUBLE]);
      case KIND.BIG:
        return mapped(BigInt(this.#buffer(at).latin1Slice()), mapping?.[RESP_TYPES.BIG_NUMBER] ?? BigInt);
      case KIND.VERBATIM:
        return mapping?.[RESP_TYPES.VERBATIM_STRING] === Buffer ? this.#buffer(at) : this.#buffer(at).toString();
      case KIND.MAP:
        return this.#map(at, mapping);
      case KIND.SET: {
        const elements = this.#elements(at, this.#words[at + 1], mapping);
        return mapping?.[RESP_TYPES.SET] === Set ? new Set(elements) : elements;
      }
      default:
        return this.#elements(at, this.#words[at + 1], mapping);
    }
  }

  #elements(at, count, mapping) {
    const words = this.#words;
    const values = new Array(count);
    for (let i = 0, child = at + 4; i < count; i++) {
      values[i] = this.value(child, mapping);
      // How many nodes a value spans.
      const kind = words[child] & 0xff;
      child += kind === KIND.ARRAY || kind >= KIND.MAP ? words[child + 2] * 4 : 4;
    }
    return values;
  }

  #map(at, mapping) {
    const flat = this.#elements(at, this.#words[at + 1] * 2, mapping);
    const target = mapping?.[RESP_TYPES.MAP];
    if (target === Array) return flat;
    if (target === Map) {
      const map = new Map();
      for (let i = 0; i < flat.length; i += 2) map.set(flat[i], flat[i + 1]);
      return map;
    }
    // Without a prototype: a field may be called anything.
    const object = Object.create(null);
    for (let i = 0; i < flat.length; i += 2) object[nameOf(flat[i])] = flat[i + 1];
    return object;
  }

  #integer(at) {
    const high = this.#signed[at + 3];
    const number = high * 0x100000000 + this.#words[at + 2];
    return Number.isSafeInteger(number) ? number : (BigInt(high) << 32n) + BigInt(this.#words[at + 2]);
  }

  #buffer(at) {
    const words = this.#words;
    if (this.#block === undefined) this.#takeBlock();
    const from = this.#blockAt + words[at + 2] + words[at + 3] * 0x100000000;
    const slice = this.#block.subarray(from, from + words[at + 1]);
    // The window is used again.
    const mayShare = this.#block !== this.window && slice.length >= this.#block.length * VIEW_SHARE_MIN;
    return mayShare ? slice : Buffer.from(slice);
  }

  #takeBlock() {
    this.#block = this.#core.takeBytes();
    this.#core = undefined;
  }

  #text(offset, len) {
    const to = offset + len;
    if (this.#block === undefined) {
      // A string in the block's own memory, where Node can make one.
      if (this.#isOneText && this.#isAscii) {
        const text = this.#core.takeText(offset, len);
        this.#core = undefined;
        if (typeof text === 'string') return text;
        this.#block = text;
      } else {
        this.#takeBlock();
      }
    }
    if (!this.#isAscii) return this.#block.utf8Slice(this.#blockAt + offset, this.#blockAt + to);
    if (to > this.#segmentTo || offset < this.#segmentFrom) {
      if (len * 2 > SEGMENT_LEN) return this.#block.latin1Slice(this.#blockAt + offset, this.#blockAt + to);
      this.#segmentFrom = offset;
      this.#segmentTo = Math.min(offset + SEGMENT_LEN, this.#blockLen);
      const from = this.#blockAt + offset;
      const end = this.#blockAt + this.#segmentTo;
      this.#segment = this.#blockLen < BLOCK_LEN_OUTSIDE
        ? this.#block.latin1Slice(from, end) : outside(this.#block, from, end);
    }
    return this.#segment.substring(offset - this.#segmentFrom, to - this.#segmentFrom);
  }
}

function outside(block, from, to) {
  const text = segmentOf(block, from, to);
  // A Buffer where Node cannot do that.
  return typeof text === 'string' ? text : text.latin1Slice();
}

/** What a map's key is called in an object. */
function nameOf(key) {
  if (typeof key !== 'object' || key === null || Buffer.isBuffer(key) || key instanceof Error) return key;
  return JSON.stringify(key, (_, part) => {
    if (typeof part === 'bigint') return String(part);
    return part instanceof Set ? [...part] : part;
  });
}

/** An integer as the type that a mapping asks for. */
function mapped(integer, target) {
  if (target === String) return String(integer);
  if (target === BigInt) return BigInt(integer);
  if (target === Number) return Number(integer);
  return integer;
}

/** As Redis writes it. */
function double(number, target) {
  if (target !== String) return number;
  if (Number.isNaN(number)) return 'nan';
  return Number.isFinite(number) ? String(number) : number > 0 ? 'inf' : '-inf';
}

module.exports = { OUTPUT, Replies };
