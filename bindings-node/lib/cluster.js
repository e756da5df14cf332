'use strict';
// The client of a cluster: the same as any other, which insists on a cluster.

const { Client } = require('./client');
const { parseCluster } = require('./options');

class Cluster extends Client {
  /** As any client's; also as node-redis has it for clusters: (firstKey, isReadonly, args, options). */
  sendCommand(...args) {
    return Array.isArray(args[0]) ? super.sendCommand(...args) : super.sendCommand(args[2], args[3]);
  }

  _parse(options) {
    return parseCluster(options);
  }
}

/** A client of a cluster, that connects when told to. Throws a ConfigurationError where the options cannot work. */
function createCluster(options) {
  return new Cluster(options);
}

module.exports = { Cluster, createCluster };
