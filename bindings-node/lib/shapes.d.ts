// The shapes of arguments and replies that command methods have besides strings and numbers.

/** Text or bytes: keys, values, patterns. */
export type RedisArgument = string | Uint8Array;
/** Text, which may be given as a number. */
export type RedisValue = RedisArgument | number | bigint;
/** A number; as text where JavaScript's numbers do not hold it, or for bounds such as `(1` and `-inf`. */
export type RedisNumber = number | bigint | RedisArgument;
/** Pairs, as an object, a Map, an array of pairs, or an array of names and values in turn. */
export type RedisPairs<T> =
  | Record<string, T>
  | Map<RedisValue, T>
  | readonly (readonly [RedisValue, T])[]
  | readonly T[];

type Expiration = { type: 'EX' | 'PX'; value: RedisNumber } | { type: 'EXAT' | 'PXAT'; value: RedisNumber | Date };

/** When a value ends that is set. */
export interface SetExpiration {
  expiration?: Expiration | { type: 'KEEPTTL' } | 'KEEPTTL';
  /** @deprecated `expiration: { type: 'EX', value }` */
  EX?: RedisNumber;
  /** @deprecated `expiration: { type: 'PX', value }` */
  PX?: RedisNumber;
  /** @deprecated `expiration: { type: 'EXAT', value }` */
  EXAT?: RedisNumber | Date;
  /** @deprecated `expiration: { type: 'PXAT', value }` */
  PXAT?: RedisNumber | Date;
  /** @deprecated `expiration: 'KEEPTTL'` */
  KEEPTTL?: boolean;
}
/** When a value ends that is read. */
export type NewExpiration =
  | Expiration
  | { type: 'PERSIST' }
  | { EX: RedisNumber }
  | { PX: RedisNumber }
  | { EXAT: RedisNumber | Date }
  | { PXAT: RedisNumber | Date }
  | { PERSIST: true };
/** When fields end that are read. */
export type FieldExpiration = Expiration | { type: 'PERSIST' } | 'PERSIST';

/** Only where it is new (`NX`), or only where it is there (`XX`). */
export interface Condition {
  condition?: 'NX' | 'XX' | 'IFEQ' | 'IFNE' | 'IFDEQ' | 'IFDNE';
  /** What `IFEQ` and its like compare with. */
  matchValue?: RedisArgument;
  /** @deprecated `condition: 'NX'` */
  NX?: boolean;
  /** @deprecated `condition: 'XX'` */
  XX?: boolean;
}
/** Only where the new score is lower, or greater. */
export interface Comparison {
  comparison?: 'LT' | 'GT';
  /** @deprecated `comparison: 'LT'` */
  LT?: boolean;
  /** @deprecated `comparison: 'GT'` */
  GT?: boolean;
}
/** How far to count. */
export type Limit = RedisNumber | { LIMIT?: RedisNumber };

export interface ScoredMember {
  score: RedisNumber;
  value: RedisArgument;
}
export interface WeightedKey {
  key: RedisArgument;
  weight: RedisNumber;
}
export type WeightedKeys = RedisArgument | readonly RedisArgument[] | WeightedKey | readonly WeightedKey[];

export type BitOperation =
  | { operation: 'GET'; encoding: string; offset: RedisNumber }
  | { operation: 'SET'; encoding: string; offset: RedisNumber; value: RedisNumber }
  | { operation: 'INCRBY'; encoding: string; offset: RedisNumber; increment: RedisNumber }
  | { operation: 'OVERFLOW'; behavior: 'WRAP' | 'SAT' | 'FAIL' };
export interface BitRead {
  encoding: string;
  offset: RedisNumber;
}

export interface Coordinates {
  longitude: RedisNumber;
  latitude: RedisNumber;
}
export interface NewPlace extends Coordinates {
  member: RedisArgument;
}
type Unit = 'm' | 'km' | 'ft' | 'mi';
export type SearchArea =
  | { radius: RedisNumber; unit: Unit }
  | { width: RedisNumber; height: RedisNumber; unit: Unit };
