'use strict';
// Who waits for which command's reply: a ring, because ids are consecutive and end about in order.

class Waiters {
  #ring = new Array(1024).fill(undefined);
  #mask = 1023;
  #oldest = 1;
  #next = 1;

  /** Puts waiters under consecutive ids from `first` on. */
  add(first, waiters) {
    const end = first + waiters.length;
    if (this.#oldest === this.#next) this.#oldest = first;
    while (end - this.#oldest > this.#ring.length) this.#grow();
    const ring = this.#ring;
    const mask = this.#mask;
    for (let i = 0; i < waiters.length; i++) ring[(first + i) & mask] = waiters[i];
    this.#next = end;
  }

  /** Takes out who waits for an id; `undefined` where nobody does. */
  take(id) {
    if (id < this.#oldest || id >= this.#next) return undefined;
    const at = id & this.#mask;
    const waiter = this.#ring[at];
    this.#ring[at] = undefined;
    while (this.#oldest < this.#next && this.#ring[this.#oldest & this.#mask] === undefined) this.#oldest++;
    return waiter;
  }

  #grow() {
    // Commands that wait long hold back the ring's end; those in between may have ended.
    const mask = this.#ring.length * 2 - 1;
    const ring = new Array(mask + 1).fill(undefined);
    for (let id = this.#oldest; id < this.#next; id++) ring[id & mask] = this.#ring[id & this.#mask];
    this.#ring = ring;
    this.#mask = mask;
  }
}

module.exports = { Waiters };
