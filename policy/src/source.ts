// SPDX-License-Identifier: Apache-2.0
// Owns the way from text to plain data: YAML documents are read within bounds, and the place of every field is kept,
// so that whatever is found wrong later can be pointed at. It knows nothing of policies but one habit: the items of a
// list called `values` stay text as they were written (`0x10`, `007`), for only their argument's type says what they are.
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
} from 'yaml';
import type { PolicyIssue, PolicyIssueCode } from './error.js';
import { quote } from './nearest.js';

/** Bounds on what is read, all refused by name, none cut. */
export const sourceLimits = {
  /** About what Kubernetes takes for an object, which is 1.5 MiB with all that is around it. */
  textBytes: 1024 * 1024,
  /** Words, marks and runs of spaces: they cost about 7 µs each, however short they are. */
  lexemes: 400_000,
  documents: 256,
  depth: 32,
  /** Nodes of one document after aliases are expanded: what a billion laughs runs into. */
  nodes: 200_000,
} as const;

export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A document as plain data, and where each of its fields is. */
export interface SourceDocument {
  readonly value: unknown;
  /** The place of a field, or of the nearest field around it that is there. */
  locate(path: string): Position;
}

export interface SourceResult {
  readonly documents: readonly SourceDocument[];
  readonly issues: readonly PolicyIssue[];
}

class LimitError extends Error {
  constructor(
    message: string,
    readonly offset: number,
    readonly path: string,
    readonly code: PolicyIssueCode = 'yaml-limit',
  ) {
    super(message);
  }
}

/** Writes the path of a field of a map. */
export function fieldPath(parent: string, key: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(key)) return `${parent}[${quote(key)}]`;
  return parent === '' ? key : `${parent}.${key}`;
}

/** Writes the path of what zod and the like call a list of keys and indexes. */
export function joinPath(keys: readonly PropertyKey[]): string {
  let path = '';
  for (const key of keys) path = typeof key === 'number' ? `${path}[${key}]` : fieldPath(path, String(key));
  return path;
}

function parentPath(path: string): string {
  const cut = Math.max(path.lastIndexOf('.'), path.lastIndexOf('['));
  return cut < 0 ? '' : path.slice(0, cut);
}

class Walk {
  readonly places = new Map<string, number>();
  private nodes = 0;
  private readonly open = new Set<unknown>();
  private readonly anchors = new Map<string, unknown>();

  /** Registers anchors as they come, as YAML does: an alias means the last node so named before it. */
  convert(node: unknown, path: string, depth: number, inValues: boolean, offset: number): unknown {
    if (++this.nodes > sourceLimits.nodes) {
      throw new LimitError(
        `the document has more than ${sourceLimits.nodes} nodes once its aliases are expanded: write fewer, or split it`,
        offset,
        path,
      );
    }
    if (depth > sourceLimits.depth) {
      throw new LimitError(
        `nested deeper than ${sourceLimits.depth} levels: no field of a policy is`,
        offset,
        path,
      );
    }
    if (node === null || node === undefined) return null;
    if (isAlias(node)) {
      const target = this.anchors.get(node.source);
      if (target === undefined) {
        throw new LimitError(`alias *${node.source} names no anchor before it`, offset, path, 'yaml-syntax');
      }
      if (this.open.has(target)) {
        throw new LimitError(`alias *${node.source} contains itself`, offset, path, 'yaml-syntax');
      }
      return this.convert(target, path, depth, inValues, offset);
    }
    const anchor = (node as { anchor?: string }).anchor;
    if (anchor !== undefined) this.anchors.set(anchor, node);
    if (isScalar(node)) {
      const { value, source, type } = node;
      if (inValues && type === 'PLAIN' && source !== undefined && value !== null) return source;
      if (typeof value === 'number' && !Number.isSafeInteger(value) && source !== undefined) return source;
      return value;
    }
    this.open.add(node);
    const result = isMap(node)
      ? this.convertMap(node.items, path, depth, offset)
      : isSeq(node)
        ? node.items.map((item, index) => {
            const place = startOf(item, offset);
            const itemPath = `${path}[${index}]`;
            this.places.set(itemPath, place);
            return this.convert(item, itemPath, depth + 1, inValues, place);
          })
        : null;
    this.open.delete(node);
    return result;
  }

