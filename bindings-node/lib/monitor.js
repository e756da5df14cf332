'use strict';
// Every command that a server runs, as it tells a monitor.

const { closed, refused } = require('./errors');
const { Inbox, MESSAGE, PART, call } = require('./messages');

class Monitor {
  #driver;
  #host;
  #callback;
  #isBuffer;
  #id;
  #begun = 0;
  #resolve;
  #reject;
  #inbox = new Inbox((messages, index) => this.#deliver(messages, index));

  /** Resolves when the server has begun to tell. */
  standing = new Promise((resolve, reject) => {
    this.#resolve = resolve;
    this.#reject = reject;
  });

  /** `host` is told of a `gap()`. Throws where the client takes no monitors. */
  constructor(driver, host, callback, isBuffer) {
    this.#driver = driver;
    this.#host = host;
    this.#callback = callback;
    this.#isBuffer = isBuffer;
    this.#id = driver.openMonitor(this);
  }

  /** No line follows. */
  close() {
    if (this.#inbox.isClosed) return;
    this.#driver.closeSubscriber(this.#id);
    this.handleEnd();
  }

  handleMessages(messages) {
    for (let i = 0; i < messages.count; i++) {
      const kind = messages.kind(i);
      if (kind === MESSAGE.SUBSCRIBED) this.#resolve();
      else if (kind === MESSAGE.REFUSED) this.#reject(refused(messages.bytes(i, PART.PAYLOAD)));
    }
    this.#inbox.put(messages);
  }

  handleEnd() {
    this.#inbox.isClosed = true;
    this.#reject(closed('the client was closed, and its monitor with it'));
  }

  #deliver(messages, index) {
    const kind = messages.kind(index);
    // The server begins anew on each connection.
    if (kind === MESSAGE.SUBSCRIBED && this.#begun++ > 0) this.#host.gap();
    if (kind !== MESSAGE.MONITOR) return;
    const line = this.#isBuffer ? messages.bytes(index, PART.PAYLOAD) : messages.text(index, PART.PAYLOAD);
    call(this.#callback, line);
  }
}

module.exports = { Monitor };
