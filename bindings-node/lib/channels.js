'use strict';
// What the process can listen to: TracingChannels of node:diagnostics_channel, and util.debuglog('respass'). Nothing of
// it holds a value, a password or a token.

const diagnostics = require('node:diagnostics_channel');
const { debuglog } = require('node:util');

const log = debuglog('respass');

class Channel {
  #channel;

  constructor(name) {
    this.#channel = diagnostics.tracingChannel(name);
  }

  get hasSubscribers() {
    const { start, end, asyncStart, asyncEnd, error } = this.#channel;
    return start.hasSubscribers || asyncEnd.hasSubscribers || end.hasSubscribers || asyncStart.hasSubscribers
      || error.hasSubscribers;
  }

  /** Follows a promise: `context()` describes what it is about. */
  promise(act, context) {
    return this.#channel.tracePromise(act, context());
  }

  /** Something that begins now; `undefined` where nobody listens. */
  begin(context = {}) {
    if (!this.hasSubscribers) return undefined;
    const { start, end, asyncStart, asyncEnd, error } = this.#channel;
    start.publish(context);
    end.publish(context);
    const finish = (more) => {
      Object.assign(context, more);
      asyncStart.publish(context);
      asyncEnd.publish(context);
    };
    return {
      end: (more) => finish({ result: more, ...more }),
      fail: (reason) => {
        context.error = reason;
        error.publish(context);
        finish();
      },
    };
  }
}

module.exports = {
  command: new Channel('respass:command'),
  connect: new Channel('respass:connect'),
  auth: new Channel('respass:auth'),
  log,
};
