import type { Commands, MultiCommands } from './generated/commands.js';
import type { Field, RedisArgument, RedisNumber, Scored } from './shapes.js';

export type { Commands, MultiCommands };

/** What a method hands over: the words of the command, and what to make of its reply. */
export type Call<Client, Result> = (
  client: Client,
  argv: (string | Uint8Array)[],
  transform: ((reply: unknown, client: { typeMapping?: object }) => unknown) | undefined,
) => Result;

/** Gives a prototype every command method; methods of its own win. */
export function attach<Client extends object, Result>(
  prototype: Client,
  call: Call<Client, Result>,
  fail?: (error: Error) => Result,
): void;

export interface ScanOptions {
  /** Where to begin. */
  cursor?: RedisNumber;
  MATCH?: RedisArgument;
  COUNT?: RedisNumber;
}

/** Async iterators of pages. A page may be empty. */
export interface Iterators<S = string> {
  /** All keys. */
  scanIterator(options?: ScanOptions & { TYPE?: RedisArgument }): AsyncGenerator<S[], void>;
  /** All fields of a hash with their values. */
  hScanIterator(key: RedisArgument, options?: ScanOptions): AsyncGenerator<Field<S>[], void>;
  /** The values of all fields of a hash. */
  hScanValuesIterator(key: RedisArgument, options?: ScanOptions): AsyncGenerator<S[], void>;
  /** All fields of a hash. */
  hScanNoValuesIterator(key: RedisArgument, options?: ScanOptions): AsyncGenerator<S[], void>;
  /** All members of a set. */
  sScanIterator(key: RedisArgument, options?: ScanOptions): AsyncGenerator<S[], void>;
  /** All members of a sorted set with their scores. */
  zScanIterator(key: RedisArgument, options?: ScanOptions): AsyncGenerator<Scored<S>[], void>;
}

/** Defines the iterators, over the methods that `attach` defines. */
export function attachIterators(prototype: object): void;
