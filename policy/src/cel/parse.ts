// SPDX-License-Identifier: Apache-2.0
// Owns the grammar of expressions (CEL) as far as policies use it: a text becomes a tree, every node of which knows its
// column. What the parts of a tree mean together is judged in `compile.ts`; the reference matcher reads the same trees.

/** More than anybody writes. Deeper trees would be walked by recursion. */
const tokensMax = 1024;
const depthMax = 64;

interface At {
  /** Column of the expression's text at which it begins, from 1. */
  readonly column: number;
}

/** Operators are calls of their sign, methods calls whose first operand is what they are asked of. */
export type CelNode = At &
  (
    | { readonly kind: 'bool'; readonly value: boolean }
    /** `unsigned`: written with a u behind it. */
    | { readonly kind: 'number'; readonly value: bigint; readonly unsigned: boolean }
    | { readonly kind: 'text'; readonly value: string }
    | { readonly kind: 'argument'; readonly position: number }
    | { readonly kind: 'list'; readonly items: readonly CelNode[] }
    | { readonly kind: 'call'; readonly name: string; readonly operands: readonly CelNode[] }
  );

/** What is wrong with an expression, and where. */
export class CelError extends Error {
  constructor(column: number, message: string) {
    super(`column ${column}: ${message}`);
  }
}

interface Token extends At {
  readonly kind: 'number' | 'name' | 'text' | 'sign' | 'end';
  readonly text: string;
}

const tokenPattern =
  /[ \t\r\n\f]*(?:(0[xX][0-9a-fA-F]+[uU]?|[0-9]+[uU]?)(?![\w.])|([rR]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))|([A-Za-z_]\w*)|(&&|\|\||==|!=|<=|>=|[-+*/%<>!()[\],.?:]))/y;

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  let at = 0;
  while (at < end) {
    tokenPattern.lastIndex = at;
    const match = tokenPattern.exec(text);
    if (match === null) {
      const column = at + (text.slice(at).length - text.slice(at).trimStart().length) + 1;
      throw new CelError(column, `${JSON.stringify(text.slice(column - 1, column + 19))} cannot be read`);
    }
    at = tokenPattern.lastIndex;
    const [whole, number, string, name, sign] = match;
    const found = number ?? string ?? name ?? sign ?? '';
    const kind = number !== undefined ? 'number' : string !== undefined ? 'text' : undefined;
    tokens.push({
      kind: kind ?? (name !== undefined ? 'name' : 'sign'),
      text: found,
      column: at - found.length + 1,
    });
    if (tokens.length > tokensMax)
      throw new CelError(at - whole.length + 1, `there are more than ${tokensMax} words and signs`);
  }
  tokens.push({ kind: 'end', text: '', column: end + 1 });
  return tokens;
}

const plainEscapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '?': '?',
  '"': '"',
  "'": "'",
  '`': '`',
};

function unquote({ text, column }: Token): string {
  if (/^[rR]/.test(text)) return text.slice(2, -1);
  return text
    .slice(1, -1)
    .replace(
      /\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|[xX]([0-9a-fA-F]{2})|([0-3][0-7]{2})|(.))/g,
      (...found) => {
        const [, short, long, hex, octal, letter] = found as (string | undefined)[];
        if (letter !== undefined) {
          const plain = Object.hasOwn(plainEscapes, letter) ? plainEscapes[letter] : undefined;
          if (plain === undefined)
            throw new CelError(column, `the text has \\${letter}, which stands for nothing`);
          return plain;
        }
        const code =
          octal === undefined ? Number.parseInt(short ?? long ?? hex ?? '', 16) : Number.parseInt(octal, 8);
        if (code > 0x10_ffff || (code >= 0xd800 && code <= 0xdfff))
          throw new CelError(column, 'the text has an escape that is no character');
        return String.fromCodePoint(code);
      },
    );
}

