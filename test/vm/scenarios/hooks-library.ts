// SPDX-License-Identifier: Apache-2.0
// The ready policies, all in force at once: each tells of the deed that its name says, and of no neighbour of it.

import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { runContainer } from '../guest/container.js';
import { type Hooks, libraryNames, libraryPolicy, withHooks } from '../guest/hooks.js';
import { calls, exchangeOverTcp, knock, sendDatagrams, told, unixAddress } from '../guest/library-deeds.js';
import { type ScenarioContext, scenario } from '../scenario.js';

interface Deed {
  readonly policy: string;
  /** What is done: first what no policy shall tell of, then what it shall. */
  readonly act: () => unknown;
  /** Each event as `told` writes it, in the order in which the deeds are done. */
  readonly events: readonly string[];
  /** Which of the policy's events are looked at, where others of the node have some too. */
  readonly about?: RegExp;
}

const AT_FDCWD = -100;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_CREAT = 0x40;
const O_TRUNC = 0x200;
const O_LARGEFILE = 0x8000;
const CLONE_NEWUTS = 0x04000000;
const CLONE_NEWUSER = 0x10000000;
// What unshare adds to a new user namespace: CLONE_THREAD and CLONE_FS.
const IMPLIED_BY_NEWUSER = 0x00010200;
const CLONE_FILES = 0x400;
const SIGCHLD = 17;
const call = {
  mmap: 9,
  truncate: 76,
  socket: 41,
  connect: 42,
  clone: 56,
  ptrace: 101,
  pivotRoot: 155,
  mount: 165,
  unmount: 166,
  initModule: 175,
  deleteModule: 176,
  setxattr: 188,
  removexattr: 197,
  openat: 257,
  unshare: 272,
  openByHandleAt: 304,
  setns: 308,
  finitModule: 313,
  userfaultfd: 323,
  ioUringSetup: 425,
  moveMount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
} as const;

/** Opens a file to write, and writes a byte. */
function write(path: string): void {
  const file = openSync(path, 'a');
  writeSync(file, 'x');
  closeSync(file);
}

function processDeeds(ctx: ScenarioContext): Deed[] {
  const { run, folder } = ctx;
  const trace = join(folder, 'trace');
  const other = { uid: 1000, gid: 1000 };
  return [
    {
      policy: 'monitor-process-lifecycle',
      act: () => run('sh', ['-c', 'sleep 60 >/dev/null 2>&1 & kill -0 $!; kill -15 $!']),
      about: /^task_kill .* (0|15)$/,
      events: ['task_kill PID 15'],
    },
    {
      policy: 'monitor-process-lifecycle',
      act: () => run('uname', ['-n']),
      about: /\/uname /,
      events: ['bprm_committed_creds /usr/bin/uname 2'],
    },
    {
      policy: 'detect-exec-from-writable-folders',
      act: async () => {
        for (const path of [join(folder, 'weir-act'), '/tmp/weir-act']) {
          copyFileSync('/weir/bin/act', path);
          await run(path, [trace]);
        }
      },
      events: ['bprm_check /tmp/weir-act'],
    },
    {
      policy: 'detect-privilege-escalation',
      act: async () => {
        await run('/bin/su', ['--version']);
        await run('unshare', ['--pid', '--fork', '/bin/su', '--version']);
      },
      events: ['bprm_check /usr/bin/su'],
    },
    {
      policy: 'monitor-privilege-changes',
      act: async () => {
        await run('/bin/su', ['--version']);
        await run('true', [], other);
        await run('/bin/su', ['--version'], other);
      },
      events: ['commit_creds 0 1000'],
    },
    {
      policy: 'monitor-privilege-changes',
      act: async () => {
        const program = '/tmp/weir-capable';
        copyFileSync('/bin/true', program);
        await run(program, [], other);
        // A struct vfs_cap_data: permitted and effective CAP_NET_RAW.
        const capability = `&0:0100000200200000${'0'.repeat(24)}`;
        await calls(ctx, [[call.setxattr, `"${program}`, '"security.capability', capability, 20, 0]]);
        await run(program, [], other);
        await run('unshare', ['--user', 'true'], other);
        rmSync(program);
      },
      events: ['commit_creds 8192 0 1000 0'],
    },
    {
      policy: 'monitor-privilege-changes',
      // Gives a capability up, and takes it back.
      act: () => run('objects', ['capset']),
      about: /^capset/,
      events: ['capset'],
    },
    {
      policy: 'block-cryptominers',
      act: async () => {
        copyFileSync('/weir/bin/act', '/tmp/xmrig');
        const miner = await run('sh', ['-c', `/tmp/xmrig ${trace}-of-miner; exit 7`]);
        rmSync('/tmp/xmrig');
        assert.equal(existsSync(`${trace}-of-miner`), false, 'the miner ran');
        assert.equal(miner.code, 7);
      },
      events: ['bprm_check /tmp/xmrig sigkill -1 9'],
    },
    {
      policy: 'detect-miners',
      act: async () => {
        const miner = join(folder, 'xmrig');
        for (const path of [`${miner}-notes`, miner]) {
          copyFileSync('/weir/bin/act', path);
          await run(path, [trace]);
        }
        for (const port of [3332, 3333]) await knock(port);
        mkdirSync('/dev/cpu/7', { recursive: true });
        writeFileSync('/dev/cpu/7/cpuid', '');
        readFileSync('/dev/cpu/7/cpuid');
        writeFileSync('/dev/cpu/7/msr', '');
        readFileSync('/dev/cpu/7/msr');
        rmSync('/dev/cpu/7', { recursive: true });
      },
      events: [
        `bprm_check ${join(folder, 'xmrig')}`,
        'tcp_connect 127.0.0.1:PORT>127.0.0.1:3333',
        `file_open /dev/cpu/7/msr ${O_WRONLY + O_CREAT + O_TRUNC + O_LARGEFILE}`,
      ],
    },
  ];
}

