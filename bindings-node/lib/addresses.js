'use strict';
// Where nodes are that advertise other addresses: the forms of the option, and what the core makes of it.

const { misconfigured } = require('./errors');

const MODES = ['auto', 'azure', 'advertised'];
const WANTED = `addressMap is one of ${MODES.join(', ')}; or { 'advertised.host:port': { host, port } }; or a `
  + "function of 'host:port' that returns { host, port }";

/**
 * The core's settings, and `locate(host, port)` where the driver has a say: it returns `{ host, port }`, or undefined
 * where the address is to be used as it is.
 */
function parseAddresses({ addressMap, nodeAddressMap, allowedHosts }) {
  if (addressMap !== undefined && nodeAddressMap !== undefined) {
    throw misconfigured('addressMap and nodeAddressMap are the same: give one of them');
  }
  const hosts = parseHosts(allowedHosts, addressMap);
  // As node-redis has it: what is not in the table is used as it is.
  const table = typeof nodeAddressMap === 'object' && nodeAddressMap !== null ? parseTable(nodeAddressMap) : undefined;
  const map = addressMap ?? (table === undefined ? nodeAddressMap : (address) => table.get(address));
  if (map === undefined) return { settings: {} };
  if (typeof map === 'function') {
    return { settings: { addressMap: 'driver' }, locate: (host, port) => located(map(`${host}:${port}`)) };
  }
  if (typeof map === 'string' && MODES.includes(map)) {
    return { settings: { addressMap: map, allowedHosts: hosts } };
  }
  if (typeof map !== 'object' || map === null) throw misconfigured(WANTED);
  const addresses = [...parseTable(map)].map(([from, to]) => {
    const at = from.lastIndexOf(':');
    return { fromHost: bare(from.slice(0, at)), fromPort: Number(from.slice(at + 1)), ...to };
  });
  return { settings: { addressMap: 'table', addresses } };
}

function parseHosts(hosts, addressMap) {
  if (hosts === undefined) return undefined;
  if (addressMap !== 'advertised') throw misconfigured("allowedHosts goes with addressMap: 'advertised'");
  if (!Array.isArray(hosts) || hosts.some((host) => typeof host !== 'string')) {
    throw misconfigured("allowedHosts is an array of names, addresses or '*.example.com'");
  }
  return hosts;
}

function parseTable(table) {
  return new Map(Object.entries(table).map(([from, to]) => {
    if (!/^.+:\d{1,5}$/.test(from)) throw misconfigured(`${WANTED}; '${from}' is no 'host:port'`);
    return [from, located(to)];
  }));
}

function located(address) {
  if (address === undefined || address === null) return undefined;
  const { host, port } = address;
  if (typeof host !== 'string' || !Number.isInteger(port) || port < 1 || port > 0xffff) {
    throw misconfigured('addressMap gives { host, port }, a string and a number');
  }
  return { host, port };
}

/** An address of IPv6 without its brackets. */
function bare(host) {
  return host.replace(/^\[(.*)\]$/, '$1');
}

module.exports = { parseAddresses };
