// Servers that live as long as a test.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';

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

/** A redis-server on a free loopback port; ended after the test. */
export async function startServer(t) {
  const port = await freePort();
  const options = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--port', String(port)];
  const server = spawn('redis-server', options, { stdio: 'ignore' });
  const exit = once(server, 'exit');
  const stop = async () => {
    server.kill();
    await exit;
  };
  t.after(stop);
  for (const end = Date.now() + 10_000; !await isListening(port);) {
    if (Date.now() > end) throw new Error('redis-server does not listen');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { stop, host: '127.0.0.1', port };
}

/** The emulator, where RESPASS_EMULATOR names its program; its ready line. It ends with its standard input. */
export async function startEmulator(t, ...options) {
  const stdio = ['pipe', 'pipe', 'inherit'];
  const emulator = spawn(process.env.RESPASS_EMULATOR, ['--port', '0', '--stdin-lifeline', ...options], { stdio });
  t.after(async () => {
    emulator.stdin.end();
    await once(emulator, 'exit');
  });
  const [line] = await once(createInterface({ input: emulator.stdout }), 'line');
  return JSON.parse(line);
}