function fileDeeds(ctx: ScenarioContext): Deed[] {
  const { folder } = ctx;
  const [system, own] = ['/etc/weir-watched', join(folder, 'watched')];
  const written = '/etc/weir-written';
  const key = join(folder, '.ssh/id_ed25519');
  return [
    {
      policy: 'monitor-file-names',
      act: () => {
        for (const path of [own, system]) {
          writeFileSync(path, 'some bytes');
          linkSync(path, `${path}-linked`);
          symlinkSync(path, `${path}-symbolic`);
          renameSync(`${path}-linked`, `${path}-renamed`);
          unlinkSync(`${path}-renamed`);
          unlinkSync(`${path}-symbolic`);
          mkdirSync(`${path}-folder`);
          rmdirSync(`${path}-folder`);
        }
      },
      events: [
        'path_mknod /etc /etc/weir-watched',
        'path_link /etc/weir-watched /etc /etc/weir-watched-linked',
        'path_symlink /etc /etc/weir-watched-symbolic /etc/weir-watched',
        'path_rename /etc /etc/weir-watched-linked /etc /etc/weir-watched-renamed',
        'path_unlink /etc /etc/weir-watched-renamed',
        'path_unlink /etc /etc/weir-watched-symbolic',
        'path_mkdir /etc /etc/weir-watched-folder',
        'path_rmdir /etc /etc/weir-watched-folder',
      ],
    },
    {
      policy: 'monitor-file-attributes',
      act: async () => {
        for (const path of [own, system]) {
          chmodSync(path, 0o4711);
          chownSync(path, 1, 2);
          utimesSync(path, 1, 1);
          await calls(ctx, [
            [call.setxattr, `"${path}`, '"user.weir', '"x', 1, 0],
            [call.removexattr, `"${path}`, '"user.weir'],
          ]);
        }
      },
      events: [
        `path_chmod /etc/weir-watched ${0o4711}`,
        'path_chown /etc/weir-watched 1 2',
        'inode_setattr /etc/weir-watched 66032',
        'inode_setxattr /etc/weir-watched user.weir',
        'inode_removexattr /etc/weir-watched user.weir',
      ],
    },
    {
      policy: 'monitor-file-writes',
      act: async () => {
        for (const path of [`${own}-written`, written]) {
          for (let n = 0; n < 3; n++) write(path);
          readFileSync(path);
          truncateSync(path, 1);
          await calls(ctx, [
            [call.truncate, `"${path}`, 0],
            [call.openat, AT_FDCWD, `"${path}`, O_RDWR],
            [call.mmap, 0, 1, 1, 1, '$1', 0], // PROT_READ, MAP_SHARED
            [call.mmap, 0, 1, 3, 2, '$1', 0], // MAP_PRIVATE
            [call.mmap, 0, 1, 3, 1, '$1', 0],
          ]);
        }
      },
      // Three writes of one process are one event.
      events: [
        `file_permission ${written} 2`,
        `${ctx.kernel === '6.1' ? 'path' : 'file'}_truncate ${written}`,
        `path_truncate ${written}`,
        `mmap_file ${written} 3 1`,
      ],
    },
    {
      policy: 'monitor-persistence',
      act: () => {
        mkdirSync('/etc/cron.d', { recursive: true });
        for (const path of ['/etc/weir-watched', '/etc/cron.d/weir-watched']) write(path);
        rmSync('/etc/cron.d/weir-watched');
        for (const path of [system, written]) rmSync(path);
      },
      events: ['file_permission /etc/cron.d/weir-watched 2'],
    },
    {
      policy: 'monitor-persistence',
      act: () => {
        const units = '/etc/systemd/system';
        mkdirSync(units, { recursive: true });
        for (const folder of ['/etc', '/etc/cron.d']) {
          const made = [`${own}-job`, `${folder}/weir-moved`, `${folder}/weir-linked`] as const;
          writeFileSync(made[0], 'x');
          linkSync(made[0], made[2]);
          renameSync(made[0], made[1]);
          for (const path of made.slice(1)) rmSync(path);
        }
        for (const path of [`${own}-unit`, `${units}/weir.service`]) symlinkSync('/tmp/weir', path);
        rmSync(`${units}/weir.service`);
        mkdirSync(join(folder, '.ssh'), { recursive: true });
        for (const name of ['known_hosts', 'authorized_keys']) {
          writeFileSync(`${own}-keys`, 'x');
          renameSync(`${own}-keys`, join(folder, '.ssh', name));
        }
        rmSync(join(folder, '.ssh'), { recursive: true });
      },
      events: [
        'path_link /etc/cron.d /etc/cron.d/weir-linked',
        'path_rename /etc/cron.d /etc/cron.d/weir-moved',
        'path_symlink /etc/systemd/system /etc/systemd/system/weir.service /tmp/weir',
        `path_rename ${join(folder, '.ssh')} ${join(folder, '.ssh/authorized_keys')}`,
      ],
    },
    {
      policy: 'monitor-sensitive-files',
      act: () => {
        mkdirSync('/run/secrets/kubernetes.io', { recursive: true });
        writeFileSync('/run/secrets/weir', 'x');
        readFileSync('/run/secrets/weir');
        writeFileSync('/run/secrets/kubernetes.io/token', 'x');
        for (const path of ['/etc/hostname', '/etc/shadow', '/var/run/secrets/kubernetes.io/token'])
          readFileSync(path);
      },
      events: [
        'file_open /run/secrets/kubernetes.io/token',
        'file_open /etc/shadow',
        'file_open /run/secrets/kubernetes.io/token',
      ],
    },
    {
      policy: 'monitor-credential-files',
      act: () => {
        mkdirSync(join(folder, '.ssh'));
        for (const path of [`${key}.pub`, key]) writeFileSync(path, 'x');
      },
      events: [`file_open ${key}`],
    },
  ];
}

