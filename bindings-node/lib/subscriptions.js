'use strict';
// A client's subscriptions: who listens to what. That they outlive their connections is the core's doing.

const { closed, failed, invalid, refused } = require('./errors');
const { Inbox, MESSAGE, PART, call } = require('./messages');

/** What is subscribed to. Mirrors the core's `ChannelKind`. */
const KIND = { CHANNEL: 1, PATTERN: 2, SHARD: 3 };
const KINDS = Object.values(KIND);

/** How far the numbers of confirmations are from those of kinds. */
const SUBSCRIBED = MESSAGE.SUBSCRIBED - KIND.CHANNEL;
const UNSUBSCRIBED = MESSAGE.UNSUBSCRIBED - KIND.CHANNEL;

class Subscriptions {
  #driver;
  #host;
  /** Of the core's subscriber. */
  #id;
  /** For each kind, by name: `{ strings, buffers }`, sets of listeners. */
  #channels = KINDS.map(() => new Map());
  /** For each kind, by name: what the server has yet to confirm, in the order in which it was asked for. */
  #expected = KINDS.map(() => new Map());
  #inbox = new Inbox((messages, index) => this.#deliver(messages, index));

  /**
   * `host` is told of a `gap()`, and of a subscription that was `refused(error)` though it stood before. Throws where
   * the client takes no subscriptions.
   */
  constructor(driver, host) {
    this.#driver = driver;
    this.#host = host;
    this.#id = driver.openSubscriber(this);
  }

  get isActive() {
    return this.#channels.some((channels) => channels.size > 0);
  }

  /** Resolves when the server has confirmed every one of the channels. */
  async subscribe(kind, names, listener, isBuffer) {
    if (typeof listener !== 'function') throw invalid('a listener is a function of message and channel');
    const channels = this.#channels[kind - 1];
    const fresh = [];
    const standing = [];
    for (const name of namesOf(names)) {
      if (!channels.has(name)) {
        channels.set(name, { strings: new Set(), buffers: new Set() });
        this.#expect(kind, name, true);
        fresh.push(name);
      }
      listenersOf(channels.get(name), isBuffer).add(listener);
      standing.push(this.#expected[kind - 1].get(name)?.at(-1).promise);
    }
    if (fresh.length > 0) this.#ask('subscribe', kind, fresh);
    await Promise.all(standing);
  }

  /** Resolves when the server has confirmed the end of those channels to which nobody listens any more. */
  async unsubscribe(kind, names, listener, isBuffer) {
    const channels = this.#channels[kind - 1];
    const ended = [];
    for (const name of names === undefined ? [...channels.keys()] : namesOf(names)) {
      const channel = channels.get(name);
      if (channel === undefined) continue;
      if (listener !== undefined) listenersOf(channel, isBuffer).delete(listener);
      if (listener !== undefined && channel.strings.size + channel.buffers.size > 0) continue;
      channels.delete(name);
      ended.push(name);
    }
    if (ended.length === 0) return;
    const confirmed = ended.map((name) => this.#expect(kind, name, false));
    this.#ask('unsubscribe', kind, ended);
    await Promise.all(confirmed);
  }

  /** The core has messages. */
  handleMessages(messages) {
    for (let i = 0; i < messages.count; i++) this.#confirm(messages, i);
    this.#inbox.put(messages);
  }

  /** Nothing follows. */
  handleEnd() {
    this.#inbox.isClosed = true;
    const error = closed('the client was closed, and its subscriptions with it');
    for (const expected of this.#expected) {
      for (const { reject } of [...expected.values()].flat()) reject(error);
      expected.clear();
    }
    for (const channels of this.#channels) channels.clear();
  }

  #ask(method, kind, names) {
    const refusal = this.#driver[method](this.#id, kind, names);
    if (refusal === undefined) return;
    for (const name of names) this.#refuse(kind, name, failed({ ...refusal, outcome: 1 }));
  }

  #expect(kind, name, isSubscribed) {
    const expected = this.#expected[kind - 1];
    const item = { isSubscribed };
    item.promise = new Promise((resolve, reject) => Object.assign(item, { resolve, reject }));
    // Who waits for it is told; nobody may.
    item.promise.catch(() => {});
    if (expected.has(name)) expected.get(name).push(item);
    else expected.set(name, [item]);
    return item.promise;
  }

  #confirm(messages, index) {
    const what = messages.kind(index);
    if (what >= MESSAGE.SUBSCRIBED && what <= MESSAGE.SHARD_SUBSCRIBED) {
      const kind = what - SUBSCRIBED;
      const name = messages.text(index, PART.CHANNEL);
      if (this.#expected[kind - 1].get(name)?.[0].isSubscribed) this.#next(kind, name).resolve();
    } else if (what >= MESSAGE.UNSUBSCRIBED && what <= MESSAGE.SHARD_UNSUBSCRIBED) {
      this.#unsubscribed(what - UNSUBSCRIBED, messages.text(index, PART.CHANNEL));
    } else if (what === MESSAGE.REFUSED) {
      const name = messages.text(index, PART.CHANNEL);
      this.#refuse(this.#kindOf(name), name, refused(messages.bytes(index, PART.PAYLOAD)));
    }
  }

  /** Of what kind a subscription was that is refused: one that was asked for just now, or one that stood. */
  #kindOf(name) {
    return KINDS.find((kind) => this.#expected[kind - 1].get(name)?.[0].isSubscribed)
      ?? KINDS.find((kind) => this.#channels[kind - 1].has(name));
  }

  /** What was asked for before it is over with it. */
  #unsubscribed(kind, name) {
    const items = this.#expected[kind - 1].get(name) ?? [];
    for (let left = items.findIndex(({ isSubscribed }) => !isSubscribed); left >= 0; left--) {
      this.#next(kind, name).resolve();
    }
  }

  #refuse(kind, name, error) {
    const item = kind && this.#expected[kind - 1].get(name) && this.#next(kind, name);
    // Nobody asked just now: it stood, and does not any more.
    if (item === undefined) this.#host.refused(error);
    else item.reject(error);
    if (kind && item?.isSubscribed !== false && !this.#expected[kind - 1].has(name)) {
      this.#channels[kind - 1].delete(name);
    }
  }

