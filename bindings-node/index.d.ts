/// <reference types="node" />
import type { EventEmitter } from 'node:events';
import type { Commands, Iterators, MultiCommands } from './lib/commands.js';

/** Text or bytes of a command. */
export type CommandArgument = string | Uint8Array;

/** Kinds of replies, as keys of a type mapping. */
export declare const RESP_TYPES: {
  readonly NULL: 95;
  readonly BOOLEAN: 35;
  readonly NUMBER: 58;
  readonly BIG_NUMBER: 40;
  readonly DOUBLE: 44;
  readonly SIMPLE_STRING: 43;
  readonly BLOB_STRING: 36;
  readonly VERBATIM_STRING: 61;
  readonly SIMPLE_ERROR: 45;
  readonly BLOB_ERROR: 33;
  readonly ARRAY: 42;
  readonly SET: 126;
  readonly MAP: 37;
  readonly PUSH: 62;
};

/** What kinds of replies become, where that is not the first of each. */
export interface TypeMapping {
  /** Integers. Beyond 2^53 a Number becomes a BigInt. */
  58?: NumberConstructor | StringConstructor | BigIntConstructor;
  /** Integers of any size. */
  40?: BigIntConstructor | NumberConstructor | StringConstructor;
  /** Numbers with a fraction. */
  44?: NumberConstructor | StringConstructor;
  /** Status lines. */
  43?: StringConstructor | BufferConstructor;
  /** Values. */
  36?: StringConstructor | BufferConstructor;
  /** Text with a format. */
  61?: StringConstructor | BufferConstructor;
  /** Arrays. */
  42?: ArrayConstructor;
  /** Sets. */
  126?: ArrayConstructor | SetConstructor;
  /**
   * Maps: objects without a prototype, `Map`s, or arrays of keys and values in turn. In an object, a key that is an
   * aggregate becomes its JSON text.
   */
  37?: ObjectConstructor | MapConstructor | ArrayConstructor;
}

/** What a credential is asked with. */
export interface TokenRequestOptions {
  /** Aborted when nobody needs the token any more. */
  abortSignal?: AbortSignal;
}

/** A credential of `@azure/identity`, or anything of its shape. */
export interface TokenCredential {
  getToken(scopes: string | string[], options?: TokenRequestOptions): Promise<AccessToken | null>;
}

/** A token and its times, in milliseconds since 1970. */
export interface AccessToken {
  token: string;
  expiresOnTimestamp: number;
  refreshAfterTimestamp?: number;
}

/** What a function may answer that is used as a credential: a token, with its end where that is known. */
export type TokenAnswer =
  | string
  | AccessToken
  | readonly [token: string, expiresOn: number | Date]
  | { accessToken: string; expiresOn: Date | null };

/** Where tokens come from. Clients that share the object share its tokens. */
export type Credential = TokenCredential | ((options: TokenRequestOptions) => Promise<TokenAnswer> | TokenAnswer);

/** PEM, as `readFileSync` gives it. */
export type Pem = string | Uint8Array;

export interface SocketOptions {
  /** Name or address; `localhost` where not given. With TLS, also the name that the certificate must show. */
  host?: string;
  /** 6379 where not given. Azure Managed Redis listens on 10000. */
  port?: number;
  /** TLS. Implied by a credential, a certificate authority or a `rediss://` URL. The server is always verified. */
  tls?: boolean;
  /** Certificate authorities instead of the built-in ones and those of NODE_EXTRA_CA_CERTS. */
  ca?: Pem | readonly Pem[];
  /** A client certificate's chain. */
  cert?: Pem;
  /** Its private key. */
  key?: Pem;
  /** The name to verify instead of the host's. */
  servername?: string;
  /** How long TCP may take to connect, in milliseconds; 10,000 where not given. */
  connectTimeout?: number;
}

