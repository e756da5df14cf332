'use strict';
const assert = require('node:assert/strict');
const { getEventListeners, once } = require('node:events');
const { test } = require('node:test');
const {
  AbortError, AuthenticationError, ClientClosedError, ErrorReply, ExecAbortError, InvalidArgumentError,
  MultiErrorReply, RESP_TYPES, UnsupportedCommandError, WrongTypeError, createClient,
} = require('..');
const { connect, next, startClient, startServer, until } = require('./rig');

const map = (entries) => Object.assign(Object.create(null), entries);

test('replies of every kind become JavaScript values', async (t) => {
  const { client } = await startClient(t);
  const reply = (...args) => client.sendCommand(args);
  assert.equal(await reply('SET', 'k', 'v'), 'OK');
  assert.equal(await reply('GET', 'k'), 'v');
  assert.equal(await reply('GET', 'none'), null);
  assert.equal(await reply('INCRBY', 'n', '-41'), -41);
  assert.equal(await reply('SET', 'big', '9007199254740993').then(() => reply('INCR', 'big')), 9007199254740994n);
  await reply('RPUSH', 'l', 'a', 'bc', '');
  assert.deepEqual(await reply('LRANGE', 'l', '0', '-1'), ['a', 'bc', '']);
  assert.deepEqual(await reply('HSET', 'h', '__proto__', 'v').then(() => reply('HGETALL', 'h')).then(Object.entries),
    [['__proto__', 'v']]);
  assert.equal(await reply('ZADD', 'z', '1.5', 'm').then(() => reply('ZSCORE', 'z', 'm')), 1.5);
  assert.deepEqual(await reply('EVAL', 'return {1, {2, {"three"}}, false, 4}', '0'), [1, [2, ['three']], null, 4]);
  assert.deepEqual(await reply('DEBUG', 'PROTOCOL', 'set'), [0, 1, 2]);
  assert.deepEqual(await reply('DEBUG', 'PROTOCOL', 'map'), map({ 0: false, 1: true, 2: false }));
  assert.equal(await reply('DEBUG', 'PROTOCOL', 'bignum'), 1234567999999999999999999999999999999n);
  assert.equal(await reply('DEBUG', 'PROTOCOL', 'verbatim'), 'This is a verbatim\nstring');
  assert.equal(await reply('DEBUG', 'PROTOCOL', 'true'), true);
});

test('a map whose keys are aggregates is an object with their text, and spares the other replies', async (t) => {
  const { client } = await startClient(t);
  const script = "redis.setresp(3); return {map={[{map={a=1}}]='x', [{1, {set={b=true}}}]='y'}}";
  const commands = [['ECHO', 'before'], ['EVAL', script, '0'], ['ECHO', 'after']];
  assert.deepEqual(await Promise.all(commands.map((args) => client.sendCommand(args))),
    ['before', map({ '{"a":1}': 'x', '[1,["b"]]': 'y' }), 'after']);
});

test('a type mapping says what kinds of replies become', async (t) => {
  const { client } = await startClient(t);
  const mapped = client.withTypeMapping({
    [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.MAP]: Map, [RESP_TYPES.NUMBER]: String, [RESP_TYPES.SET]: Set,
    [RESP_TYPES.DOUBLE]: String,
  });
  const reply = (...args) => mapped.sendCommand(args);
  const bytes = Buffer.from([0, 255, 13, 10, 128]);
  assert.equal(await reply('SET', 'b', bytes), 'OK');
  assert.deepEqual(await reply('GET', 'b'), bytes);
  assert.deepEqual(await reply('DEBUG', 'PROTOCOL', 'map'), new Map([['0', false], ['1', true], ['2', false]]));
  assert.deepEqual(await reply('DEBUG', 'PROTOCOL', 'set'), new Set(['0', '1', '2']));
  assert.equal(await reply('ZADD', 'z', '1.5', 'm').then(() => reply('ZSCORE', 'z', 'm')), '1.5');
  assert.equal(await client.sendCommand(['APPEND', 'n', '1']), 1, 'the client itself has no mapping');
  const types = { typeMapping: { [RESP_TYPES.MAP]: Array } };
  assert.deepEqual(await client.sendCommand(['DEBUG', 'PROTOCOL', 'map'], types), [0, false, 1, true, 2, false]);
  assert.deepEqual(await mapped.multi().addCommand(['GET', 'b']).exec(), [bytes]);
});