export type PlaceCount = RedisNumber | { value: RedisNumber; ANY?: boolean };
export interface PlaceStoreOptions {
  SORT?: 'ASC' | 'DESC';
  COUNT?: PlaceCount;
  STOREDIST?: boolean;
}
/** What to tell of places. */
export type ReplyWith = 'WITHDIST' | 'WITHHASH' | 'WITHCOORD';

export interface StreamFrom {
  key: RedisArgument;
  id: RedisArgument;
}

export type ClientFilter =
  | { filter: 'ADDR'; address: string }
  | { filter: 'LADDR'; localAddress: string }
  | { filter: 'ID'; id: RedisValue }
  | { filter: 'TYPE'; type: 'NORMAL' | 'MASTER' | 'REPLICA' | 'PUBSUB' }
  | { filter: 'USER'; username: string }
  | { filter: 'SKIPME'; skipMe: boolean }
  | { filter: 'MAXAGE'; maxAge: number }
  | 'SKIPME';
export type ClientSelection =
  | { TYPE: 'NORMAL' | 'MASTER' | 'REPLICA' | 'PUBSUB'; ID?: never }
  | { ID: RedisValue | readonly RedisValue[]; TYPE?: never };
export interface CommandFilter {
  type: 'MODULE' | 'ACLCAT' | 'PATTERN';
  value: RedisArgument;
}

/** Slots from `start` to `end`, both included. */
export interface SlotSpan {
  start: RedisNumber;
  end: RedisNumber;
}

export interface KeyScan<S = string> {
  cursor: S;
  keys: S[];
}
export interface FieldScan<S = string> {
  cursor: S;
  fields: S[];
}
export interface MemberScan<S = string> {
  cursor: S;
  members: S[];
}
export interface EntryScan<S = string> {
  cursor: S;
  entries: Field<S>[];
}
export interface ScoredScan<S = string> {
  cursor: S;
  members: Scored<S>[];
}
export interface Field<S = string> {
  field: S;
  value: S;
}

export interface Scored<S = string> {
  value: S;
  score: number;
}
/** What came out of a list, and of which one. */
export interface Awaited<S = string> {
  key: S;
  element: S;
}
/** What came out of a sorted set, and of which one. */
export interface AwaitedScored<S = string> extends Scored<S> {
  key: S;
}
export interface Popped<S = string> {
  key: S;
  members: Scored<S>[];
}
export interface Rank {
  rank: number;
  score: number;
}
/** Where two strings are equal: pairs of first and last index in each, and the length of the match where asked for. */
export interface Matches {
  matches: ([[number, number], [number, number]] | [[number, number], [number, number], number])[];
  len: number;
}

/** Numbers under RESP3, text under RESP2. */
export interface Point<S = string> {
  longitude: S | number;
  latitude: S | number;
}
export interface Place<S = string> {
  member: S;
  distance?: number;
  hash?: number;
  coordinates?: { longitude: number; latitude: number };
}

/** An entry of a stream. */
export interface Entry<S = string> {
  id: S;
  message: Record<string, S>;
  millisElapsedFromDelivery?: number;
  deliveriesCounter?: number;
}
export interface StreamEntries<S = string> {
  name: string;
  messages: Entry<S>[];
}
export interface Claimed<S = string> {
  nextId: S;
  messages: (Entry<S> | null)[];
  deletedMessages: S[];
}
export interface ClaimedIds<S = string> {
  nextId: S;
  messages: S[];
  deletedMessages: S[];
}
export interface Pending<S = string> {
  pending: number;
  firstId: S | null;
  lastId: S | null;
  consumers: { name: S; deliveriesCounter: number }[] | null;
}
export interface PendingEntry<S = string> {
  id: S;
  consumer: S;
  millisecondsSinceLastDelivery: number;
  deliveriesCounter: number;
}
export interface Consumer<S = string> {
  name: S;
  pending: number;
  idle: number;
  /** Since Redis 7.2. */
  inactive?: number;
}
export interface Group<S = string> {
  name: S;
  consumers: number;
  pending: number;
  'last-delivered-id': S;
  /** Since Redis 7. */
  'entries-read'?: number | null;
  /** Since Redis 7. */
  lag?: number | null;
}
export interface StreamRecord<S = string> {
  length: number;
  'radix-tree-keys': number;
  'radix-tree-nodes': number;
  'last-generated-id': S;
  'max-deleted-entry-id'?: S;
  'entries-added'?: number;
  'recorded-first-entry-id'?: S;
  groups: number;
  'first-entry': Entry<S> | null;
  'last-entry': Entry<S> | null;
}

