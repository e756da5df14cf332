// The format of conversation vectors: the same in every language, see tests/vectors/README.md.
import { readFileSync } from 'node:fs';
import errors from '../lib/errors.js';

const { RespassError } = errors.classes;

const ESCAPE = /\\(?:\*(\d+)\{(.*?)\}|<(.*?)>|x(..)|(.))/g;
const SHOWN = { '\r': '\\r', '\n': '\\n', '"': '\\"', '\\': '\\\\' };
const literally = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const fnv = (text) => Buffer.from(text).reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);

/** Reads and writes vectors. Who drives the core adds `event` and `obey`. */
export class Script {
  outcomes = [];
  notices = [];
  doings = [];
  #root;
  #tokens = new Map();
  #nonce = '';

  constructor(root) {
    this.#root = root;
  }

  /** A file's text, with what the core really did. */
  play(name) {
    let played = '';
    for (const line of this.#lines(name)) {
      if (line.startsWith('    ')) continue;
      played += `${line}\n`;
      if (line.startsWith('given ')) {
        this.play(line.slice(6));
      } else if (line !== '' && !line.startsWith('#')) {
        this.event(...line.match(/^([\w-]+) ?((\S*) ?(.*?))(?: &)?$/).slice(1));
        if (line.endsWith(' &')) continue;
        while (this.obey());
        for (const list of [this.outcomes, this.notices, this.doings]) {
          for (const text of list.splice(0)) played += `    ${text}\n`;
        }
      }
    }
    return played;
  }

  #lines(name) {
    return readFileSync(`${this.#root}/${name}.txt`, 'latin1').split('\n').slice(0, -1);
  }

  /** Plays files and tells how they went; whether all passed. */
  static main(root, names) {
    let passed = 0;
    for (const name of names) {
      const script = new this(root);
      const played = script.play(name);
      console.log(`vector ${fnv(played).toString(16).padStart(8, '0')} ${name}`);
      if (played === `${script.#lines(name).join('\n')}\n`) passed++;
      else console.error(`${name} went like this:\n${played}`);
    }
    console.log(`vectors: ${passed} passed`);
    return passed === names.length;
  }

  define(name, text) {
    const token = `e30.${Buffer.from(text).toString('base64url')}.c2ln`;
    this.#tokens.set(name, text.startsWith('{') ? token : this.#unescape(text));
  }

  token(name) {
    return this.#tokens.get(name);
  }

  read(text) {
    return Buffer.from(this.#unescape(text), 'latin1');
  }

  /** Bytes are strings of one character each in here. */
  #unescape(text) {
    return text.replace(/^"|"$/g, '').replace(ESCAPE, (_, count, inner, token, byte, char) => {
      if (count) return this.#unescape(inner).repeat(count);
      if (token) return this.#tokens.get(token);
      if (byte) return String.fromCharCode(parseInt(byte, 16));
      return char === 'p' ? this.#nonce : { r: '\r', n: '\n' }[char] ?? char;
    });
  }

  show(text) {
    const names = new Map([...this.#tokens].map(([name, token]) => [token, `\\<${name}>`]));
    const parts = new RegExp([...[...names.keys()].map(literally), '([^])\\1{31,}', '[^]'].join('|'), 'g');
    const one = (part) => {
      if (names.has(part)) return names.get(part);
      const code = part.charCodeAt(0);
      const plain = code >= 32 && code < 127 ? part[0] : `\\x${code.toString(16).padStart(2, '0')}`;
      const char = SHOWN[part[0]] ?? plain;
      return part.length === 1 ? char : `\\*${part.length}{${char}}`;
    };
    return `"${Buffer.from(text).latin1Slice().replace(parts, one)}"`;
  }

  /** A text for each command. */
  sent(bytes) {
    const text = bytes.latin1Slice();
    this.#nonce = text.match(/.*PING\r\n\$16\r\n(.{16})/s)?.[1] ?? this.#nonce;
    return text.split(/(?<=\r\n)(?=\*)/).map((command) => this.show(Buffer.from(command, 'latin1')));
  }

  /** The first word of an error reply is what the code tells. */
  error({ message, code, outcome }, isReply = true) {
    const text = code >= 500 && isReply ? message.replace(/^[A-Z]+ /, '') : message;
    return `${code} ${outcome.replace('_', '-')} ${this.show(text)}`;
  }

  value(value) {
    if (value instanceof RespassError) return `error ${this.error(value)}`;
    if (Buffer.isBuffer(value) || typeof value === 'string') return this.show(value);
    if (Array.isArray(value)) return `[${value.map((element) => this.value(element)).join(', ')}]`;
    if (typeof value !== 'object' || value === null) return String(value).toLowerCase().replace('infinity', 'inf');
    const pairs = Object.entries(value).map(([key, element]) => `${this.show(key)}: ${this.value(element)}`);
    return `{${pairs.join(', ')}}`;
  }
}