  private convertMap(
    items: readonly { key: unknown; value: unknown }[],
    path: string,
    depth: number,
    offset: number,
  ): Record<string, unknown> {
    // Without a prototype: `__proto__` is a field name like any other, and unknown.
    const result: Record<string, unknown> = Object.create(null);
    const own = new Set<string>();
    const merged: unknown[] = [];
    for (const { key, value } of items) {
      const place = startOf(key, offset);
      const keyText = isScalar(key) ? (typeof key.value === 'string' ? key.value : key.source) : undefined;
      if (keyText === undefined) {
        throw new LimitError('a field name must be plain text', place, path, 'yaml-syntax');
      }
      if (isScalar(key) && key.anchor !== undefined) this.anchors.set(key.anchor, key);
      if (keyText === '<<') {
        merged.push(this.convert(value, fieldPath(path, keyText), depth + 1, false, place));
        continue;
      }
      const itemPath = fieldPath(path, keyText);
      if (own.has(keyText)) {
        throw new LimitError(`${quote(keyText)} is written twice`, place, itemPath, 'duplicate-field');
      }
      own.add(keyText);
      this.places.set(itemPath, place);
      const converted = this.convert(value, itemPath, depth + 1, keyText === 'values', place);
      // A field without a value is as good as absent, as for Kubernetes.
      if (converted !== null) result[keyText] = converted;
    }
    for (const source of merged.flat()) {
      if (typeof source !== 'object' || source === null) {
        throw new LimitError('<< merges a map, or a list of maps', offset, path, 'yaml-syntax');
      }
      for (const [key, value] of Object.entries(source)) if (!own.has(key)) result[key] ??= value;
    }
    return result;
  }
}

function startOf(node: unknown, fallback: number): number {
  const range = (node as { range?: readonly number[] } | null)?.range;
  return range?.[0] ?? fallback;
}

function decode(text: string | Uint8Array): string | PolicyIssue {
  const length = typeof text === 'string' ? Buffer.byteLength(text) : text.byteLength;
  if (length > sourceLimits.textBytes) {
    return wholeText(
      'text-too-large',
      `the text has ${length} bytes: ${sourceLimits.textBytes} is the most that is read`,
    );
  }
  if (typeof text === 'string') return text;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(text);
  } catch {
    return wholeText('text-encoding', 'the text is not UTF-8: write other bytes as escapes in double quotes');
  }
}

function wholeText(code: PolicyIssueCode, message: string): PolicyIssue {
  return { code, policy: '', path: '', line: 0, column: 0, message };
}

/**
 * Reads the tokens of a text, and stops where they nest too deep. The composer that takes them recurses by nesting,
 * and a stack that is nearly full ends the whole process (V8 compiles regular expressions on it), not just the call.
 */
function* readTokens(text: string, lines: LineCounter): Generator<CST.Token, void> {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  let offset = 0;
  let count = 0;
  for (const lexeme of new Lexer().lex(text)) {
    yield* parser.next(lexeme);
    offset += lexeme.length;
    if (++count > sourceLimits.lexemes) {
      throw new LimitError(
        `the text has more than ${sourceLimits.lexemes} words and marks: split it`,
        Math.min(offset, text.length),
        '',
      );
    }
    if (parser.stack.length > sourceLimits.depth + 8) {
      throw new LimitError(
        `nested deeper than ${sourceLimits.depth} levels: no field of a policy is`,
        Math.min(offset, text.length),
        '',
      );
    }
  }
  yield* parser.end();
}

/** Reads all documents of a text. Never throws; what cannot be read is an issue. Empty documents are left out. */
export function readDocuments(text: string | Uint8Array): SourceResult {
  const decoded = decode(text);
  if (typeof decoded !== 'string') return { documents: [], issues: [decoded] };
  const lines = new LineCounter();
  const placeOf = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const documents: SourceDocument[] = [];
  const issues: PolicyIssue[] = [];
  const report = (code: PolicyIssueCode, path: string, offset: number, message: string): void => {
    issues.push({ code, policy: '', path, ...placeOf(offset), message });
  };
  const list: Document.Parsed[] = [];
  try {
    // Keys that are written twice are the walk's to find: the library compares each key with each other one.
    const composer = new Composer({
      uniqueKeys: false,
      prettyErrors: false,
      version: '1.2',
      logLevel: 'error',
    });
    for (const document of composer.compose(readTokens(decoded, lines))) {
      list.push(document);
      if (list.length > sourceLimits.documents) {
        const [at] = document.range;
        throw new LimitError(`the text has more than ${sourceLimits.documents} documents`, at, '');
      }
    }
  } catch (error) {
    if (error instanceof LimitError) report(error.code, error.path, error.offset, error.message);
    else
      issues.push(
        wholeText('yaml-syntax', `not readable as YAML: ${(error as Error).message.split('\n')[0]}`),
      );
    return { documents: [], issues };
  }
  for (const document of list) {
    if (document.errors.length > 0) {
      for (const error of document.errors) {
        report('yaml-syntax', '', error.pos[0], `not valid YAML: ${error.message.split('\n')[0]}`);
      }
      continue;
    }
    if (document.contents === null) continue;
    const walk = new Walk();
    const start = startOf(document.contents, 0);
    try {
      const value = walk.convert(document.contents, '', 0, false, start);
      if (value === null) continue;
      documents.push({
        value,
        locate(path) {
          for (let at = path; at !== ''; at = parentPath(at)) {
            const place = walk.places.get(at);
            if (place !== undefined) return placeOf(place);
          }
          return placeOf(start);
        },
      });
    } catch (error) {
      if (!(error instanceof LimitError)) throw error;
      report(error.code, error.path, error.offset, error.message);
    }
  }
  return { documents, issues };
}
