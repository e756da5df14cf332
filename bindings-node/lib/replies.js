// Replies out of the window that the core fills; its layout is described in src/window.rs.
import { RespassError } from './errors.js';
import { errorCodeOf } from './native.js';

/** What `Core.poll` returns. Mirrors src/core.rs. */
export const OUTPUT = {
  NONE: 0, CONNECT: 1, DISCONNECT: 2, TRANSMIT: 3, TOKEN_NEEDED: 4, REPLIES: 5, FAILED: 6, NOTICE: 7, GROW: 8,
};

/** Numbers at the front of the window. Mirrors src/window.rs. */
const REGISTER = { ID: 0, ANSWERS: 1, NODES_AT: 2, BYTES_AT: 3, BYTES_LEN: 4, IS_ASCII: 5, NEEDED: 6, WAKEUP: 7 };
const HEADER_WORDS = 8;

const KIND = {
  SIMPLE: 1, ERROR: 2, INTEGER: 3, BULK: 4, ARRAY: 5, NULL: 6, BOOLEAN: 7, DOUBLE: 8, BIG: 9, VERBATIM: 10,
  MAP: 11, SET: 12, PUSH: 13,
};

const WINDOW_LEN = 512 * 1024;
const WINDOW_LEN_KEPT = 4 << 20;

/**
 * Substrings of one longer string cost a fraction of strings of their own, but each keeps all of it alive: this is
 * how much a small value may keep.
 */
const SEGMENT_LEN = 4096;

export class Replies {
  #numbers;
  #words;
  #signed;
  /** The block that string nodes point into, and where it begins there. */
  #block;
  #blockAt = 0;
  #isAscii = false;
  #segment = '';
  #segmentFrom = 0;
  #segmentTo = 0;
  #nodesAt = 0;
  #blockLen = 0;
  /** Whether strings come as Buffers. */
  asBuffers = false;

  constructor() {
    this.grow(WINDOW_LEN);
  }

  get id() { return this.#numbers[REGISTER.ID]; }
  get wakeup() { return this.#numbers[REGISTER.WAKEUP]; }
  get needed() { return this.#numbers[REGISTER.NEEDED]; }

  grow(len) {
    const memory = new ArrayBuffer(Math.ceil(len / 16) * 16);
    this.window = Buffer.from(memory);
    this.#numbers = new Float64Array(memory);
    this.#words = new Uint32Array(memory);
    this.#signed = new Int32Array(memory);
  }

  /** Hands each reply to `deliver(command, value)`. */
  read(core, deliver) {
    const numbers = this.#numbers;
    this.#blockLen = numbers[REGISTER.BYTES_LEN];
    this.#blockAt = numbers[REGISTER.BYTES_AT];
    this.#block = this.#blockAt === 0 ? core.takeBytes() : this.window;
    this.#isAscii = numbers[REGISTER.IS_ASCII] === 1 && !this.asBuffers;
    this.#segmentFrom = this.#segmentTo = 0;
    this.#nodesAt = numbers[REGISTER.NODES_AT] / 4;
    const end = HEADER_WORDS + numbers[REGISTER.ANSWERS] * 2;
    for (let at = HEADER_WORDS; at < end; at += 2) {
      deliver(numbers[at], this.#value(this.#nodesAt + numbers[at + 1] * 4));
    }
    this.#block = undefined;
    this.#segment = '';
    if (this.window.length > WINDOW_LEN_KEPT) this.grow(WINDOW_LEN);
  }

  /** The value whose node is at a word of the window. */
  #value(at) {
    const words = this.#words;
    switch (words[at] & 0xff) {
      case KIND.BULK:
      case KIND.SIMPLE:
        return this.#text(words[at + 2] + words[at + 3] * 0x100000000, words[at + 1]);
      case KIND.NULL:
        return null;
      case KIND.INTEGER:
        return this.#integer(at);
      case KIND.ERROR: {
        const text = this.#bytes(words[at + 2] + words[at + 3] * 0x100000000, words[at + 1]);
        return new RespassError(text.toString(), errorCodeOf(text), 3);
      }
      case KIND.BOOLEAN:
        return words[at + 2] !== 0;
      case KIND.DOUBLE:
        return this.#numbers[at / 2 + 1];
      case KIND.BIG:
        return BigInt(this.#bytes(words[at + 2], words[at + 1]).latin1Slice());
      case KIND.VERBATIM:
        return this.#text(words[at + 2] + words[at + 3] * 0x100000000, words[at + 1]);
      case KIND.MAP:
        return Object.fromEntries(this.#pairs(at));
      default:
        return this.#elements(at, words[at + 1]);
    }
  }

  #elements(at, count) {
    const values = new Array(count);
    for (let i = 0, child = at + 4; i < count; i++) {
      values[i] = this.#value(child);
      child += this.#span(child) * 4;
    }
    return values;
  }

  #pairs(at) {
    const flat = this.#elements(at, this.#words[at + 1] * 2);
    const pairs = new Array(flat.length / 2);
    for (let i = 0; i < pairs.length; i++) pairs[i] = [flat[2 * i], flat[2 * i + 1]];
    return pairs;
  }

  /** How many nodes a value spans. */
  #span(at) {
    const kind = this.#words[at] & 0xff;
    return kind === KIND.ARRAY || kind >= KIND.MAP ? this.#words[at + 2] : 1;
  }

  #integer(at) {
    const high = this.#signed[at + 3];
    const number = high * 0x100000000 + this.#words[at + 2];
    return Number.isSafeInteger(number) ? number : (BigInt(high) << 32n) + BigInt(this.#words[at + 2]);
  }

  #bytes(offset, len) {
    const from = this.#blockAt + offset;
    // The window is used again, and a slice would keep a whole block alive.
    return Buffer.from(this.#block.subarray(from, from + len));
  }

  #text(offset, len) {
    if (!this.#isAscii) {
      if (this.asBuffers) return this.#bytes(offset, len);
      const from = this.#blockAt + offset;
      return this.#block.utf8Slice(from, from + len);
    }
    const to = offset + len;
    if (to > this.#segmentTo || offset < this.#segmentFrom) {
      if (len * 2 > SEGMENT_LEN) return this.#block.latin1Slice(this.#blockAt + offset, this.#blockAt + to);
      this.#segmentFrom = offset;
      this.#segmentTo = Math.min(offset + SEGMENT_LEN, this.#blockLen);
      this.#segment = this.#block.latin1Slice(this.#blockAt + offset, this.#blockAt + this.#segmentTo);
    }
    return this.#segment.substring(offset - this.#segmentFrom, to - this.#segmentFrom);
  }
}
