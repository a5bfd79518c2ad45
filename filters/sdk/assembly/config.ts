// SPDX-License-Identifier: Apache-2.0
// Owns the configuration of a filter: JSON that it is given at load. Each question names a field, what holds where it
// is missing, and what it may be; what is wrong is told with its name, and so is a field that nobody asked for. A
// filter whose configuration is wrong is refused at load, never half configured.
import { parseNetwork } from './address';
import { LIST_ENTRIES_MAX, TextList } from './bytes';
import { JsonKind, JsonReader, JsonValue } from './json';
import { NetworkList } from './networks';
import { refusal } from './log';
import { openEvent } from './memory';

/** What is wrong, the first only. */
let problem: string = '';

function refuse(text: string): void {
  if (problem == '') problem = text;
}

/** The configuration, or a part of it. For `configure` only: reading it allocates. */
@final
export class Config {
  constructor(
    private value: JsonValue,
    private path: string,
  ) {}

  private nameOf(field: string): string {
    return this.path == '' ? field : this.path + '.' + field;
  }

  private wrong(field: string, what: string, value: JsonValue): void {
    refuse(this.nameOf(field) + ' must be ' + what + '; it is ' + value.show());
  }

  /** Whether there is a field of this name. */
  has(field: string): bool {
    return this.value.field(field) !== null;
  }

  /** A whole number from `least` to `most`. */
  integer(field: string, otherwise: i64, least: i64 = 0, most: i64 = 1_000_000_000): i64 {
    const value = this.value.field(field);
    if (value === null) return otherwise;
    if (value.isWhole && value.whole >= least && value.whole <= most) return value.whole;
    this.wrong(field, 'a whole number from ' + least.toString() + ' to ' + most.toString(), value);
    return otherwise;
  }

  /** A number from `least` to `most`. */
  number(field: string, otherwise: f64, least: f64, most: f64): f64 {
    const value = this.value.field(field);
    if (value === null) return otherwise;
    if (value.kind == JsonKind.number && value.number >= least && value.number <= most) return value.number;
    this.wrong(field, 'a number from ' + least.toString() + ' to ' + most.toString(), value);
    return otherwise;
  }

  /** true or false. */
  flag(field: string, otherwise: bool): bool {
    const value = this.value.field(field);
    if (value === null) return otherwise;
    if (value.kind == JsonKind.flag) return value.number != 0;
    this.wrong(field, 'true or false', value);
    return otherwise;
  }

  text(field: string, otherwise: string): string {
    const value = this.value.field(field);
    if (value === null) return otherwise;
    if (value.kind == JsonKind.text) return value.text;
    this.wrong(field, 'a string', value);
    return otherwise;
  }

  /** A time such as "500ms", "10s", "5m", "1h", "7d", in nanoseconds. */
  duration(field: string, otherwise: u64): u64 {
    const value = this.value.field(field);
    if (value === null) return otherwise;
    const ns = value.kind == JsonKind.text ? parseDuration(value.text) : 0;
    if (ns != 0) return ns;
    this.wrong(field, 'a time such as "500ms", "10s", "5m", "1h" or "7d"', value);
    return otherwise;
  }

  /** A severity by its name, info to critical. */
  severity(field: string, otherwise: i32): i32 {
    const value = this.value.field(field);
    if (value === null) return otherwise;
    const names = ['none', 'info', 'low', 'medium', 'high', 'critical'];
    const found = value.kind == JsonKind.text ? names.indexOf(value.text) : -1;
    if (found >= 0) return found;
    this.wrong(field, 'none, info, low, medium, high or critical', value);
    return otherwise;
  }

  private strings(field: string): string[] | null {
    const value = this.value.field(field);
    if (value === null) return null;
    if (value.kind != JsonKind.list || value.items.length > LIST_ENTRIES_MAX) {
      this.wrong(field, 'a list of at most 1024 strings', value);
      return null;
    }
    const texts = new Array<string>(0);
    for (let i = 0; i < value.items.length; i++) {
      const item = value.items[i];
      if (item.kind != JsonKind.text) {
        this.wrong(field + '[' + i.toString() + ']', 'a string', item);
        return null;
      }
      texts.push(item.text);
    }
    return texts;
  }

  /** A list of strings; takes the place of the other. */
  texts(field: string, otherwise: TextList): TextList {
    const texts = this.strings(field);
    return texts === null ? otherwise : new TextList(texts);
  }

  /** A list of networks; takes the place of the other. */
  networks(field: string, otherwise: NetworkList): NetworkList {
    const texts = this.strings(field);
    if (texts === null) return otherwise;
    for (let i = 0; i < texts.length; i++) {
      if (parseNetwork(texts[i])) continue;
      refuse(
        this.nameOf(field) +
          '[' +
          i.toString() +
          '] must be a network such as 10.0.0.0/8; it is "' +
          texts[i] +
          '"',
      );
      return otherwise;
    }
    return new NetworkList(texts);
  }

  /** An object within this one; where there is none, one without fields. */
  section(field: string): Config {
    const value = this.value.field(field);
    if (value !== null && value.kind == JsonKind.object) {
      const section = new Config(value, this.nameOf(field));
      sections.push(section);
      return section;
    }
    if (value !== null) this.wrong(field, 'an object', value);
    return new Config(new JsonValue(JsonKind.object), this.nameOf(field));
  }

  /** Refuses the configuration for a reason of the filter's own. */
  refuse(reason: string): void {
    refuse(reason);
  }

  /** Notes fields that nobody asked for: a misspelt one would else be passed over in silence. */
  checkAsked(): void {
    for (let i = 0; i < this.value.names.length; i++) {
      if (!this.value.asked[i])
        refuse(this.nameOf(this.value.names[i]) + ' is no field that this filter knows');
    }
  }
}

let sections: Config[] = [];

/** Nanoseconds, 0 where the text is no time. */
function parseDuration(text: string): u64 {
  let digits = 0;
  let value: u64 = 0;
  while (digits < text.length && digits < 10) {
    const digit = <u32>text.charCodeAt(digits) - 0x30;
    if (digit > 9) break;
    value = value * 10 + digit;
    digits++;
  }
  if (digits == 0) return 0;
  const unit = text.substring(digits);
  if (unit == 'ms') value *= 1_000_000;
  else if (unit == 's') value *= 1_000_000_000;
  else if (unit == 'm') value *= 60_000_000_000;
  else if (unit == 'h') value *= 3_600_000_000_000;
  else if (unit == 'd') value *= 86_400_000_000_000;
  else return 0;
  return value <= 315_360_000_000_000_000 ? value : 0;
}

export function openConfig(at: usize, bytes: u32): Config {
  openEvent(0, 0);
  problem = '';
  const reader = new JsonReader(at, bytes);
  const value = reader.read();
  if (reader.problem != '') refuse('the configuration ' + reader.problem);
  else if (value.kind != JsonKind.object)
    refuse('the configuration must be an object; it is ' + value.show());
  const config = new Config(value, '');
  sections = [config];
  return config;
}

/** Says whether the configuration is taken: 0, or 1 after the reason has been told. */
export function closeConfig(): i32 {
  for (let i = 0; i < sections.length; i++) sections[i].checkAsked();
  sections = [];
  if (problem == '') return 0;
  refusal(problem);
  return 1;
}