export interface CommandOptions {
  /** What kinds of replies become. */
  typeMapping?: TypeMapping;
  /**
   * Gives up on the command, transaction or pipeline when aborted: it rejects with an `AbortError`; `outcome` says
   * whether it was sent.
   */
  signal?: AbortSignal;
  /** The same. */
  abortSignal?: AbortSignal;
}

export interface ClientOptions {
  /** `redis://` or `rediss://`, with host, port, user name, password and database. Options go before its parts. */
  url?: string;
  socket?: SocketOptions;
  /** With a credential: taken from the token where not given, and rarely needed. */
  username?: string;
  password?: string;
  /** Where tokens come from. Implies TLS. */
  credential?: Credential;
  /** How long a reply may take, in milliseconds, from when the connection is ready; 5,000 where not given. */
  commandTimeout?: number;
  /** How long commands wait for a token, in milliseconds; 35,000 where not given. */
  tokenTimeout?: number;
  /** Shown in CLIENT LIST. */
  name?: string;
  /** Selected after login. */
  database?: number;
  /** The protocol. It falls back to 2 by itself. */
  RESP?: 3;
  /** Of every command. */
  commandOptions?: CommandOptions;
  /** Lets a token travel without TLS, to a loopback host only. For tests. */
  allowPlaintextToken?: boolean;
  /**
   * Where the nodes of a cluster are that advertise other addresses; not needed for Azure. `auto`, where not given:
   * as is best for the cluster at hand. `azure`: on the configured host, at the advertised port. `advertised`: where
   * they say; with a credential on `allowedHosts` only. A table: where it says, and nowhere else. With a table or a
   * function, certificates are verified by the configured name.
   */
  addressMap?: 'auto' | 'azure' | 'advertised' | AddressTable | AddressFunction;
  /** As node-redis has it: what is not in the table, too, is used as it is advertised. */
  nodeAddressMap?: AddressTable | AddressFunction;
  /** With `addressMap: 'advertised'`: hosts beside the configured one, as names, addresses or `*.example.com`. */
  allowedHosts?: readonly string[];
  /**
   * How many connections there may be for blocking commands, `execute` and `watch` together; who finds none free
   * waits. 64 where not given.
   */
  ownConnectionsMax?: number;
  /**
   * Whether to listen on the channel on which Azure Cache for Redis tells of its maintenance: commands are held back
   * before a node goes. Only at its host names where not given.
   */
  maintenanceEvents?: boolean;
}

/** Where a server is. */
export interface Address {
  host: string;
  port: number;
}

/** By the advertised `host:port`. */
export type AddressTable = Readonly<Record<string, Address>>;

/** Where an advertised `host:port` is; undefined where it is to be used as it is. */
export type AddressFunction = (address: string) => Address | undefined;

/** Options of a cluster's client: those of any client, beside node-redis's two. */
export interface ClusterOptions extends ClientOptions {
  /** One node, or the name that leads to all of them: the others are found through it. */
  rootNodes: readonly [ClientOptions];
  /** What holds for every node: the same as options beside `rootNodes`, which go before. */
  defaults?: ClientOptions;
}

/** How a client stands with its login. Holds no secret. */
export interface AuthStatus {
  isReady: boolean;
  /** The object id in the latest token. */
  oid?: string;
  /** When the token in use ends. */
  expiresAt?: Date;
  /** When the credential is asked next. */
  refreshAt?: Date;
  /** How the supply of tokens stands. */
  state?: 'empty' | 'fresh' | 'renewing' | 'late' | 'expired';
  /** How often the live connection presented a newer token with success. */
  reauthCount: number;
  /** What last went wrong, if it still does. */
  lastError?: string;
  /** Every connection that there is. */
  connections: ConnectionStatus[];
}

/** How one connection stands. */
export interface ConnectionStatus extends Address {
  /** What it is for. */
  lane: 'main' | 'blocking' | 'session' | 'subscriber' | 'monitor';
  isReady: boolean;
  /** When the token that it uses ends. */
  expiresAt?: Date;
}

