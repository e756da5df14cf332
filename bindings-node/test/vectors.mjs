// Plays the conversation vectors against the native core: `vectors.mjs ROOT NAME…`, see tests/vectors.
import errors from '../lib/errors.js';
import native from '../lib/native.js';
import { OUTPUT, Replies } from '../lib/replies.js';
import { RESP_TYPES } from '../lib/resp_types.js';
import { Script } from './vector-script.mjs';

const { failed, classes: { RespassError } } = errors;
const { Core, Source } = native;
const BUFFERS = {
  [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.SIMPLE_STRING]: Buffer, [RESP_TYPES.VERBATIM_STRING]: Buffer,
};

const NEWS = { NONE: 0, FETCH: 1, TOKEN: 2, STATE: 3 };
const micros = (seconds) => Math.round(parseFloat(seconds) * 1e6);
const inMs = (seconds) => Number(seconds) * 1e3 || undefined;

class Player extends Script {
  #core;
  #now = [1e6, 1.8e15];
  #source = new Source(Buffer.alloc(32, 8), ...this.#now);
  #replies = new Replies();
  #mapping;
  #labels = new Map();
  /** Connections that have something to send. */
  #writable = new Set();
  #isHeld = false;

  constructor(root) {
    super(root);
    this.#source.subscribe();
  }

  event(verb, rest, first, others) {
    const core = this.#core;
    const now = this.#now;
    const conn = Number(first);
    switch (verb) {
      case 'config': return this.#configure(rest);
      case 'token': return this.define(first, others);
      case 'fetched': return this.#source.fetched(this.token(first), ...`${others}  `.split(' ', 2).map(inMs), ...now);
      case 'unfetched': return this.#unfetched(...rest.split(' ', 3), rest.slice(rest.indexOf('"')));
      case 'after': return this.#pass(micros(first));
      case 'timer': return this.#timer();
      case 'jump': return void (now[1] += micros(first));
      case 'hold': return void (this.#isHeld = true);
      case 'flow': return void (this.#isHeld = false);
      case 'piece': return this.#send();
      case 'call': return this.#submit('submitEach', first, others);
      case 'multi': return this.#submit('submitTransaction', first, others);
      case 'cancel': return core.cancel([...this.#labels].find(([, label]) => label === first)[0]);
      case 'connect': return core.connect(...now);
      case 'close': return core.close(...now);
      case 'connected': return core.connected(conn, ...now);
      case 'recv': return core.received(conn, this.read(others), this.read(others).length, ...now);
      case 'closed': return core.disconnected(conn, true, undefined, ...now);
      case 'broken': return core.disconnected(conn, true, String(this.read(others)), ...now);
      case 'unreachable': return core.disconnected(conn, false, String(this.read(others)), ...now);
      default: throw new Error(`no event: ${verb}`);
    }
  }

  #configure(pairs) {
    const { host = 'localhost', user, password, token, plaintext, name, db, command, connect, strings } =
      Object.fromEntries(pairs.split(' ').map((pair) => pair.split('=')));
    const settings = {
      host, port: 6379, username: user, password, token: !!token, allowPlaintextToken: !!plaintext, clientName: name,
      database: db && Number(db), commandTimeoutMs: command && inMs(parseFloat(command)),
      connectTimeoutMs: connect && inMs(parseFloat(connect)),
    };
    this.#mapping = strings ? undefined : BUFFERS;
    try {
      this.#core = new Core(settings, Buffer.alloc(32, 7), ...this.#now);
    } catch (error) {
      this.doings.push(`invalid ${this.show(error.message)}`);
    }
  }

  #unfetched(status, wait, permanence, text) {
    const stated = [Number(status) || undefined, inMs(wait), permanence === 'permanent'];
    this.#source.failed(String(this.read(text)), ...stated, ...this.#now);
  }

  #pass(us) {
    this.#now = this.#now.map((time) => time + us);
    this.#core?.timeout(...this.#now);
    this.#source.timeout(...this.#now);
  }

  #timer() {
    this.#core.poll(this.#replies.window, ...this.#now);
    const wait = Math.max(Math.min(this.#replies.wakeup, this.#source.wakeup()) - this.#now[0], 0);
    this.doings.push(wait === Infinity ? 'no timer' : `waited ${(wait / 1e6).toFixed(6)}s`);
    if (wait < Infinity) this.#pass(wait);
  }

  #submit(how, label, words) {
    const commands = words.split(' | ').map((command) => command.split(' ').map((word) => this.read(word)));
    const lengths = commands.flatMap((command) => [command.length, ...command.map((argument) => argument.length)]);
    const bytes = Buffer.concat(commands.flat());
    const id = this.#core[how](bytes, bytes.length, Uint32Array.from(lengths), lengths.length, ...this.#now);
    if (id > 0) return this.#labels.set(id, label);
    const { text, code } = this.#core.detail();
    return this.outcomes.push(`failed ${label} ${this.error(failed({ text, code, outcome: 1 }))}`);
  }

  #end = (id, value) => {
    const [word, text] = value instanceof RespassError ? ['failed', this.error(value)] : ['reply', this.value(value)];
    this.outcomes.push(`${word} ${this.#labels.get(id)} ${text}`);
  };

  /** Everybody who waits for a reply. */
  #waiters = { take: () => ({ settle: (id, replies, at) => this.#end(id, replies.value(at, this.#mapping)) }) };

  /** Does what the machines want done; whether there was anything. Bytes leave when all else is done. */
  obey() {
    let isBusy = false;
    for (let kind; (kind = this.#core?.poll(this.#replies.window, ...this.#now)); isBusy = true) this.#act(kind);
    for (let kind; (kind = this.#source.poll()); isBusy = true) {
      if (kind === NEWS.TOKEN) this.#core.token(this.#source.takeToken(), ...this.#now);
      else this.doings.push(kind === NEWS.FETCH ? 'fetch' : `supply ${this.#source.state}`);
    }
    return isBusy || (!this.#isHeld && this.#send());
  }

  #act(kind) {
    const core = this.#core;
    const { id } = this.#replies;
    const isDetailed = [OUTPUT.CONNECT, OUTPUT.FAILED, OUTPUT.NOTICE].includes(kind);
    const { text, name, code, outcome } = isDetailed ? core.detail() : {};
    switch (kind) {
      case OUTPUT.CONNECT: return this.doings.push(`open ${id} ${text}:${code}`);
      case OUTPUT.DISCONNECT: return this.doings.push(`close ${id}`);
      case OUTPUT.TRANSMIT: return this.#writable.add(id);
      case OUTPUT.TOKEN_NEEDED: {
        this.doings.push(`token-needed ${id}`);
        const token = this.#source.request(id, ...this.#now);
        return token && core.token(token, ...this.#now);
      }
      case OUTPUT.REPLIES: return this.#replies.read(core, this.#waiters);
      case OUTPUT.FAILED: return this.#end(id, failed({ text, code, outcome }));
      case OUTPUT.NOTICE: return this.notices.push(`notice ${name} ${this.show(text)}`);
      default: return this.#replies.grow(this.#replies.needed);
    }
  }

  #send() {
    let isBusy = false;
    for (const conn of [...this.#writable].sort((a, b) => a - b)) {
      const bytes = this.#core.takeTransmit(conn, ...this.#now);
      if (!bytes.length) this.#writable.delete(conn);
      else isBusy = true;
      for (const text of this.sent(bytes)) this.doings.push(`send ${conn} ${text}`);
    }
    return isBusy;
  }
}

const [root, ...names] = process.argv.slice(2);
process.exitCode = Number(!Player.main(root, names));
