'use strict';

const { Client, createClient } = require('./client');
const { classes } = require('./errors');
const { RESP_TYPES } = require('./resp_types');

module.exports = { createClient, Client, RESP_TYPES, ...classes };
