// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { DemoWatch } from './watch.js';

test('counts a shell of the demonstration when its start and its end were shown', () => {
  const watch = new DemoWatch('weir-demo-1');
  const check = (line: string, ended: number) => {
    watch.see(line);
    expect([line, watch.ended]).toEqual([line, ended]);
  };
  check(
    '10:00:00.001 exec    /usr/bin/dash[7] -c "ls /; exit 3" weir-demo-1 uid=root by /usr/bin/node[5]',
    0,
  );
  check('10:00:00.002 exec    /usr/bin/ls[8] / uid=root by /usr/bin/dash[7]', 0);
  check('10:00:00.003 exit    /usr/bin/ls[8] exit=0', 0);
  check('10:00:00.004 exit    /usr/bin/dash[7] exit=3', 1);
  check('10:00:00.005 exit    /usr/bin/dash[7] exit=3', 1);
  check('10:00:00.006 exec    shop/web-1 /bin/sh[9] -c true weir-demo-1 uid=1000', 1);
  // It became another program: its end is what counts.
  check('10:00:00.007 exec    shop/web-1 /usr/bin/true[9] uid=1000', 1);
  check('10:00:00.008 exit    shop/web-1 /usr/bin/true[9] exit=0', 2);
  check('10:00:00.009 lsm     /bin/cat[10] file_open(weir-demo-1) policy=x', 2);
  check('weir-demo-1', 2);
});
