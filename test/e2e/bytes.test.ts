// SPDX-License-Identifier: Apache-2.0
// Names and arguments are bytes: what is no UTF-8, breaks lines or commands a terminal comes back from the archive byte
// for byte, over HTTP and the command line, and nothing of it reaches a terminal as it is.
import { spawnSync } from 'node:child_process';
import { textToBytes } from '@weir/segment';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Daemon, World, waitFor, whyNoAgent } from './support.js';

const whyNot = whyNoAgent();

/** As printf spells it: 0xFF, a newline, an escape sequence that sets the title, UTF-8, CSI as one byte, DEL, CSI and an override of direction as UTF-8. */
const spelling = String.raw`we\377ir\nnew line\033]0;owned\007\033[2J\303\244\233\177\302\233\342\200\256end`;
const expected = Buffer.concat([
  Buffer.from('we'),
  Buffer.of(0xff),
  Buffer.from('ir\nnew line\x1b]0;owned\x07\x1b[2J'),
  Buffer.of(0xc3, 0xa4, 0x9b, 0x7f, 0xc2, 0x9b, 0xe2, 0x80, 0xae),
  Buffer.from('end'),
]);

const policy = `apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: opens
spec:
  kprobes:
    - call: "sys_openat"
      syscall: true
      args:
        - index: 1
          type: "string"
      selectors:
        - matchArgs:
            - index: 1
              operator: "Prefix"
              values:
                - "FOLDER/we"
`;

/** What no JSON may hold as it is: controls, and marks that turn or hide text. */
const misleading =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  /[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/;

/** Bytes that a terminal would act upon or cannot show; line ends are the command's own. */
function harmful(output: Buffer): string[] {
  const found: string[] = [];
  const text = output.toString('latin1');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  for (const match of text.matchAll(/[\x00-\x09\x0b-\x1f\x7f]/g))
    found.push(`0x${match[0].charCodeAt(0).toString(16)} at ${match.index}`);
  try {
    const decoded = new TextDecoder('utf-8', { fatal: true }).decode(output);
    // C1 controls, and the private code points that stand for bytes: no terminal knows those.
    for (const match of decoded.matchAll(/[\u0080-\u009f\uef80-\uefff]/g))
      found.push(`U+${match[0].charCodeAt(0).toString(16)}`);
  } catch {
    found.push('no UTF-8');
  }
  return found;
}

describe.skipIf(whyNot !== undefined)(
  `hostile bytes${whyNot === undefined ? '' : ` (skipped: ${whyNot})`}`,
  () => {
    let world: World;
    let agent: Daemon;
    let hooked = false;
    const live: { compact: Buffer; json: Buffer } = { compact: Buffer.alloc(0), json: Buffer.alloc(0) };

    /** Runs the command line; gives what it printed as bytes. */
    function printed(...args: string[]): Buffer {
      const { stdout, status, stderr } = spawnSync(process.execPath, [world.program, ...args], {
        env: world.environment,
        cwd: world.folder,
      });
      expect(status, stderr.toString()).toBe(0);
      return Buffer.concat([stdout, stderr]);
    }

    beforeAll(async () => {
      world = new World();
      await world.startControlPlane();
      world.ok('policy', 'add', world.file('opens.yaml', policy.replace('FOLDER', world.folder)));
      agent = await world.startAgent();
      const loaded = (await world.status()).policies.find(({ name }) => name === 'opens');
      hooked = loaded?.state === 'loaded';
      if (!hooked) console.log(`without a hook on this kernel: ${loaded?.reason}`);
      // Live views, beside the archive.
      const stop = new AbortController();
      const views = (['compact', 'json'] as const).map(async (format) => {
        for await (const line of world.agent.events({ format }, stop.signal)) {
          if (line.includes('owned')) live[format] = Buffer.concat([live[format], Buffer.from(`${line}\n`)]);
        }
      });
      await waitFor('the live views', async () => (await world.status()).subscribers.current === 2);
      const script = `name=$(printf '${spelling}'); cp /bin/true "$1/$name"; cat "$1/$name" > /dev/null; cd "$1" && "./$name" "$name" plain`;
      const { status, stderr } = spawnSync('/bin/sh', ['-c', script, 'sh', world.folder]);
      expect(status, stderr.toString()).toBe(0);
      await waitFor('the live events', () => /exit/.test(live.json.toString()) && live.compact.length > 0);
      stop.abort();
      await Promise.allSettled(views);
    });
    afterAll(() => world.close());

    const sql = () =>
      `SELECT kind, "binary", arguments, path, exec_id FROM events
     WHERE list_contains(arguments, 'plain') OR path LIKE '${world.folder}/we%' ORDER BY time_ns`;

    test('come back from the archive byte for byte, over HTTP and the command line', async () => {
      const rows = await waitFor(
        'the events in the archive',
        async () => {
          const found = await world.query(sql());
          return found.some(([kind]) => kind === 'exit') && found;
        },
        { everyMs: 500 },
      );
      const [, binary, args] = rows.find(([kind]) => kind === 'exec') as [string, string, string[]];
      const name = Buffer.concat([Buffer.from(`${world.folder}/`), expected]);
      expect(Buffer.from(textToBytes(binary))).toEqual(name);
      expect(args.map((text) => Buffer.from(textToBytes(text)))).toEqual([expected, Buffer.from('plain')]);
      if (hooked) {
        const paths = rows
          .filter(([kind]) => kind === 'tracepoint' || kind === 'kprobe')
          .map((row) => row[3]);
        expect(paths.length).toBeGreaterThan(0);
        for (const path of paths) expect(Buffer.from(textToBytes(String(path)))).toEqual(name);
      }
      const answer = JSON.parse(printed('archive', 'query', '-o', 'json', sql()).toString()) as {
        rows: unknown[][];
      };
      expect(answer.rows).toEqual(rows);
      // By its bytes in SQL as well: what DuckDB stores is what was asked for.
      const [[count] = []] = await world.query(
        `SELECT count(*) FROM events WHERE kind = 'exec' AND contains("binary", chr(${0xef00 + 0xff}) || 'ir' || chr(10) || 'new line' || chr(27) || ']0;owned')`,
      );
      expect(Number(count)).toBe(1);
      expect(agent.running).toBe(true);
    });

    test('harm no terminal, live, in tables, in trees and in JSON', async () => {
      const [[execId] = []] = await waitFor('the execution', async () => {
        const found = await world.query(
          `SELECT exec_id FROM events WHERE kind = 'exit' AND list_contains(arguments, 'plain')`,
        );
        return found.length > 0 && found;
      });
      for (const [what, output] of Object.entries({
        'live events': live.compact,
        'archive query': printed('archive', 'query', sql()),
        'archive query by fields': printed('archive', 'query', '--exec-id', String(execId)),
        'archive tree': printed('archive', 'tree', String(execId)),
        status: printed('status'),
      })) {
        expect(harmful(output), what).toEqual([]);
        if (what.startsWith('archive') || what === 'live events')
          expect(output.toString(), what).toContain('owned');
      }
      // JSON keeps the bytes' spelling, and escapes what commands.
      for (const [what, json] of Object.entries({
        'live events': live.json.toString(),
        'archive query': printed('archive', 'query', '-o', 'json', sql()).toString(),
      })) {
        expect(json, what).toContain('owned');
        expect(json, what).not.toMatch(misleading);
      }
    });
  },
);
