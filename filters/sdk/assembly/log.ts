// SPDX-License-Identifier: Apache-2.0
// Owns a filter's log lines and its abort. Lines are limited here by event time, so that what is logged depends on
// nothing but the events; the host also takes no more than a few lines a batch, and counts the rest.
import { Bytes } from './bytes';
import { eventTimeNs } from './memory';
import { writeNumber, writeText } from './text';
import { log } from './weir';

const LINE_BYTES: u32 = 512;
/** Lines within the window; those beyond are left out, and their count is said before the next that is not. */
const LINES_MAX: u32 = 16;
const WINDOW_NS: u64 = 10_000_000_000;

const line: usize = memory.data(512, 8);
let used: u32 = 0;
let begunNs: u64 = 0;
let lines: u32 = 0;
let leftOut: u32 = 0;

function add(text: string): void {
  used += writeText(text, line + used, LINE_BYTES - used);
}

function addNumber(value: i64): void {
  used += writeNumber(value, line + used, LINE_BYTES - used);
}

function addBytes(bytes: Bytes): void {
  const length = min<u32>(bytes.length, LINE_BYTES - used);
  memory.copy(line + used, bytes.address, length);
  used += length;
}

function send(level: i32): void {
  log(level, line, <i32>used);
  used = 0;
}

/** Whether a line may be written now. */
function allowed(): bool {
  const now = eventTimeNs();
  if (now < begunNs || now - begunNs > WINDOW_NS) {
    begunNs = now;
    lines = 0;
  }
  if (lines >= LINES_MAX) {
    leftOut++;
    return false;
  }
  lines++;
  if (leftOut > 0) {
    addNumber(leftOut);
    add(' lines were left out');
    send(2);
    leftOut = 0;
  }
  return true;
}

function write(level: i32, text: string, detail: Bytes | null): void {
  if (!allowed()) return;
  add(text);
  if (detail !== null) {
    add(' ');
    addBytes(detail);
  }
  send(level);
}

/** Writes a line to the agent's log, with bytes of the event behind it where given: at most 16 in 10 s of event time. */
export function debug(text: string, detail: Bytes | null = null): void {
  write(0, text, detail);
}

export function info(text: string, detail: Bytes | null = null): void {
  write(1, text, detail);
}

export function warn(text: string, detail: Bytes | null = null): void {
  write(2, text, detail);
}

/** Tells the host why the configuration is refused. */
export function refusal(text: string): void {
  used = 0;
  add(text);
  send(4);
}

/** Takes the place of AssemblyScript's abort: tells the host why, then traps. Allocates nothing. */
export function weirAbort(message: string | null, file: string | null, row: u32, column: u32): void {
  used = 0;
  if (message !== null) add(message);
  if (file !== null) {
    add(' at ');
    add(file);
    add(':');
    addNumber(row);
    add(':');
    addNumber(column);
  }
  send(4);
  unreachable();
}
