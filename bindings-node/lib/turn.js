// The commands of one turn of the event loop, as the two blocks in which they cross to the core.

const BYTES_LEN = 64 * 1024;

export class Turn {
  /** Who waits for each command's reply, in order. */
  waiters = [];
  /** The pipelines among them. */
  pipelines = [];
  lengths = new Uint32Array(4096);
  lengthsLen = 0;
  bytes = Buffer.allocUnsafe(BYTES_LEN);
  bytesLen = 0;
  #commands = [];
  #text = '';
  #isText = true;

  add(args, waiter) {
    this.#commands.push(args);
    this.waiters.push(waiter);
    const count = args.length;
    let at = this.lengthsLen;
    if (at + count + 1 > this.lengths.length) this.#growLengths(count + 1);
    const lengths = this.lengths;
    lengths[at++] = count;
    let text = this.#text;
    for (let i = 0; i < count; i++) {
      const arg = args[i];
      if (typeof arg === 'string') {
        lengths[at++] = arg.length;
        text += arg;
      } else {
        this.#isText = false;
        at++;
      }
    }
    this.#text = text;
    this.lengthsLen = at;
  }

  get isEmpty() {
    return this.waiters.length === 0;
  }

  /** Fills the blocks. */
  seal() {
    if (this.#isText) {
      // One call for all: where every character is one byte, the lengths are right already.
      this.#room(this.#text.length * 3);
      this.bytesLen = this.bytes.utf8Write(this.#text, 0);
      if (this.bytesLen === this.#text.length) return;
    }
    this.#sealArguments();
  }

  clear() {
    this.waiters = [];
    this.pipelines = [];
    this.#commands = [];
    this.#text = '';
    this.#isText = true;
    this.lengthsLen = 0;
    if (this.bytes.length > 1 << 20) this.bytes = Buffer.allocUnsafe(BYTES_LEN);
  }

  #sealArguments() {
    const parts = [];
    let at = 0;
    for (const args of this.#commands) {
      this.lengths[at++] = args.length;
      for (const arg of args) {
        const part = ArrayBuffer.isView(arg) ? arg : Buffer.from(String(arg));
        this.lengths[at++] = part.byteLength;
        parts.push(part);
      }
    }
    this.lengthsLen = at;
    this.bytes = Buffer.concat(parts);
    this.bytesLen = this.bytes.length;
  }

  #room(len) {
    if (this.bytes.length < len) this.bytes = Buffer.allocUnsafe(len * 2);
  }

  #growLengths(more) {
    const lengths = new Uint32Array((this.lengthsLen + more) * 2);
    lengths.set(this.lengths.subarray(0, this.lengthsLen));
    this.lengths = lengths;
  }
}
