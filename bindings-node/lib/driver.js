'use strict';
// The driver: owns the socket, the timer and the promises, and obeys the core. It decides nothing.

const net = require('node:net');
const { Aborts } = require('./aborts');
const { Alarm } = require('./alarm');
const { AbortableCall, Call, Pipeline, Transaction } = require('./calls');
const { aborted, classes: { AbortError }, failed } = require('./errors');
const { monotonic, unix } = require('./native');
const { OUTPUT, Replies } = require('./replies');
const { Turn } = require('./turn');
const { Waiters } = require('./waiters');

// Used only while a call lasts, so that all drivers of a thread share them.
const replies = new Replies();
const received = Buffer.allocUnsafeSlow(256 * 1024);

const NOTHING = Buffer.alloc(0);
const WRITE_LEN = 128 * 1024;
let transmitted = Buffer.allocUnsafeSlow(WRITE_LEN);

class Driver {
  #core;
  #supply;
  #host;
  #socket;
  /** May be closing. */
  #lastSocket;
  #conn = 0;
  /** The socket has not taken what was written last. */
  #isBlocked = false;
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
   * `supply` is where tokens come from, if anywhere. `host` is told what happens: `connecting(host, port)`,
   * `connected()`, `notice({ name, severity, text })`, `supply(state, reason)`, `end(driver)`.
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
    return this.#abortable(batch.signal, (resolve, reject) => {
      const transaction = new Transaction(batch, resolve, reject);
      this.#submitTurn();
      const turn = this.#turn;
      turn.addAll(batch.commands, undefined);
      turn.seal();
      const { bytes, bytesLen, lengths, lengthsLen } = turn;
      const id = this.#core.submitTransaction(bytes, bytesLen, lengths, lengthsLen, monotonic(), unix());
      turn.clear();
      transaction.first = id;
      if (id === 0) reject(failed({ outcome: 1, ...this.#core.detail() }));
      else this.#waiters.add(id, [transaction]);
      this.#obey();
      return transaction;
    });
  }

  /** Takes no more commands, and ends when the last one has. */
  finish() {
    this.#isEnding = true;
    this.#submitTurn();
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
    if (yes) this.#socket?.ref();
    else this.#socket?.unref();
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
          if (this.#transmit() && output & OUTPUT.LAST) return this.#rest();
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
        this.#disconnect(core.takeBytes());
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
        this.#host.notice(core.detail());
        break;
    }
  }

  #connect(conn, { text: host, code: port }) {
    let cause;
    let wasConnected = false;
    this.#conn = conn;
    this.#isBlocked = false;
    const callback = (len, bytes) => {
      this.#obey(this.#core.read(conn, bytes, len, replies.window, this.#room, monotonic(), unix()));
      return true;
    };
    const socket = net.connect({
      host, port, noDelay: true,
      onread: { buffer: received, callback },
    });
    this.#socket = this.#lastSocket = socket;
    if (!this.#keepsAlive) socket.unref();
    this.#host.connecting(host, port);
    socket.on('connect', () => {
      wasConnected = true;
      this.#host.connected();
      this.#core.connected(conn, monotonic(), unix());
      this.#obey();
    });
    socket.on('error', (error) => { cause = error.message || error.code; });
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined;
      this.#core.disconnected(conn, wasConnected, cause, monotonic(), unix());
      this.#obey();
    });
  }

  #disconnect(lastBytes) {
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined) return;
    if (socket.writable && !socket.connecting && !this.#isBlocked) {
      if (lastBytes.length > 0) socket.write(lastBytes);
      if (socket.writableLength === 0) return socket.destroySoon();
    }
    // A peer that takes nothing would keep it open.
    socket.destroy();
  }

  /** Where the core puts what is to be written. */
  get #room() {
    return this.#isBlocked ? NOTHING : transmitted;
  }

  /** Writes what the core put into the room; whether that was all. */
  #transmit() {
    if (this.#isBlocked) return true;
    const len = replies.sendable;
    this.#write(len);
    return len >= 0;
  }

  /** Writes `len` bytes of the room, and where that is negative, what the core has beyond them. */
  #write(len) {
    const socket = this.#socket;
    while (len !== 0 && socket !== undefined) {
      if (socket.destroyed) return this.#stop();
      socket.write(transmitted.subarray(0, Math.abs(len)));
      if (socket.writableLength > 0) return this.#block(socket);
      if (len > 0) return;
      len = this.#core.transmit(this.#conn, transmitted, monotonic(), unix());
    }
  }

  /** What was not taken stays where it is, and nothing is written before it has left. */
  #block(socket) {
    transmitted = Buffer.allocUnsafeSlow(WRITE_LEN);
    this.#isBlocked = true;
    socket.write(NOTHING, () => this.#unblock(socket));
  }

  #unblock(socket) {
    if (this.#socket !== socket) return;
    if (socket.destroyed) return this.#stop();
    this.#isBlocked = false;
    this.#write(this.#core.transmit(this.#conn, transmitted, monotonic(), unix()));
    this.#obey();
  }

  /** The socket has ended, which is told only later: what was not written yet is for the next one. */
  #stop() {
    this.#isBlocked = true;
  }

  #finish() {
    if (this.#hasFinished) return;
    this.#hasFinished = true;
    this.#alarm.clear();
    this.#supply?.unsubscribe(this);
    const end = () => {
      this.#host.end(this);
      this.#end();
    };
    if (this.#lastSocket === undefined || this.#lastSocket.closed) end();
    else this.#lastSocket.once('close', end);
  }
}

module.exports = { Driver };
