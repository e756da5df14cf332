// A program that uses the types: it compiles under --strict, and what must not compile says so.
import {
  AbortError, Client, type ClientOptions, Cluster, ErrorReply, MultiErrorReply, RESP_TYPES, RespassError,
  type TokenCredential, TokenError, WatchError, createClient, createCluster,
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

export async function listen(client: Client): Promise<void> {
  const listener = (message: string, channel: string) => console.log(channel, message);
  await client.subscribe(['news', 'weather'], listener);
  await client.pSubscribe('news.*', (message, channel) => console.log(message.length, channel.length), true);
  await client.sSubscribe('orders', listener, false);
  await client.unsubscribe('news', listener);
  await client.pUnsubscribe();
  await client.SUNSUBSCRIBE('orders');
  client.on('gap', ({ lane }) => console.log(lane satisfies 'subscriber' | 'monitor'));
  const stop = await client.monitor((line) => console.log(line.length));
  stop();
  // @ts-expect-error: bytes are asked for, and a listener of strings given
  await client.subscribe('news', listener, true);
}

export async function raise(client: Client): Promise<number> {
  try {
    return await client.execute(async (own) => {
      await own.watch('balance');
      const balance = Number(await own.get('balance'));
      await own.multi().set('balance', balance + 1).exec();
      return balance;
    });
  } catch (error) {
    if (error instanceof WatchError) return raise(client);
    throw error;
  }
}

export async function wait(client: Client, signal: AbortSignal): Promise<void> {
  const popped = await client.withAbortSignal(signal).blPop(['a', 'b'], 0);
  const highest = await client.bzPopMax('z', 1.5);
  const move: string | null = await client.blMove('a', 'b', 'LEFT', 'RIGHT', 1);
  const some: [string, string[]] | null = await client.blmPop(1, ['a'], 'LEFT', { COUNT: 2 });
  console.log(popped?.element.length, highest?.score.toFixed(), move, some?.[1].join());
}

export function statusOf(client: Client): string {
  return client.authStatus().connections.map(({ lane, host, expiresAt }) => `${lane} ${host} ${expiresAt}`).join();
}

const cluster: Cluster = createCluster({
  rootNodes: [{ url: 'rediss://mycache.westeurope.redis.azure.net:10000' }], credential,
  defaults: { socket: { connectTimeout: 500 } }, addressMap: { '10.0.0.1:8500': { host: 'localhost', port: 8500 } },
});
void [cluster.sendCommand(['GET', 'k']), cluster.sendCommand('k', true, ['GET', 'k']), cluster.get('k')];
createClient({ addressMap: 'advertised', allowedHosts: ['*.example.com'], maintenanceEvents: false });
createClient({ nodeAddressMap: (address) => address.startsWith('10.') ? { host: 'localhost', port: 1 } : undefined });
// @ts-expect-error: no such mode
createClient({ addressMap: 'internal' });
// @ts-expect-error: a cluster needs a root node
createCluster({ credential });

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
