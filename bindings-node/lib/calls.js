'use strict';
// Who waits for replies. Each kind has `settle(command, replies, at)` for a reply and `fail(command, error)`.

const { classes } = require('./errors');

const { AbortError, ErrorReply, MultiErrorReply, WatchError } = classes;

/** One command. */
class Call {
  /**
   * `transform(reply, client)`, where given, makes the result of the reply; `mapping` says what kinds of replies
   * become.
   */
  constructor(resolve, reject, transform, client, mapping) {
    this.resolve = resolve;
    this.reject = reject;
    this.transform = transform;
    this.client = client;
    this.mapping = mapping;
  }

  settle(_command, replies, at) {
    const value = replies.value(at, this.mapping);
    if (this.transform === undefined && typeof value === 'string') this.resolve(value);
    else this.#finish(value);
  }

  fail(_command, error) {
    this.reject(error);
  }

  #finish(value) {
    if (value instanceof ErrorReply) return this.reject(value);
    try {
      this.resolve(this.transform === undefined ? value : this.transform(value, this.client));
    } catch (error) {
      this.reject(error);
    }
  }
}

/** One command that its caller may give up. */
class AbortableCall extends Call {
  /** The command's id, as soon as it has one. */
  first = 0;
  /** Its place in its turn. */
  at = 0;
  count = 1;
}

/** Several commands under one promise. */
class Pipeline {
  first = 0;
  /** The first command's place in its turn. */
  at = 0;
  count;
  #batch;
  #values;
  #left;
  #answered = 0;
  /** Its caller gave it up. */
  #aborted;
  #resolve;
  #reject;

  constructor(batch, resolve, reject) {
    this.#batch = batch;
    this.count = this.#left = batch.commands.length;
    this.#values = new Array(this.#left);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  settle(command, replies, at) {
    this.#answered++;
    this.#put(command, replies.value(at, this.#batch.mapping));
  }

  fail(command, error) {
    if (error instanceof AbortError && this.#aborted?.outcome !== 'indeterminate') this.#aborted = error;
    this.#put(command, error);
  }

  #put(command, value) {
    this.#values[command - this.first] = value;
    if (--this.#left > 0) return;
    if (this.#aborted !== undefined) this.#rejectAborted();
    // Where no command was answered, one error says it all.
    else if (this.#answered === 0) this.#reject(this.#values[0]);
    else finish(this.#batch, this.#values, this.#resolve, this.#reject);
  }

  #rejectAborted() {
    if (this.#answered > 0) this.#aborted.outcome = 'indeterminate';
    this.#reject(this.#aborted);
  }
}

/** A transaction: one reply, EXEC's. */
class Transaction {
  /** The transaction's id. */
  first = 0;
  count = 1;
  #batch;
  #resolve;
  #reject;

  constructor(batch, resolve, reject) {
    this.#batch = batch;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  settle(_command, replies, at) {
    const value = replies.value(at, this.#batch.mapping);
    if (value === null) {
      this.#reject(new WatchError('a watched key changed: the transaction did not run', { outcome: 'refused' }));
    } else if (value instanceof ErrorReply) {
      this.#reject(value);
    } else {
      finish(this.#batch, value, this.#resolve, this.#reject);
    }
  }

  fail(_command, error) {
    this.#reject(error);
  }
}

/** The result of a batch: its values, each transformed, or an error that holds them all. */
function finish({ transforms, client }, values, resolve, reject) {
  const errorIndexes = [];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    const transform = transforms[i];
    if (value instanceof Error) errorIndexes.push(i);
    else if (transform !== undefined) {
      try {
        values[i] = transform(value, client);
      } catch (error) {
        return reject(error);
      }
    }
  }
  if (errorIndexes.length > 0) reject(new MultiErrorReply(values, errorIndexes));
  else resolve(values);
}

module.exports = { AbortableCall, Call, Pipeline, Transaction, finish };
