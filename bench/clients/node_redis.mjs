// node-redis doing what bindings-node/examples/probe.mjs does, in its own words.
//
//   node node_redis.mjs HOST PORT [SECONDS]     BENCH_NODE: the folder with node_modules
import { createRequire } from 'node:module';

const { createClient } = createRequire(`${process.env.BENCH_NODE}/`)('redis');
const [host, port, seconds = '1'] = process.argv.slice(2);
const BATCH = 1000;
const TASKS = 100;
const value = 'x'.repeat(100);
const keys = Array.from({ length: BATCH }, (_, i) => `probe:${i}`);

function check(ok, what) {
  if (!ok) throw new Error(`a wrong reply to ${what}`);
}

async function rate(step) {
  await step();
  const start = performance.now();
  const end = start + Number(seconds) * 1000;
  let count = 0;
  while (performance.now() < end) count += await step();
  return Math.round(count / ((performance.now() - start) / 1000));
}

async function getBatch(client) {
  const batch = client.multi();
  for (const key of keys) batch.get(key);
  const replies = await batch.execAsPipeline();
  check(replies.length === BATCH && replies[0] === value && replies.at(-1) === value, 'GET');
  return BATCH;
}

/** The documentation's other way: what is given in one turn leaves together. */
async function getAtOnce(client) {
  const replies = await Promise.all(keys.map((key) => client.get(key)));
  check(replies.length === BATCH && replies[0] === value && replies.at(-1) === value, 'GET');
  return BATCH;
}

async function runTasks(client) {
  await Promise.all(Array.from({ length: TASKS }, async (_, task) => {
    for (let i = 0; i < 10; i++) {
      const key = keys[(task * 31 + i) % BATCH];
      check(await client.get(key) === value, 'GET');
      check(await client.set(key, value) === 'OK', 'SET');
    }
  }));
  return TASKS * 20;
}

const client = createClient({ socket: { host, port: Number(port) } });
client.on('error', (error) => { throw error; });
await client.connect();
check((await Promise.all(keys.map((key) => client.set(key, value)))).every((reply) => reply === 'OK'), 'SET');
const batched = await rate(() => getBatch(client));
const atOnce = await rate(() => getAtOnce(client));
const concurrent = await rate(() => runTasks(client));
client.destroy();
console.log(JSON.stringify({ ops_per_s: Math.max(batched, atOnce), batched, atOnce, tasks_ops_per_s: concurrent }));
