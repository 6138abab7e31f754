'use strict'

// A plugin for Haraka that takes every recipient and keeps every message as a
// file in the folder that SINK names.
const fs = require('node:fs')
const path = require('node:path')

exports.hook_rcpt = (next) => next(OK)

exports.hook_queue = function (next, connection) {
  const file = path.join(process.env.SINK, connection.transaction.uuid)
  connection.transaction.message_stream
    .pipe(fs.createWriteStream(file))
    .on('error', (err) => next(DENYSOFT, err.message))
    .on('finish', () => next(OK))
}