test('a server without HELLO is spoken to in RESP2', async (t) => {
  const { client } = await startClient(t, {}, '--rename-command', 'HELLO', '');
  const reply = (...args) => client.sendCommand(args);
  await reply('HSET', 'h', 'f', 'v');
  assert.deepEqual(await reply('HGETALL', 'h'), ['f', 'v']);
  assert.equal(await reply('GET', 'none'), null);
  assert.deepEqual(await reply('EVAL', 'return {1, {2}, "x"}', '0'), [1, [2], 'x']);
  assert.deepEqual(await client.multi().addCommand(['SET', 'k', 'v']).addCommand(['GET', 'k']).exec(), ['OK', 'v']);
});

test('an error of the server rejects one command alone', async (t) => {
  const { client } = await startClient(t);
  const commands = [['SET', 'k', 'v'], ['LPOP', 'k'], ['GET', 'k']];
  const [, refused, last] = await Promise.allSettled(commands.map((command) => client.sendCommand(command)));
  assert(refused.reason instanceof WrongTypeError && refused.reason instanceof ErrorReply);
  assert.equal(refused.reason.code, 510);
  assert.equal(refused.reason.outcome, 'refused');
  assert.match(refused.reason.message, /^WRONGTYPE/);
  assert.equal(last.value, 'v');
});

test('commands that a shared connection cannot carry are refused, and spare the others of their turn', async (t) => {
  const { client } = await startClient(t);
  const [first, watched, selected, last] = await Promise.allSettled(
    [['SET', 'k', 'v'], ['WATCH', 'k'], ['SELECT', '1'], ['GET', 'k']].map((args) => client.sendCommand(args)));
  assert.deepEqual([first.value, last.value], ['OK', 'v']);
  for (const [{ reason }, code] of [[watched, 103], [selected, 104]]) {
    assert(reason instanceof UnsupportedCommandError);
    assert.deepEqual([reason.code, reason.outcome], [code, 'not_sent']);
  }
});

test('arguments that cannot be sent are refused by name, and nothing of their command is sent', async (t) => {
  const { client } = await startClient(t);
  const refused = (args, text) => assert.rejects(client.sendCommand(args), (error) => {
    assert(error instanceof InvalidArgumentError);
    assert.deepEqual([error.code, error.outcome], [102, 'not_sent']);
    assert.match(error.message, text);
    return true;
  });
  await refused(['SET', 'k', 1], /argument 2 of SET is of type number/);
  await refused(['SET', undefined, 'v'], /argument 1 of SET is undefined/);
  await refused(['SET', { secret: 'hidden' }, 'v'], /argument 1 of SET is of type Object/);
  await refused([], /at least a name/);
  await refused('GET k', /takes an array/);
  const pipeline = client.multi().addCommand(['SET', 'k', 'v']).addCommand(['SET', 'k', null]);
  await assert.rejects(pipeline.execAsPipeline(), InvalidArgumentError);
  await assert.rejects(pipeline.exec(), InvalidArgumentError);
  assert.equal(await client.sendCommand(['GET', 'k']), null);
});

test('text that is not ASCII and bytes survive the way there and back', async (t) => {
  const { client } = await startClient(t);
  const text = 'grüße, 世界 🌍';
  await Promise.all([[text, text], ['plain', 'x'], ['view', new Uint16Array([0x4142])]]
    .map((pair) => client.sendCommand(['SET', ...pair])));
  assert.equal(await client.sendCommand(['GET', text]), text);
  assert.equal(await client.sendCommand(['GET', 'plain']), 'x');
  assert.equal(await client.sendCommand(['GET', 'view']), 'BA');
});

