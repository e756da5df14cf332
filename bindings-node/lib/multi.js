'use strict';
// Commands that are sent together: as a transaction (`exec`), or one after the other (`execAsPipeline`).

const { attach } = require('./commands');
const { closed, invalid } = require('./errors');

class Multi {
  #client;
  #session;
  #options;
  #commands = [];
  #transforms = [];

  constructor(client, session, options) {
    this.#client = client;
    this.#session = session;
    this.#options = options;
  }

  /** One more command: its name and arguments; `transform(reply, client)` makes the result of its reply. */
  addCommand(args, transform) {
    if (!Array.isArray(args)) throw invalid('addCommand takes an array: addCommand(["GET", "key"])');
    // The array is the caller's.
    this.#commands.push(args.slice());
    this.#transforms.push(transform);
    return this;
  }

  /** Forgets the commands: nothing of them was sent. */
  discard() {
    this.#commands = [];
    this.#transforms = [];
    return this;
  }

  /** Runs them as one unit: all, with nothing in between, or none. `asPipeline`: see `execAsPipeline`. */
  exec(asPipeline = false) {
    return this.#run(asPipeline ? 'PIPELINE' : 'MULTI');
  }

  /** Sends them together, without the promise that nothing comes in between. */
  execAsPipeline() {
    return this.#run('PIPELINE');
  }

  #run(mode) {
    const commands = this.#commands;
    const { typeMapping: mapping, signal } = this.#options ?? {};
    const batch = { commands, transforms: this.#transforms, mapping, signal, client: this.#client };
    if (commands.length === 0) return Promise.resolve([]);
    const { driver } = this.#session;
    if (driver === undefined) return Promise.reject(closed('the client is not open: await client.connect() first'));
    const run = () => mode === 'MULTI' ? driver.transaction(batch) : driver.pipeline(batch);
    return this.#session.traced(run, () => ({ command: mode, batchSize: commands.length }));
  }
}

attach(Multi.prototype, (multi, args, transform) => multi.addCommand(args, transform), (error) => { throw error; });

module.exports = { Multi };
