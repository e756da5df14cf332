'use strict';
// The client: what users see.

const { EventEmitter } = require('node:events');
const { inspect } = require('node:util');
const { texts } = require('./arguments');
const { invalid, notOpen } = require('./errors');
const { attach, attachIterators } = require('./commands');
const { Endpoint } = require('./endpoint');
const { Multi } = require('./multi');
const { parse, parseCommandOptions } = require('./options');
const { KIND } = require('./subscriptions');

class Client extends EventEmitter {
  constructor(options) {
    super();
    const parsed = this._parse(options);
    // Views inherit from the client, which alone has listeners.
    hide(this, '_root', this);
    hide(this, '_options', parsed.commandOptions);
    // What is in a closure cannot be inspected.
    hide(this, '_duplicate', (overrides) => new this.constructor({ ...options, ...overrides }));
    hide(this, '_endpoint', new Endpoint(parsed, this));
  }

  get isOpen() { return this._endpoint.isOpen; }
  get isReady() { return this._endpoint.isReady; }
  get isPubSubActive() { return this._endpoint.isPubSubActive; }
  get isWatching() { return (this._session ?? this._endpoint).isWatching; }

  async connect() {
    await this._endpoint.connect();
    return this;
  }

  close() {
    return this._endpoint.close();
  }

  destroy() {
    this._endpoint.destroy();
  }

  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    if (this.isOpen) await this.close();
  }

  authStatus() {
    return this._endpoint.authStatus();
  }

  sendCommand(args, options) {
    if (!Array.isArray(args)) return Promise.reject(notAnArray());
    // It is sent at the end of the turn, and the array is the caller's.
    const command = args.slice();
    if (options === undefined) return this._call(command, undefined);
    try {
      return this._send(command, undefined, { ...this._options, ...parseCommandOptions(options) });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async watch(keys) {
    const args = ['WATCH', ...texts(keys, 'watch: keys')];
    return (this._session ?? this._endpoint).watch(args, this, this._options);
  }

  async unwatch() {
    if (this._session !== undefined) return this._session.unwatch(this, this._options);
    this._endpoint.takeWatch()?.close();
    return 'OK';
  }

  /** Runs `run(client)` with a client of its own, over a connection that nobody else uses meanwhile. */
  async execute(run) {
    const session = this._endpoint.session();
    const view = Object.create(this);
    hide(view, '_session', session);
    try {
      return await run(view);
    } finally {
      session.close();
    }
  }

  monitor(callback) {
    return this._endpoint.monitor(callback, this._options?.typeMapping);
  }

  multi() {
    return new Multi(this, this._endpoint, this._options);
  }

  duplicate(overrides) {
    return this._duplicate(overrides);
  }

  withCommandOptions(options) {
    const view = Object.create(this);
    hide(view, '_options', { ...this._options, ...parseCommandOptions(options) });
    return view;
  }

  withTypeMapping(typeMapping) {
    return this.withCommandOptions({ typeMapping });
  }

  withAbortSignal(signal) {
    return this.withCommandOptions({ signal });
  }

  get typeMapping() { return this._options?.typeMapping; }

  ref() {
    this._endpoint.keepsAlive = true;
    return this;
  }

  unref() {
    this._endpoint.keepsAlive = false;
    return this;
  }

  /** Sends one command; `transform(reply, client)` makes the result of its reply. */
  _call(args, transform) {
    return this._send(args, transform, this._options);
  }

  _send(args, transform, options) {
    const endpoint = this._endpoint;
    const { driver } = endpoint;
    if (driver === undefined) return Promise.reject(notOpen());
    const session = this._session;
    if (options === undefined && session === undefined && !endpoint.isTraced) {
      return driver.command(args, transform, this, undefined);
    }
    const mapping = options?.typeMapping;
    const signal = options?.signal;
    const send = () => session !== undefined ? session.command(args, transform, this, mapping, signal)
      : signal === undefined ? driver.command(args, transform, this, mapping)
        : driver.abortableCommand(args, transform, this, mapping, signal);
    return endpoint.traced(send, () => ({ command: String(args[0]).slice(0, 64).toUpperCase() }));
  }

  _parse(options) {
    return parse(options);
  }

  [inspect.custom]() {
    const { serverAddress, serverPort } = this._endpoint.address;
    return `<respass client of ${serverAddress}:${serverPort}${this.isReady ? ', ready' : ''}>`;
  }
}

/** Of commands that go to one connection alone. */
Client.prototype._session = undefined;

for (const [prefix, kind] of [['', KIND.CHANNEL], ['p', KIND.PATTERN], ['s', KIND.SHARD]]) {
  const methods = {
    async subscribe(channels, listener, bufferMode) {
      await this._endpoint.subscriptions.subscribe(kind, channels, listener, bufferMode);
    },
    async unsubscribe(channels, listener, bufferMode) {
      if (this.isPubSubActive) await this._endpoint.subscriptions.unsubscribe(kind, channels, listener, bufferMode);
    },
  };
  for (const [name, method] of Object.entries(methods)) {
    hide(Client.prototype, prefix === '' ? name : prefix + name[0].toUpperCase() + name.slice(1), method);
    hide(Client.prototype, (prefix + name).toUpperCase(), method);
  }
}

for (const name of ['watch', 'unwatch', 'monitor', 'multi']) {
  hide(Client.prototype, name.toUpperCase(), Client.prototype[name]);
}

for (const name of Object.keys(EventEmitter.prototype)) {
  const method = EventEmitter.prototype[name];
  if (typeof method !== 'function') continue;
  hide(Client.prototype, name, function (...args) {
    const result = method.apply(this._root, args);
    return result === this._root ? this : result;
  });
}

attach(Client.prototype, (client, args, transform) => client._call(args, transform));
attachIterators(Client.prototype);

function hide(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true });
}

function notAnArray() {
  return invalid('sendCommand takes an array: sendCommand(["GET", "key"])');
}

/** A client that connects when told to. Throws a ConfigurationError where the options cannot work. */
function createClient(options) {
  return new Client(options);
}

module.exports = { Client, createClient };
