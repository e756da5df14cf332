'use strict';
// Commands that are sent together: as a transaction (`exec`), or one after the other (`execAsPipeline`).

const { attach } = require('./commands');
const { invalid, notOpen } = require('./errors');

class Multi {
  #client;
  #endpoint;
  #options;
  #commands = [];
  #transforms = [];

  constructor(client, endpoint, options) {
    this.#client = client;
    this.#endpoint = endpoint;
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
    const endpoint = this.#endpoint;
    const client = this.#client;
    const commands = this.#commands;
    const { typeMapping: mapping, signal } = this.#options ?? {};
    const batch = { commands, transforms: this.#transforms, mapping, signal, client };
    const watch = mode === 'MULTI' && client._session === undefined ? endpoint.takeWatch() : undefined;
    if (commands.length === 0) {
      watch?.close();
      return Promise.resolve([]);
    }
    if (endpoint.driver === undefined) return Promise.reject(notOpen());
    const on = watch ?? client._session ?? endpoint.driver;
    const run = () => mode === 'MULTI' ? on.transaction(batch) : on.pipeline(batch);
    const result = endpoint.traced(run, () => ({ command: mode, batchSize: commands.length }));
    return watch === undefined ? result : result.finally(() => watch.close());
  }
}

attach(Multi.prototype, (multi, args, transform) => multi.addCommand(args, transform), (error) => { throw error; });

module.exports = { Multi };
