// Ten tasks on one Node client, each with a key of its own, and one that reads them all.
import { ManagedIdentityCredential } from '@azure/identity';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { createClient } from 'respass';

const { DEMO_PORT, DEMO_CA, DEMO_SECONDS } = process.env;
const end = Date.now() + Number(DEMO_SECONDS) * 1000;
const count = { commands: 0, errors: 0, last_error: null };

const client = await createClient({
  url: `rediss://localhost:${DEMO_PORT}`,
  socket: { ca: readFileSync(DEMO_CA) },
  credential: new ManagedIdentityCredential(),
}).connect();

async function repeat(step) {
  for (let round = 1; Date.now() < end; round++) {
    try {
      count.commands += await step(round);
    } catch (error) { // every failure counts, whatever it is
      count.errors++;
      count.last_error = String(error);
    }
    await pause(20);
  }
}

const names = Array.from({ length: 10 }, (_, index) => `node:${index}`);
const latest = names.map(() => 0);

async function writeAndRead(index, value) {
  await client.set(names[index], String(value));
  latest[index] = value;
  const found = await client.get(names[index]);
  if (Number(found) !== value) throw new Error(`${names[index]} is ${found}, not ${value}`);
  return 2;
}

/** The names are in several slots: this is one command to each. */
async function readAll() {
  const before = [...latest];
  const found = await client.mGet(names);
  const late = names.filter((_, index) => Number(found[index]) < before[index]);
  if (late.length > 0) throw new Error(`older values than were written: ${late}`);
  return 1;
}

function report() {
  const { reauthCount, expiresAt, connections } = client.authStatus();
  console.log(JSON.stringify({
    ...count,
    ports: connections.filter(({ isReady }) => isReady).map(({ port }) => port),
    reauthentications: reauthCount,
    token_seconds_left: expiresAt && (expiresAt - Date.now()) / 1000,
  }));
}

const reports = setInterval(report, 1000);
await Promise.all([repeat(readAll), ...names.map((_, index) => repeat((value) => writeAndRead(index, value)))]);
clearInterval(reports);
report();
await client.close();