/** Something that happened to the login. Holds no secret. */
export interface AuthEvent {
  /**
   * `renewed`: a connection has a newer token. `late`: the newer token should be here by now. `failed`: the
   * credential or the server refused; it is tried again. `expired`: the token has ended and there is no other.
   */
  kind: 'renewed' | 'late' | 'failed' | 'expired';
  oid?: string;
  expiresAt?: Date;
  refreshAt?: Date;
  error?: TokenError;
}

/** Something worth a log line. */
export interface Notice {
  name: 'ready' | 'connection-lost' | 'login-refused' | 'reauthenticated' | 'reauth-refused' | 'clock-is-wrong'
    | 'clock-jumped' | 'identity-changed' | 'topology-changed' | 'redirect-ignored' | 'gap' | 'maintenance';
  severity: 'debug' | 'info' | 'warning';
  text: string;
}

/** Called with each message to a channel, and the channel's name. */
export type PubSubListener<B extends boolean = false> =
  (message: B extends true ? Buffer : string, channel: B extends true ? Buffer : string) => unknown;

/** Where messages may be missing. */
export interface Gap {
  lane: 'subscriber' | 'monitor';
}

export interface ClientEvents {
  /** TCP is connected, for ordinary commands. */
  connect: [];
  /** Logged in: the first time, and after every time when no connection for ordinary commands was left. */
  ready: [];
  /** A connection for ordinary commands is opened, where none is left. */
  reconnecting: [];
  /** The client is closed. */
  end: [];
  /**
   * A connection was lost, or a login refused; the client goes on by itself. Where nobody listens, nothing is thrown:
   * the process is warned once per kind.
   */
  error: [error: RespassError];
  auth: [event: AuthEvent];
  notice: [notice: Notice];
  /** Messages may be missing between those before and those after: there was no connection for a while. */
  gap: [gap: Gap];
}

/** Commands that are sent together. */
export interface Multi extends MultiCommands {
  /** One more command, as its name and arguments. */
  addCommand(args: readonly CommandArgument[]): this;
  /** Forgets the commands; nothing of them was sent. */
  discard(): this;
  /** Runs them as one unit: all of them, with nothing in between, or none. */
  exec(asPipeline?: boolean): Promise<unknown[]>;
  /** Sends them together, without the promise that nothing comes in between. */
  execAsPipeline(): Promise<unknown[]>;
}

/**
 * A Redis client, of one server or of a cluster; it keeps all of its connections logged in.
 *
 * Ordinary commands share one connection to each node. Blocking commands, `execute` and `watch` take one of a pool,
 * subscriptions and monitors have connections of their own: none of them holds up another. Commands are run in the
 * order in which they were sent where each was awaited, or where they go over one connection.
 *
 * Commands of one turn of the event loop leave together. A string or Buffer of a reply never keeps a larger reply
 * alive: a short string keeps 4 KiB at most beside itself, a Buffer at most as much again as it is long, or Node's
 * pool of 8 KiB.
 */
export declare class Client<S = string> extends EventEmitter {
  constructor(options?: ClientOptions);
  /** From `connect()` on until it is closed. */
  readonly isOpen: boolean;
  /** Whether it is logged in now. Commands may be sent at any time while it is open. */
  readonly isReady: boolean;
  /** What kinds of replies become. */
  readonly typeMapping: TypeMapping | undefined;
  /** Resolves to the client when the server has accepted the login. Rejects, and closes, where that fails in time. */
  connect(): Promise<this>;
  /** Takes no more commands, waits for those that were sent, and closes. */
  close(): Promise<void>;
  /** Closes at once; whoever waits is told so. */
  destroy(): void;
  /** Closes, where it is open: for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
  /** How the login stands; never the token. */
  authStatus(): AuthStatus;
  /** Any command, as its name and arguments. */
  sendCommand<T = unknown>(args: readonly CommandArgument[], options?: CommandOptions): Promise<T>;
  /** Commands to be sent together. After `watch`, `exec` runs them if no watched key was written to. */
  multi(): Multi;

