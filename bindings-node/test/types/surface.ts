// A program that uses the types: it compiles under --strict, and what must not compile says so.
import {
  AbortError, Client, type ClientOptions, ErrorReply, MultiErrorReply, RESP_TYPES, RespassError, type TokenCredential,
  TokenError, createClient,
} from 'respass';
import { ManagedIdentityCredential } from '@azure/identity';

const credential: TokenCredential = new ManagedIdentityCredential();
const options: ClientOptions = {
  url: 'rediss://mycache.westeurope.redis.azure.net:10000', credential, commandTimeout: 1000, name: 'orders',
  socket: { ca: Buffer.from(''), connectTimeout: 500 },
};

export async function main(): Promise<void> {
  await using client = await createClient(options).connect();
  const greeting = await client.sendCommand<string | null>(['GET', 'greeting']);
  greeting?.toUpperCase();
  const { signal } = new AbortController();
  const unknown: unknown = await client.sendCommand(['GET', Buffer.from('greeting')], { signal });
  void unknown;
  const replies = await client.multi().addCommand(['INCR', 'hits']).addCommand(['EXPIRE', 'hits', '60']).exec();
  const buffers: Client<Buffer> = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.MAP]: Map });
  void [replies, buffers, client.duplicate({ database: 1 }), client.isOpen && client.isReady];
  client.on('auth', ({ kind, expiresAt }) => console.log(kind satisfies string, expiresAt?.getTime()));
  client.once('error', (error) => console.error(error.code, error.outcome, error.hint));
  client.on('notice', ({ severity, text }) => console.log(severity, text));
  const { oid, reauthCount } = client.authStatus();
  console.log(oid?.length, reauthCount.toFixed());
  const value: string | null = await client.get('k');
  const raw: Buffer | null = await buffers.get('k');
  const both = await client.multi().get('k').incr('n').exec();
  void [value, raw, both];
  await client.close();
}

export function explain(error: unknown): string {
  if (error instanceof MultiErrorReply) return error.errorIndexes.join();
  if (error instanceof TokenError || error instanceof AbortError || error instanceof ErrorReply) return error.message;
  return error instanceof RespassError ? `${error.code ?? ''} ${error.outcome ?? ''}` : String(error);
}

createClient({ credential: async () => ({ token: '', expiresOnTimestamp: 0 }) });
createClient({ credential: () => ['token', new Date()] });
// @ts-expect-error: a typing error in an option's name
createClient({ pasword: '' });
// @ts-expect-error: a number is no argument
createClient().sendCommand(['SET', 'k', 1]);
// @ts-expect-error: an answer without a token
createClient({ credential: async () => ({ expiresOnTimestamp: 0 }) });
// @ts-expect-error: no such event
createClient().on('reddy', () => {});
