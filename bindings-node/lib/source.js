// Drives a token source: one per credential, however many clients use it.
import { randomBytes } from 'node:crypto';
import { Alarm } from './alarm.js';
import { Source, monotonic, unix } from './native.js';

/** What `Source.poll` returns. Mirrors src/source.rs. */
const NEWS = { NONE: 0, FETCH: 1, TOKEN: 2, STATE: 3 };

const drivers = new WeakMap();

/** The driver of a credential: an async function that returns a token's text or `{ token, expiresOnTimestamp }`. */
export function driverOf(credential) {
  let driver = drivers.get(credential);
  if (!driver) drivers.set(credential, driver = new SourceDriver(credential));
  return driver;
}

class SourceDriver {
  #credential;
  #source = new Source(randomBytes(32), monotonic(), unix());
  #clients = new Set();
  // Whoever waits for a token has an alarm of its own.
  #alarm = new Alarm(() => {
    this.#source.timeout(monotonic(), unix());
    this.#obey();
  }, { keepsAlive: false });

  constructor(credential) {
    this.#credential = credential;
  }

  subscribe(client) {
    this.#clients.add(client);
    this.#source.subscribe();
  }

  unsubscribe(client) {
    if (this.#clients.delete(client)) this.#source.unsubscribe();
    this.#obey();
  }

  /** A token where there is one; else the subscribers are told later. */
  request(newerThan) {
    const token = this.#source.request(newerThan, monotonic(), unix());
    this.#obey();
    return token;
  }

  #obey() {
    for (;;) {
      switch (this.#source.poll()) {
        case NEWS.NONE:
          this.#alarm.set(this.#source.wakeup());
          return;
        case NEWS.FETCH:
          this.#fetch();
          break;
        case NEWS.TOKEN: {
          const token = this.#source.takeToken();
          for (const client of this.#clients) client.handleToken(token);
          break;
        }
        case NEWS.STATE:
          for (const client of this.#clients) client.emit('auth', { state: this.#source.state });
          break;
      }
    }
  }

  async #fetch() {
    try {
      const answer = await this.#credential();
      const { token, expiresOnTimestamp, refreshAfterTimestamp } =
        typeof answer === 'string' ? { token: answer } : answer;
      this.#source.fetched(token, expiresOnTimestamp, refreshAfterTimestamp, monotonic(), unix());
    } catch (error) {
      this.#source.failed(String(error?.message ?? error), error?.statusCode, undefined, false, monotonic(), unix());
    }
    this.#obey();
  }
}
