// The trial's load in Node. What it does is told by the environment; the steps are those of steps.py.
import { createWriteStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'respass';

const env = process.env;
const PARTS = new Set(env.TRIAL_PARTS.split(','));
const CLIENTS = Number(env.TRIAL_CLIENTS ?? 2);
const [WORKERS, PAUSE, BEAT, PATIENCE] = [3, 20, 50, 2];
const [LEDGERS, OWN_KEYS] = [48, 4];
const CYCLE = ['count', 'set', 'count', 'get', 'multi', 'set', 'mget', 'count', 'get', 'del'];

let isStopped = false;
process.stdin.resume().on('end', () => { isStopped = true; });

const file = createWriteStream(join(env.TRIAL_FOLDER, `${env.TRIAL_NAME}.records`));
const write = (record) => file.write(`${JSON.stringify(record)}\n`);
const now = () => Date.now() / 1000;
const gap = (client) => write({ client, op: 'heard', id: null, key: '', began: now() });
const heard = (client, id, key) => write({ client, op: 'heard', id, key, began: now() });

/** Runs a command and records it; its outcome. */
async function record(client, op, id, key, wants, run) {
  const began = now();
  let [outcome, reply, error] = ['replied', null, null];
  try {
    reply = await run();
  } catch (thrown) { // every failure is judged, whatever it is
    outcome = thrown.outcome ?? 'unknown';
    error = `${thrown.name}: ${thrown.message}`;
  }
  write({ client, op, id, key, began, ended: now(), outcome, reply, wants, error });
  return outcome;
}

class Worker {
  constructor(client, number) {
    this.name = `${client}.${number}`;
    this.seed = [...client].reduce((sum, letter) => sum + letter.codePointAt(0), 0) + number;
    this.made = 0;
    this.generation = 0;
    this.values = Array(OWN_KEYS).fill(null);
  }

  next() {
    const made = ++this.made;
    const id = `${this.name}.${made}`;
    const op = CYCLE[made % CYCLE.length];
    const key = `ledger:{${(this.seed + made * 7) % LEDGERS}}`;
    const own = made % OWN_KEYS;
    if (op === 'count') return { id, op, commands: [['HINCRBY', key, id, '1']], wants: 1, own: [] };
    if (op === 'multi') {
      const commands = ['a', 'b'].map((part) => ['HINCRBY', key, `${id}.${part}`, '1']);
      return { id, op, commands, wants: [1, 1], own: [] };
    }
    if (op === 'set') return { id, op, commands: [['SET', this.key(own), id]], wants: 'OK', own: [own] };
    if (op === 'get') return { id, op, commands: [['GET', this.key(own)]], wants: this.values[own], own: [] };
    if (op === 'mget') {
      const keys = this.values.map((_, number) => this.key(number));
      return { id, op, commands: [['MGET', ...keys]], wants: [...this.values], own: [] };
    }
    const several = [own, (own + 1) % OWN_KEYS];
    const wants = several.filter((number) => this.values[number] !== null).length;
    return { id, op, commands: [['DEL', ...several.map((number) => this.key(number))]], wants, own: several };
  }

  learn(step, outcome) {
    if (step.own.length === 0 || outcome === 'not_sent' || outcome === 'refused') return;
    if (outcome !== 'replied') {
      this.generation++;
      this.values.fill(null);
      return;
    }
    for (const number of step.own) this.values[number] = step.op === 'set' ? step.id : null;
  }

  key(number) { return `own:${this.name}.${this.generation}:${number}`; }
}

function run(client, step) {
  if (step.op !== 'multi') return client.sendCommand(step.commands[0]);
  const multi = client.multi();
  for (const command of step.commands) multi.addCommand(command);
  return multi.exec();
}

async function work(client, name, number) {
  const worker = new Worker(name, number);
  while (!isStopped) {
    await sleep(PAUSE);
    const step = worker.next();
    const act = () => run(client, step);
    worker.learn(step, await record(name, step.op, step.id, step.commands[0][1], step.wants, act));
  }
}

async function push(client, name) {
  const key = `queue:${name}`;
  for (let number = 1; !isStopped; number++) {
    await sleep(BEAT);
    const id = `${name}.${number}`;
    await record(name, 'push', id, key, null, () => client.sendCommand(['RPUSH', key, id]));
  }
}

async function pop(client, name) {
  const key = `queue:${name}`;
  for (let number = 1; !isStopped; number++) {
    const act = () => client.sendCommand(['BLPOP', key, String(PATIENCE)]);
    await record(name, 'pop', String(number), key, null, act);
  }
}

async function publish(client, name, command, channel) {
  for (let number = 1; !isStopped; number++) {
    await sleep(BEAT);
    const id = String(number);
    await record(name, 'publish', id, channel, null, () => client.sendCommand([command, channel, id]));
  }
}

async function hear(client, name) {
  const subscriber = client.duplicate();
  subscriber.on('error', () => {}).on('gap', () => gap(name));
  await subscriber.connect();
  await subscriber.subscribe(`news:${name}`, (message, channel) => heard(name, message, channel));
  if (PARTS.has('shard')) {
    await subscriber.sSubscribe(`shard:${name}`, (message, channel) => heard(name, message, channel));
  }
  while (!isStopped) await sleep(100);
  await subscriber.close();
}

/** What an App Service gives a program for its identity. */
async function token() {
  const url = `${env.IDENTITY_ENDPOINT}?api-version=2019-08-01&resource=https://redis.azure.com`;
  const headers = { 'X-IDENTITY-HEADER': env.IDENTITY_HEADER };
  const answer = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`the identity endpoint answers ${answer.status}`);
  const { access_token: text, expires_on: expiresOn } = await answer.json();
  return [text, Number(expiresOn) * 1000];
}

function options(name) {
  const socket = { host: env.TRIAL_HOST, port: Number(env.TRIAL_PORT) };
  if (env.TRIAL_CA) Object.assign(socket, { tls: true, ca: readFileSync(env.TRIAL_CA) });
  const found = { socket, name };
  if (env.TRIAL_PASSWORD) found.password = env.TRIAL_PASSWORD;
  if (env.IDENTITY_ENDPOINT) found.credential = token;
  if (env.TRIAL_ALLOWED_HOSTS) {
    Object.assign(found, { addressMap: 'advertised', allowedHosts: env.TRIAL_ALLOWED_HOSTS.split(',') });
  }
  return found;
}

async function serve(name) {
  const client = createClient(options(name)).on('error', () => {});
  await client.connect();
  const jobs = Array.from({ length: WORKERS }, (_, number) => work(client, name, number));
  if (PARTS.has('blocking')) jobs.push(push(client, name), pop(client, name));
  if (PARTS.has('pubsub')) jobs.push(publish(client, name, 'PUBLISH', `news:${name}`), hear(client, name));
  if (PARTS.has('shard')) jobs.push(publish(client, name, 'SPUBLISH', `shard:${name}`));
  await Promise.all(jobs);
  await client.close();
}

await Promise.all(Array.from({ length: CLIENTS }, (_, number) => serve(`${env.TRIAL_NAME}-${number}`)));
await new Promise((done) => { file.end(done); });
