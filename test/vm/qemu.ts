// SPDX-License-Identifier: Apache-2.0
// Starts qemu with a kernel, the root disk and a work disk. Nothing is ever written
// to the disks: both are opened with snapshot=on, so ending the guest is killing qemu.

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { release, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { VmError } from './errors.js';
import { execute, findProgram } from './execute.js';
import { rootPartitionUuid } from './image.js';
import type { Kernel } from './kernels.js';
import { cacheFolder } from './places.js';
import { lineBytesMax } from './protocol.js';
import type { VariantName } from './scenario.js';

const qemuProgram = 'qemu-system-x86_64';
const consoleBytesMax = 8 * 1024 * 1024;
const kvmProbeMs = 20_000;

export type Accelerator = 'kvm' | 'tcg';

export interface MachineOptions {
  readonly kernel: Kernel;
  readonly variant: VariantName;
  readonly rootImage: string;
  readonly workImage: string;
  /** What the guest does: see guest/init.sh. */
  readonly mode: 'run' | 'appliance' | 'shell';
  /** Gives a network card that reaches this host's loopback at 10.0.2.2. */
  readonly network?: boolean;
  /** TCP ports of this host's loopback that lead into the guest. */
  readonly portForward?: readonly { readonly host: number; readonly guest: number }[];
  readonly memoryMebibytes?: number;
  /** A second processor needs care under TCG: see `acceleratorArguments`. */
  readonly processors?: number;
  /** Connects the console to this process's terminal. */
  readonly interactive?: boolean;
  readonly onLine?: (line: string) => void;
}

export class Machine {
  /** Resolves when qemu has ended. */
  readonly ended: Promise<void>;
  readonly #process: ChildProcess;
  readonly #folder: string;
  readonly #waiting: string[] = [];
  #port: Socket | null = null;
  #console = '';
  #consoleCut = 0;
  #hasEnded = false;

  private constructor(process: ChildProcess, folder: string) {
    this.#process = process;
    this.#folder = folder;
    this.ended = new Promise((resolve) => {
      process.on('error', (error) => {
        this.#addConsole(`cannot start qemu: ${error.message}\n`);
        resolve();
      });
      process.on('close', () => resolve());
    });
    void this.ended.then(() => {
      this.#hasEnded = true;
      rmSync(this.#folder, { recursive: true, force: true });
    });
    process.stdout?.setEncoding('utf8').on('data', (text: string) => this.#addConsole(text));
    process.stderr?.setEncoding('utf8').on('data', (text: string) => this.#addConsole(text));
  }

  static async start(options: MachineOptions): Promise<Machine> {
    const accelerator = await chooseAccelerator(options.kernel);
    // Not in the cache folder: a socket's path has at most 107 bytes.
    const folder = mkdtempSync(join(tmpdir(), 'weir-vm-'));
    const socketPath = join(folder, 'ttyS1');
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.on('error', reject);
      server.listen(socketPath, resolve);
    });
    const args = qemuArguments(options, accelerator, socketPath);
    // A guest must not outlive whoever was to end it, however that died.
    const process = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', findProgram(qemuProgram) ?? qemuProgram, ...args],
      {
        stdio: options.interactive === true ? 'inherit' : ['ignore', 'pipe', 'pipe'],
      },
    );
    const machine = new Machine(process, folder);
    server.once('connection', (socket) => machine.#attachPort(socket, options.onLine));
    void machine.ended.then(() => server.close());
    return machine;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** A position in the console's text, for `consoleSince`. */
  get consolePosition(): number {
    return this.#consoleCut + this.#console.length;
  }

  consoleSince(position: number): string {
    return this.#console.slice(Math.max(0, position - this.#consoleCut));
  }

  /** Sends a line to the guest's second serial port. */
  send(line: string): void {
    if (this.#port === null) this.#waiting.push(line);
    else this.#port.write(`${line}\n`);
  }

  /** Ends the guest at once. */
  async close(): Promise<void> {
    if (!this.#hasEnded) this.#process.kill('SIGKILL');
    await this.ended;
  }

  #addConsole(text: string): void {
    this.#console += text;
    const excess = this.#console.length - consoleBytesMax;
    if (excess > 0) {
      this.#console = this.#console.slice(excess);
      this.#consoleCut += excess;
    }
  }

  #attachPort(socket: Socket, onLine: ((line: string) => void) | undefined): void {
    this.#port = socket;
    let rest = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = (lines.pop() ?? '').slice(-lineBytesMax);
      for (const line of lines) onLine?.(line.replace(/\r$/, ''));
    });
    // The end of qemu is seen by `ended`; the socket's own error adds nothing.
    socket.on('error', () => {});
    for (const line of this.#waiting.splice(0)) socket.write(`${line}\n`);
  }
}

function qemuArguments(options: MachineOptions, accelerator: Accelerator, socketPath: string): string[] {
  const network = options.network === true || (options.portForward?.length ?? 0) > 0;
  const commandLine = [
    'console=ttyS0',
    `root=PARTUUID=${rootPartitionUuid}`,
    'rootfstype=ext4',
    'rw',
    'init=/usr/sbin/weir-boot',
    // qemu ends on a reboot, and a panic reboots at once: so a panic is seen as the end.
    'panic=-1',
    'oops=panic',
    'softlockup_panic=1',
    // The default is 120 s of a task blocked; a scenario has ended by then.
    'hung_task_timeout_secs=30',
    'net.ifnames=0',
    `weir.mode=${options.mode}`,
    `weir.network=${network ? 1 : 0}`,
    ...(options.mode === 'run' ? [] : ['quiet']),
    ...(options.variant === 'no-bpf-lsm'
      ? [`lsm=${options.kernel.lsms.filter((name) => name !== 'bpf').join(',')}`]
      : []),
  ];
  const forwards = (options.portForward ?? []).map(
    ({ host, guest }) => `,hostfwd=tcp:127.0.0.1:${host}-10.0.2.15:${guest}`,
  );
  return [
    ...acceleratorArguments(accelerator, options.processors ?? 1),
    ...['-m', String(options.memoryMebibytes ?? 1024)],
    ...['-nodefaults', '-display', 'none', '-no-reboot'],
    ...['-kernel', options.kernel.vmlinuz, '-append', commandLine.join(' ')],
    ...diskArguments('root', options.rootImage),
    ...diskArguments('work', options.workImage),
    ...['-serial', options.interactive === true ? 'mon:stdio' : 'stdio'],
    ...['-chardev', `socket,id=port,path=${socketPath}`, '-serial', 'chardev:port'],
    ...(network
      ? ['-netdev', `user,id=net${forwards.join('')}`, '-device', 'virtio-net-pci,netdev=net,romfile=']
      : []),
  ];
}

function diskArguments(name: string, image: string): string[] {
  const drive = `file=${image},if=none,id=${name},format=raw,snapshot=on,cache=unsafe`;
  return ['-drive', drive, '-device', `nvme,serial=${name},drive=${name}`];
}

function acceleratorArguments(accelerator: Accelerator, processors: number): string[] {
  const smp = ['-smp', String(processors)];
  if (accelerator === 'kvm') return ['-accel', 'kvm', '-cpu', 'host', ...smp];
  // Two processors on two threads have oopsed in the kernel's text patching under
  // qemu 7.2, which attaching eBPF programs does all the time: one thread for all.
  const threads = processors > 1 ? ',thread=single' : '';
  return ['-accel', `tcg${threads}`, '-cpu', 'max,la57=off', ...smp];
}

/**
 * Chooses how the guest is run: `WEIR_VM_ACCEL` if set, else KVM if a kernel really boots
 * with it (/dev/kvm alone proves nothing inside a virtual machine), else emulation.
 */
export async function chooseAccelerator(kernel: Kernel): Promise<Accelerator> {
  const chosen = process.env.WEIR_VM_ACCEL;
  if (chosen === 'kvm' || chosen === 'tcg') return chosen;
  if (chosen !== undefined && chosen !== '') {
    throw new VmError('BOOT_FAILED', `WEIR_VM_ACCEL is "${chosen}"; it can be kvm or tcg`);
  }
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return 'tcg';
  }
  const version = await execute(qemuProgram, ['--version']);
  const processor = /^model name.*$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[0] ?? '';
  const key = createHash('sha256')
    .update([kernel.release, release(), version, processor].join('\0'))
    .digest('hex')
    .slice(0, 16);
  const answer = join(cacheFolder(), 'kvm', key);
  if (!existsSync(answer)) {
    const works = await bootsWithKvm(kernel);
    mkdirSync(dirname(answer), { recursive: true });
    writeFileSync(answer, works ? 'kvm' : 'tcg');
  }
  return readFileSync(answer, 'utf8') === 'kvm' ? 'kvm' : 'tcg';
}

/** Boots a kernel without any disk: it works if the kernel gets as far as missing its root. */
async function bootsWithKvm(kernel: Kernel): Promise<boolean> {
  const child = spawn(
    findProgram(qemuProgram) ?? qemuProgram,
    [
      ...acceleratorArguments('kvm', 1),
      ...['-m', '512', '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
      ...['-kernel', kernel.vmlinuz, '-append', 'console=ttyS0 panic=-1'],
    ],
    { stdio: ['ignore', 'pipe', 'ignore'], timeout: kvmProbeMs, killSignal: 'SIGKILL' },
  );
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  await new Promise<void>((resolve) => {
    child.on('error', () => resolve());
    child.on('close', () => resolve());
  });
  return text.includes('Unable to mount root fs');
}
