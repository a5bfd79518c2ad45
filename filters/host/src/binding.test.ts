// SPDX-License-Identifier: Apache-2.0
// Which events a filter is called for, through the whole host: a filter that drops whatever it judges.
import { EventKind } from '@weir/schema';
import { BatchWriter } from '@weir/segment';
import { afterEach, describe, expect, it } from 'vitest';
import { closeHosts, dropsAll, judge, type ModuleText, start } from './fixtures.js';

afterEach(closeHosts);

/** Four events: an exec in a pod of the web, opens of two policies and functions, one of them in a pod of the database, an exit on the node. */
function batch(): Uint8Array {
  const writer = new BatchWriter({ node: 'node-1', cluster: 'test', nodeLabels: { zone: 'a', empty: '' } });
  const web = writer.pod({ name: 'web-1', labels: { app: 'web', tier: 'front' } });
  const database = writer.pod({ name: 'db-1', labels: { app: 'db' } });
  const inWeb = writer.process({ pid: 1, startNs: 1n, podIndex: web });
  const inDatabase = writer.process({ pid: 2, startNs: 1n, podIndex: database });
  const onNode = writer.process({ pid: 3, startNs: 1n });
  const opens = writer.binding({
    eventKind: EventKind.kprobe,
    policyName: 'files',
    functionName: 'security_file_open',
  });
  const connects = writer.binding({
    eventKind: EventKind.lsm,
    policyName: 'net',
    functionName: 'socket_connect',
  });
  writer.event({ kind: EventKind.exec, pid: 1, process: inWeb });
  writer.event({ kind: EventKind.kprobe, pid: 1, process: inWeb, binding: opens, arguments: [] });
  writer.event({ kind: EventKind.lsm, pid: 2, process: inDatabase, binding: connects, arguments: [] });
  writer.event({ kind: EventKind.exit, pid: 3, process: onNode });
  return writer.finish();
}

describe('a filter is bound', () => {
  const cases: [string, ModuleText['binds'], number[]][] = [
    ['to nothing: it judges all', {}, [1, 1, 1, 1]],
    ['to kinds', { kinds: ['exec', 'exit'] }, [1, 0, 0, 1]],
    ['to policies', { policies: ['files', 'other'] }, [0, 1, 0, 0]],
    ['to hooks', { hooks: ['socket_connect'] }, [0, 0, 1, 0]],
    ['to several hooks', { hooks: ['socket_connect', 'security_file_open'] }, [0, 1, 1, 0]],
    ['to a hook that is none of a policy', { hooks: ['security_file_ope'] }, [0, 0, 0, 0]],
    ['to a label of pods', { labels: ['app=web'] }, [1, 1, 0, 0]],
    ['to one of several labels', { labels: ['app=db', 'tier=front'] }, [1, 1, 1, 0]],
    ['to a label of the node: all events of it', { labels: ['zone=a'] }, [1, 1, 1, 1]],
    ['to a label with an empty value', { labels: ['empty='] }, [1, 1, 1, 1]],
    ['to another value of a label', { labels: ['zone=b', 'app=we'] }, [0, 0, 0, 0]],
    [
      'to a label and a hook: both must agree',
      { labels: ['app=web'], hooks: ['security_file_open'] },
      [0, 1, 0, 0],
    ],
  ];
  it.each(cases)('%s', async (_, binds, expected) => {
    const { host } = await start([{ ...dropsAll, binds: binds ?? {} }]);
    expect((await judge(host, batch())).verdicts).toEqual(expected);
  });
});