test('values and aggregates larger than every buffer', async (t) => {
  const { client } = await startClient(t);
  const large = 'y'.repeat(20 << 20);
  const many = Array.from({ length: 100_000 }, (_, i) => `element-${i}`);
  const commands = [['SET', 'large', large], ['RPUSH', 'many', ...many], ['GET', 'large'], 
    ['LRANGE', 'many', '0', '-1'], ['PING']];
  const [, length, value, elements, small] = await Promise.all(commands.map((args) => client.sendCommand(args)));
  assert.equal(length, many.length);
  assert(value === large);
  assert.deepEqual(elements, many);
  assert.equal(small, 'PONG');
  const both = [['GET', 'large'], ['ECHO', 'small']].map((args) => client.sendCommand(args));
  const [left, right] = await Promise.all(both);
  assert(left === large && right === 'small');
  const given = client.sendCommand(['GET', 'large'], { signal: AbortSignal.timeout(1) }).catch(() => {});
  assert.equal(await client.sendCommand(['ECHO', 'behind']), 'behind');
  await given;
});

test('many tasks share a connection and each gets its own reply', async (t) => {
  const { client } = await startClient(t);
  await Promise.all(Array.from({ length: 1500 }, async (_, task) => {
    for (let i = 0; i < 5; i++) {
      const key = `task:${task}:${i}`;
      assert.equal(await client.sendCommand(['SET', key, key]), 'OK');
      assert.equal(await client.sendCommand(['GET', key]), key);
    }
  }));
});

test('a transaction runs as one unit', async (t) => {
  const { client } = await startClient(t);
  const before = client.sendCommand(['SET', 'n', '1']);
  const multi = client.multi().addCommand(['INCR', 'n']).addCommand(['GET', 'n'], (reply) => `was ${reply}`);
  const replies = multi.exec();
  const after = client.sendCommand(['GET', 'n']);
  assert.deepEqual([await before, await replies, await after], ['OK', [2, 'was 2'], '2']);
  assert.deepEqual(await client.multi().exec(), []);
  assert.deepEqual(await client.multi().addCommand(['INCR', 'n']).discard().exec(), []);
  assert.equal(await client.sendCommand(['GET', 'n']), '2');
});

test('a transaction that the server refuses runs nothing', async (t) => {
  const { client } = await startClient(t);
  await assert.rejects(client.multi().addCommand(['SET', 'k', 'v']).addCommand(['NOPE']).exec(), (error) => {
    assert(error instanceof ExecAbortError);
    assert.match(error.message, /command 2 .*unknown command/);
    return true;
  });
  await assert.rejects(client.multi().addCommand(['SELECT', '1']).exec(), UnsupportedCommandError);
  assert.equal(await client.sendCommand(['GET', 'k']), null);
});

test('errors of a transaction and of a pipeline stand in their places', async (t) => {
  const { client } = await startClient(t);
  for (const method of ['exec', 'execAsPipeline']) {
    const multi = client.multi().addCommand(['SET', 'k', 'v']).addCommand(['LPOP', 'k']).addCommand(['GET', 'k']);
    await assert.rejects(multi[method](), (error) => {
      assert(error instanceof MultiErrorReply);
      assert.deepEqual(error.errorIndexes, [1]);
      assert.deepEqual([error.replies[0], error.replies[2]], ['OK', 'v']);
      assert([...error.errors()][0] instanceof WrongTypeError);
      return true;
    });
  }
});