  /** What is confirmed next of a name. */
  #next(kind, name) {
    const expected = this.#expected[kind - 1];
    const items = expected.get(name);
    const item = items.shift();
    if (items.length === 0) expected.delete(name);
    return item;
  }

  #deliver(messages, index) {
    const kind = messages.kind(index);
    if (kind === MESSAGE.GAP) return this.#host.gap();
    if (kind > MESSAGE.SHARD) return;
    const isPattern = kind === MESSAGE.PATTERN;
    const name = messages.text(index, isPattern ? PART.PATTERN : PART.CHANNEL);
    const listeners = this.#channels[kind - 1].get(name);
    if (listeners === undefined) return;
    for (const listener of listeners.buffers) {
      call(listener, messages.bytes(index, PART.PAYLOAD), messages.bytes(index, PART.CHANNEL));
    }
    if (listeners.strings.size === 0) return;
    const channel = isPattern ? messages.text(index, PART.CHANNEL) : name;
    const payload = messages.text(index, PART.PAYLOAD);
    for (const listener of listeners.strings) call(listener, payload, channel);
  }
}

function listenersOf({ strings, buffers }, isBuffer) {
  return isBuffer ? buffers : strings;
}

function namesOf(names) {
  const list = Array.isArray(names) ? [...new Set(names)] : [names];
  if (list.length === 0) throw invalid('give one channel at least');
  for (const name of list) {
    if (typeof name !== 'string') throw invalid(`a channel's name is a string, not of type ${typeof name}`);
  }
  return list;
}

module.exports = { KIND, Subscriptions };
