'use strict';
// The native part, which `npm run build` puts beside lib/. RESPASS_NATIVE_PATH names another file.

/** Literal paths only: bundlers follow them. */
const load = () => process.env.RESPASS_NATIVE_PATH
  ? module.require(process.env.RESPASS_NATIVE_PATH)
  : require('../respass.node');

function loaded() {
  try {
    return load();
  } catch (error) {
    const here = `${process.platform}-${process.arch}`;
    error.message = `the native part of respass does not load on ${here}: ${error.message}. `
      + 'Install the package for this platform, or set RESPASS_NATIVE_PATH to a respass.node that was built for it';
    throw error;
  }
}

const { Core, Source, errorCodeOf, segmentOf } = loaded();

/** Both clocks as the native part wants them, in microseconds. */
const monotonic = () => performance.now() * 1e3;
const unix = () => Date.now() * 1e3;

module.exports = { Core, Source, errorCodeOf, segmentOf, monotonic, unix };
