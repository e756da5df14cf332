'use strict';
// One timer per machine. Waking too early is allowed, so a later moment never costs a new timer.

const { monotonic } = require('./native');

/** The longest wait that a timer takes. */
const WAIT_MS_MAX = 0x7fffffff;

class Alarm {
  #fire;
  #timer;
  #at = Infinity;
  #keepsAlive;
  #ring = () => {
    this.#at = Infinity;
    this.#fire();
  };

  /** `keepsAlive`: whether the process waits for it. */
  constructor(fire, { keepsAlive }) {
    this.#fire = fire;
    this.#keepsAlive = keepsAlive;
  }

  /** Fires at this moment of the monotonic clock (in microseconds), or earlier. */
  set(at) {
    if (at >= this.#at) return;
    clearTimeout(this.#timer);
    this.#at = at;
    const wait = Math.min(Math.max(Math.ceil((at - monotonic()) / 1e3), 0), WAIT_MS_MAX);
    this.#timer = setTimeout(this.#ring, wait);
    if (!this.#keepsAlive) this.#timer.unref();
  }

  set keepsAlive(yes) {
    this.#keepsAlive = yes;
    if (yes) this.#timer?.ref();
    else this.#timer?.unref();
  }

  clear() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#at = Infinity;
  }
}

module.exports = { Alarm };
