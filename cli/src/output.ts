// SPDX-License-Identifier: Apache-2.0
// Owns how things are shown: everything that came from elsewhere goes through `printable`, so that no terminal acts
// upon it; JSON goes out as it is, its own escapes are enough.
import { printable } from '@weir/segment';

export interface Output {
  /** A line of ours, in which all foreign text is made printable already. */
  line(text?: string): void;
  json(value: unknown): void;
  /** A line about what is being done, apart from the result. */
  note(text: string): void;
}

export const standardOutput: Output = {
  line: (text = '') => void process.stdout.write(`${text}\n`),
  json: (value) => void process.stdout.write(`${jsonText(value)}\n`),
  note: (text) => void process.stderr.write(`${text}\n`),
};

function plain(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

/** What JSON leaves as it is, and a terminal or an eye would be misled by. */
const misleading =
  /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** JSON whose strings are written with escapes where a terminal would act upon them; the value stays the same. */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value, plain, 2) ?? 'null';
  return text.replace(
    misleading,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Makes any value of a cell one printable line. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return printable(value);
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return String(value);
  return printable(JSON.stringify(value, plain) ?? '');
}

/** Lines of somebody else's text (a compiler's, a database's), each made printable: only its line ends act. */
export function printableLines(text: string): string[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => printable(line));
}

/** Widest column of a table; the last one is never cut. */
const columnWidthMax = 60;

/** Lays rows out in columns, with a heading. */
export function table(heading: readonly string[], rows: ReadonlyArray<readonly unknown[]>): string[] {
  const cells = [heading, ...rows.map((row) => heading.map((_, index) => cell(row[index])))];
  const widths = heading.map((_, index) =>
    Math.min(columnWidthMax, Math.max(...cells.map((row) => (row[index] ?? '').length))),
  );
  return cells.map((row) =>
    row
      .map((text, index) => {
        if (index === heading.length - 1) return text;
        const width = widths[index] ?? 0;
        const cut = text.length > width ? `${text.slice(0, width - 1)}…` : text;
        return cut.padEnd(width);
      })
      .join('  ')
      .trimEnd(),
  );
}

/** `3 s`, `4 min`, `2 h`, `5 d`: how long ago a moment was. */
export function ago(timeMs: number | undefined, nowMs: number): string {
  if (timeMs === undefined) return 'never';
  const seconds = Math.max(0, Math.round((nowMs - timeMs) / 1000));
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}

export function time(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
