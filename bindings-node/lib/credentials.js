'use strict';
// Credentials: what to call for a token, and what its answers and errors say.

const { misconfigured } = require('./errors');

const SCOPE = 'https://redis.azure.com/.default';
const WANTED = 'a string, { token, expiresOnTimestamp }, [string, expiry] or MSAL\'s { accessToken, expiresOn }';

const TEXT_LEN_MAX = 400;
const LOOKS_LIKE_A_TOKEN = /eyJ[\w-]{6,}(?:\.[\w-]*)*/g;

/** The credential's answer, or an error of its own, has no form that can be used. */
class UselessAnswer extends Error {}

/** A function of an AbortSignal that asks the credential: its result goes to `partsOf`. */
function asker(credential) {
  if (typeof credential?.getToken === 'function') {
    return (abortSignal) => credential.getToken(SCOPE, { abortSignal });
  }
  if (typeof credential === 'function') return (abortSignal) => credential({ abortSignal });
  if (credential === 'auto') {
    throw misconfigured(
      'credential: "auto" is not in this version; give one of @azure/identity: new DefaultAzureCredential()');
  }
  throw misconfigured(
    `a credential has getToken(scopes, options), or is an async function: not so a value of type ${typeof credential}`);
}

/** Token, expiry and recommended refresh (ms since 1970) of whatever a credential answered. */
function partsOf(answer) {
  if (answer === null || answer === undefined) {
    throw new UselessAnswer(`the credential returned ${answer}: it has no token for ${SCOPE}`);
  }
  const [token, expiresOn, refreshAfter] = typeof answer === 'string' ? [answer]
    : Array.isArray(answer) ? answer
      : 'accessToken' in Object(answer) ? [answer.accessToken, answer.expiresOn]
        : [answer.token, answer.expiresOnTimestamp ?? answer.expiresOn, answer.refreshAfterTimestamp];
  if (typeof token !== 'string') {
    // The value itself is not shown: it may be the token in some other form.
    throw new UselessAnswer(`the credential returned ${shapeOf(answer)}; wanted: ${WANTED}`);
  }
  return { token, expiresOn: moment(expiresOn), refreshAfter: moment(refreshAfter) };
}

function shapeOf(answer) {
  if (typeof answer !== 'object') return `a ${typeof answer}`;
  return Array.isArray(answer) ? `an array whose first element is ${typeof answer[0]}`
    : `an object whose token is ${typeof answer.token}`;
}

function moment(value) {
  if (value === null || value === undefined) return undefined;
  const ms = value instanceof Date ? value.getTime() : value;
  if (typeof ms !== 'number' || !Number.isFinite(ms) || ms < 0) {
    throw new UselessAnswer('the credential\'s expiry is no number of milliseconds since 1970 and no Date');
  }
  return ms;
}

/** What a source is told of an error, whatever was thrown: never anything that looks like a token. */
function failureOf(error) {
  if (orElse(false, () => error instanceof UselessAnswer)) return { text: error.message, isPermanent: true };
  const status = orElse(undefined, () => statusOf(error));
  return {
    text: orElse('the credential failed with a value that cannot be shown', () => describe(error)),
    status,
    retryAfter: orElse(undefined, () => retryAfterOf(error)),
    // Whether waiting helps is certain only where the endpoint itself refused the request as such.
    isPermanent: status === 400 || status === 401 || status === 403,
  };
}

/** Foreign objects may throw wherever they are touched. */
function orElse(fallback, look) {
  try {
    return look();
  } catch {
    return fallback;
  }
}

function describe(error) {
  const parts = error instanceof Error ? [error.name, error.message ?? ''] : [String(error)];
  const text = parts.map((part) => tidied(String(part))).filter(Boolean).join(': ');
  return text || 'the credential failed without a reason';
}

function tidied(text) {
  const tidy = text.replace(LOOKS_LIKE_A_TOKEN, '(token withheld)').replace(/\s+/g, ' ').trim();
  return tidy.length <= TEXT_LEN_MAX ? tidy : `${tidy.slice(0, TEXT_LEN_MAX)}…`;
}

function statusOf(error) {
  const status = error?.statusCode ?? error?.status;
  return Number.isInteger(status) && status >= 100 && status < 600 ? status : undefined;
}

/** Milliseconds. */
function retryAfterOf(error) {
  const headers = error?.response?.headers;
  const text = typeof headers?.get === 'function' ? headers.get('retry-after') : headers?.['retry-after'];
  if (text === null || text === undefined) return undefined;
  const wait = /^\s*\d+(\.\d+)?\s*$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(wait) ? Math.max(wait, 0) : undefined;
}

module.exports = { asker, failureOf, partsOf };
