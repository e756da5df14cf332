'use strict';
// Servers and programs that live as long as a test.
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const net = require('node:net');
const { createInterface } = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');
const { createClient } = require('..');

// The identity libraries honour proxies even on loopback.
process.env.NO_PROXY = 'localhost,127.0.0.1';

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function isListening(port) {
  const socket = net.connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Waits until `check` is true. */
async function until(check, what = String(check)) {
  for (const end = Date.now() + 10_000; !await check();) {
    if (Date.now() > end) throw new Error(`not within 10 s: ${what}`);
    await sleep(10);
  }
}

/** A redis-server on a free loopback port; ended after the test. `more` are options of its command line. */
async function startServer(t, ...more) {
  return startServerAt(await freePort(), t, ...more);
}

async function startServerAt(port, t, ...more) {
  const options = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--port', String(port),
    '--enable-debug-command', 'yes', ...more];
  const server = spawn('redis-server', options, { stdio: 'ignore' });
  const exit = once(server, 'exit');
  const stop = async () => {
    server.kill();
    await exit;
  };
  t.after(stop);
  await until(() => isListening(port), 'redis-server listens');
  return { stop, host: '127.0.0.1', port };
}

/** A connected client, closed after the test. */
async function connect(t, options) {
  const client = createClient(options);
  t.after(() => client.isOpen && client.destroy());
  return client.connect();
}

/** A server and a connected client. */
async function startClient(t, options = {}, ...serverOptions) {
  const { stop, host, port } = await startServer(t, ...serverOptions);
  const client = await connect(t, { socket: { host, port }, ...options });
  return { client, stop, host, port };
}

/** The emulator that RESPASS_EMULATOR names; its ready line, and `ask(path, body)` of its admin endpoint. */
async function startEmulator(t, ...options) {
  const stdio = ['pipe', 'pipe', 'inherit'];
  const always = ['--profile', 'amr-nocluster', '--port', '0', '--identity-port', '0', '--stdin-lifeline'];
  const emulator = spawn(process.env.RESPASS_EMULATOR, [...always, ...options], { stdio });
  t.after(async () => {
    emulator.stdin.end();
    await once(emulator, 'exit');
  });
  const [line] = await once(createInterface({ input: emulator.stdout }), 'line');
  const facts = JSON.parse(line);
  const ask = async (path, body) => {
    const init = body && { method: 'POST', body: JSON.stringify(body) };
    const reply = await fetch(facts.admin + path, init);
    return JSON.parse(await reply.text() || '{}');
  };
  return { ...facts, ask };
}

/** The next event of that name; an 'error' in the meantime is none. */
function next(client, event) {
  return new Promise((resolve) => { client.once(event, resolve); });
}

/** Runs a program of a test: `{ code, stdout, stderr }`. It is ended where it takes longer than `seconds`. */
async function run(command, arguments_, { seconds = 20, ...options } = {}) {
  const child = spawn(command, arguments_, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', (text) => { output[name] += text; });
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
  const [code, signal] = await once(child, 'close');
  clearTimeout(timer);
  return { code: code ?? signal, ...output };
}

/** Runs JavaScript text in a process of its own, where `respass` is the package. */
function runScript(text, { flags = [], ...options } = {}) {
  const script = `const respass = require(${JSON.stringify(require.resolve('..'))});\n${text}`;
  return run(process.execPath, [...flags, '-e', script], options);
}

module.exports = {
  connect, freePort, next, run, runScript, sleep, startClient, startEmulator, startServer, startServerAt, until,
};
