'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { MultiErrorReply, ProtocolError } = require('..');
const { Replies } = require('../lib/replies');
const { Call, Pipeline } = require('../lib/calls');

/** A window with one integer for each of so many commands, from 1 on. Its layout is described in src/window.rs. */
function window(count) {
  const replies = new Replies();
  const numbers = new Float64Array(replies.window.buffer);
  const nodesAt = 10 + count * 2;
  numbers.set([0, count, nodesAt * 8, nodesAt * 8 + count * 16, 0, 1]);
  const words = new Uint32Array(replies.window.buffer);
  for (let i = 0; i < count; i++) {
    numbers.set([i + 1, i], 10 + i * 2);
    words.set([3, 0, 7, 0], nodesAt * 2 + i * 4);
  }
  return replies;
}

const call = () => {
  let call;
  const result = new Promise((resolve, reject) => { call = new Call(resolve, reject); });
  return { call, result };
};

test('a reply that JavaScript cannot hold rejects its own command, and no other', async () => {
  const replies = window(4);
  let count = 0;
  // As V8 does for a string beyond its limit, which needs gigabytes.
  const value = replies.value.bind(replies);
  replies.value = (at) => {
    if ([2, 3].includes(++count)) throw new Error('Cannot create a string longer than 0x1fffffe8 characters');
    return value(at);
  };
  const [before, long, after] = [call(), call(), call()];
  let pipeline;
  const batch = new Promise((resolve, reject) => {
    pipeline = new Pipeline({ commands: [['GET', 'long']], transforms: [] }, resolve, reject);
    pipeline.first = 3;
  });
  const waiters = [undefined, before.call, long.call, pipeline, after.call];
  replies.read({ takeBytes() {} }, { take: (id) => waiters[id] });
  const refused = (error) => {
    assert(error instanceof ProtocolError);
    assert.deepEqual([error.code, error.outcome], [203, 'indeterminate']);
    assert.match(error.message, /longer than 0x1fffffe8 .* have it as a Buffer/);
    return true;
  };
  await assert.rejects(long.result, refused);
  await assert.rejects(batch, (error) => error instanceof MultiErrorReply && refused(error.errors().next().value));
  assert.deepEqual([await before.result, await after.result], [7, 7]);
});
