export { Client } from './client.js';
export { RespassError } from './errors.js';
