'use strict';
// One socket, from the core's wish for it until it is closed.

const net = require('node:net');

const NOTHING = Buffer.alloc(0);
const ROOM_LEN = 128 * 1024;

// Used only while a call lasts, so that all sockets of a thread share it.
const received = Buffer.allocUnsafeSlow(256 * 1024);

/** Where the core puts what is to be written. It is replaced where a socket does not take that at once. */
const room = { bytes: Buffer.allocUnsafeSlow(ROOM_LEN) };

class Connection {
  id;
  /** The socket has not taken what was written last, or takes nothing any more. */
  isBlocked = false;
  #driver;
  #socket;
  #wasConnected = false;
  #cause;

  /**
   * Connects. The driver is told: `handleConnected(connection)`, `handleReceived(connection, bytes, len)`,
   * `handleUnblocked(connection)`, `handleClosed(connection, wasConnected, cause)`.
   */
  constructor(id, { host, port }, driver) {
    this.id = id;
    this.#driver = driver;
    const callback = (len, bytes) => {
      driver.handleReceived(this, bytes, len);
      return true;
    };
    this.#socket = net.connect({ host, port, noDelay: true, onread: { buffer: received, callback } })
      .on('connect', () => {
        this.#wasConnected = true;
        driver.handleConnected(this);
      })
      .on('error', (error) => { this.#cause = error.message || error.code; })
      .on('close', () => driver.handleClosed(this, this.#wasConnected, this.#cause));
  }

  /** Writes the first `len` bytes of the room. */
  write(len) {
    const socket = this.#socket;
    if (socket.destroyed) {
      // It has ended, which is told only later: what was not written yet is for the next one.
      this.isBlocked = true;
      return;
    }
    socket.write(room.bytes.subarray(0, len));
    if (socket.writableLength === 0) return;
    // What was not taken stays where it is, and nothing is written before it has left.
    room.bytes = Buffer.allocUnsafeSlow(ROOM_LEN);
    this.isBlocked = true;
    socket.write(NOTHING, () => this.#unblock());
  }

  /** Closes, after these bytes where the peer takes them at once. */
  end(lastBytes) {
    const socket = this.#socket;
    if (socket.writable && !socket.connecting && !this.isBlocked) {
      if (lastBytes.length > 0) socket.write(lastBytes);
      if (socket.writableLength === 0) return socket.destroySoon();
    }
    // A peer that takes nothing would keep it open.
    socket.destroy();
  }

  /** Whether the process waits for it. */
  set keepsAlive(yes) {
    if (yes) this.#socket.ref();
    else this.#socket.unref();
  }

  #unblock() {
    if (this.#socket.destroyed) return;
    this.isBlocked = false;
    this.#driver.handleUnblocked(this);
  }
}

module.exports = { Connection, NOTHING, room };