function networkDeeds(ctx: ScenarioContext): Deed[] {
  return [
    ...(['127.0.0.1', '::1'] as const).map(
      (host): Deed => ({
        policy: 'monitor-tcp',
        act: () => exchangeOverTcp(host),
        events: [
          `socket_listen ${host}:PORT>${host === '::1' ? '::' : '0.0.0.0'}:0 511`,
          `tcp_connect ${host}:PORT>${host}:PORT`,
          `inet_csk_accept ${host}:PORT>${host}:PORT`,
          `tcp_close ${host}:PORT>${host}:PORT 5 8`,
          // The other's end counts as a byte.
          `tcp_close ${host}:PORT>${host}:PORT 8 6`,
        ],
      }),
    ),
    {
      policy: 'monitor-udp',
      act: async () => {
        for (const type of ['udp4', 'udp6'] as const) await sendDatagrams(type);
      },
      // The second to the same peer is held back.
      events: [
        'socket_bind 0.0.0.0:0>0.0.0.0:0 127.0.0.1:0>0.0.0.0:0',
        'socket_bind 0.0.0.0:0>0.0.0.0:0 0.0.0.0:0>0.0.0.0:0',
        'ip_send_skb 127.0.0.1:PORT>127.0.0.1:PORT',
        'socket_bind :::0>:::0 ::1:0>:::0',
        'socket_bind :::0>:::0 :::0>:::0',
        'ip6_send_skb ::1:PORT>::1:PORT',
      ],
    },
    {
      policy: 'monitor-raw-sockets',
      act: () =>
        calls(ctx, [
          [call.socket, 2, 1, 0],
          [call.socket, 2, 2, 17],
          [call.socket, 2, 3, 1],
          [call.socket, 17, 3, 0],
        ]),
      events: ['socket_create 2 3 1 0', 'socket_create 17 3 0 0'],
    },
  ];
}