  /**
   * Has a listener called with each message to these channels. Resolves when the server has confirmed it; rejects
   * where it refuses. Subscriptions outlive lost connections; a `gap` event tells where messages may be missing. They
   * end with `unsubscribe`, or with the client. What a listener throws is an uncaught exception.
   */
  subscribe<B extends boolean = false>(channels: string | readonly string[], listener: PubSubListener<B>,
    bufferMode?: B): Promise<void>;
  /** The same for every channel whose name matches a pattern. */
  pSubscribe<B extends boolean = false>(patterns: string | readonly string[], listener: PubSubListener<B>,
    bufferMode?: B): Promise<void>;
  /** The same for sharded channels. */
  sSubscribe<B extends boolean = false>(channels: string | readonly string[], listener: PubSubListener<B>,
    bufferMode?: B): Promise<void>;
  /** Takes a listener away, or all of them; from all channels where none is named. */
  unsubscribe<B extends boolean = false>(channels?: string | readonly string[], listener?: PubSubListener<B>,
    bufferMode?: B): Promise<void>;
  pUnsubscribe<B extends boolean = false>(patterns?: string | readonly string[], listener?: PubSubListener<B>,
    bufferMode?: B): Promise<void>;
  sUnsubscribe<B extends boolean = false>(channels?: string | readonly string[], listener?: PubSubListener<B>,
    bufferMode?: B): Promise<void>;
  /** Whether anything is subscribed to. */
  readonly isPubSubActive: boolean;

  /**
   * Watches keys for this client's next `multi().exec()`, which rejects with a `WatchError` where one of them was
   * written to meanwhile. Await it before what is read then. Callers who do that at the same time get into each
   * other's way: `execute` gives each a client of its own.
   */
  watch(keys: CommandArgument | readonly CommandArgument[]): Promise<'OK'>;
  /** Watches nothing any more. */
  unwatch(): Promise<'OK'>;
  readonly isWatching: boolean;
  /**
   * Runs a function with a client whose commands go over a connection that nobody else uses meanwhile: for `watch`,
   * and for WAIT. Of a cluster it is the one to the node of the first command's keys.
   */
  execute<T>(run: (client: this) => T | Promise<T>): Promise<T>;
  /** Has a function called with every command that the server runs. Resolves to a function that ends it. */
  monitor(callback: (line: string) => unknown): Promise<() => void>;

  /** Another client with the same options, and connections of its own. */
  duplicate(overrides?: ClientOptions): Client<S>;
  /** The same client, connection and listeners, with other options for the commands that are sent through it. */
  withCommandOptions(options: CommandOptions): this;
  withTypeMapping<M extends TypeMapping>(typeMapping: M): Client<M extends { 36: BufferConstructor } ? Buffer : S>;
  withAbortSignal(signal: AbortSignal): this;
  /** The process waits for its connections (as it does by default). */
  ref(): this;
  /** The process may end while they are open. */
  unref(): this;

  on<E extends keyof ClientEvents>(event: E, listener: (...args: ClientEvents[E]) => void): this;
  once<E extends keyof ClientEvents>(event: E, listener: (...args: ClientEvents[E]) => void): this;
  off<E extends keyof ClientEvents>(event: E, listener: (...args: ClientEvents[E]) => void): this;

  SUBSCRIBE: Client<S>['subscribe'];
  PSUBSCRIBE: Client<S>['pSubscribe'];
  SSUBSCRIBE: Client<S>['sSubscribe'];
  UNSUBSCRIBE: Client<S>['unsubscribe'];
  PUNSUBSCRIBE: Client<S>['pUnsubscribe'];
  SUNSUBSCRIBE: Client<S>['sUnsubscribe'];
  WATCH: Client<S>['watch'];
  UNWATCH: Client<S>['unwatch'];
  MONITOR: Client<S>['monitor'];
  MULTI: Client<S>['multi'];
}

