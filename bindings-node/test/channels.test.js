'use strict';
const assert = require('node:assert/strict');
const diagnostics = require('node:diagnostics_channel');
const { test } = require('node:test');
const { connect, next, runScript, startClient, startServer } = require('./rig');

/** What a channel says until the test ends: `[event, context]`. */
function listen(t, name) {
  const said = [];
  const channel = diagnostics.tracingChannel(name);
  const handlers = Object.fromEntries(['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((event) =>
    [event, (context) => said.push([event, { ...context }])]));
  channel.subscribe(handlers);
  t.after(() => channel.unsubscribe(handlers));
  return said;
}

test('commands are told by name, with their ends and errors, and without their values', async (t) => {
  const { client, host, port } = await startClient(t, { database: 1 });
  const said = listen(t, 'respass:command');
  await client.sendCommand(['set', 'key', 'classified']);
  await client.sendCommand(['LPOP', 'key']).catch(() => {});
  await client.multi().addCommand(['GET', 'key']).addCommand(['GET', 'key']).exec();
  const events = said.map(([event, { command }]) => `${command} ${event}`);
  assert.deepEqual(events.filter((event) => event.startsWith('SET')), ['SET start', 'SET end', 'SET asyncStart',
    'SET asyncEnd']);
  assert(events.includes('LPOP error') && events.includes('MULTI asyncEnd'));
  const [, context] = said[0];
  assert.deepEqual(context, { command: 'SET', database: 1, serverAddress: host, serverPort: port });
  assert.equal(said.find(([, { command }]) => command === 'MULTI')[1].batchSize, 2);
  const starts = said.filter(([event]) => event === 'start');
  assert(!JSON.stringify(starts).includes('classified'));
});

test('connections are told, and tokens\' questions', async (t) => {
  const connections = listen(t, 'respass:connect');
  const questions = listen(t, 'respass:auth');
  const { client, host, port } = await startClient(t);
  assert.deepEqual(connections.map(([event]) => event), ['start', 'end', 'asyncStart', 'asyncEnd']);
  assert.equal(connections[0][1].serverAddress, host);
  const credential = async () => { throw new Error('out of order'); };
  const options = { socket: { host, port }, credential, allowPlaintextToken: true, commandTimeout: 100 };
  await assert.rejects(connect(t, options));
  assert.deepEqual(questions.slice(0, 3).map(([event]) => event), ['start', 'end', 'error']);
  assert.match(questions[2][1].error, /out of order/);
  client.destroy();
  await next(client, 'end');
});

test('NODE_DEBUG=respass logs what happens, without secrets', async (t) => {
  const { host, port } = await startServer(t, '--requirepass', 'classified');
  const { code, stderr } = await runScript(`
    respass.createClient({ url: 'redis://:classified@${host}:${port}' }).connect()
      .then(async (client) => { await client.sendCommand(['SET', 'k', 'classified']); await client.close(); });`,
    { env: { ...process.env, NODE_DEBUG: 'respass' } });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /RESPASS \d+: connecting to .*\n.*connected and logged in\n.*closed/s);
  assert.doesNotMatch(stderr, /classified/);
});