/** Signs by how strongly they bind, the weakest first. Those of one row are read from left to right. */
const infix: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['==', '!=', '<=', '>=', '<', '>', 'in'],
  ['+', '-'],
  ['*', '/', '%'],
];

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#tokens = tokenize(text);
  }

  parse(): CelNode {
    const node = this.#whole();
    if (this.#next.kind !== 'end') throw this.#unexpected('an operator or the end');
    return node;
  }

  get #next(): Token {
    const token = this.#tokens[this.#at] ?? this.#tokens.at(-1);
    if (token === undefined) throw new TypeError('an expression without an end');
    return token;
  }

  #unexpected(wanted: string): CelError {
    const { kind, text, column } = this.#next;
    return new CelError(column, `${kind === 'end' ? 'the end' : text} stands where ${wanted} is wanted`);
  }

  #takes(...signs: string[]): Token | undefined {
    const token = this.#next;
    if ((token.kind !== 'sign' && token.text !== 'in') || !signs.includes(token.text)) return undefined;
    this.#at++;
    return token;
  }

  #want(sign: string): void {
    if (this.#takes(sign) === undefined) throw this.#unexpected(sign);
  }

  /** All that stands between two parentheses: rows of signs, or one of two by a condition. */
  #whole(): CelNode {
    if (++this.#depth > depthMax)
      throw new CelError(this.#next.column, `it is nested more than ${depthMax} deep`);
    let node = this.#row(0);
    const sign = this.#takes('?');
    if (sign !== undefined) {
      const first = this.#row(0);
      this.#want(':');
      node = { kind: 'call', name: '?', operands: [node, first, this.#whole()], column: sign.column };
    }
    this.#depth--;
    return node;
  }

  #row(row: number): CelNode {
    const signs = infix[row];
    if (signs === undefined) return this.#prefixed();
    let left = this.#row(row + 1);
    for (let sign = this.#takes(...signs); sign !== undefined; sign = this.#takes(...signs)) {
      const operands = [left, this.#row(row + 1)];
      left = { kind: 'call', name: sign.text, operands, column: sign.column };
    }
    return left;
  }

  #prefixed(): CelNode {
    const signs: Token[] = [];
    for (let sign = this.#takes('!', '-'); sign !== undefined; sign = this.#takes('!', '-')) signs.push(sign);
    let node = this.#asked();
    for (const { text, column } of signs.reverse()) {
      if (text === '-' && node.kind === 'number' && !node.unsigned)
        node = { kind: 'number', value: -node.value, unsigned: false, column };
      else node = { kind: 'call', name: text === '-' ? 'negate' : text, operands: [node], column };
    }
    return node;
  }

  /** A value, and methods that are asked of it. */
  #asked(): CelNode {
    let node = this.#value();
    while (this.#takes('.') !== undefined) {
      const { kind, text, column } = this.#next;
      if (kind !== 'name') throw this.#unexpected('the name of a method');
      this.#at++;
      if (this.#takes('(') === undefined)
        throw new CelError(column, `fields are not read: resolve in args names the field ${text}`);
      node = { kind: 'call', name: text, operands: [node, ...this.#list(')')], column };
    }
    return node;
  }

  #list(end: string): CelNode[] {
    const items: CelNode[] = [];
    if (this.#takes(end) !== undefined) return items;
    do items.push(this.#whole());
    while (this.#takes(',') !== undefined);
    this.#want(end);
    return items;
  }

  #value(): CelNode {
    const token = this.#next;
    const { column, text } = token;
    if (this.#takes('(') !== undefined) {
      const node = this.#whole();
      this.#want(')');
      return node;
    }
    if (this.#takes('[') !== undefined) return { kind: 'list', items: this.#list(']'), column };
    if (token.kind === 'number') {
      this.#at++;
      const unsigned = /u$/i.test(text);
      return { kind: 'number', value: BigInt(unsigned ? text.slice(0, -1) : text), unsigned, column };
    }
    if (token.kind === 'text') {
      this.#at++;
      return { kind: 'text', value: unquote(token), column };
    }
    if (token.kind === 'name' && text !== 'in') return this.#named(token);
    throw this.#unexpected('a value');
  }

  #named({ text, column }: Token): CelNode {
    this.#at++;
    if (text === 'true' || text === 'false') return { kind: 'bool', value: text === 'true', column };
    if (/^arg\d{1,2}$/.test(text))
      return { kind: 'argument', position: Number(text.slice('arg'.length)), column };
    let name = text;
    // Functions of the extension `math` have it in their name.
    if (text === 'math' && this.#takes('.') !== undefined) {
      name = `math.${this.#next.text}`;
      this.#at++;
    }
    if (this.#takes('(') === undefined)
      throw new CelError(column, `${name} is no name that is known: arg0 is the first of the hook's args`);
    return { kind: 'call', name, operands: this.#list(')'), column };
  }
}

/** Reads an expression. @throws {CelError} where it is none that policies take */
export function parseCel(text: string): CelNode {
  return new Parser(text).parse();
}

/** Positions in the hook's args that an expression names; none where it cannot be read. */
export function celPositions(expressions: readonly string[]): ReadonlySet<number> {
  const positions = new Set<number>();
  const visit = (node: CelNode): void => {
    if (node.kind === 'argument') positions.add(node.position);
    if (node.kind === 'list') node.items.forEach(visit);
    if (node.kind === 'call') node.operands.forEach(visit);
  };
  for (const text of expressions) {
    try {
      visit(parseCel(text));
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
    }
  }
  return positions;
}
