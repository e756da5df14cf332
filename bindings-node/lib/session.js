'use strict';
// A connection of the core's pool for one caller alone: its commands run in order, and WATCH belongs here.

const { finish } = require('./calls');
const { closed } = require('./errors');

class Session {
  isWatching = false;
  #driver;
  #id;
  #isClosed = false;
  /** What has not ended of what was sent. */
  #running = new Set();

  /** Throws where the client takes none. */
  constructor(driver) {
    this.#driver = driver;
    this.#id = driver.openSession();
  }

  command(args, transform, client, mapping, signal) {
    return this.#run(() => this.#driver.commandIn(this.#id, args, transform, client, mapping, signal));
  }

  transaction(batch) {
    // Whatever becomes of it, the server watches nothing any more.
    this.isWatching = false;
    return this.#run(() => this.#driver.transactionIn(this.#id, batch));
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

  /** Takes no more commands; when those that were sent have ended, its connection is another's. */
  async close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await Promise.allSettled(this.#running);
    this.#driver.closeSession(this.#id);
  }

  #run(send) {
    if (this.#isClosed) return Promise.reject(ended());
    const result = send();
    this.#running.add(result);
    const forget = () => this.#running.delete(result);
    result.then(forget, forget);
    return result;
  }
}

function ended() {
  return closed('this client was made by execute(), which has ended: use it inside only');
}

module.exports = { Session };
