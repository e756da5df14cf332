// Compiles: what users write, and, after @ts-expect-error, what they must not.
import type { Commands, Iterators, MultiCommands } from '../../lib/commands.js';
import type { ScoredMember } from '../../lib/shapes.js';

declare const client: Commands & Iterators;
declare const bytes: Commands<Buffer>;
declare const multi: MultiCommands;

export async function strings(): Promise<(string | null)[]> {
  await client.set('k', 1, { expiration: { type: 'EX', value: 5 }, condition: 'NX', GET: true });
  await client.SET('k', 'v', { EX: 5 });
  await client.getEx('k', { type: 'PXAT', value: new Date() });
  await client.mSet({ a: 'b' });
  await client.mSet([['a', 'b']]);
  await client.expireAt('k', new Date(), 'GT');
  const old: string | 'OK' | null = await client.set(Buffer.from('k'), 5n);
  const raw: Buffer | null = await bytes.get(Buffer.from('k'));
  return [old, String(raw), await client.get('k'), ...(await client.mGet(['a', 'b']))];
}

export async function aggregates(): Promise<number> {
  await client.hSet('h', { a: 1, b: 'x' });
  await client.hSet('h', 'a', 1);
  await client.hSet('h', new Map([['a', 1]]));
  await client.hSet('h', [['a', 1]]);
  await client.hSet('h', ['a', 1, 'b', 'x']);
  const members: readonly ScoredMember[] = [{ score: 1, value: 'a' }];
  await client.zAdd('z', members, { comparison: 'GT', CH: true });
  const scored: { value: string; score: number }[] = await client.zRangeWithScores('z', 0, '+inf', {
    BY: 'SCORE',
    LIMIT: { offset: 0, count: 1 },
  });
  await client.xAdd('s', '*', { a: 'b' }, { TRIM: { strategy: 'MAXLEN', threshold: 5, strategyModifier: '~' } });
  for (const { name, messages } of (await client.xRead([{ key: 's', id: '0' }])) ?? []) {
    const text: string = name + messages[0]?.message['a'];
    void text;
  }
  const near = await client.geoSearchWith('g', { longitude: 1, latitude: 2 }, { radius: 5, unit: 'km' }, ['WITHDIST']);
  return (near[0]?.distance ?? 0) + (scored[0]?.score ?? 0) + (await client.bitCount('b', { start: 0, end: 5 }));
}

export async function pages(): Promise<number> {
  let count = 0;
  for await (const keys of client.scanIterator({ MATCH: '*', COUNT: 10 })) count += keys.filter(Boolean).length;
  for await (const entries of client.hScanIterator('h')) count += entries.filter(({ field }) => field === 'a').length;
  await client.eval('return 1', { keys: ['a'], arguments: ['1'] });
  await client['CLIENT_NO-EVICT'](true);
  const chained: MultiCommands = multi.get('k').incr('n').HSET('h', { a: 1 }).hSet('h', 'a', 'b');
  void chained;
  return count;
}

export async function mistakes(): Promise<void> {
  // @ts-expect-error a key is no number
  await client.get(1);
  // @ts-expect-error there is no such mode
  await client.expire('k', 1, 'YY');
  // @ts-expect-error an option of another command
  await client.copy('a', 'b', { EX: 5 });
  // @ts-expect-error a trim has a threshold
  await client.xAdd('s', '*', { a: 'b' }, { TRIM: { strategy: 'MAXLEN' } });
  // @ts-expect-error elements are text
  await client.lPush('l', 5);
  // @ts-expect-error the reply may be null
  const value: string = await client.get('k');
  void value;
}
