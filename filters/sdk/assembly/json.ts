// SPDX-License-Identifier: Apache-2.0
// Owns reading JSON. Used at load only, for the configuration: values are objects here, and they are allocated.
// Bounded in bytes, depth and values. The first thing that is wrong is kept, with its place.

export const JSON_BYTES_MAX: u32 = 65_536;
const DEPTH_MAX: i32 = 16;
const VALUES_MAX: i32 = 8192;

export enum JsonKind {
  null_,
  flag,
  number,
  text,
  list,
  object,
}

export class JsonValue {
  /** Of a flag 0 or 1. */
  number: f64 = 0;
  /** Whether it was written as a whole number that 64 bits hold; then `whole` is it. */
  isWhole: bool = false;
  whole: i64 = 0;
  text: string = '';
  items: JsonValue[] = [];
  names: string[] = [];
  /** Which fields of an object were asked for. */
  asked: bool[] = [];

  constructor(public kind: JsonKind) {}

  field(name: string): JsonValue | null {
    for (let i = 0; i < this.names.length; i++) {
      if (this.names[i] != name) continue;
      this.asked[i] = true;
      return this.items[i];
    }
    return null;
  }

  /** As it would stand in JSON, cut short: for messages. */
  show(): string {
    switch (this.kind) {
      case JsonKind.null_:
        return 'null';
      case JsonKind.flag:
        return this.number == 0 ? 'false' : 'true';
      case JsonKind.number:
        return this.isWhole ? this.whole.toString() : this.number.toString();
      case JsonKind.text:
        return '"' + (this.text.length > 40 ? this.text.substring(0, 40) + '…' : this.text) + '"';
      case JsonKind.list:
        return 'a list';
      default:
        return 'an object';
    }
  }
}

export class JsonReader {
  problem: string = '';
  private at: usize;
  private start: usize;
  private end: usize;
  private values: i32 = 0;

  constructor(at: usize, bytes: u32) {
    this.start = at;
    this.at = at;
    this.end = at + bytes;
  }

  /** The whole as one value; where `problem` is not empty, it is worth nothing. */
  read(): JsonValue {
    if (this.end - this.start > <usize>JSON_BYTES_MAX) {
      this.fail('has more than 65536 bytes');
      return new JsonValue(JsonKind.null_);
    }
    const value = this.value(0);
    this.blanks();
    if (this.problem == '' && this.at < this.end) this.fail('goes on after its end');
    return value;
  }

  private fail(what: string): void {
    if (this.problem != '') return;
    this.problem = what + ' at byte ' + (this.at - this.start).toString();
    this.at = this.end;
  }

  private get byte(): u32 {
    return this.at < this.end ? <u32>load<u8>(this.at) : 0;
  }

  private blanks(): void {
    while (this.at < this.end) {
      const byte = this.byte;
      if (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09) return;
      this.at++;
    }
  }

  /** Whether the next byte is this one; then it is passed over. */
  private take(byte: u32): bool {
    if (this.at >= this.end || this.byte != byte) return false;
    this.at++;
    return true;
  }

  private value(depth: i32): JsonValue {
    const nothing = new JsonValue(JsonKind.null_);
    this.blanks();
    if (depth > DEPTH_MAX) this.fail('is nested more than 16 deep');
    if (++this.values > VALUES_MAX) this.fail('has more than 8192 values');
    if (this.problem != '') return nothing;
    const byte = this.byte;
    if (byte == 0x7b) return this.object(depth);
    if (byte == 0x5b) return this.list(depth);
    if (byte == 0x22) {
      const text = new JsonValue(JsonKind.text);
      text.text = this.string();
      return text;
    }
    if (byte == 0x2d || byte - 0x30 < 10) return this.number();
    if (this.word('true')) {
      const flag = new JsonValue(JsonKind.flag);
      flag.number = 1;
      return flag;
    }
    if (this.word('false')) return new JsonValue(JsonKind.flag);
    if (!this.word('null')) this.fail(this.at < this.end ? 'is no JSON' : 'ends too early');
    return nothing;
  }

  private word(text: string): bool {
    if (this.end - this.at < <usize>text.length) return false;
    for (let i = 0; i < text.length; i++) {
      if (<i32>load<u8>(this.at + i) != text.charCodeAt(i)) return false;
    }
    this.at += text.length;
    return true;
  }

