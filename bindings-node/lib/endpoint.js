'use strict';
// What stands behind a client and its views: the options, the driver from connect() to the end, and what is told.

const { randomBytes } = require('node:crypto');
const { inspect } = require('node:util');
const channels = require('./channels');
const { Driver } = require('./driver');
const { closed, invalid, misconfigured, notOpen, classes } = require('./errors');
const { call } = require('./messages');
const { Monitor } = require('./monitor');
const { Core, monotonic, unix } = require('./native');
const { RESP_TYPES } = require('./resp_types');
const { Session } = require('./session');
const { Subscriptions } = require('./subscriptions');
const { supplyOf } = require('./supply');

const { AbortError, AuthenticationError, ConnectionError, ErrorReply, TokenError } = classes;

/** Kinds of warnings that the process has seen. */
const warned = new Set();

/** Notices that are errors of a connection, with what they become. */
const ERRORS = {
  'connection-lost': (text) => new ConnectionError(text, { code: 201 }),
  'login-refused': (text) => new AuthenticationError(text, { code: 400 }),
};

const SEVERITIES = [undefined, 'debug', 'info', 'warning'];
const WARNING = 3;

class Endpoint {
  /** From connect() on, until the end. */
  driver;
  #settings;
  /** See lib/addresses.js. */
  #located;
  /** For the first connect(). */
  #core;
  #supply;
  #emitter;
  #subscriptions;
  /** The session of the client's own WATCH. */
  #watch;
  #keepsAlive = true;
  #hasConnected = false;
  /** A connection was ready, and not all were lost since. */
  #isUp = false;
  #onFirstReady;
  /** Connections that are not for ordinary commands. */
  #others = new Set();
  /** Of connections that are not ready yet, by their ids. */
  #traces = new Map();
  /** Connections whose login the server refused: that they are lost then is the same trouble. */
  #refused = new Set();