export interface Library<S = string> {
  library_name: S;
  engine: S;
  functions: { name: S; description: S | null; flags: S[] }[];
  library_code?: S;
}
export interface FunctionFigures<S = string> {
  running_script: { name: S; command: S[]; duration_ms: number } | null;
  engines: Record<string, { libraries_count: number; functions_count: number }>;
}

/** A line of `CLIENT LIST`. What the server does not tell is not there. */
export interface ClientRecord {
  id: number;
  addr: string;
  laddr?: string;
  fd: number;
  name: string;
  age: number;
  idle: number;
  flags: string;
  db: number;
  sub: number;
  psub: number;
  ssub?: number;
  multi: number;
  watch?: number;
  qbuf: number;
  qbufFree: number;
  argvMem: number;
  multiMem?: number;
  rbs?: number;
  rbp?: number;
  obl: number;
  oll: number;
  omem: number;
  totMem: number;
  events: string;
  cmd: string;
  user: string;
  redir?: number;
  resp?: number;
  libName?: string;
  libVer?: string;
}
export interface Tracking<S = string> {
  flags: S[];
  redirect: number;
  prefixes: S[];
}

export interface User<S = string> {
  flags: S[];
  passwords: S[];
  commands: S;
  keys: S;
  channels: S;
  selectors?: { commands: S; keys: S; channels: S }[];
}
export interface Denial<S = string> {
  count: number;
  reason: S;
  context: S;
  object: S;
  username: S;
  'age-seconds': number;
  'client-info': S;
  'entry-id'?: number;
  'timestamp-created'?: number;
  'timestamp-last-updated'?: number;
}

export type BeginSearch =
  | { type: 'index'; index: number }
  | { type: 'keyword'; keyword: string; startFrom: number }
  | { type: 'unknown' };
export type FindKeys =
  | { type: 'range'; lastKey: number; keyStep: number; limit: number }
  | { type: 'keynum'; keyNumIdx: number; firstKey: number; keyStep: number }
  | { type: 'unknown' };
export interface CommandRecord {
  name: string;
  arity: number;
  flags: Set<string>;
  firstKeyIndex: number;
  lastKeyIndex: number;
  step: number;
  categories: Set<string>;
  policies: { request: string | undefined; response: string | undefined };
  nondeterministicOutput: boolean;
  tips: string[];
  isKeyless: boolean;
  keySpecs: { beginSearch: BeginSearch; findKeys: FindKeys }[];
  subcommands: CommandRecord[];
}
export interface KeyAndFlags<S = string> {
  key: S;
  flags: S[];
}

export interface Histogram {
  calls: number;
  histogram_usec: Record<string, number>;
}
export interface ModuleRecord<S = string> {
  name: S;
  ver: number;
  path?: S;
  args?: S[];
}
export interface Link<S = string> {
  direction: S;
  node: S;
  'create-time': number;
  events: S;
  'send-buffer-allocated': number;
  'send-buffer-used': number;
}
export interface ClusterNode<S = string> {
  host: S;
  port: number;
  id: S;
}
export interface SlotRange<S = string> {
  from: number;
  to: number;
  master: ClusterNode<S>;
  replicas: ClusterNode<S>[];
}
/** `replicationOffest` is how node-redis spells it. */
export type Role<S = string> =
  | { role: S; replicationOffest: number; replicas: { host: S; port: number; replicationOffest: number }[] }
  | { role: S; master: { host: S; port: number }; state: S; dataReceived: number }
  | { role: S; masterNames: S[] };
