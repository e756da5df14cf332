// The driver: owns the socket, the timer and the promises, and obeys the core. It decides nothing.
import { EventEmitter } from 'node:events';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { Alarm } from './alarm.js';
import { RespassError } from './errors.js';
import { Core, monotonic, unix } from './native.js';
import { OUTPUT, Replies } from './replies.js';
import { driverOf } from './source.js';
import { Turn } from './turn.js';
import { Waiters } from './waiters.js';

const READ_LEN = 256 * 1024;
const NAMELESS = 'a command has at least a name';

/** Several commands under one promise. Errors stand in their places. */
class Pipeline {
  /** The first command's id. */
  first = 0;

  /** `at`: the first command's place in its turn. */
  constructor(count, at, resolve) {
    this.values = new Array(count);
    this.left = count;
    this.at = at;
    this.resolve = resolve;
  }

  settle(index, value) {
    this.values[index] = value;
    if (--this.left === 0) this.resolve(this.values);
  }
}

export class Client extends EventEmitter {
  #core;
  #source;
  #socket;
  #conn = 0;
  /** The socket did not take what was written last. */
  #isBlocked = false;
  #received = Buffer.allocUnsafeSlow(READ_LEN);
  #replies = new Replies();
  #turn = new Turn();
  #isTurnScheduled = false;
  #waiters = new Waiters();
  #alarm = new Alarm(() => this.#timeout(), { keepsAlive: true });
  #deliver = (id, value) => settle(this.#waiters.take(id), id, value);
  #submit = () => this.#submitTurn();

  /** `options` are the fields of `Settings` in src/settings.rs; `credential` is an async function. */
  constructor({ credential, ...settings }) {
    super();
    this.#core = new Core({ ...settings, token: credential !== undefined }, randomBytes(32), monotonic(), unix());
    if (credential) {
      this.#source = driverOf(credential);
      this.#source.subscribe(this);
    }
  }

  /** One command; strings and views of bytes as arguments. */
  command(args) {
    return new Promise((resolve, reject) => this.#add(args, { resolve, reject }));
  }

  /** Several commands: one promise for all their replies. A reply that is an error stands in its place. */
  pipeline(commands) {
    return new Promise((resolve, reject) => {
      if (commands.some((args) => args.length === 0)) return reject(new RangeError(NAMELESS));
      const pipeline = new Pipeline(commands.length, this.#turn.waiters.length, resolve);
      if (commands.length === 0) resolve([]);
      else this.#turn.pipelines.push(pipeline);
      for (const args of commands) this.#add(args, pipeline);
    });
  }

  /** Strings as Buffers. */
  set asBuffers(yes) {
    this.#replies.asBuffers = yes;
  }

  close() {
    this.#submitTurn();
    this.#core.close(monotonic(), unix());
    this.#obey();
    this.#source?.unsubscribe(this);
    this.#alarm.clear();
  }

  /** What the source has: a token, or why there is none. */
  handleToken(token) {
    this.#core.token(token, monotonic(), unix());
    this.#obey();
  }

  #add(args, waiter) {
    if (args.length === 0) throw new RangeError(NAMELESS);
    this.#turn.add(args, waiter);
    if (!this.#isTurnScheduled) {
      this.#isTurnScheduled = true;
      // After the promises that are being settled: what they go on to submit belongs to the same turn.
      process.nextTick(this.#submit);
    }
  }

  #submitTurn() {
    this.#isTurnScheduled = false;
    const turn = this.#turn;
    if (turn.isEmpty) return;
    turn.seal();
    const { bytes, bytesLen, lengths, lengthsLen } = turn;
    const first = this.#core.submitEach(bytes, bytesLen, lengths, lengthsLen, monotonic(), unix());
    for (const pipeline of turn.pipelines) pipeline.first = first + pipeline.at;
    this.#waiters.add(first, turn.waiters);
    turn.clear();
    this.#obey();
  }

  #timeout() {
    this.#core.timeout(monotonic(), unix());
    this.#obey();
  }

  #obey() {
    const core = this.#core;
    const replies = this.#replies;
    for (;;) {
      switch (core.poll(replies.window, monotonic(), unix())) {
        case OUTPUT.NONE:
          this.#alarm.set(replies.wakeup);
          return;
        case OUTPUT.REPLIES:
          replies.read(core, this.#deliver);
          break;
        case OUTPUT.TRANSMIT:
          this.#transmit();
          break;
        case OUTPUT.GROW:
          replies.grow(replies.needed);
          break;
        case OUTPUT.CONNECT:
          this.#connect(replies.id, core.detail());
          break;
        case OUTPUT.DISCONNECT:
          this.#disconnect(core.takeBytes());
          break;
        case OUTPUT.TOKEN_NEEDED: {
          const token = this.#source.request(replies.id);
          if (token) core.token(token, monotonic(), unix());
          break;
        }
        case OUTPUT.FAILED: {
          const { text, code, outcome } = core.detail();
          this.#deliver(replies.id, new RespassError(text, code, outcome));
          break;
        }
        case OUTPUT.NOTICE: {
          const { name, text } = core.detail();
          this.emit('notice', { name, text });
          break;
        }
      }
    }
  }

  #connect(conn, { text: host, code: port }) {
    let cause;
    let wasConnected = false;
    this.#conn = conn;
    this.#isBlocked = false;
    const callback = (len, bytes) => {
      this.#core.received(conn, bytes, len, monotonic(), unix());
      this.#obey();
      return true;
    };
    const socket = net.connect({
      host, port, noDelay: true,
      // Below 1 byte nothing fits: every write is followed by 'drain' once the kernel has it.
      writableHighWaterMark: 1,
      onread: { buffer: this.#received, callback },
    });
    this.#socket = socket;
    socket.on('connect', () => {
      wasConnected = true;
      this.#core.connected(conn, monotonic(), unix());
      this.#obey();
    });
    socket.on('drain', () => {
      if (this.#conn !== conn || !this.#isBlocked) return;
      this.#isBlocked = false;
      this.#transmit();
      this.#obey();
    });
    socket.on('error', (error) => { cause = error.message || error.code; });
    socket.on('close', () => {
      this.#core.disconnected(conn, wasConnected, cause, monotonic(), unix());
      this.#obey();
    });
  }

  #disconnect(lastBytes) {
    const socket = this.#socket;
    this.#socket = undefined;
    if (lastBytes.length > 0 && socket.writable) socket.write(lastBytes);
    socket.destroySoon();
  }

  /** Hands the core's bytes to the socket, until either has no more. */
  #transmit() {
    const socket = this.#socket;
    while (socket && !this.#isBlocked) {
      const bytes = this.#core.takeTransmit(this.#conn, monotonic(), unix());
      if (bytes.length === 0) return;
      socket.write(bytes);
      this.#isBlocked = socket.writableLength > 0;
    }
  }
}

function settle(waiter, id, value) {
  if (waiter === undefined) return;
  if (waiter instanceof Pipeline) waiter.settle(id - waiter.first, value);
  else if (value instanceof RespassError) waiter.reject(value);
  else waiter.resolve(value);
}