/** Every command, as a method; `S` is what strings of replies become. */
export interface Client<S = string> extends Commands<S>, Iterators<S> {}

/** A client that connects when told to. Throws a `ConfigurationError` where the options cannot work. */
export declare function createClient(options?: ClientOptions): Client;

/** The client of a cluster: as any other, but a server that is no cluster is an error. */
export declare class Cluster<S = string> extends Client<S> {
  constructor(options: ClusterOptions);
  sendCommand<T = unknown>(args: readonly CommandArgument[], options?: CommandOptions): Promise<T>;
  /** As node-redis has it. The first two say nothing that the command does not. */
  sendCommand<T = unknown>(firstKey: CommandArgument | undefined, isReadonly: boolean | undefined,
    args: readonly CommandArgument[], options?: CommandOptions): Promise<T>;
}

/** A client of a cluster, that connects when told to. Throws a `ConfigurationError` where the options cannot work. */
export declare function createCluster(options: ClusterOptions): Cluster;

/** What became of a command: the server did not run it; it may have; it answered, and refused it. */
export type Outcome = 'not_sent' | 'indeterminate' | 'refused';

/** Base of every error of this package. */
export declare class RespassError extends Error {
  /** What went wrong: the same number in every language. */
  readonly code: number | undefined;
  readonly outcome: Outcome | undefined;
  /** What to do about it, where experience tells. The message ends with it. */
  readonly hint: string | undefined;
}
/** The options of a client cannot work. */
export declare class ConfigurationError extends RespassError {}
/** An argument has no form in which it could be sent. */
export declare class InvalidArgumentError extends RespassError {}
/** The client is closed, or was never connected. */
export declare class ClientClosedError extends RespassError {}
/** Too many bytes of commands wait already. */
export declare class QueueFullError extends RespassError {}
/** A shared connection cannot carry this command. */
export declare class UnsupportedCommandError extends RespassError {}
/** The server could not be reached, or the connection was lost. */
export declare class ConnectionError extends RespassError {}
/** The server's bytes were no RESP, or its replies did not fit the commands. */
export declare class ProtocolError extends RespassError {}
/** No reply came in time. */
export declare class TimeoutError extends RespassError {}
/** The caller's signal was aborted; `cause` is its reason. */
export declare class AbortError extends RespassError {}
/** The server refused the login. */
export declare class AuthenticationError extends RespassError {}
/** The credential gave no token, or one that cannot be used, or the server refused it. */
export declare class TokenError extends AuthenticationError {}
/** A watched key changed, or the connection was lost since `watch`: the transaction did not run. */
export declare class WatchError extends RespassError {}
/** The server answered with an error. */
export declare class ErrorReply extends RespassError {}
/** The server wants a login, or knows no such user and password. */
export declare class AuthenticationErrorReply extends ErrorReply {}
/** The user may not run this command, or not on this key. */
export declare class NoPermissionError extends ErrorReply {}
/** The server is still loading its data. */
export declare class LoadingError extends ErrorReply {}
/** The server is a replica. */
export declare class ReadOnlyError extends ErrorReply {}
/** The server is out of memory. */
export declare class OutOfMemoryError extends ErrorReply {}
/** No script has this digest. */
export declare class NoScriptError extends ErrorReply {}
/** A command of the transaction was refused when it was queued: none of them ran. */
export declare class ExecAbortError extends ErrorReply {}
/** The key holds a value of another type. */
export declare class WrongTypeError extends ErrorReply {}
/** The command belongs on another node of the cluster, or the cluster cannot serve it now. */
export declare class ClusterError extends ErrorReply {}
/** Some commands of a transaction or a pipeline failed. */
export declare class MultiErrorReply extends ErrorReply {
  /** Every command's reply, or its error. */
  readonly replies: unknown[];
  /** Which of them are errors. */
  readonly errorIndexes: number[];
  errors(): Generator<Error, void>;
}
