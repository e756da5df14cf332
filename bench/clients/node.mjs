// One sample of one Node client, as driver.py has it for Python: prints a JSON line. main.py starts it, pinned.
//
//   node node.mjs CLIENT WORKLOAD --port N --seconds S --tasks N [--ca FILE --user NAME --password TEXT]
import { parseArgs } from 'node:util';
import { CLIENTS } from './node_clients.mjs';

const text = { type: 'string' };
const { values: options, positionals: [name, workload] } = parseArgs({
  allowPositionals: true,
  options: { port: text, seconds: text, tasks: text, ca: text, user: text, password: text },
});
const SECONDS = Number(options.seconds);
const WARM_UP_S = SECONDS / 3;
const VALUE = 'x'.repeat(100);
const KEYS = Array.from({ length: 1000 }, (_, number) => `key:${number}`);
const ELEMENTS = 100_000;
const LARGE_LEN = 64 * 1024 * 1024;

const make = () => CLIENTS[name]({ ...options, host: 'localhost', port: Number(options.port) });
const client = make();

/** What is repeated, how many commands that is, and whether its result is right. */
const STEPS = {
  get: [() => client.get('key:7'), 1, (reply) => reply === VALUE],
  pipe_get: [() => client.getAll(KEYS), KEYS.length, (replies) => replies.every((reply) => reply === VALUE)],
  pipe_set: [() => client.setAll(KEYS, VALUE), KEYS.length, (replies) => replies.every((reply) => reply === 'OK')],
  lrange: [() => client.list('list'), 1, (replies) => replies.length === ELEMENTS && replies.at(-1).length === 20],
  large: [() => client.get('large'), 1, (reply) => reply.length === LARGE_LEN],
  connect: [reconnect, 1, (reply) => reply === 'PONG'],
};

async function reconnect() {
  const one = make();
  await one.open();
  const reply = await one.ping();
  await one.close();
  return reply;
}

/** How often it ran. */
async function repeat(step, seconds) {
  const end = performance.now() + seconds * 1000;
  let count = 0;
  for (; performance.now() < end; count++) await step();
  return count;
}

/** Each task gives a GET and a SET in turn on the one client; how many commands. */
async function takeTurns(seconds) {
  const end = performance.now() + seconds * 1000;
  const counts = await Promise.all(Array.from({ length: Number(options.tasks) }, async (_, task) => {
    let count = 0;
    for (let at = task * 31; performance.now() < end; at += 2, count += 2) {
      await client.get(KEYS[at % KEYS.length]);
      await client.set(KEYS[(at + 1) % KEYS.length], VALUE);
    }
    return count;
  }));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Wall time and CPU of this process, all threads. */
async function measure(work) {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const ops = await work();
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - start) / 1000;
  console.log(JSON.stringify({ ops, seconds, cpu_s: (user + system) / 1e6 }));
}

if (workload !== 'connect') await client.open();
if (workload === 'tasks') {
  if (await client.get('key:7') !== VALUE) throw new Error('a wrong reply');
  await takeTurns(WARM_UP_S);
  await measure(() => takeTurns(SECONDS));
} else {
  const [step, commands, isRight] = STEPS[workload];
  if (!isRight(await step())) throw new Error('a wrong reply');
  await repeat(step, WARM_UP_S);
  await measure(async () => await repeat(step, SECONDS) * commands);
}
process.exit(0);