  /** What a driver tells. Listeners run later, so that what they throw is theirs alone. */
  #host = {
    locate: (address) => this.#locate(address),
    connecting: (conn, { host, port, lane }) => {
      channels.log('connecting to %s:%d', host, port);
      this.#traces.set(conn, channels.connect.begin({ serverAddress: host, serverPort: port }));
      if (!isMain(lane)) {
        this.#others.add(conn);
        return;
      }
      if (this.#hasConnected && !this.#isUp) this.#tell('reconnecting');
      this.#hasConnected = true;
    },
    connected: (conn) => {
      if (!this.#others.has(conn)) this.#tell('connect');
    },
    // Why is told first, where there is a reason.
    disconnected: (conn) => process.nextTick(() => {
      this.#endTrace(conn, (trace) => trace.fail('given up'));
      this.#others.delete(conn);
    }),
    notice: (conn, notice) => this.#notice(conn, notice),
    supply: (state, reason) => this.#supplied(state, reason),
    end: (driver) => {
      channels.log('closed');
      this.#others.clear();
      for (const conn of this.#traces.keys()) this.#endTrace(conn, (trace) => trace.fail('closed'));
      if (this.driver === driver) this.driver = this.#subscriptions = this.#watch = undefined;
      this.#tell('end');
    },
  };

  /** `emitter` is the client, whose listeners are told. */
  constructor({ settings, credential, locate }, emitter) {
    this.#settings = settings;
    this.#located = locate;
    this.#supply = credential === undefined ? undefined : supplyOf(credential);
    this.#emitter = emitter;
    // Whoever makes a client learns at once whether its options can work.
    this.#core = this.#newCore();
  }

  get address() {
    const { host, port, database = 0 } = this.#settings;
    return { serverAddress: host, serverPort: port, database };
  }

  get isPubSubActive() { return this.#subscriptions?.isActive ?? false; }
  get isWatching() { return this.#watch?.isWatching ?? false; }
  get isOpen() { return this.driver !== undefined && !this.driver.isEnding; }
  get isReady() { return this.isOpen && this.driver.authStatus().isReady; }

  /** Resolves when the server has accepted the login; rejects, and closes, where it does not within the timeouts. */
  connect() {
    if (this.isOpen) {
      return Promise.reject(closed('the client is connected or connecting already: call connect() once'));
    }
    this.#hasConnected = this.#isUp = false;
    const driver = new Driver(this.#core ?? this.#newCore(), this.#supply, this.#host);
    this.#core = undefined;
    this.driver = driver;
    driver.keepsAlive = this.#keepsAlive;
    const login = this.#firstLogin(driver);
    driver.connect();
    return login;
  }

  async close() {
    if (!this.isOpen) throw closed('the client is not open: nothing to close');
    const { driver } = this;
    driver.finish();
    await driver.ended;
  }

  destroy() {
    if (!this.isOpen) throw closed('the client is not open: nothing to destroy');
    this.driver.close();
  }

  authStatus() {
    const status = this.driver?.authStatus();
    const supply = this.#supply?.status();
    return {
      isReady: status?.isReady ?? false,
      oid: status?.oid,
      expiresAt: dateOf(status?.expiresOnMs),
      refreshAt: dateOf(supply?.refreshOnMs),
      state: supply?.state,
      reauthCount: status?.reauthCount ?? 0,
      lastError: status?.lastError,
      connections: (status?.connections ?? []).map(({ expiresOnMs, ...connection }) => (
        { ...connection, expiresAt: dateOf(expiresOnMs) })),
    };
  }

  /** Opened when it is asked for. Throws where the client is not open. */
  get subscriptions() {
    return this.#subscriptions ??= new Subscriptions(this.#openDriver(), {
      gap: () => this.#gap('subscriber'),
      refused: (error) => this.#complain('error', 'subscription-refused', error),
    });
  }

  /** Resolves to a function that ends it. */
  async monitor(callback, mapping) {
    if (typeof callback !== 'function') throw invalid('monitor takes a function, which is called for each command');
    const isBuffer = mapping?.[RESP_TYPES.SIMPLE_STRING] === Buffer;
    const monitor = new Monitor(this.#openDriver(), { gap: () => this.#gap('monitor') }, callback, isBuffer);
    await monitor.standing;
    return () => monitor.close();
  }

  /** A connection for one caller alone. Throws where the client is not open. */
  session() {
    return new Session(this.#openDriver());
  }

  /** WATCH, for the client's next transaction. */
  async watch(args, client, options) {
    const session = this.#watch ??= this.session();
    try {
      return await session.watch(args, client, options);
    } catch (error) {
      if (!session.isWatching) this.takeWatch(session)?.close();
      throw error;
    }
  }

  /** The session that watches, for whoever ends it now; that one only, where it is given. */
  takeWatch(only = this.#watch) {
    if (this.#watch === undefined || this.#watch !== only) return undefined;
    this.#watch = undefined;
    return only;
  }

  /** Whether the process waits for the connection. */
  set keepsAlive(yes) {
    this.#keepsAlive = yes;
    if (this.driver !== undefined) this.driver.keepsAlive = yes;
  }

  get isTraced() { return channels.command.hasSubscribers; }

  /** Runs a command or a batch, and has those follow it who listen; `what()` describes it, without its values. */
  traced(run, what) {
    if (!this.isTraced) return run();
    return channels.command.promise(run, () => ({ ...what(), ...this.address }));
  }

  [inspect.custom]() {
    const { serverAddress, serverPort } = this.address;
    return `<connection to ${serverAddress}:${serverPort}>`;
  }

  /** Told in its place among the messages. */
  #gap(lane) {
    call(() => this.#emitter.emit('gap', { lane }));
  }

  #openDriver() {
    if (this.driver === undefined) throw notOpen();
    return this.driver;
  }

  /** Where an address is that a server may have advertised. */
  #locate(address) {
    const { host, port } = address;
    const isConfigured = host === this.#settings.host && port === this.#settings.port;
    return isConfigured ? address : this.#located?.(host, port) ?? address;
  }

  #newCore() {
    try {
      return new Core(this.#settings, randomBytes(32), monotonic(), unix());
    } catch (error) {
      throw misconfigured(error.message);
    }
  }

  /** A command waits for the login as any other does; whatever the server says to it, it has let the client in. */
  async #firstLogin(driver) {
    const giveUp = new AbortController();
    // That it is a cluster is known only later.
    this.#onFirstReady = this.#settings.cluster ? undefined : () => giveUp.abort();
    try {
      await driver.abortableCommand(['PING'], undefined, undefined, undefined, giveUp.signal);
    } catch (error) {
      if (error instanceof AbortError || error instanceof ErrorReply) return;
      driver.close();
      throw error;
    }
  }

  #notice(conn, { name, severity, text }) {
    channels.log('%s: %s', name, text);
    this.#tell('notice', { name, severity: SEVERITIES[severity], text });
    if (name === 'ready') {
      this.#ready(conn);
    } else if (name === 'reauthenticated') {
      this.#tellAuth('renewed');
    } else if (this.#supply !== undefined && (name === 'reauth-refused' || name === 'login-refused')) {
      this.#tellAuth('failed', text);
    }
    if (name in ERRORS) this.#failed(conn, name, text);
    else if (severity === WARNING) this.#complain('notice', name, text);
  }

  #ready(conn) {
    this.#endTrace(conn, (trace) => trace.end());
    this.#onFirstReady?.();
    if (this.#isUp || this.#others.has(conn)) return;
    this.#isUp = true;
    this.#tell('ready');
  }

  /** A connection was lost, or its login refused. */
  #failed(conn, name, text) {
    this.#endTrace(conn, (trace) => trace.fail(text));
    if (name === 'connection-lost') this.#others.delete(conn);
    this.#isUp &&= this.driver.authStatus().isReady;
    if (!this.#refused.delete(conn)) this.#complain('error', name, ERRORS[name](text));
    if (name === 'login-refused') this.#refused.add(conn);
  }

  /** `end(trace)`, where there is one still. */
  #endTrace(conn, end) {
    const trace = this.#traces.get(conn);
    this.#traces.delete(conn);
    if (trace !== undefined) end(trace);
  }

  #supplied(state, reason) {
    channels.log('token supply: %s %s', state, reason ?? '');
    if (state === 'late' || state === 'expired' || state === 'failed') this.#tellAuth(state, reason);
  }

  #tellAuth(kind, reason) {
    const { oid, expiresAt, refreshAt } = this.authStatus();
    const error = reason === undefined ? undefined : new TokenError(reason, { code: 401 });
    this.#tell('auth', { kind, oid, expiresAt, refreshAt, error });
  }

  #tell(event, ...details) {
    process.nextTick(() => this.#emitter.emit(event, ...details));
  }

  /** Trouble that somebody should know of: where nobody listens, the process is warned once per kind. */
  #complain(event, kind, error) {
    process.nextTick(() => {
      if (this.#emitter.listenerCount(event) > 0) {
        if (event === 'error') this.#emitter.emit('error', error);
      } else if (!warned.has(kind)) {
        warned.add(kind);
        const code = `RESPASS_${kind.replaceAll('-', '_').toUpperCase()}`;
        process.emitWarning(String(error.message ?? error), { type: 'RespassWarning', code });
      }
    });
  }
}

/** Whether a connection is for ordinary commands. */
function isMain(lane) {
  return lane === 'main' || lane === '';
}

function dateOf(ms) {
  return ms === undefined || ms === null || !(ms < 8.64e15) ? undefined : new Date(ms);
}

module.exports = { Endpoint };
