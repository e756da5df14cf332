'use strict';
// Drives a token source: one per credential, however many clients use it.

const { randomBytes } = require('node:crypto');
const { Alarm } = require('./alarm');
const { auth } = require('./channels');
const { asker, failureOf, partsOf } = require('./credentials');
const { Source, monotonic, unix } = require('./native');

/** What `Source.poll` returns. Mirrors src/source.rs. */
const NEWS = { NONE: 0, FETCH: 1, TOKEN: 2, STATE: 3 };

const supplies = new WeakMap();

/** The supply over a credential. Throws where it is none. */
function supplyOf(credential) {
  const ask = asker(credential);
  let supply = supplies.get(credential);
  if (!supply) supplies.set(credential, supply = new Supply(ask));
  return supply;
}

class Supply {
  #ask;
  #source = newSource();
  #drivers = new Set();
  /** Ends the questions that nobody waits for any more. */
  #controller;
  /** How many questions are open. */
  #asking = 0;
  // Whoever waits for a token has an alarm of its own.
  #alarm = new Alarm(() => {
    this.#source.timeout(monotonic(), unix());
    this.#obey();
  }, { keepsAlive: false });

  constructor(ask) {
    this.#ask = ask;
  }

  subscribe(driver) {
    this.#drivers.add(driver);
    this.#source.subscribe();
  }

  unsubscribe(driver) {
    if (this.#drivers.delete(driver)) this.#source.unsubscribe();
    if (this.#drivers.size > 0) return;
    this.#alarm.clear();
    if (this.#asking > 0) this.#giveUp();
  }

  /** Ends the open questions. That they fail then is no failure of the credential: who comes next asks anew. */
  #giveUp() {
    this.#asking = 0;
    this.#source = newSource();
    this.#controller.abort();
    this.#controller = undefined;
  }

  /** A token where there is one; else the subscribers are told later. */
  request(newerThan) {
    const token = this.#source.request(newerThan, monotonic(), unix());
    this.#obey();
    return token;
  }

  /** `{ state, refreshOnMs }` */
  status() {
    return this.#source.status(monotonic(), unix());
  }

  #obey() {
    const source = this.#source;
    // Until nobody waits for its answers any more.
    while (source === this.#source) {
      switch (source.poll()) {
        case NEWS.NONE:
          if (this.#drivers.size > 0) this.#alarm.set(source.wakeup());
          return;
        case NEWS.FETCH:
          this.#fetch();
          break;
        case NEWS.TOKEN: {
          const token = source.takeToken();
          for (const driver of [...this.#drivers]) {
            if (token.failure) driver.handleSupply('failed', token.failure);
            driver.handleToken(token);
          }
          break;
        }
        case NEWS.STATE: {
          const { state } = source;
          for (const driver of [...this.#drivers]) driver.handleSupply(state);
          break;
        }
      }
    }
  }

  async #fetch() {
    const source = this.#source;
    const { signal } = this.#controller ??= new AbortController();
    this.#asking++;
    const trace = auth.begin();
    let answer;
    let failure;
    try {
      answer = partsOf(await this.#ask(signal));
    } catch (error) {
      failure = failureOf(error);
    }
    if (source !== this.#source) return trace?.fail('given up: nobody waits for it');
    this.#asking--;
    if (failure === undefined) {
      const { token, expiresOn, refreshAfter } = answer;
      source.fetched(token, expiresOn, refreshAfter, monotonic(), unix());
      trace?.end(expiresOn === undefined ? {} : { expiresAt: new Date(expiresOn) });
    } else {
      const { text, status, retryAfter, isPermanent } = failure;
      source.failed(text, status, retryAfter, isPermanent, monotonic(), unix());
      trace?.fail(text);
    }
    this.#obey();
  }
}

function newSource() {
  return new Source(randomBytes(32), monotonic(), unix());
}

module.exports = { supplyOf };
