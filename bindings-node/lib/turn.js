'use strict';
// The commands of one turn of the event loop, as the two blocks in which they cross to the core: `bytes` holds the
// arguments, `lengths` for each command the number of its arguments and then each one's length.

const { invalid } = require('./errors');

const BYTES_LEN = 64 * 1024;
/** Larger blocks are not kept. */
const BYTES_LEN_KEPT = 1 << 20;
/** Longer texts are encoded one by one: joining them would copy them once more. */
const TEXT_LEN_MAX = 256 * 1024;

class Turn {
  /** Who waits for each command's reply, in order. */
  waiters = [];
  /** Those among them who want to know their first command's id: `at` is its place in the turn. */
  numbered = [];
  lengths = new Uint32Array(4096);
  lengthsLen = 0;
  bytes = Buffer.allocUnsafeSlow(BYTES_LEN);
  bytesLen = 0;
  #commands = [];
  #text = '';
  /** Every argument so far is in `#text`. */
  #isText = true;

  /** Takes in a command. Throws where an argument cannot be sent; nothing of the command is kept then. */
  add(args, waiter) {
    const count = args.length;
    if (count === 0) throw invalid('a command has at least a name');
    let at = this.lengthsLen;
    if (at + count + 1 > this.lengths.length) this.#growLengths(count + 1);
    const lengths = this.lengths;
    lengths[at++] = count;
    let text = this.#text;
    let isText = this.#isText;
    for (let i = 0; i < count; i++) {
      const arg = args[i];
      if (typeof arg === 'string') {
        lengths[at++] = arg.length;
        if (!isText) continue;
        if (text.length + arg.length > TEXT_LEN_MAX) isText = false;
        else text += arg;
      } else if (ArrayBuffer.isView(arg)) {
        isText = false;
        at++;
      } else {
        throw invalid(`argument ${i} of ${name(args[0])} is ${kind(arg)}; a string or a Buffer is wanted: convert it`);
      }
    }
    this.#text = text;
    this.#isText = isText;
    this.lengthsLen = at;
    this.#commands.push(args);
    this.waiters.push(waiter);
  }

  /** Takes in several commands of one waiter, or none of them. */
  addAll(commands, waiter) {
    const before = [this.waiters.length, this.lengthsLen, this.#text, this.#isText];
    try {
      for (const args of commands) this.add(args, waiter);
    } catch (error) {
      [this.waiters.length, this.lengthsLen, this.#text, this.#isText] = before;
      this.#commands.length = this.waiters.length;
      throw error;
    }
  }

  get isEmpty() {
    return this.waiters.length === 0;
  }

  /** Fills the blocks. */
  seal() {
    if (this.#isText) {
      const text = this.#text;
      this.#room(text.length * 3);
      this.bytesLen = this.bytes.utf8Write(text, 0);
      // Where every character is one byte, the lengths are right already.
      if (this.bytesLen === text.length) return;
    }
    this.#sealArguments();
  }

  clear() {
    this.waiters = [];
    if (this.numbered.length > 0) this.numbered = [];
    this.#commands.length = 0;
    this.#text = '';
    this.#isText = true;
    this.lengthsLen = 0;
    if (this.bytes.length > BYTES_LEN_KEPT) this.bytes = Buffer.allocUnsafeSlow(BYTES_LEN);
  }

  #sealArguments() {
    let len = 0;
    let at = 0;
    for (const args of this.#commands) {
      at++;
      for (const arg of args) len += this.lengths[at++] = Buffer.byteLength(arg);
    }
    this.#room(len);
    const bytes = this.bytes;
    let end = 0;
    for (const args of this.#commands) {
      for (const arg of args) {
        if (typeof arg === 'string') end += bytes.utf8Write(arg, end);
        else end += copy(arg, bytes, end);
      }
    }
    this.bytesLen = end;
  }

  #room(len) {
    if (this.bytes.length < len) this.bytes = Buffer.allocUnsafeSlow(len);
  }

  #growLengths(more) {
    const lengths = new Uint32Array((this.lengthsLen + more) * 2);
    lengths.set(this.lengths.subarray(0, this.lengthsLen));
    this.lengths = lengths;
  }
}

function copy(view, into, at) {
  const bytes = view instanceof Uint8Array ? view : new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  into.set(bytes, at);
  return bytes.length;
}

/** The command's name: the one argument that an error may show. */
function name(arg) {
  return typeof arg === 'string' ? arg.slice(0, 32).toUpperCase() : 'a command';
}

function kind(value) {
  if (value === null || value === undefined) return String(value);
  const type = typeof value;
  return type === 'object' ? `of type ${value.constructor?.name ?? 'object'}` : `of type ${type}`;
}

module.exports = { Turn };
