'use strict';
// A connection of the core's pool for one caller alone: its commands run in order, and WATCH belongs here.

const { finish } = require('./calls');
const { closed } = require('./errors');

class Session {
  isWatching = false;
  #driver;
  #id;
  #isClosed = false;

  /** Throws where the client takes none. */
  constructor(driver) {
    this.#driver = driver;
    this.#id = driver.openSession();
  }

  command(args, transform, client, mapping, signal) {
    if (this.#isClosed) return Promise.reject(ended());
    return this.#driver.commandIn(this.#id, args, transform, client, mapping, signal);
  }

  transaction(batch) {
    if (this.#isClosed) return Promise.reject(ended());
    // Whatever becomes of it, the server watches nothing any more.
    this.isWatching = false;
    return this.#driver.transactionIn(this.#id, batch);
  }

  /** Several commands, one after the other. */
  async pipeline(batch) {
    const { commands, mapping, signal } = batch;
    const sent = commands.map((args) => this.command(args, undefined, undefined, mapping, signal));
    const values = (await Promise.allSettled(sent)).map(({ value, reason }) => reason ?? value);
    return new Promise((resolve, reject) => finish(batch, values, resolve, reject));
  }

  async watch(args, client, options) {
    const reply = await this.command(args, undefined, client, options?.typeMapping, options?.signal);
    this.isWatching = true;
    return reply;
  }

  async unwatch(client, options) {
    this.isWatching = false;
    return this.command(['UNWATCH'], undefined, client, options?.typeMapping, options?.signal);
  }

  /** Its connection is another's from now on. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#driver.closeSession(this.#id);
  }
}

function ended() {
  return closed('this client was made by execute(), which has ended: use it inside only');
}

module.exports = { Session };
