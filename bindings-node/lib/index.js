'use strict';

const { Client, createClient } = require('./client');
const { Cluster, createCluster } = require('./cluster');
const { classes } = require('./errors');
const { RESP_TYPES } = require('./resp_types');

module.exports = { createClient, createCluster, Client, Cluster, RESP_TYPES, ...classes };
