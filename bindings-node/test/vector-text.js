// How vectors write bytes, tokens and values: the same in every language, see tests/vectors/README.md.
import { RespassError } from '../lib/errors.js';

const ESCAPE = /\\(?:\*(\d+)\{(.*?)\}|<(.*?)>|x(..)|(.))/g;
const SHOWN = { '\r': '\\r', '\n': '\\n', '"': '\\"', '\\': '\\\\' };
const literally = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** Bytes are strings of one character each in here. */
export class Texts {
  #tokens = new Map();
  #nonce = '';

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
    const part = new RegExp([...[...names.keys()].map(literally), '([^])\\1{31,}', '[^]'].join('|'), 'g');
    const one = (part) => {
      if (names.has(part)) return names.get(part);
      const code = part.charCodeAt(0);
      const plain = code >= 32 && code < 127 ? part[0] : `\\x${code.toString(16).padStart(2, '0')}`;
      const char = SHOWN[part[0]] ?? plain;
      return part.length === 1 ? char : `\\*${part.length}{${char}}`;
    };
    return `"${Buffer.from(text).latin1Slice().replace(part, one)}"`;
  }

  sent(conn, bytes) {
    const text = bytes.latin1Slice();
    this.#nonce = text.match(/.*PING\r\n\$16\r\n(.{16})/s)?.[1] ?? this.#nonce;
    return text.split(/(?<=\r\n)(?=\*)/).map((command) => `send ${conn} ${this.show(Buffer.from(command, 'latin1'))}`);
  }

  error({ message, code, outcome }) {
    const text = code >= 500 ? message.replace(/^[A-Z]+ /, '') : message;
    return `${code} ${outcome.replace(' ', '-')} ${this.show(text)}`;
  }

  value(value) {
    const list = (elements) => elements.join(', ');
    if (value instanceof RespassError) return `error ${this.error(value)}`;
    if (Buffer.isBuffer(value) || typeof value === 'string') return this.show(value);
    if (Array.isArray(value)) return `[${list(value.map((element) => this.value(element)))}]`;
    if (typeof value !== 'object' || value === null) return String(value).toLowerCase().replace('infinity', 'inf');
    return `{${list(Object.entries(value).map(([key, element]) => `${this.show(key)}: ${this.value(element)}`))}}`;
  }
}
