// SPDX-License-Identifier: Apache-2.0
// The examples as they are shipped, within the budgets that hold on a node: neither ordinary work nor the longest
// arguments that anyone may give a program stop one of them.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { EventKind } from '@weir/schema';
import { BatchWriter } from '@weir/segment';
import { afterEach, describe, expect, it } from 'vitest';
import { closeHosts, judge, start } from './fixtures.js';

const built = new URL('../../examples/build/', import.meta.url);
if (!existsSync(built)) throw new Error('the examples are not built: npm run build:filters');
const names = readdirSync(built).filter((name) => name.endsWith('.wasm'));

const commands = [
  ['/usr/bin/ls', '-l', '/tmp'],
  ['/usr/bin/true'],
  ['/usr/bin/grep', '-r', 'foo', 'src/'],
  ['/usr/bin/cat', '/etc/hosts'],
  ['/usr/bin/gcc', '-O2', '-Wall', '-c', 'main.c', '-o', 'main.o', '-I/usr/include/x86_64-linux-gnu'],
  ['/usr/bin/sed', '-n', 's/a/b/p'],
];
/** 640 bytes, as many environments are. */
const environment = Array.from({ length: 20 }, (_, index) => `NAME_${index}=/usr/local/some/value/${index}`);
const long = (argument: string, bytes: number) =>
  Array.from({ length: Math.ceil(bytes / (argument.length + 1)) }, () => argument);

/** Runs of programs, one after the other; each is another process. */
async function judgeExecs(
  module: string,
  count: number,
  argumentsOf: (index: number) => readonly string[],
  withEnvironment: readonly string[],
) {
  const { host } = await start([new Uint8Array(readFileSync(new URL(module, built)))]);
  for (let first = 0; first < count; first += 20) {
    const writer = new BatchWriter({ node: 'node-1', cluster: 'test' });
    for (let index = first + 1; index <= first + 20; index++) {
      const [binary = '', ...rest] = argumentsOf(index);
      const one = {
        pid: index,
        startNs: BigInt(index),
        execNs: BigInt(index),
        binary,
        arguments: rest,
        environment: withEnvironment,
      };
      const timeNs = 1_000_000_000n + BigInt(index) * 50_000_000n;
      writer.event({
        kind: EventKind.exec,
        ...one,
        process: writer.process(one),
        timeNs,
        sequence: BigInt(index),
      });
    }
    await judge(host, writer.finish());
  }
  return host.status()[0];
}

describe.each(names)('%s', (name) => {
  afterEach(closeHosts);

  it.each([
    ['without an environment', []],
    ['with an environment', environment],
  ])('judges 2,000 ordinary runs %s', async (_, given) => {
    const status = await judgeExecs(name, 2000, (index) => commands[index % commands.length] ?? [], given);
    expect(status).toMatchObject({ traps: 0 });
    expect(status?.quarantine).toBeUndefined();
  });

  it.each([
    ['one letter', ['s'.repeat(8192)]],
    ['many options', Array.from({ length: 2000 }, (_, index) => `-${index}`)],
    ['parts of what is looked for', long('pasecacctokapicre', 8192)],
  ])('is not stopped by long arguments: %s', async (_, given) => {
    const status = await judgeExecs(name, 1000, () => ['/usr/bin/python3', ...given], []);
    expect(status).toMatchObject({ traps: 0 });
    expect(status?.quarantine).toBeUndefined();
  });
});
