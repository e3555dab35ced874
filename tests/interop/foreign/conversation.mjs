// How our tests talk to these programs: JSON lines in, JSON lines out, the last one is the answer.
import { createInterface } from "node:readline";

let lines;

/** The next JSON line of the input. */
export async function question() {
  lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const { value, done } = await lines.next();
  if (done) throw new Error("nobody asks");
  return JSON.parse(value);
}

/** One JSON line to whoever asked. */
export const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

/** Run `work` and print what it returns; an error as {error, message, …} with exit code 1. */
export async function answer(work) {
  try {
    say(await work());
    process.exitCode = 0;
  } catch (error) {
    say(described(error));
    process.exitCode = 1;
  }
  // An open pipe must not keep the process: whoever asked may still hold it.
  process.stdin.destroy();
}

function described(error) {
  const said = { error: error?.name ?? "Error", message: String(error?.message ?? error).slice(0, 2000) };
  if (error?.cause) said.cause = String(error.cause?.message ?? error.cause).slice(0, 500);
  // What the server answered, where a library keeps it: an OAuth or OpenID4VCI error object.
  const { credentialErrorResponseResult, notificationErrorResponseResult } = error?.response ?? {};
  const response =
    error?.errorResponse ?? credentialErrorResponseResult?.data ?? notificationErrorResponseResult?.data;
  if (response) said.response = response;
  return said;
}

/** From now on it is this second: for libraries that ask the clock themselves. */
export function stopClock(seconds) {
  const Real = Date;
  globalThis.Date = class extends Real {
    constructor(...given) {
      super(...(given.length ? given : [seconds * 1000]));
    }
    static now() {
      return seconds * 1000;
    }
  };
}
