'use strict';
const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { before, test } = require('node:test');
const { inspect } = require('node:util');
const { ManagedIdentityCredential } = require('@azure/identity');
const { AuthenticationError, TokenError, createClient } = require('..');
const { connect, next, sleep, startEmulator, until } = require('./rig');

const TOKEN_TTL_S = 4;
const OTHER = '11111111-2222-3333-4444-555555555555';

before(() => {
  assert(process.env.RESPASS_EMULATOR, 'RESPASS_EMULATOR names the emulator program');
  delete process.env.IDENTITY_SERVER_THUMBPRINT;
});

/** An emulator whose tokens live for so long, and a client's options for it. */
async function startCloud(t, seconds = TOKEN_TTL_S) {
  const emulator = await startEmulator(t, '--token-ttl', String(seconds));
  process.env.IDENTITY_ENDPOINT = emulator.identity_endpoint;
  process.env.IDENTITY_HEADER = emulator.identity_header;
  const socket = { host: emulator.host, port: emulator.port, ca: readFileSync(emulator.ca_file) };
  const askToken = async (overrides = {}) => {
    const { access_token: token, expires_on: expiresOn } = await emulator.ask('/token', overrides);
    return { token, expiresOnTimestamp: Number(expiresOn) * 1000 };
  };
  return { emulator, socket, askToken };
}

/** Commands without a pause for so many seconds: none may fail. */
async function load(client, seconds) {
  let count = 0;
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    const replies = await Promise.all(Array.from({ length: 50 }, (_, i) => client.sendCommand(['INCR', `k:${i}`])));
    count += replies.length;
    assert(replies.every(Number.isInteger));
    await sleep(5);
  }
  return count;
}

test('a managed identity of @azure/identity: tokens are renewed under load, and no command fails', async (t) => {
  const { emulator, socket } = await startCloud(t);
  const client = await connect(t, { socket, credential: new ManagedIdentityCredential() });
  const kinds = new Set();
  client.on('auth', ({ kind, oid, expiresAt }) => {
    kinds.add(kind);
    assert.equal(oid, emulator.oid);
    assert(expiresAt instanceof Date);
  });
  assert(await load(client, 10) > 500);
  const { isReady, oid, reauthCount, state, expiresAt, refreshAt } = client.authStatus();
  assert.deepEqual([isReady, oid], [true, emulator.oid]);
  assert(reauthCount >= 2, `re-authenticated ${reauthCount} times`);
  assert(['fresh', 'renewing'].includes(state));
  assert(Math.abs(expiresAt - Date.now()) < TOKEN_TTL_S * 1000 && refreshAt > Date.now() - 1000);
  assert(kinds.has('renewed') && !kinds.has('failed') && !kinds.has('expired'), [...kinds].join());
  const tokens = await emulator.ask('/tokens');
  assert(tokens.length > 2);
  const all = { depth: 20, showHidden: true, getters: true };
  const shown = inspect([client, client._endpoint, client.authStatus()], all);
  for (const token of tokens) for (const part of token.split('.')) assert(!shown.includes(part));
});

test('a credential that fails while its token still lives: work goes on, and the event says so', async (t) => {
  const { socket, askToken } = await startCloud(t);
  let isDown = false;
  const credential = async () => {
    if (isDown) throw new Error('the identity endpoint is down');
    return askToken();
  };
  const client = await connect(t, { socket, credential });
  const told = (kind) => new Promise((resolve) => {
    client.on('auth', (event) => event.kind === kind && resolve(event));
  });
  isDown = true;
  const { error } = await told('failed');
  assert(error instanceof TokenError && /is down/.test(error.message));
  assert.equal(await client.sendCommand(['PING']), 'PONG');
  isDown = false;
  await load(client, TOKEN_TTL_S);
});

