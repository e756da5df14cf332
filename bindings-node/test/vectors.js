// Plays the conversation vectors against the native core: `vectors.js ROOT NAME…`; see tests/vectors/README.md.
import { readFileSync } from 'node:fs';
import { RespassError } from '../lib/errors.js';
import { Core, Source } from '../lib/native.js';
import { OUTPUT, Replies } from '../lib/replies.js';
import { Texts } from './vector-text.js';

const NEWS = { NONE: 0, FETCH: 1, TOKEN: 2, STATE: 3 };
const seconds = (text) => Math.round(parseFloat(text) * 1e6);
const given = (word) => (!word || word === '-' ? undefined : Number(word));

class Player {
  #core;
  #now = [1e6, 1.8e15];
  #source = new Source(Buffer.alloc(32, 8), ...this.#now);
  #texts = new Texts();
  #replies = new Replies();
  #labels = new Map();
  #conn;
  #isHeld = false;
  #outcomes = [];
  #notices = [];
  #doings = [];

  constructor(root) {
    this.root = root;
    this.#source.subscribe();
  }

  play(name) {
    let played = '';
    for (const line of readFileSync(`${this.root}/${name}.txt`, 'latin1').split('\n').slice(0, -1)) {
      if (line.startsWith('    ')) continue;
      played += `${line}\n`;
      if (line.startsWith('given ')) {
        this.play(line.slice(6));
      } else if (line !== '' && !line.startsWith('#')) {
        const [, verb, rest] = /^(\w+) ?(.*?)(?: &)?$/.exec(line);
        const [, first, others] = /^(\S*) ?(.*)$/.exec(rest);
        this.#event(verb, rest, first, others);
        if (line.endsWith(' &')) continue;
        while (this.#obey());
        for (const list of [this.#outcomes, this.#notices, this.#doings]) {
          for (const text of list.splice(0)) played += `    ${text}\n`;
        }
      }
    }
    return played;
  }

  #event(verb, rest, first, others) {
    const core = this.#core;
    const texts = this.#texts;
    const conn = Number(first);
    switch (verb) {
      case 'config': return this.#configure(rest);
      case 'token': return texts.define(first, others);
      case 'fetched': return this.#fetched(first, ...others.split(' ').map(given));
      case 'unfetched': return this.#unfetched(...rest.split(' ', 3), rest.slice(rest.indexOf('"')));
      case 'after': return this.#pass(seconds(first));
      case 'timer': return this.#timer();
      case 'jump': return void (this.#now[1] += seconds(first));
      case 'hold': return void (this.#isHeld = true);
      case 'flow': return void (this.#isHeld = false);
      case 'piece': return this.#send();
      case 'call': return this.#submit('submitEach', first, others);
      case 'multi': return this.#submit('submitTransaction', first, others);
      case 'cancel': return core.cancel([...this.#labels].find(([, label]) => label === first)[0]);
      case 'connect': return core.connect(...this.#now);
      case 'close': return core.close(...this.#now);
      case 'connected': return core.connected(conn, ...this.#now);
      case 'recv': {
        const bytes = texts.read(others);
        return core.received(conn, bytes, bytes.length, ...this.#now);
      }
      case 'closed': return core.disconnected(conn, true, undefined, ...this.#now);
      case 'broken': return core.disconnected(conn, true, String(texts.read(others)), ...this.#now);
      case 'unreachable': return core.disconnected(conn, false, String(texts.read(others)), ...this.#now);
      default: throw new Error(`no event: ${verb}`);
    }
  }

  #configure(pairs) {
    const { host = 'localhost', user, password, token, plaintext, name, db, command, connect, strings } =
      Object.fromEntries(pairs.split(' ').map((pair) => pair.split('=')));
    const settings = {
      host, port: 6379, username: user, password, token: token !== undefined, clientName: name, database: given(db),
      allowPlaintextToken: plaintext !== undefined,
      commandTimeoutMs: command && seconds(command) / 1e3, connectTimeoutMs: connect && seconds(connect) / 1e3,
    };
    this.#replies.asBuffers = strings === undefined;
    try {
      this.#core = new Core(settings, Buffer.alloc(32, 7), ...this.#now);
    } catch (error) {
      this.#doings.push(`invalid ${this.#texts.show(error.message)}`);
    }
  }

  #fetched(name, expiresOn, refreshOn) {
    const ms = (time) => time && time * 1e3;
    this.#source.fetched(this.#texts.token(name), ms(expiresOn), ms(refreshOn), ...this.#now);
  }

  #unfetched(status, wait, permanence, text) {
    const retryAfter = given(wait) && given(wait) * 1e3;
    const isPermanent = permanence === 'permanent';
    this.#source.failed(String(this.#texts.read(text)), given(status), retryAfter, isPermanent, ...this.#now);
  }

  #pass(us) {
    this.#now = this.#now.map((time) => time + us);
    this.#core?.timeout(...this.#now);
    this.#source.timeout(...this.#now);
  }

  #timer() {
    this.#core.poll(this.#replies.window, ...this.#now);
    const wait = Math.max(Math.min(this.#replies.wakeup, this.#source.wakeup()) - this.#now[0], 0);
    this.#doings.push(wait === Infinity ? 'no timer' : `waited ${(wait / 1e6).toFixed(6)}s`);
    if (wait < Infinity) this.#pass(wait);
  }

  #submit(how, label, words) {
    const commands = words.split(' | ').map((command) => command.split(' ').map((word) => this.#texts.read(word)));
    const lengths = Uint32Array.from(commands.flatMap((command) => [command.length, ...command.map((arg) => arg.length)]));
    const bytes = Buffer.concat(commands.flat());
    const id = this.#core[how](bytes, bytes.length, lengths, lengths.length, ...this.#now);
    if (id > 0) return this.#labels.set(id, label);
    const { text, code } = this.#core.detail();
    return this.#end(label, new RespassError(text, code, 1));
  }

  #end(label, value) {
    const text = value instanceof RespassError ? `failed ${label} ${this.#texts.error(value)}`
      : `reply ${label} ${this.#texts.value(value)}`;
    this.#outcomes.push(text);
  }

  #obey() {
    let isBusy = false;
    for (let kind; (kind = this.#core?.poll(this.#replies.window, ...this.#now)); isBusy = true) this.#act(kind);
    for (let kind; (kind = this.#source.poll()); isBusy = true) {
      if (kind === NEWS.TOKEN) this.#core.token(this.#source.takeToken(), ...this.#now);
      else this.#doings.push(kind === NEWS.FETCH ? 'fetch' : `supply ${this.#source.state}`);
    }
    return isBusy || (!this.#isHeld && this.#send());
  }

  #act(kind) {
    const core = this.#core;
    const { id } = this.#replies;
    const end = (command, value) => this.#end(this.#labels.get(command), value);
    switch (kind) {
      case OUTPUT.CONNECT: {
        const { text: host, code: port } = core.detail();
        return this.#doings.push(`open ${id} ${host}:${port}`);
      }
      case OUTPUT.DISCONNECT: return this.#doings.push(`close ${id}`);
      case OUTPUT.TRANSMIT: return (this.#conn = id);
      case OUTPUT.TOKEN_NEEDED: {
        this.#doings.push(`token-needed ${id}`);
        const token = this.#source.request(id, ...this.#now);
        return token && core.token(token, ...this.#now);
      }
      case OUTPUT.REPLIES: return this.#replies.read(core, end);
      case OUTPUT.FAILED: {
        const { text, code, outcome } = core.detail();
        return end(id, new RespassError(text, code, outcome));
      }
      case OUTPUT.NOTICE: {
        const { name, text } = core.detail();
        return this.#notices.push(`notice ${name} ${this.#texts.show(text)}`);
      }
      case OUTPUT.GROW: return this.#replies.grow(this.#replies.needed);
    }
  }

  #send() {
    const bytes = this.#conn && this.#core.takeTransmit(this.#conn, ...this.#now);
    if (!bytes?.length) return false;
    this.#doings.push(...this.#texts.sent(this.#conn, bytes));
    return true;
  }
}

const [root, ...names] = process.argv.slice(2);
let passed = 0;
for (const name of names) {
  const played = new Player(root).play(name);
  const log = [...Buffer.from(played)].reduce((log, byte) => Math.imul(log ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
  console.log(`vector ${log.toString(16).padStart(8, '0')} ${name}`);
  if (played === readFileSync(`${root}/${name}.txt`, 'latin1')) passed++;
  else console.error(`${name} went like this:\n${played}`);
}
console.log(`vectors: ${passed} passed`);
process.exitCode = Number(passed !== names.length);
