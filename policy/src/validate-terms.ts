// SPDX-License-Identifier: Apache-2.0
// Owns what a term on an argument or on the process must be like: an operator that the type has, an argument that is
// there, values that the type can have.

import { parseNetwork } from './addresses.js';
import { checkCelTerm } from './cel/selector.js';
import { fileTypeNumber, fileTypes } from './file-types.js';
import type { Findings } from './findings.js';
import { isListOfCalls, withListValues } from './list-values.js';
import {
  argumentOperators,
  capabilityNames,
  type TypeFamily,
  typeInfo,
  valuelessOperators,
} from './names.js';
import { quote, suggestion } from './nearest.js';
import { gainedArgument } from './object-terms.js';
import { type ExpandedSelector, findArgument } from './selectors.js';
import type { Argument, ArgumentTerm } from './shape.js';
import { socketNames, socketNumber } from './socket-names.js';
import { syscallValues } from './syscall-values.js';
import { integerRange, parseBits, parseInteger, parseRange, parseTypedInteger } from './values.js';

const pseudoPaths = /^(pipe|socket|anon_inode|memfd|inotify|eventpoll|\[)/;

function checkText(
  findings: Findings,
  operator: string,
  family: TypeFamily,
  value: string,
  path: string,
): void {
  if (value === '') {
    findings.error('wrong-value', path, 'is empty: it would match everything, or nothing');
    return;
  }
  if (value.includes('\0')) {
    findings.error('wrong-value', path, 'holds a NUL, which no text of the kernel does');
    return;
  }
  if (operator === 'SubStringIgnCase' && !/^[ -~\t]*$/.test(value)) {
    findings.warn(
      'tolerated',
      path,
      `${quote(value)} has letters beyond A to Z: of these the case counts, as the kernel knows no alphabets`,
    );
  }
  if (family !== 'path' || /Postfix|SubString/.test(operator)) return;
  const prefix = /Prefix/.test(operator);
  if (!value.startsWith('/')) {
    if (pseudoPaths.test(value)) return;
    if (prefix) {
      findings.warn(
        'never-matches',
        path,
        `${quote(value)} begins no path: paths begin with "/"; the end of a path is matched by Postfix`,
      );
    } else {
      findings.error(
        'wrong-value',
        path,
        `${quote(value)} is no absolute path: the kernel knows files by paths that begin with "/"; the end of a path is matched by Postfix`,
      );
    }
    return;
  }
  if (/\/\/|\/\.\.?(\/|$)/.test(value) && !(prefix && /\/\.\.?$/.test(value))) {
    findings.warn(
      'never-matches',
      path,
      `${quote(value)} is not written as the kernel writes paths: without "//", "/./" and "/../"`,
    );
  } else if (!prefix && value.length > 1 && value.endsWith('/')) {
    findings.warn(
      'never-matches',
      path,
      `${quote(value)} ends in "/", which no path of the kernel does: write Prefix for what is in the folder`,
    );
  }
}

function checkSocketValue(findings: Findings, operator: string, value: string, path: string): void {
  if (/Addr$/.test(operator)) {
    if (parseNetwork(value) === undefined)
      findings.error(
        'wrong-value',
        path,
        `${quote(value)} is no address or CIDR: write 10.1.2.3, 10.0.0.0/8, ::1 or fd00::/8`,
      );
  } else if (/Port$/.test(operator)) {
    const [low, high] = parseRange(value) ?? [parseInteger(value), parseInteger(value)];
    if (low === undefined || high === undefined || low < 0n || high > 65535n || low > high) {
      findings.error(
        'wrong-value',
        path,
        `${quote(value)} is no port: write 0 to 65535, or a range such as 8000:8080`,
      );
    }
  } else if (operator === 'Protocol' || operator === 'Family' || operator === 'State') {
    const number = parseInteger(value) ?? socketNumber(operator, value);
    if (number === undefined || number < 0n || number > 65535n) {
      findings.error(
        'wrong-value',
        path,
        `${quote(value)} is no name or number for ${operator}: ${suggestion(value, [...socketNames[operator].keys()])}`,
      );
    }
  }
}

function checkIntegerValue(
  findings: Findings,
  operator: string,
  argument: Argument,
  value: string,
  path: string,
): void {
  const type = typeInfo(argument.type);
  if (type === undefined) return;
  if (/Map$/.test(operator) && value.startsWith('list:')) {
    const name = value.slice('list:'.length);
    const names = (findings.policy.spec.lists ?? []).map((list) => list.name);
    if (!names.includes(name)) {
      findings.error('wrong-value', path, `there is no list ${quote(name)}: ${suggestion(name, names)}`);
      return;
    }
    if (isListOfCalls(findings.policy.spec.lists?.find((list) => list.name === name)))
      findings.warn(
        'tolerated',
        path,
        `the list ${quote(name)} holds system calls: taken as their numbers by the 64-bit entry, which may mean other calls by the 32-bit one; the type syscall64 tells them apart`,
      );
    for (const held of withListValues(findings.policy, [value])) {
      if (findings.isFull) return;
      if (held.startsWith('list:'))
        findings.error(
          'wrong-value',
          path,
          `the list ${quote(name)} holds ${quote(held)}: a list holds no other`,
        );
      else checkIntegerValue(findings, operator, argument, held, path);
    }
    return;
  }
  if (/Range$|Map$/.test(operator) && parseInteger(value) === undefined) {
    const range = parseRange(value);
    const [low, high] = integerRange(type);
    if (range === undefined) {
      findings.error('wrong-value', path, `${quote(value)} is no range: write LOW:HIGH`);
    } else if (range[0] > range[1] || range[0] < low || range[1] > high) {
      findings.error(
        'wrong-value',
        path,
        `${quote(value)} is no range within ${low} to ${high}, which ${argument.type} takes`,
      );
    }
    return;
  }
  const parsed =
    operator === 'Mask'
      ? parseBits(value, argument.type, type)
      : parseTypedInteger(value, argument.type, type);
  if (typeof parsed === 'string') {
    findings.error('wrong-value', path, `${quote(value)} ${parsed}`);
    return;
  }
  const [low, high] = integerRange(type);
  const number = type.signed ? BigInt.asIntN(64, parsed) : parsed;
  const nothing =
    (operator === 'GT' && number === high && `no ${argument.type} is above ${high}`) ||
    (operator === 'LT' && number === low && `no ${argument.type} is below ${low}`) ||
    (operator === 'Mask' && parsed === 0n && 'no number has a bit of 0');
  if (nothing) findings.warn('never-matches', path, nothing);
}

export function checkArgumentTerm(
  findings: Findings,
  term: ArgumentTerm,
  path: string,
  args: readonly Argument[],
  what: string,
): void {
  if (term.operator === 'CelExpr') {
    if (what === 'args')
      checkCelTerm(findings, term, path, args, ({ operator, family, value }, at) =>
        checkText(findings, operator, family, value, at),
      );
    else
      findings.error(
        'wrong-operator',
        `${path}.operator`,
        'CelExpr is asked of the args of a hook, in matchArgs',
      );
    return;
  }
  const found = findArgument(args, term);
  if ('error' in found) {
    findings.error('wrong-index', `${path}.${found.field}`, found.error);
    return;
  }
  const argument = args[found.position];
  if (argument === undefined) return;
  if (found.byPosition && term.index !== undefined) {
    findings.warn(
      'tolerated',
      `${path}.index`,
      `no argument has the index ${term.index}: taken as the position in ${what}, which is argument ${argument.index}`,
    );
  }
  const family = typeInfo(argument.type)?.family ?? 'opaque';
  const families: readonly TypeFamily[] = argumentOperators[term.operator];
  if (family !== 'auto' && !families.includes(family)) {
    const possible = Object.entries(argumentOperators)
      .filter(([, of]) => (of as readonly TypeFamily[]).includes(family))
      .map(([name]) => name);
    findings.error(
      'wrong-operator',
      `${path}.operator`,
      possible.length === 0
        ? `${term.operator} does not work on the type ${argument.type}: nothing of it can be matched`
        : `${term.operator} does not work on the type ${argument.type}, which has ${possible.join(', ')}`,
    );
    return;
  }
  if (argument.type === 'sockaddr' && /^(Protocol|State)$/.test(term.operator)) {
    findings.error(
      'wrong-operator',
      `${path}.operator`,
      `${term.operator} does not work on the type sockaddr, an address without its socket: it has Family, SAddr, SPort and their like`,
    );
    return;
  }
  if (argument.type === 'skb' && term.operator === 'State') {
    findings.error(
      'wrong-operator',
      `${path}.operator`,
      'State does not work on the type skb: a packet has no state, its socket has (sock)',
    );
    return;
  }
  if (term.operator === 'CapabilitiesGained') {
    const gained = gainedArgument(term, args, found.position);
    if (typeof gained === 'string') findings.error('wrong-value', `${path}.values`, gained);
    return;
  }
  const valueless = valuelessOperators.includes(term.operator);
  if (valueless && term.values.length > 0) {
    findings.error('wrong-value', `${path}.values`, `${term.operator} takes no values`);
  } else if (!valueless && term.values.length === 0) {
    findings.error('missing-field', `${path}.values`, `is empty: ${term.operator} wants at least one value`);
  }
  term.values.forEach((value, index) => {
    const at = `${path}.values[${index}]`;
    if (/FileType$/.test(term.operator)) {
      if (fileTypeNumber(value) === undefined) {
        findings.error(
          'wrong-value',
          at,
          `${quote(value)} is no type of file: ${suggestion(value, fileTypes)}`,
        );
      }
    } else if (family === 'integer' || family === 'capabilities') {
      checkIntegerValue(findings, term.operator, argument, value, at);
    } else if (family === 'syscall') {
      const numbers = syscallValues(findings.policy, value);
      if (typeof numbers === 'string') findings.error('wrong-value', at, numbers);
    } else if (family === 'socket' || (family === 'unix' && term.operator === 'Family')) {
      checkSocketValue(findings, term.operator, value, at);
    } else {
      checkText(findings, term.operator, family, value, at);
    }
  });
  if (
    argument.type === 'fd' &&
    term.values.some((value) => parseInteger(value) !== undefined) &&
    /Equal|In$/.test(term.operator)
  ) {
    findings.warn(
      'tolerated',
      `${path}.values`,
      'the type fd is matched by the path of the open file: for its number write the type int',
    );
  }
}

export function checkProcessParts(findings: Findings, selector: ExpandedSelector): void {
  for (const part of ['matchBinaries', 'matchParentBinaries'] as const) {
    for (const { item, path } of selector.part(part)) {
      item.values.forEach((value, index) => {
        checkText(findings, item.operator, 'path', value, `${path}.values[${index}]`);
      });
    }
  }
  for (const { item, path } of selector.part('matchPIDs')) {
    item.values.forEach((value, index) => {
      const pid = parseInteger(value);
      if (pid === undefined || pid < 0n || pid > 4194304n) {
        findings.error(
          'wrong-value',
          `${path}.values[${index}]`,
          `${quote(value)} is no process id: 0 to 4194304`,
        );
      }
    });
  }
  for (const { item, path } of selector.matchNamespaces) {
    item.values.forEach((value, index) => {
      if (value === 'host_ns') return;
      const inode = parseInteger(value);
      if (inode === undefined || inode < 1n || inode > 0xffffffffn) {
        findings.error(
          'wrong-value',
          `${path}.values[${index}]`,
          `${quote(value)} is no namespace: write its inode number (the one in /proc/PID/ns), or host_ns`,
        );
      }
    });
  }
  for (const part of ['matchCapabilities', 'matchCapabilityChanges'] as const) {
    for (const { item, path } of selector.part(part)) {
      item.values.forEach((value, index) => {
        if (!(capabilityNames as readonly string[]).includes(value.toUpperCase())) {
          findings.error(
            'wrong-value',
            `${path}.values[${index}]`,
            `${quote(value)} is no capability: ${suggestion(value, capabilityNames)}`,
          );
        }
      });
    }
  }
}
