'use strict';
// Puts the repository's licence texts where npm packs them: it takes nothing from outside of the package.
const { copyFileSync } = require('node:fs');
const path = require('node:path');

const root = path.dirname(__dirname);
for (const name of ['LICENSE-APACHE', 'LICENSE-MIT']) {
  copyFileSync(path.join(path.dirname(root), name), path.join(root, name));
}