  private object(depth: i32): JsonValue {
    const value = new JsonValue(JsonKind.object);
    this.at++;
    this.blanks();
    if (this.take(0x7d)) return value;
    while (this.problem == '') {
      this.blanks();
      if (this.byte != 0x22) this.fail('needs a name in double quotes');
      const name = this.string();
      this.blanks();
      if (!this.take(0x3a)) this.fail('needs a colon');
      const item = this.value(depth + 1);
      if (this.problem != '') break;
      if (value.names.includes(name)) this.fail('has two fields of the name ' + name);
      value.names.push(name);
      value.asked.push(false);
      value.items.push(item);
      this.blanks();
      if (this.take(0x7d)) break;
      if (!this.take(0x2c)) this.fail('needs a comma or a closing brace');
    }
    return value;
  }

  private list(depth: i32): JsonValue {
    const value = new JsonValue(JsonKind.list);
    this.at++;
    this.blanks();
    if (this.take(0x5d)) return value;
    while (this.problem == '') {
      value.items.push(this.value(depth + 1));
      this.blanks();
      if (this.take(0x5d)) break;
      if (!this.take(0x2c)) this.fail('needs a comma or a closing bracket');
    }
    return value;
  }

  private number(): JsonValue {
    const value = new JsonValue(JsonKind.number);
    const from = this.at;
    const negative = this.take(0x2d);
    let whole: u64 = 0;
    let digits = 0;
    while (this.byte - 0x30 < 10) {
      whole = whole * 10 + (this.byte - 0x30);
      digits++;
      this.at++;
    }
    const first = negative ? from + 1 : from;
    if (digits == 0 || (digits > 1 && load<u8>(first) == 0x30)) this.fail('is no number');
    value.isWhole = digits <= 18;
    if (this.take(0x2e)) {
      value.isWhole = false;
      if (this.byte - 0x30 > 9) this.fail('is no number');
      while (this.byte - 0x30 < 10) this.at++;
    }
    if ((this.byte | 0x20) == 0x65) {
      value.isWhole = false;
      this.at++;
      if (this.byte == 0x2b || this.byte == 0x2d) this.at++;
      if (this.byte - 0x30 > 9) this.fail('is no number');
      while (this.byte - 0x30 < 10) this.at++;
    }
    if (this.problem != '') return value;
    value.whole = negative ? -(<i64>whole) : <i64>whole;
    value.number = value.isWhole
      ? <f64>value.whole
      : F64.parseFloat(String.UTF8.decodeUnsafe(from, this.at - from));
    return value;
  }

  private string(): string {
    if (!this.take(0x22)) return '';
    let text = '';
    let from = this.at;
    while (this.at < this.end) {
      const byte = this.byte;
      if (byte == 0x22) {
        text += String.UTF8.decodeUnsafe(from, this.at - from);
        this.at++;
        return text;
      }
      if (byte < 0x20) {
        this.fail('has a control character in a string');
        return text;
      }
      if (byte != 0x5c) {
        this.at++;
        continue;
      }
      text += String.UTF8.decodeUnsafe(from, this.at - from);
      this.at++;
      text += this.escape();
      from = this.at;
    }
    this.fail('ends within a string');
    return text;
  }

  private escape(): string {
    const byte = this.byte;
    this.at++;
    switch (byte) {
      case 0x22:
        return '"';
      case 0x5c:
        return '\\';
      case 0x2f:
        return '/';
      case 0x62:
        return '\b';
      case 0x66:
        return '\f';
      case 0x6e:
        return '\n';
      case 0x72:
        return '\r';
      case 0x74:
        return '\t';
      case 0x75: {
        let unit = 0;
        for (let i = 0; i < 4; i++) {
          const digit = this.byte;
          const lower = digit | 0x20;
          if (digit - 0x30 < 10) unit = (unit << 4) | <i32>(digit - 0x30);
          else if (lower - 0x61 < 6) unit = (unit << 4) | <i32>(lower - 0x61 + 10);
          else {
            this.fail('has an escape that is none');
            return '';
          }
          this.at++;
        }
        return String.fromCharCode(unit);
      }
      default:
        this.fail('has an escape that is none');
        return '';
    }
  }
}
