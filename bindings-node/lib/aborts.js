'use strict';
// What ends when a signal is aborted. Signals get one listener each, however many commands wait.

class Aborts {
  #abort;
  /** What waits, and the listener, by signal. */
  #groups = new Map();

  /** `abort(waiter)` is called for each waiter of a signal that is aborted. */
  constructor(abort) {
    this.#abort = abort;
  }

  add(signal, waiter) {
    const group = this.#groups.get(signal) ?? this.#listen(signal);
    group.waiters.add(waiter);
  }

  delete(signal, waiter) {
    const { waiters, listener } = this.#groups.get(signal);
    waiters.delete(waiter);
    if (waiters.size > 0) return;
    this.#groups.delete(signal);
    signal.removeEventListener('abort', listener);
  }

  #listen(signal) {
    const waiters = new Set();
    const listener = () => {
      for (const waiter of [...waiters]) this.#abort(waiter);
    };
    const group = { waiters, listener };
    this.#groups.set(signal, group);
    signal.addEventListener('abort', listener);
    return group;
  }
}

module.exports = { Aborts };
