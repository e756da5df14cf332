'use strict';
// What subscriptions bring, as the core tells it; the layout is described in src/window.rs.

/** What a message is. Mirrors the core's `MessageKind`. */
const MESSAGE = {
  CHANNEL: 1, PATTERN: 2, SHARD: 3, SUBSCRIBED: 4, PATTERN_SUBSCRIBED: 5, SHARD_SUBSCRIBED: 6, UNSUBSCRIBED: 7,
  PATTERN_UNSUBSCRIBED: 8, SHARD_UNSUBSCRIBED: 9, MONITOR: 10, GAP: 11, REFUSED: 12,
};

/** Numbers of one message. */
const WORDS = 8;
/** Where offset and length of each part are among them. */
const PART = { PATTERN: 2, CHANNEL: 4, PAYLOAD: 6 };

/** Messages in the order in which they came, over one block that is theirs. */
class Messages {
  count;
  #numbers;
  #block;
  #isAscii;

  constructor(numbers, block, isAscii) {
    this.count = numbers.length / WORDS;
    this.#numbers = numbers;
    this.#block = block;
    this.#isAscii = isAscii;
  }

  kind(index) {
    return this.#numbers[index * WORDS];
  }

  /** Of a confirmation: how many subscriptions the connection has. */
  subscriptions(index) {
    return this.#numbers[index * WORDS + 1];
  }

  /** A part of a message as a string. */
  text(index, part) {
    const from = this.#numbers[index * WORDS + part];
    const to = from + this.#numbers[index * WORDS + part + 1];
    return this.#isAscii ? this.#block.latin1Slice(from, to) : this.#block.utf8Slice(from, to);
  }

  /** The same as bytes, which keep nothing else alive. */
  bytes(index, part) {
    const from = this.#numbers[index * WORDS + part];
    return Buffer.from(this.#block.subarray(from, from + this.#numbers[index * WORDS + part + 1]));
  }
}

/** Messages that wait to be handed out. Their listeners run when the core has been obeyed, not in the midst of it. */
class Inbox {
  #handle;
  #batches = [];
  #deliver = () => {
    for (const messages of this.#batches.splice(0)) {
      for (let i = 0; i < messages.count && !this.isClosed; i++) this.#handle(messages, i);
    }
  };
  isClosed = false;

  /** `handle(messages, index)` must not throw: `call` sees to that. */
  constructor(handle) {
    this.#handle = handle;
  }

  put(messages) {
    if (this.#batches.push(messages) === 1) process.nextTick(this.#deliver);
  }
}

/** Calls a listener: what it throws is uncaught, and nobody else's trouble. */
function call(listener, ...details) {
  try {
    listener(...details);
  } catch (error) {
    process.nextTick(() => { throw error; });
  }
}

module.exports = { Inbox, MESSAGE, Messages, PART, WORDS, call };
