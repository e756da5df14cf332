'use strict';
// What a type mapping names: kinds of replies, by the byte that RESP3 begins them with.

const RESP_TYPES = Object.freeze({
  NULL: 95, BOOLEAN: 35, NUMBER: 58, BIG_NUMBER: 40, DOUBLE: 44, SIMPLE_STRING: 43, BLOB_STRING: 36,
  VERBATIM_STRING: 61, SIMPLE_ERROR: 45, BLOB_ERROR: 33, ARRAY: 42, SET: 126, MAP: 37, PUSH: 62,
});

/** What each kind may become; the first is the default. */
const TARGETS = new Map([
  [RESP_TYPES.NUMBER, [Number, String, BigInt]],
  [RESP_TYPES.BIG_NUMBER, [BigInt, Number, String]],
  [RESP_TYPES.DOUBLE, [Number, String]],
  [RESP_TYPES.SIMPLE_STRING, [String, Buffer]],
  [RESP_TYPES.BLOB_STRING, [String, Buffer]],
  [RESP_TYPES.VERBATIM_STRING, [String, Buffer]],
  [RESP_TYPES.ARRAY, [Array]],
  [RESP_TYPES.SET, [Array, Set]],
  [RESP_TYPES.MAP, [Object, Map, Array]],
]);

module.exports = { RESP_TYPES, TARGETS };