test('an aborted signal ends the wait for one command', async (t) => {
  const { client } = await startClient(t);
  const controller = new AbortController();
  const aborted = client.sendCommand(['DEBUG', 'SLEEP', '0.2'], { signal: controller.signal });
  const spared = client.sendCommand(['PING']);
  setTimeout(() => controller.abort(new Error('enough')), 20);
  await assert.rejects(aborted, (error) => {
    assert(error instanceof AbortError);
    assert.deepEqual([error.name, error.code, error.outcome], ['AbortError', 301, 'indeterminate']);
    assert.equal(error.cause.message, 'enough');
    return true;
  });
  assert.equal(await spared, 'PONG');
  const { signal } = controller;
  await assert.rejects(client.withAbortSignal(signal).sendCommand(['SET', 'k', 'v']), { outcome: 'not_sent' });
  const unused = new AbortController();
  assert.equal(await client.sendCommand(['GET', 'k'], { abortSignal: unused.signal }), null);
  unused.abort();
});

test('a signal ends batches as well', async (t) => {
  const { client, host, port } = await startClient(t);
  const other = await connect(t, { socket: { host, port } });
  for (const method of ['exec', 'execAsPipeline']) {
    const controller = new AbortController();
    const batch = client.withAbortSignal(controller.signal).multi()
      .addCommand(['SET', 'k', method]).addCommand(['DEBUG', 'SLEEP', '0.3']).addCommand(['PING']);
    const running = batch[method]();
    setTimeout(() => controller.abort(new Error('enough')), 30);
    await assert.rejects(running, (error) => {
      assert(error instanceof AbortError, error.message);
      assert.deepEqual([error.outcome, error.cause.message], ['indeterminate', 'enough']);
      return true;
    });
    assert.equal(await other.sendCommand(['GET', 'k']), method);
    assert.equal(await client.sendCommand(['ECHO', 'mine']), 'mine');
    const late = client.withAbortSignal(controller.signal).multi().addCommand(['SET', 'k', 'late']);
    await assert.rejects(late[method](), { name: 'AbortError', outcome: 'not_sent' });
    const early = new AbortController();
    const unsent = client.withAbortSignal(early.signal).multi().addCommand(['SET', 'k', 'early']).execAsPipeline();
    early.abort();
    await assert.rejects(unsent, { name: 'AbortError' });
  }
});

