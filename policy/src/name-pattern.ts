// SPDX-License-Identifier: Apache-2.0
// Owns the patterns by which lists choose functions of the kernel: regular expressions as RE2 has them, as far as names
// need them. They are simulated state by state, so that a hostile one costs no more than its length times the name's.

const patternCharactersMax = 256;
const nestingMax = 16;

/** One state: it takes a character and goes to `next`, or goes on to each of `next` without one. */
interface State {
  readonly kind: 'character' | 'fork' | 'begin' | 'end' | 'match';
  readonly takes?: (code: number) => boolean;
  readonly next: State[];
}

/** A part of the automaton: where it begins, and what is to be led on from it. */
interface Part {
  readonly first: State;
  readonly open: State[];
}

export interface NamePattern {
  /** Whether the pattern is found in a name, anywhere unless ^ or $ say where. */
  matches(name: string): boolean;
}

class PatternError extends Error {}

class Reader {
  private at = 0;
  private depth = 0;
  constructor(private readonly text: string) {}

  read(): State {
    const whole = this.alternatives();
    if (this.at < this.text.length) throw new PatternError(`")" at ${this.at} closes nothing`);
    const match: State = { kind: 'match', next: [] };
    for (const state of whole.open) state.next.push(match);
    return whole.first;
  }

  private alternatives(): Part {
    const parts = [this.sequence()];
    while (this.text[this.at] === '|') {
      this.at++;
      parts.push(this.sequence());
    }
    if (parts.length === 1 && parts[0] !== undefined) return parts[0];
    return {
      first: { kind: 'fork', next: parts.map(({ first }) => first) },
      open: parts.flatMap(({ open }) => open),
    };
  }

  private sequence(): Part {
    const nothing: State = { kind: 'fork', next: [] };
    let open = [nothing];
    while (this.at < this.text.length && !'|)'.includes(this.text[this.at] ?? '')) {
      const part = this.repeated();
      for (const state of open) state.next.push(part.first);
      open = part.open;
    }
    return { first: nothing, open };
  }

  private repeated(): Part {
    let part = this.atom();
    for (;;) {
      const sign = this.text[this.at];
      if (sign !== '*' && sign !== '+' && sign !== '?') return part;
      this.at++;
      const fork: State = { kind: 'fork', next: [part.first] };
      if (sign !== '?') for (const state of part.open) state.next.push(fork);
      if (sign === '*') part = { first: fork, open: [fork] };
      else if (sign === '+') part = { first: part.first, open: [fork] };
      else part = { first: fork, open: [...part.open, fork] };
    }
  }

  private atom(): Part {
    const character = this.text[this.at++] ?? '';
    if (character === '(') return this.group();
    if (character === '[') return this.one(this.set());
    if (character === '.') return this.one(() => true);
    if (character === '^' || character === '$') {
      const state: State = { kind: character === '^' ? 'begin' : 'end', next: [] };
      return { first: state, open: [state] };
    }
    if ('*+?{}'.includes(character))
      throw new PatternError(`"${character}" at ${this.at - 1} repeats nothing`);
    const literal = character === '\\' ? (this.text[this.at++] ?? '') : character;
    if (literal === '' || (character === '\\' && /[A-Za-z0-9]/.test(literal)))
      throw new PatternError(
        `"\\${literal}" is not known: letters, digits, ".", "[...]", "(...)", "|", "*", "+", "?", "^" and "$" are`,
      );
    const code = literal.charCodeAt(0);
    return this.one((other) => other === code);
  }

  private group(): Part {
    if (this.text.startsWith('?:', this.at)) this.at += 2;
    if (++this.depth > nestingMax) throw new PatternError(`more than ${nestingMax} groups in one another`);
    const part = this.alternatives();
    if (this.text[this.at++] !== ')') throw new PatternError('a "(" is not closed');
    this.depth--;
    return part;
  }

  private set(): (code: number) => boolean {
    const negated = this.text[this.at] === '^';
    if (negated) this.at++;
    const ranges: (readonly [number, number])[] = [];
    for (let isFirst = true; ; isFirst = false) {
      const character = this.text[this.at++];
      if (character === undefined) throw new PatternError('a "[" is not closed');
      if (character === ']' && !isFirst) break;
      const low = character.charCodeAt(0);
      const hasRange = this.text[this.at] === '-' && (this.text[this.at + 1] ?? ']') !== ']';
      const high = hasRange ? this.text.charCodeAt(this.at + 1) : low;
      if (hasRange) this.at += 2;
      if (high < low) throw new PatternError('a range in "[...]" runs backwards');
      ranges.push([low, high]);
    }
    return (code) => ranges.some(([low, high]) => low <= code && code <= high) !== negated;
  }

  private one(takes: (code: number) => boolean): Part {
    const state: State = { kind: 'character', takes, next: [] };
    return { first: state, open: [state] };
  }
}

/** Adds a state and all that follow without a character. */
function follow(from: State, name: string, at: number, into: Set<State>): void {
  const left = [from];
  for (let state = left.pop(); state !== undefined; state = left.pop()) {
    if (into.has(state)) continue;
    if (state.kind === 'begin' && at !== 0) continue;
    if (state.kind === 'end' && at !== name.length) continue;
    into.add(state);
    if (state.kind !== 'character') left.push(...state.next);
  }
}

function isFound(first: State, name: string): boolean {
  let states = new Set<State>();
  for (let at = 0; ; at++) {
    follow(first, name, at, states);
    for (const state of states) if (state.kind === 'match') return true;
    if (at === name.length) return false;
    const code = name.charCodeAt(at);
    const next = new Set<State>();
    for (const state of states) {
      if (state.kind === 'character' && state.takes?.(code) === true)
        for (const following of state.next) follow(following, name, at + 1, next);
    }
    states = next;
  }
}

/** Reads a pattern, or says what is wrong with it. */
export function namePattern(text: string): NamePattern | string {
  if (text.length > patternCharactersMax) return `has more than ${patternCharactersMax} characters`;
  try {
    const first = new Reader(text).read();
    return { matches: (name) => isFound(first, name) };
  } catch (error) {
    if (error instanceof PatternError) return error.message;
    throw error;
  }
}