function callDeeds(ctx: ScenarioContext): Deed[] {
  const { folder, run } = ctx;
  const target = join(folder, 'mount');
  const PTRACE_TRACEME = 0;
  const PTRACE_SEIZE = 0x4206;
  const FSCONFIG_CMD_CREATE = 6;
  const MOVE_MOUNT_F_EMPTY_PATH = 4;
  const MNT_DETACH = 2;
  return [
    {
      policy: 'monitor-process-memory-access',
      act: async () => {
        readFileSync(`/proc/${process.ppid}/status`);
        await calls(ctx, [
          [call.ptrace, PTRACE_TRACEME],
          [call.ptrace, PTRACE_SEIZE, process.pid],
        ]);
      },
      events: ['ptrace_traceme PID', 'ptrace_access_check PID 18'],
    },
    {
      policy: 'monitor-mounts',
      act: async () => {
        mkdirSync(target);
        await calls(ctx, [
          // Fails, as nothing is mounted there; it would be the root of all.
          [call.pivotRoot, `"${target}`, `"${target}`],
          [call.mount, '"source', `"${target}`, '"tmpfs', 0, 0],
          [call.unmount, `"${target}`, 0],
          [call.fsopen, '"tmpfs', 0],
          [call.fsconfig, '$3', FSCONFIG_CMD_CREATE, 0, 0, 0],
          [call.fsmount, '$3', 0, 0],
          [call.moveMount, '$5', '"', AT_FDCWD, `"${target}`, MOVE_MOUNT_F_EMPTY_PATH],
          [call.unmount, `"${target}`, MNT_DETACH],
        ]);
      },
      events: [
        `sb_pivotroot ${target} ${target}`,
        `sb_mount source ${target} tmpfs`,
        'sb_umount tmpfs 0',
        `move_mount / ${target}`,
        `sb_umount tmpfs ${MNT_DETACH}`,
      ],
    },
    {
      policy: 'monitor-namespaces',
      act: () =>
        calls(ctx, [
          [call.unshare, CLONE_FILES],
          [call.clone, SIGCHLD, 0],
          [call.unshare, CLONE_NEWUTS],
          [call.clone, CLONE_NEWUTS + SIGCHLD, 0],
          [call.openat, AT_FDCWD, '"/proc/self/ns/uts', 0],
          [call.setns, '$4', CLONE_NEWUTS],
          [call.unshare, CLONE_NEWUSER],
        ]),
      events: [
        `unshare_nsproxy_namespaces ${CLONE_NEWUTS}`,
        `copy_namespaces ${CLONE_NEWUTS}`,
        `setns uts:[] ${CLONE_NEWUTS}`,
        'create_user_ns 0',
        `unshare_nsproxy_namespaces ${CLONE_NEWUSER + IMPLIED_BY_NEWUSER}`,
      ],
    },
    {
      policy: 'monitor-bpf',
      act: async () => {
        await run('objects', ['map', 'weir_map']);
        await run('objects', ['program', 'weir_program']);
      },
      events: ['bpf 5 weir_program'],
    },
    {
      policy: 'monitor-kernel-modules',
      act: () =>
        calls(ctx, [
          [call.socket, 2, 1, 0],
          [call.socket, 27, 1, 0], // AF_IB: of no module that is here
          [call.openat, AT_FDCWD, '"/weir/bin/act', 0],
          [call.finitModule, '$2', '"', 0],
          [call.initModule, '&0', 4096, '"'],
          [call.deleteModule, '"weir_no_module', 0],
        ]),
      events: [
        'kernel_module_request net-pf-27',
        'kernel_read_file /weir/bin/act 2',
        'kernel_load_data 2',
        'delete_module weir_no_module',
      ],
    },
    {
      policy: 'monitor-io-uring',
      act: () =>
        calls(ctx, [
          [call.userfaultfd, 0],
          [call.ioUringSetup, 4, '&0'],
        ]),
      events: ['inode_init_security_anon [io_uring]'],
    },
  ];
}

