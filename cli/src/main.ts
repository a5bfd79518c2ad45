#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Entry of `weir`: finds the command, runs it, and turns whatever goes wrong into a sentence. A stack trace is shown
// only for faults of ours.
import { ControlPlaneClientError } from '@weir/control-plane/client';
import { printable } from '@weir/segment';
import { type Command, parse, usageOf } from './command.js';
import { commands } from './commands/index.js';
import { CliError } from './errors.js';
import { type Output, printableLines, standardOutput } from './output.js';

const widest = Math.max(...commands.map(({ name }) => name.length));

function help(): string {
  return [
    'weir: watches and guards Linux nodes',
    '',
    'usage: weir COMMAND [OPTIONS]',
    '',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(widest)}  ${summary}`),
    '',
    'weir COMMAND --help tells more. WEIR_URL and WEIR_TOKEN name a control plane; else it is the one of weir up.',
  ].join('\n');
}

function helpOf(command: Command): string {
  return [`usage: ${usageOf(command)}`, '', command.summary, ...(command.help ?? [])].join('\n');
}

/** Finds the command whose words the arguments begin with; the longest name wins. */
function find(args: readonly string[]): { command: Command; rest: readonly string[] } {
  const found = commands
    .filter(({ name }) => name.split(' ').every((word, index) => args[index] === word))
    .sort((a, b) => b.name.length - a.name.length)[0];
  if (found === undefined) {
    const near = commands
      .filter(({ name }) => name.split(' ')[0] === args[0])
      .map(({ name }) => `weir ${name}`);
    const message =
      near.length > 0 ? `weir ${args[0]} is not complete.` : `There is no command "${args[0]}".`;
    throw new CliError(message, near.length > 0 ? near : ['weir --help lists all commands.'], 2);
  }
  return { command: found, rest: args.slice(found.name.split(' ').length) };
}

export async function main(args: readonly string[], output: Output = standardOutput): Promise<number> {
  try {
    const [first] = args;
    if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
      output.line(help());
      return first === undefined ? 2 : 0;
    }
    const { command, rest } = find(args);
    if (rest.includes('--help') || rest.includes('-h')) {
      output.line(helpOf(command));
      return 0;
    }
    return (await command.run(parse(command, rest, output))) ?? 0;
  } catch (cause) {
    return explain(cause, output);
  }
}

function explain(cause: unknown, output: Output): number {
  if (cause instanceof CliError) {
    output.note(`weir: ${printable(cause.message)}`);
    for (const hint of cause.hints) output.note(`  ${printable(hint)}`);
    return cause.exitCode;
  }
  if (cause instanceof ControlPlaneClientError) {
    // A database says where in the SQL it is wrong by lines below one another.
    for (const [index, line] of printableLines(cause.message).entries()) {
      output.note(`${index === 0 ? 'weir: ' : '  '}${line}`);
    }
    for (const { path, message } of cause.details) {
      output.note(`  ${path === '' ? '' : `${printable(path)}: `}${printable(message)}`);
    }
    if (cause.code === 'unreachable') {
      output.note('  weir up starts one here; WEIR_URL=https://… WEIR_TOKEN=… name another.');
    }
    return cause.code === 'url' ? 2 : 1;
  }
  output.note('weir: this is a fault of weir itself:');
  output.note(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause));
  return 70;
}

/** A reader that has seen enough (`weir events | head`) closes the pipe: that is no fault. */
process.stdout.on('error', (cause: NodeJS.ErrnoException) => {
  if (cause.code !== 'EPIPE') throw cause;
  process.exit(0);
});

if (
  process.argv[1] !== undefined &&
  import.meta.filename === (await import('node:fs')).realpathSync(process.argv[1])
) {
  process.exitCode = await main(process.argv.slice(2));
}
