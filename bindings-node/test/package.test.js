'use strict';
// The package as a new user has it: packed, installed into an empty project, and used from each kind of module.
const assert = require('node:assert/strict');
const {
  copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync,
} = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { before, after, test } = require('node:test');
const { run, startServer } = require('./rig');

const root = path.dirname(__dirname);
const project = mkdtempSync(path.join(os.tmpdir(), 'respass-project-'));
const write = (name, text) => writeFileSync(path.join(project, name), text);
const npm = (...arguments_) => run('npm', arguments_, { cwd: project, seconds: 60 });

before(async () => {
  const packed = await run('npm', ['pack', '--silent', '--pack-destination', project], { cwd: root, seconds: 60 });
  assert.equal(packed.code, 0, packed.stderr);
  const [tarball] = readdirSync(project);
  write('package.json', '{ "private": true }');
  const installed = await npm('install', '--offline', '--no-audit', '--no-fund', `./${tarball}`);
  assert.equal(installed.code, 0, installed.stderr);
});

after(() => rmSync(project, { recursive: true }));

const USE = `
  const client = await createClient({ socket: { host: '127.0.0.1', port: Number(process.argv[2]) } }).connect();
  console.log(await client.sendCommand(['ECHO', 'hello']), RESP_TYPES.MAP, new ErrorReply('x') instanceof Error);
  await client.close();`;

test('import', async (t) => {
  const { port } = await startServer(t);
  write('program.mjs', `import { createClient, ErrorReply, RESP_TYPES } from 'respass';${USE}`);
  assert.deepEqual(await run('node', ['program.mjs', port], { cwd: project }),
    { code: 0, stdout: 'hello 37 true\n', stderr: '' });
});

test('require', async (t) => {
  const { port } = await startServer(t);
  write('program.cjs', `const { createClient, ErrorReply, RESP_TYPES } = require('respass');(async () => {${USE}})();`);
  assert.deepEqual(await run('node', ['program.cjs', port], { cwd: project }),
    { code: 0, stdout: 'hello 37 true\n', stderr: '' });
});

test('both kinds of modules have the same names', async () => {
  write('names.mjs', `import * as names from 'respass'; import { createRequire } from 'node:module';
    const required = createRequire(import.meta.url)('respass');
    const missing = Object.keys(required).filter((name) => names[name] !== required[name]);
    console.log(missing.join());`);
  assert.deepEqual(await run('node', ['names.mjs'], { cwd: project }), { code: 0, stdout: '\n', stderr: '' });
});

test('RESPASS_NATIVE_PATH names another native part, and one that does not load says what to do', async () => {
  write('load.cjs', 'require("respass"); console.log("loaded");');
  const load = (file) => {
    const env = { ...process.env, RESPASS_NATIVE_PATH: file };
    return run('node', ['load.cjs'], { cwd: project, env });
  };
  assert.equal((await load(path.join(root, 'respass.node'))).stdout, 'loaded\n');
  const { code, stderr } = await load('/nowhere/respass.node');
  assert.equal(code, 1);
  assert.match(stderr, /the native part of respass does not load on \w+-\w+: .*set RESPASS_NATIVE_PATH/s);
});

test('the package holds the licences that it names', () => {
  for (const name of ['LICENSE-APACHE', 'LICENSE-MIT']) {
    const packed = readFileSync(path.join(project, 'node_modules', 'respass', name));
    assert(packed.equals(readFileSync(path.join(root, '..', name))), name);
  }
});

test('TypeScript programs compile under --strict, as ESM and as CommonJS', async () => {
  for (const name of ['@azure', '@types', 'typescript']) {
    symlinkSync(path.join(root, 'node_modules', name), path.join(project, 'node_modules', name));
  }
  const flags = ['--strict', '--skipLibCheck', '--noEmit', '--target', 'es2022', '--lib', 'es2022,esnext.disposable',
    '--module', 'nodenext', '--moduleResolution', 'nodenext', '--types', 'node', '--exactOptionalPropertyTypes'];
  const programs = ['surface.mts', 'surface.cts'];
  for (const name of programs) copyFileSync(path.join(__dirname, 'types', 'surface.ts'), path.join(project, name));
  const { code, stdout } = await run('node', [require.resolve('typescript/bin/tsc'), ...flags, ...programs],
    { cwd: project, seconds: 60 });
  assert.equal(code, 0, stdout);
});
