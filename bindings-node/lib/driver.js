'use strict';
// The driver: owns the sockets, the timer and the promises, and obeys the core. It decides nothing.

const { Aborts } = require('./aborts');
const { Alarm } = require('./alarm');
const { AbortableCall, Call, Pipeline, Transaction } = require('./calls');
const { Connection, NOTHING, room } = require('./connection');
const { aborted, classes: { AbortError }, failed } = require('./errors');
const { monotonic, unix } = require('./native');
const { OUTPUT, Replies } = require('./replies');
const { Turn } = require('./turn');
const { Waiters } = require('./waiters');

// Used only while a call lasts, so that all drivers of a thread share them.
const replies = new Replies();

class Driver {
  #core;
  #supply;
  #host;
  /** By the core's ids, as long as it knows of them. */
  #connections = new Map();
  /** Those among them that take nothing now. */
  #blocked = new Set();
  /** Those whose sockets are not closed yet. */
  #open = new Set();
  /** Who gets the messages of a subscriber. */
  #receivers = new Map();
  #turn = new Turn();
  #isTurnScheduled = false;
  #waiters = new Waiters();
  #alarm = new Alarm(() => this.#timeout(), { keepsAlive: true });
  #keepsAlive = true;
  #isEnding = false;
  #hasFinished = false;
  #end;
  /** Resolves when everything has ended, the last socket as well. */
  ended = new Promise((resolve) => { this.#end = resolve; });
  #submit = () => this.#submitTurn();
  #aborts = new Aborts((waiter) => this.#cancel(waiter));

  /**
   * `supply` is where tokens come from, if anywhere. `host` knows where an address is, `locate({ host, port })`, and is
   * told what happens: `connecting(conn, { host, port, lane })`, `connected(conn)`, `disconnected(conn)`,
   * `notice(conn, { name, severity, text })`, `supply(state, reason)`, `end(driver)`.
   */
  constructor(core, supply, host) {
    this.#core = core;
    this.#host = host;
    this.#supply = supply;
    supply?.subscribe(this);
  }

  get isEnding() { return this.#isEnding; }

  /** Connects without waiting for a command. */
  connect() {
    // What waits already is told where the first attempt fails.
    this.#submitTurn();
    this.#core.connect(monotonic(), unix());
    this.#obey();
  }

  /** One command; strings and views of bytes as arguments. See `Call` for the others. */
  command(args, transform, client, mapping) {
    return new Promise((resolve, reject) => {
      this.#turn.add(args, new Call(resolve, reject, transform, client, mapping));
      if (!this.#isTurnScheduled) this.#schedule();
    });
  }

  /** A command that ends when the signal is aborted. */
  abortableCommand(args, transform, client, mapping, signal) {
    return this.#abortable(signal, (resolve, reject) => {
      const call = new AbortableCall(resolve, reject, transform, client, mapping);
      call.at = this.#turn.waiters.length;
      this.#turn.add(args, call);
      this.#turn.numbered.push(call);
      this.#schedule();
      return call;
    });
  }

  /** Several commands under one promise: `{ commands, transforms, mapping, signal, client }`. */
  pipeline(batch) {
    return this.#abortable(batch.signal, (resolve, reject) => {
      const pipeline = new Pipeline(batch, resolve, reject);
      pipeline.at = this.#turn.waiters.length;
      this.#turn.addAll(batch.commands, pipeline);
      this.#turn.numbered.push(pipeline);
      this.#schedule();
      return pipeline;
    });
  }

  /** The same as one unit: all of them run, with nothing in between, or none. */
  transaction(batch) {
    return this.#alone(batch.signal, batch.commands, (resolve, reject) => new Transaction(batch, resolve, reject),
      (...blocks) => this.#core.submitTransaction(...blocks));
  }

  /** A session's id. Throws where there can be none. */
  openSession() {
    return this.#opened(this.#core.openSession(monotonic(), unix()));
  }

  closeSession(session) {
    this.#core.closeSession(session, monotonic(), unix());
    this.#obey();
  }

  /** One command in a session. */
  commandIn(session, args, transform, client, mapping, signal) {
    const create = (resolve, reject) => new AbortableCall(resolve, reject, transform, client, mapping);
    return this.#alone(signal, [args], create, (...blocks) => this.#core.submitIn(session, ...blocks));
  }

  transactionIn(session, batch) {
    return this.#alone(batch.signal, batch.commands, (resolve, reject) => new Transaction(batch, resolve, reject),
      (...blocks) => this.#core.submitTransactionIn(session, ...blocks));
  }

  /**
   * The id of a subscriber, whose messages go to `receiver.handleMessages(messages)`; `receiver.handleEnd()` is called
   * when none follow. Throws where there can be none.
   */
  openSubscriber(receiver) {
    return this.#received(this.#core.openSubscriber(monotonic(), unix()), receiver);
  }

  /** The same for a monitor. */
  openMonitor(receiver) {
    return this.#received(this.#core.openMonitor(monotonic(), unix()), receiver);
  }

