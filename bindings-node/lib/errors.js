/** What became of a command that has no reply. */
export const OUTCOMES = [undefined, 'not sent', 'indeterminate', 'refused'];

/** An error of the server's, or why a command has no reply. `code` is the same number in every language. */
export class RespassError extends Error {
  constructor(text, code, outcome) {
    super(text);
    this.name = 'RespassError';
    this.code = code;
    this.outcome = OUTCOMES[outcome];
  }
}
