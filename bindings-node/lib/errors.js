'use strict';
// Errors: one class per kind of cause, a number that is the same in every language, and what became of the command.

const { errorCodeOf } = require('./native');

/** What became of a command that has no reply, by the core's numbers. */
const OUTCOMES = [undefined, 'not_sent', 'indeterminate', 'refused'];

/**
 * Base of every error of this package. `code` is the same number in every language; `outcome` says whether the server
 * ran the command; `hint` says what to do, where experience tells (the message ends with it).
 */
class RespassError extends Error {
  constructor(message, { code, outcome, hint, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.outcome = outcome;
    this.hint = hint;
  }

  get name() { return this.constructor.name; }
}

/** The options of a client cannot work. */
class ConfigurationError extends RespassError {}
/** An argument has no form in which it could be sent. */
class InvalidArgumentError extends RespassError {}
/** The client is closed, or was never connected. */
class ClientClosedError extends RespassError {}
/** Too many bytes of commands wait already. */
class QueueFullError extends RespassError {}
/** A shared connection cannot carry this command. */
class UnsupportedCommandError extends RespassError {}
/** The server could not be reached, or the connection was lost. */
class ConnectionError extends RespassError {}
/** The server's bytes were no RESP, or its replies did not fit the commands. */
class ProtocolError extends RespassError {}
/** No reply came in time. */
class TimeoutError extends RespassError {}
/** The caller's signal was aborted; `cause` is its reason. */
class AbortError extends RespassError {}
/** The server refused the login. */
class AuthenticationError extends RespassError {}
/** The credential gave no token, or one that cannot be used, or the server refused it. */
class TokenError extends AuthenticationError {}
/** The server answered with an error. */
class ErrorReply extends RespassError {}
/** The server wants a login, or knows no such user and password. */
class AuthenticationErrorReply extends ErrorReply {}
/** The user may not run this command, or not on this key. */
class NoPermissionError extends ErrorReply {}
/** The server is still loading its data. */
class LoadingError extends ErrorReply {}
/** The server is a replica. */
class ReadOnlyError extends ErrorReply {}
/** The server is out of memory. */
class OutOfMemoryError extends ErrorReply {}
/** No script has this digest. */
class NoScriptError extends ErrorReply {}
/** A command of the transaction was refused when it was queued: none of them ran. */
class ExecAbortError extends ErrorReply {}
/** The key holds a value of another type. */
class WrongTypeError extends ErrorReply {}
/** The command belongs on another node of the cluster, or the cluster cannot serve it now. */
class ClusterError extends ErrorReply {}
/** A watched key changed, or nobody knows whether it did: the transaction did not run. */
class WatchError extends RespassError {}

/** Some commands of a transaction or a pipeline failed. */
class MultiErrorReply extends ErrorReply {
  constructor(replies, errorIndexes) {
    const first = replies[errorIndexes[0]];
    const others = errorIndexes.length > 1 ? ` (and ${errorIndexes.length - 1} more, see errorIndexes)` : '';
    super(`command ${errorIndexes[0]} of ${replies.length} failed${others}: ${first.message}`, {
      code: first.code, outcome: first.outcome, hint: first.hint,
    });
    /** Every command's reply, or its error. */
    this.replies = replies;
    /** Which of them are errors. */
    this.errorIndexes = errorIndexes;
  }

  * errors() {
    for (const index of this.errorIndexes) yield this.replies[index];
  }
}

/** The one table of codes. The numbers are the core's and never change. */
const BY_CODE = {
  100: ClientClosedError, 101: QueueFullError, 102: InvalidArgumentError, 103: UnsupportedCommandError,
  104: UnsupportedCommandError, 105: ConfigurationError,
  200: ConnectionError, 201: ConnectionError, 202: ConnectionError, 203: ProtocolError, 204: WatchError,
  205: ConnectionError,
  300: TimeoutError, 301: AbortError,
  400: AuthenticationError, 401: TokenError, 402: TokenError, 403: TokenError, 404: TokenError, 405: TokenError,
  406: TokenError, 407: TokenError,
  501: AuthenticationErrorReply, 502: AuthenticationErrorReply, 503: NoPermissionError, 504: LoadingError,
  506: ReadOnlyError, 507: OutOfMemoryError, 508: NoScriptError, 509: ExecAbortError, 510: WrongTypeError,
  511: ClusterError, 512: ClusterError, 513: ClusterError, 514: ClusterError, 515: ClusterError, 516: ClusterError,
};

/** The error for what a core tells of a command without a reply. */
function failed({ text, code, outcome, hint }) {
  return new (BY_CODE[code] ?? RespassError)(text, { code, outcome: OUTCOMES[outcome], hint });
}

/** The error for an error reply's bytes. */
function replied(bytes) {
  const code = errorCodeOf(bytes);
  return new (BY_CODE[code] ?? ErrorReply)(bytes.toString(), { code, outcome: 'refused' });
}

/** The error for a subscription that the server refused. */
const refused = replied;

/** The error for a reply that came, but of which no value can be made. */
function unreadable(cause) {
  const text = `the reply cannot become a JavaScript value (${cause.message}); where it is a string too long for one, `
    + 'have it as a Buffer: client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })';
  return new ProtocolError(text, { code: 203, outcome: 'indeterminate', cause });
}

const unsent = (Class, code) => (message, more) => new Class(message, { code, outcome: 'not_sent', ...more });

module.exports = {
  failed,
  replied,
  refused,
  unreadable,
  misconfigured: (message) => new ConfigurationError(message, { code: 105 }),
  invalid: unsent(InvalidArgumentError, 102),
  closed: unsent(ClientClosedError, 100),
  notOpen: () => new ClientClosedError('the client is not open: await client.connect() first', {
    code: 100, outcome: 'not_sent',
  }),
  aborted: unsent(AbortError, 301),
  classes: {
    RespassError, ConfigurationError, InvalidArgumentError, ClientClosedError, QueueFullError,
    UnsupportedCommandError, ConnectionError, ProtocolError, TimeoutError, AbortError, AuthenticationError, TokenError,
    ErrorReply, AuthenticationErrorReply, NoPermissionError, LoadingError, ReadOnlyError, OutOfMemoryError,
    NoScriptError, ExecAbortError, WrongTypeError, ClusterError, WatchError, MultiErrorReply,
  },
};