  /** Why channels cannot be subscribed to; undefined where they can. */
  subscribe(subscriber, kind, channels) {
    const count = this.#core.subscribe(subscriber, kind, channels, monotonic(), unix());
    return this.#refusal(count);
  }

  unsubscribe(subscriber, kind, channels) {
    const count = this.#core.unsubscribe(subscriber, kind, channels, monotonic(), unix());
    return this.#refusal(count);
  }

  closeSubscriber(subscriber) {
    this.#receivers.delete(subscriber);
    this.#core.closeSubscriber(subscriber, monotonic(), unix());
    this.#obey();
  }

  /** Takes no more commands, and ends when the last one has. */
  finish() {
    this.#isEnding = true;
    this.#submitTurn();
    // Subscriptions have no end of their own.
    for (const subscriber of this.#receivers.keys()) this.#core.closeSubscriber(subscriber, monotonic(), unix());
    this.#core.finish(monotonic(), unix());
    this.#obey();
  }

  /** Ends at once. */
  close() {
    this.#isEnding = true;
    this.#submitTurn();
    this.#core.close(monotonic(), unix());
    this.#obey();
  }

  authStatus() {
    return this.#core.authStatus();
  }

  /** Whether the process waits for this client. */
  set keepsAlive(yes) {
    this.#keepsAlive = yes;
    this.#alarm.keepsAlive = yes;
    for (const connection of this.#open) connection.keepsAlive = yes;
  }

  /** What the source has: a token, or why there is none. */
  handleToken(token) {
    this.#core.token(token, monotonic(), unix());
    this.#obey();
  }

  /** How the supply stands: a word of the core's, or `failed` with a reason. */
  handleSupply(state, reason) {
    this.#host.supply(state, reason);
  }

  /** Commands that cross by themselves: `submit(bytes, bytesLen, lengths, lengthsLen, ...now)` gives their id. */
  #alone(signal, commands, create, submit) {
    return this.#abortable(signal, (resolve, reject) => {
      const waiter = create(resolve, reject);
      this.#submitTurn();
      const turn = this.#turn;
      turn.addAll(commands, undefined);
      turn.seal();
      const { bytes, bytesLen, lengths, lengthsLen } = turn;
      const id = submit(bytes, bytesLen, lengths, lengthsLen, monotonic(), unix());
      turn.clear();
      waiter.first = id;
      if (id === 0) reject(failed({ ...this.#core.detail(), outcome: 1 }));
      else this.#waiters.add(id, [waiter]);
      this.#obey();
      return waiter;
    });
  }

  #opened(id) {
    if (id === 0) throw failed({ ...this.#core.detail(), outcome: 1 });
    this.#obey();
    return id;
  }

  #received(id, receiver) {
    // What it brings may be here at once.
    if (id !== 0) this.#receivers.set(id, receiver);
    return this.#opened(id);
  }

  #refusal(count) {
    const refusal = count === 0 ? this.#core.detail() : undefined;
    this.#obey();
    return refusal;
  }

  #schedule() {
    if (this.#isTurnScheduled) return;
    this.#isTurnScheduled = true;
    // After the promises that are being settled: what they go on to submit belongs to the same turn.
    process.nextTick(this.#submit);
  }

  #submitTurn() {
    this.#isTurnScheduled = false;
    const turn = this.#turn;
    if (turn.isEmpty) return;
    turn.seal();
    const { bytes, bytesLen, lengths, lengthsLen, waiters } = turn;
    const output = this.#core.submit(
      bytes, bytesLen, lengths, lengthsLen, replies.window, this.#room, monotonic(), unix());
    const { first } = replies;
    for (const waiter of turn.numbered) waiter.first = first + waiter.at;
    if (first > 0) this.#waiters.add(first, waiters);
    turn.clear();
    if (first === 0) this.#refuse(waiters);
    this.#obey(output);
  }

  /** The core took nothing of a turn: a typed array was changed under it. */
  #refuse(waiters) {
    const detail = this.#core.detail();
    for (const waiter of waiters) waiter.fail(waiter.first ?? 0, failed({ ...detail, outcome: 1 }));
  }

