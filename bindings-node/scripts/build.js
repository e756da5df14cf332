'use strict';
// Builds the native part with cargo and puts it where lib/native.js looks.
const { execFileSync } = require('node:child_process');
const { copyFileSync, renameSync } = require('node:fs');
const path = require('node:path');

const root = path.dirname(__dirname);
const messages = execFileSync(
  process.env.CARGO || 'cargo',
  ['build', '--release', '--package', 'respass-node', '--message-format', 'json'],
  { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit'] },
);
const files = messages.split('\n').filter(Boolean).map((line) => JSON.parse(line))
  .filter((message) => message.reason === 'compiler-artifact' && message.target.name === 'respass_node')
  .flatMap((message) => message.filenames).filter((file) => /\.(so|dylib|dll)$/.test(file));
const target = path.join(root, 'respass.node');
// A process that has the old one loaded keeps it: the name moves, the file does not change.
copyFileSync(files.at(-1), `${target}.new`);
renameSync(`${target}.new`, target);