test('every answer of a credential is understood, and clients share their credential\'s tokens', async (t) => {
  const { socket, askToken, emulator } = await startCloud(t, 600);
  const asked = [];
  const answers = {
    text: async () => (await askToken()).token,
    object: () => askToken(),
    pair: async () => Object.values(await askToken()),
    'pair with a Date': async () => [(await askToken()).token, new Date(Date.now() + 60_000)],
    msal: async () => ({ accessToken: (await askToken()).token, expiresOn: new Date(Date.now() + 60_000) }),
    'no promise': () => token.token,
    'a TokenCredential': {
      async getToken(scopes, { abortSignal }) {
        asked.push(scopes, abortSignal instanceof AbortSignal);
        return { ...await askToken(), refreshAfterTimestamp: Date.now() + 60_000 };
      },
    },
  };
  const token = await askToken();
  await Promise.all(Object.entries(answers).map(async ([name, credential]) => {
    const client = await connect(t, { socket, credential });
    assert.equal(await client.sendCommand(['ECHO', name]), name);
    await connect(t, { socket, credential });
    assert.equal(client.authStatus().oid, emulator.oid);
  }));
  assert.deepEqual(asked, ['https://redis.azure.com/.default', true]);
});

/** Throws wherever it is touched. */
function trapped() {
  const trap = () => { throw new Error('touched'); };
  return new Proxy({}, { get: trap, has: trap, getPrototypeOf: trap, ownKeys: trap });
}

test('useless answers and failures of a credential become typed errors', async (t) => {
  const { socket, askToken } = await startCloud(t, 600);
  const secret = (await askToken()).token;
  const hour = Date.now() + 3_600_000;
  for (const [credential, code, text] of [
    [async () => null, 401, /the credential returned null: it has no token for https:\/\/redis/],
    [async () => undefined, 401, /returned undefined/],
    [async () => 5, 401, /returned a number; wanted: a string/],
    [async () => ({}), 401, /an object whose token is undefined/],
    [async () => [], 401, /an array whose first element is undefined/],
    [async () => '', 401, /empty token/],
    [async () => `${secret}\n`, 401, /control characters/],
    [async () => ({ token: secret, expiresOnTimestamp: 'tomorrow' }), 401, /no number of milliseconds/],
    [async () => 'opaque', 402, /names no object id/],
    [async () => { throw new Error(`refused ${secret}`); }, 401, /Error: refused \(token withheld\)/],
    [() => { throw new RangeError('at once'); }, 401, /RangeError: at once/],
    [() => Promise.reject(), 401, /undefined/],
    [() => Promise.reject(Object.create(null)), 401, /a value that cannot be shown/],
    [() => Promise.reject(Object.assign(new Error('x'), { message: { a: 1 } })), 401, /Error: \[object Object\]/],
    [() => Promise.reject(Object.assign(new TypeError('x'), { message: undefined })), 401, /meanwhile: TypeError\. /],
    [() => Promise.reject(trapped()), 401, /a value that cannot be shown/],
    [{ getToken: () => { throw Object.assign(new Error('no'), { statusCode: 401 }); } }, 401, /Error: no/],
    [{ getToken: async () => null }, 401, /returned null/],
    [new Proxy(async () => ({ get token() { throw new Error('a trap'); } }), {}), 401, /a trap/],
    [async () => [(await askToken({ aud: 'https://vault.azure.net' })).token, hour], 405, /not for Redis/],
    [async () => [(await askToken({ oid: '00000000-0000-0000-0000-000000000000' })).token, hour], 403, /assign/i],
  ]) {
    const client = createClient({ socket, credential, commandTimeout: 400 });
    const failed = next(client, 'auth');
    client.on('error', () => {});
    await assert.rejects(client.connect(), (error) => {
      assert(error instanceof TokenError && error instanceof AuthenticationError, inspect(error));
      assert.equal(error.code, code, inspect(error));
      assert.match(error.message, text);
      assert(error.message.endsWith(error.hint ?? ''));
      assert(!inspect(error, { depth: 5 }).includes(secret.slice(-20)));
      return true;
    }, text.source);
    if (code !== 402) assert.equal((await failed).kind, 'failed');
    assert.equal(client.isOpen, false);
  }
});

test('a credential that never answers: commands end in time, and so does the question', async (t) => {
  const { socket } = await startCloud(t, 600);
  let signal;
  const credential = { getToken: (_scopes, options) => new Promise(() => { signal = options.abortSignal; }) };
  const client = createClient({ socket, credential, commandTimeout: 200, tokenTimeout: 200 });
  await assert.rejects(client.connect(), (error) => {
    assert.equal(error.outcome, 'not_sent');
    assert(error instanceof TokenError);
    assert.match(error.message, /the credential has not answered/);
    return true;
  });
  assert.equal(signal.aborted, true);
});

