// Pipelines GETs in batches for some seconds, then runs 100 tasks at once, and prints both rates.
//
//   node probe.mjs HOST PORT [SECONDS [CA_FILE]]     TLS where a CA file is given
//
// With RESPASS_TOKEN_URL (the emulator's admin endpoint, http://…/token) it logs in with tokens from there.
import { readFileSync } from 'node:fs';
import { Client } from '../lib/index.js';

const [host = '127.0.0.1', port = '6379', seconds = '1', caFile] = process.argv.slice(2);
const BATCH = 1000;
const TASKS = 100;
const value = 'x'.repeat(100);
const keys = Array.from({ length: BATCH }, (_, i) => `probe:${i}`);

async function fetchToken() {
  const reply = await fetch(process.env.RESPASS_TOKEN_URL, { method: 'POST', body: '{}' });
  if (!reply.ok) {
    throw Object.assign(new Error(`the token endpoint answered ${reply.status}`), { statusCode: reply.status });
  }
  const { access_token: token, expires_on: expiresOn } = await reply.json();
  return { token, expiresOnTimestamp: Number(expiresOn) * 1000 };
}

function check(ok, what) {
  if (!ok) throw new Error(`a wrong reply to ${what}`);
}

/** Runs `step`, which returns how many commands it ran, for the time given; commands per second. */
async function rate(step) {
  await step();
  const start = performance.now();
  const end = start + Number(seconds) * 1000;
  let count = 0;
  while (performance.now() < end) count += await step();
  return Math.round(count / ((performance.now() - start) / 1000));
}

async function getBatch(client) {
  const replies = await client.pipeline(keys.map((key) => ['GET', key]));
  check(replies.length === BATCH && replies[0] === value && replies.at(-1) === value, 'GET');
  return BATCH;
}

/** Each task on its own: a GET and a SET in turn, 20 times. */
async function runTasks(client) {
  await Promise.all(Array.from({ length: TASKS }, async (_, task) => {
    for (let i = 0; i < 10; i++) {
      const key = keys[(task * 31 + i) % BATCH];
      check(await client.command(['GET', key]) === value, 'GET');
      check(await client.command(['SET', key, value]) === 'OK', 'SET');
    }
  }));
  return TASKS * 20;
}

const client = new Client({
  host,
  port: Number(port),
  tls: caFile && { ca: readFileSync(caFile) },
  credential: process.env.RESPASS_TOKEN_URL && fetchToken,
});
let reauths = 0;
client.on('notice', ({ name, text }) => {
  if (name === 'reauthenticated') reauths++;
  else if (name !== 'ready') console.error(`notice: ${name} ${text}`);
});
const stored = await client.pipeline(keys.map((key) => ['SET', key, value]));
check(stored.every((reply) => reply === 'OK'), 'SET');
const pipelined = await rate(() => getBatch(client));
const concurrent = await rate(() => runTasks(client));
client.close();
const rates = { batch: BATCH, ops_per_s: pipelined, tasks: TASKS, tasks_ops_per_s: concurrent };
console.log(JSON.stringify({ client: 'respass-node', ...rates, reauths }));