test('many commands with one signal put one listener on it', async (t) => {
  const { client } = await startClient(t);
  const { signal } = new AbortController();
  const view = client.withAbortSignal(signal);
  const running = Array.from({ length: 50 }, () => view.sendCommand(['PING']));
  assert.equal(getEventListeners(signal, 'abort').length, 1);
  await Promise.all(running);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('a signal and a type mapping do not take each other away', async (t) => {
  const { client } = await startClient(t);
  const { signal } = new AbortController();
  const typeMapping = { [RESP_TYPES.BLOB_STRING]: Buffer };
  const mapped = client.withTypeMapping(typeMapping);
  const bytes = Buffer.from([255, 0, 254]);
  await mapped.sendCommand(['SET', 'k', bytes]);
  for (const both of [mapped.withAbortSignal(signal), client.withAbortSignal(signal).withTypeMapping(typeMapping)]) {
    assert.deepEqual(await both.sendCommand(['GET', 'k']), bytes);
  }
  assert.deepEqual(await mapped.sendCommand(['GET', 'k'], { signal }), bytes);
  const given = client.withAbortSignal(AbortSignal.abort()).withTypeMapping(typeMapping);
  await assert.rejects(given.sendCommand(['GET', 'k']), AbortError);
});

test('listeners of a view are those of its client', async (t) => {
  const { client } = await startClient(t);
  const view = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  const calls = [];
  const listener = () => calls.push('view');
  assert.equal(view.on('end', listener), view);
  client.once('other', () => {});
  view.once('other', () => calls.push('once'));
  client.emit('other');
  view.emit('other');
  client.removeAllListeners('other');
  assert.deepEqual([client.listenerCount('end'), client.eventNames(), view.eventNames()], [1, ['end'], ['end']]);
  const end = once(view, 'end');
  await client.close();
  await end;
  assert.deepEqual(calls, ['once', 'view']);
  client.off('end', listener);
  assert.equal(view.listenerCount('end'), 0);
});

test('a refused password is one error, and no event of a token', async (t) => {
  const { host, port } = await startServer(t);
  const client = createClient({ socket: { host, port }, username: 'nobody', password: 'wrong' });
  const events = [];
  for (const name of ['error', 'auth']) client.on(name, (event) => events.push([name, event.name]));
  const ended = next(client, 'end');
  await assert.rejects(client.connect(), AuthenticationError);
  await ended;
  assert.deepEqual(events, [['error', 'AuthenticationError']]);
});

test('arrays that their caller changes afterwards are sent as they were', async (t) => {
  const { client } = await startClient(t);
  const spared = [];
  const changes = [(args) => args.push('EX', '10'), (args) => { args[2] = null; }, (args) => { args.length = 0; }];
  for (const change of changes) {
    for (const value of ['text', Buffer.from('text')]) {
      const args = ['SET', 'k', value];
      const queued = ['SET', 'q', value];
      spared.push(client.sendCommand(['ECHO', 'before']), client.sendCommand(args));
      const multi = client.multi().addCommand(queued);
      change(queued);
      spared.push(multi.execAsPipeline().then(([reply]) => reply), client.sendCommand(['ECHO', 'after']));
      change(args);
      assert.deepEqual(await Promise.all(spared.splice(0)), ['before', 'OK', 'OK', 'after']);
    }
  }
  assert.deepEqual(await client.sendCommand(['MGET', 'k', 'q']), ['text', 'text']);
});

test('a client lives from connect to close, and may be connected again', async (t) => {
  const { host, port } = await startServer(t);
  const client = createClient({ socket: { host, port } });
  const events = [];
  for (const event of ['connect', 'ready', 'reconnecting', 'end', 'error']) client.on(event, () => events.push(event));
  await assert.rejects(client.sendCommand(['PING']), ClientClosedError);
  await assert.rejects(client.multi().addCommand(['PING']).exec(), ClientClosedError);
  await assert.rejects(client.close(), ClientClosedError);
  assert.throws(() => client.destroy(), ClientClosedError);
  for (let life = 0; life < 2; life++) {
    assert.deepEqual([client.isOpen, client.isReady], [false, false]);
    assert.equal(await client.connect(), client);
    assert.deepEqual([client.isOpen, client.isReady], [true, true]);
    await assert.rejects(client.connect(), /call connect\(\) once/);
    const last = client.sendCommand(['PING']);
    const closing = client.close();
    await assert.rejects(client.sendCommand(['PING']), ClientClosedError);
    assert.equal(await last, 'PONG');
    await closing;
  }
  await until(() => events.length === 6);
  assert.deepEqual(events, ['connect', 'ready', 'end', 'connect', 'ready', 'end']);
});

test('destroy tells whoever waits', async (t) => {
  const { client } = await startClient(t);
  const waiting = client.sendCommand(['DEBUG', 'SLEEP', '0.2']);
  client.destroy();
  await assert.rejects(waiting, (error) => error instanceof ClientClosedError && error.outcome !== undefined);
  assert.equal(client.isOpen, false);
});

test('a client disposes of itself', async (t) => {
  const { client } = await startClient(t);
  const end = once(client, 'end');
  await client[Symbol.asyncDispose]();
  await end;
  await client[Symbol.asyncDispose]();
  assert.equal(client.isOpen, false);
});

test('a duplicate has the same options and a connection of its own', async (t) => {
  const { client, host, port } = await startClient(t, { name: 'first' });
  const other = client.duplicate({ name: 'second' });
  t.after(() => other.isOpen && other.destroy());
  await other.connect();
  assert.equal(await client.sendCommand(['CLIENT', 'GETNAME']), 'first');
  assert.equal(await other.sendCommand(['CLIENT', 'GETNAME']), 'second');
  const third = await connect(t, { url: `redis://${host}:${port}/2` });
  await third.sendCommand(['SET', 'k', 'v']);
  assert.equal(await client.sendCommand(['GET', 'k']), null, 'another database');
});