test('a credential that can never work ends connect at once, from asynchronous code as well', async (t) => {
  const { socket } = await startCloud(t, 600);
  await sleep(1);
  const client = createClient({ socket, credential: async () => null, commandTimeout: 8000 });
  client.on('error', () => {});
  const began = Date.now();
  await assert.rejects(client.connect(), TokenError);
  assert(Date.now() - began < 4000, `after ${Date.now() - began} ms`);
});

test('a question that a client gave up is no failure for the next one', async (t) => {
  const { socket, askToken } = await startCloud(t, 600);
  let asked = 0;
  const credential = ({ abortSignal }) => asked++ > 0 ? askToken() : new Promise((_, reject) => {
    abortSignal.addEventListener('abort', () => setTimeout(reject, 50, abortSignal.reason));
  });
  const first = createClient({ socket, credential });
  const given = assert.rejects(first.connect());
  await until(() => asked === 1);
  first.destroy();
  const second = createClient({ socket, credential, tokenTimeout: 8000 });
  t.after(() => second.isOpen && second.destroy());
  const failures = [];
  second.on('auth', ({ kind, error }) => kind === 'failed' && failures.push(error));
  await second.connect();
  await given;
  await sleep(100);
  assert.deepEqual([failures, asked, second.isReady], [[], 2, true]);
});

test('a refused login names the cause', async (t) => {
  const { socket, askToken } = await startCloud(t, 600);
  const client = createClient({ socket, credential: () => askToken(), username: OTHER });
  const seen = [];
  client.on('error', (error) => seen.push(error));
  await assert.rejects(client.connect(), (error) => error instanceof TokenError && error.code === 404
    && /user name/.test(error.message) && /object id/.test(error.hint));
  await until(() => seen.some((error) => error instanceof AuthenticationError));
});

test('faults of the service: commands that come afterwards are served', async (t) => {
  const { emulator, socket, askToken } = await startCloud(t, 60);
  const client = await connect(t, { socket, credential: () => askToken() });
  client.on('error', () => {});
  for (const kind of ['close-all', 'resp3-off', 'close-all']) {
    const lost = kind === 'close-all' ? next(client, 'ready') : undefined;
    await emulator.ask('/fault', { kind });
    if (lost) await lost;
    assert.equal(await client.sendCommand(['SET', 'k', kind]), 'OK');
    assert.deepEqual(await client.multi().addCommand(['GET', 'k']).exec(), [kind]);
  }
  await client.close();
});

test('subscribers and blocking commands outlive their tokens, and no message is lost', async (t) => {
  const lifeS = 6;
  await Promise.all([3, 2].map(async (RESP) => {
    const { emulator, socket, askToken } = await startCloud(t, lifeS);
    if (RESP === 2) await emulator.ask('/fault', { kind: 'resp3-off' });
    const client = await connect(t, { socket, credential: () => askToken() });
    const trouble = [];
    for (const name of ['error', 'gap']) client.on(name, (event) => trouble.push([RESP, name, event]));
    const got = [];
    await client.subscribe('numbers', (message) => got.push(Number(message)));
    const shards = [];
    await client.sSubscribe('shard', (message) => shards.push(message));
    const popped = client.blPop('list', 0);
    let count = 0;
    for (const end = Date.now() + lifeS * 2500; Date.now() < end; await sleep(5)) {
      assert(await client.publish('numbers', String(count++)) >= 1, 'somebody is subscribed at any time');
    }
    await client.sPublish('shard', 'last');
    await until(() => got.at(-1) === count - 1 && shards.length > 0, 'the last message');
    assert.deepEqual(got, Array.from({ length: count }, (_, i) => i));
    await client.rPush('list', 'a');
    assert.deepEqual(await popped, { key: 'list', element: 'a' });
    assert.deepEqual(trouble, []);
    for (const { expiresAt } of client.authStatus().connections) assert(expiresAt > Date.now());
  }));
});
