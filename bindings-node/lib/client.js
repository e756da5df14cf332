'use strict';
// The client: what users see.

const { EventEmitter } = require('node:events');
const { inspect } = require('node:util');
const { closed, invalid } = require('./errors');
const { attach, attachIterators } = require('./commands');
const { Multi } = require('./multi');
const { parse, parseCommandOptions } = require('./options');
const { Session } = require('./session');

/** Commands of later versions; the core refuses them, and says why. */
const SUBSCRIPTIONS = ['subscribe', 'unsubscribe', 'pSubscribe', 'pUnsubscribe', 'sSubscribe', 'sUnsubscribe'];

class Client extends EventEmitter {
  constructor(options) {
    super();
    const parsed = parse(options);
    // Views inherit from the client, which alone has listeners.
    hide(this, '_root', this);
    hide(this, '_options', parsed.commandOptions);
    // What is in a closure cannot be inspected.
    hide(this, '_duplicate', (overrides) => new Client({ ...options, ...overrides }));
    hide(this, '_session', new Session(parsed, this));
  }

  get isOpen() { return this._session.isOpen; }
  get isReady() { return this._session.isReady; }

  async connect() {
    await this._session.connect();
    return this;
  }

  close() {
    return this._session.close();
  }

  destroy() {
    this._session.destroy();
  }

  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    if (this.isOpen) await this.close();
  }

  authStatus() {
    return this._session.authStatus();
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

  multi() {
    return new Multi(this, this._session, this._options);
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
    this._session.keepsAlive = true;
    return this;
  }

  unref() {
    this._session.keepsAlive = false;
    return this;
  }

  /** Sends one command; `transform(reply, client)` makes the result of its reply. */
  _call(args, transform) {
    return this._send(args, transform, this._options);
  }

  _send(args, transform, options) {
    const session = this._session;
    const { driver } = session;
    if (driver === undefined) return Promise.reject(closed('the client is not open: await client.connect() first'));
    if (options === undefined && !session.isTraced) return driver.command(args, transform, this, undefined);
    const mapping = options?.typeMapping;
    const signal = options?.signal;
    const send = () => signal === undefined ? driver.command(args, transform, this, mapping)
      : driver.abortableCommand(args, transform, this, mapping, signal);
    return session.traced(send, () => ({ command: String(args[0]).slice(0, 64).toUpperCase() }));
  }

  [inspect.custom]() {
    const { serverAddress, serverPort } = this._session.address;
    return `<respass client of ${serverAddress}:${serverPort}${this.isReady ? ', ready' : ''}>`;
  }
}

for (const name of SUBSCRIPTIONS) {
  const subscription = function (channels = []) {
    return this._call([name.toUpperCase(), ...[channels].flat()], undefined);
  };
  Client.prototype[name] = Client.prototype[name.toUpperCase()] = subscription;
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
