// The native part: `npm run build` puts it here.
import { createRequire } from 'node:module';

export const { Core, Source, errorCodeOf } = createRequire(import.meta.url)('../respass.node');

/** Both clocks as the native part wants them, in microseconds. */
export const monotonic = () => performance.now() * 1e3;
export const unix = () => Date.now() * 1e3;