  /** What `start(resolve, reject)` begins; its waiter ends when the signal is aborted, where there is one. */
  #abortable(signal, start) {
    if (signal === undefined) return new Promise(start);
    if (signal.aborted) return Promise.reject(aborted('aborted before it was sent', { cause: signal.reason }));
    let waiter;
    const result = new Promise((resolve, reject) => { waiter = start(resolve, reject); });
    // It was refused at once.
    if (waiter === undefined) return result;
    return this.#untilAborted(signal, waiter, result);
  }

  async #untilAborted(signal, waiter, result) {
    this.#aborts.add(signal, waiter);
    try {
      return await result;
    } catch (error) {
      if (error instanceof AbortError) error.cause = signal.reason;
      throw error;
    } finally {
      this.#aborts.delete(signal, waiter);
    }
  }

  #cancel(waiter) {
    // It has its id then.
    this.#submitTurn();
    const { first, count } = waiter;
    for (let id = first; id < first + count; id++) this.#core.cancel(id);
    this.#obey();
  }

  #timeout() {
    this.#core.timeout(monotonic(), unix());
    this.#obey();
  }

  /** Does what the core wants done, from this output on. */
  #obey(output = this.#core.advance(replies.window, this.#room, monotonic(), unix())) {
    const core = this.#core;
    for (;;) {
      switch (output & ~OUTPUT.LAST) {
        case OUTPUT.NONE:
          return this.#rest();
        case OUTPUT.REPLIES:
          replies.read(core, this.#waiters);
          if (output & OUTPUT.LAST) return this.#rest();
          break;
        case OUTPUT.TRANSMIT:
          if (this.#transmit(replies.id) && output & OUTPUT.LAST) return this.#rest();
          break;
        case OUTPUT.GROW:
          replies.grow(replies.needed);
          break;
        default:
          this.#obeyRare(output & ~OUTPUT.LAST, replies.id);
      }
      output = core.advance(replies.window, this.#room, monotonic(), unix());
    }
  }

  /** Nothing follows until something happens. */
  #rest() {
    if (this.#isEnding && this.#core.isClosed) this.#finish();
    else this.#alarm.set(replies.wakeup);
  }

  #obeyRare(output, id) {
    const core = this.#core;
    switch (output) {
      case OUTPUT.CONNECT:
        this.#connect(id, core.detail());
        break;
      case OUTPUT.DISCONNECT:
        this.#disconnect(id, core.takeBytes());
        break;
      case OUTPUT.TOKEN_NEEDED: {
        const token = this.#supply.request(id);
        if (token) core.token(token, monotonic(), unix());
        break;
      }
      case OUTPUT.FAILED:
        this.#waiters.take(id)?.fail(id, failed(core.detail()));
        break;
      case OUTPUT.NOTICE:
        this.#host.notice(id, core.detail());
        break;
      case OUTPUT.MESSAGES: {
        const messages = replies.messages(core);
        this.#receivers.get(id)?.handleMessages(messages);
        break;
      }
    }
  }

  #connect(id, { text: host, code: port, name: lane }) {
    let address;
    try {
      address = this.#host.locate({ host, port });
    } catch (error) {
      return this.#core.disconnected(id, false, error.message, monotonic(), unix());
    }
    const connection = new Connection(id, address, this);
    this.#connections.set(id, connection);
    this.#open.add(connection);
    if (!this.#keepsAlive) connection.keepsAlive = false;
    this.#host.connecting(id, { ...address, lane });
  }

  handleConnected({ id }) {
    this.#host.connected(id);
    this.#core.connected(id, monotonic(), unix());
    this.#obey();
  }

  handleReceived({ id }, bytes, len) {
    this.#obey(this.#core.read(id, bytes, len, replies.window, this.#room, monotonic(), unix()));
  }

  handleUnblocked(connection) {
    if (!this.#blocked.delete(connection)) return;
    this.#write(connection, this.#core.transmit(connection.id, room.bytes, monotonic(), unix()));
    this.#obey();
  }

  handleClosed(connection, wasConnected, cause) {
    this.#open.delete(connection);
    if (this.#forget(connection.id) !== undefined) {
      this.#core.disconnected(connection.id, wasConnected, cause, monotonic(), unix());
      this.#obey();
    }
    if (this.#hasFinished) this.#endIfClosed();
  }

  #disconnect(id, lastBytes) {
    this.#forget(id)?.end(lastBytes);
    this.#host.disconnected(id);
  }

  #forget(id) {
    const connection = this.#connections.get(id);
    this.#connections.delete(id);
    this.#blocked.delete(connection);
    return connection;
  }

  /** Where the core puts what is to be written, as long as every socket takes it. */
  get #room() {
    return this.#blocked.size === 0 ? room.bytes : NOTHING;
  }

  /** Writes what the core has for a connection; whether the core was left alone meanwhile. */
  #transmit(id) {
    const connection = this.#connections.get(id);
    const isInRoom = this.#blocked.size === 0;
    if (connection === undefined || connection.isBlocked) return true;
    const len = isInRoom ? replies.sendable : this.#core.transmit(id, room.bytes, monotonic(), unix());
    this.#write(connection, len);
    return isInRoom && len >= 0;
  }

  /** Writes `len` bytes of the room, and where that is negative, what the core has beyond them. */
  #write(connection, len) {
    while (len !== 0) {
      connection.write(Math.abs(len));
      if (connection.isBlocked) return void this.#blocked.add(connection);
      if (len > 0) return;
      len = this.#core.transmit(connection.id, room.bytes, monotonic(), unix());
    }
  }

  #finish() {
    if (this.#hasFinished) return;
    this.#hasFinished = true;
    this.#alarm.clear();
    this.#supply?.unsubscribe(this);
    for (const receiver of this.#receivers.values()) receiver.handleEnd();
    this.#endIfClosed();
  }

  #endIfClosed() {
    if (this.#open.size > 0) return;
    this.#host.end(this);
    this.#end();
  }
}

module.exports = { Driver };