function containerDeeds(ctx: ScenarioContext): Deed[] {
  const { folder, run } = ctx;
  const lines = [
    [call.mount, '"source', `"${folder}`, '"tmpfs', 0, 0],
    [call.openat, AT_FDCWD, '"/proc/sys/kernel/core_pattern', 0],
    [call.openat, AT_FDCWD, '"/proc/sys/kernel/core_pattern', 1],
    [call.openat, AT_FDCWD, '"/dev/nvme0n1', 0],
    [call.openByHandleAt, AT_FDCWD, '&0', 0],
    [call.socket, 1, 1, 0],
    [call.connect, '$5', `&1:${unixAddress('/run/other.sock')}`, 110],
    [call.connect, '$5', `&2:${unixAddress('/run/docker.sock')}`, 110],
  ] as const;
  return [
    {
      policy: 'monitor-container-escape',
      act: async () => {
        await calls(ctx, lines);
        await run('umount', [folder]);
        // With the process namespace of a container, and nothing else of one.
        await calls(ctx, lines, ['unshare', '--pid', '--fork']);
        await run('umount', [folder]);
      },
      events: [
        `sb_mount source ${folder} tmpfs`,
        'file_open /proc/sys/kernel/core_pattern 32769',
        'file_open /dev/nvme0n1 32768',
        'open_by_handle_at 0',
        'socket_connect /run/docker.sock',
      ],
    },
    {
      policy: 'detect-container-escape',
      act: async () => {
        const outside = await run('act', [join(folder, 'trace'), 'setns']);
        assert.equal(outside.stdout, '0\n');
        const inside = await runContainer(ctx, {
          id: 'escape',
          args: ['/bin/sh', '-c', '/bin/act /dev/trace setns; echo $?'],
          addFiles: (rootfs) => copyFileSync('/weir/bin/act', join(rootfs, 'bin/act')),
        });
        assert.equal(inside.stdout, '137\n', `${inside.stdout}${inside.stderr}`);
      },
      // Denied as well as killed: it did not join.
      events: [`setns 4 ${CLONE_NEWUTS} sigkill -1 9`],
    },
  ];
}

async function perform(hooks: Hooks, deed: Deed, log: (text: string) => void): Promise<string | undefined> {
  hooks.events();
  await deed.act();
  const events = hooks
    .events()
    .filter(({ policy }) => policy === deed.policy)
    .map((event) => {
      const { action, error, signal } = event;
      return action === 'post' ? told(event) : `${told(event)} ${action} ${error} ${signal}`;
    })
    .filter((text) => deed.about?.test(text) ?? true);
  log(`${deed.policy}: ${events.join('; ')}`);
  return isDeepStrictEqual(events, deed.events)
    ? undefined
    : `${deed.policy} tells of\n${events.join('\n')}\nand not of\n${deed.events.join('\n')}`;
}

export default scenario(
  'the policies of the library tell of what their names say, and of nothing beside it',
  { timeoutMs: 300_000 },
  async (ctx) => {
    const { run, log } = ctx;
    // As Debian sets it up; the guest's disk is made without its set-up scripts.
    if (!lstatSync('/var/run', { throwIfNoEntry: false })?.isSymbolicLink()) {
      rmSync('/var/run', { recursive: true, force: true });
      symlinkSync('/run', '/var/run');
    }
    assert.equal((await run('/sbin/ip', ['link', 'set', 'lo', 'up'])).code, 0);
    await withHooks(async (hooks) => {
      const names = libraryNames();
      const start = Date.now();
      const outcomes = await hooks.apply(...names.map(libraryPolicy));
      const count = new Set(outcomes.flatMap(({ hooks: symbols }) => symbols)).size;
      log(`${names.length} policies on ${count} hooks, in ${Date.now() - start} ms`);
      const deeds = [processDeeds, fileDeeds, networkDeeds, callDeeds, containerDeeds].flatMap((of) =>
        of(ctx),
      );
      // No policy of the library is without a deed.
      assert.deepEqual([...new Set(deeds.map(({ policy }) => policy))].sort(), names);
      const wrong: string[] = [];
      for (const deed of deeds) {
        const said = await perform(hooks, deed, log);
        if (said !== undefined) wrong.push(said);
      }
      assert.equal(wrong.join('\n\n'), '');
      assert.equal(hooks.counter('enforceFailed'), 0n);
    });
  },
);
