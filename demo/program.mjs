// Ten tasks on one Node client.
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

async function work(name) {
  for (let value = 1; Date.now() < end; value++) {
    try {
      await client.set(name, String(value));
      count.commands++;
      const found = await client.get(name);
      if (Number(found) !== value) throw new Error(`${name} is ${found}, not ${value}`);
      count.commands++;
    } catch (error) { // every failure counts, whatever it is
      count.errors++;
      count.last_error = String(error);
    }
    await pause(20);
  }
}

function report() {
  const { reauthCount, expiresAt } = client.authStatus();
  console.log(JSON.stringify({
    ...count,
    reauthentications: reauthCount,
    token_seconds_left: expiresAt && (expiresAt - Date.now()) / 1000,
  }));
}

const reports = setInterval(report, 1000);
await Promise.all(Array.from({ length: 10 }, (_, index) => work(`node:${index}`)));
clearInterval(reports);
report();
await client.close();
