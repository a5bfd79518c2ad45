// SPDX-License-Identifier: Apache-2.0
// Finds in a kernel's log what must fail a run: warnings, bugs, oopses, stalls and
// the reports of its checkers.

const splats: readonly RegExp[] = [
  /\bWARNING: /,
  /\bBUG: /,
  /\bkernel BUG at /,
  /\bOops\b/,
  /\bKernel panic\b/,
  /\bgeneral protection fault\b/,
  /\bunable to handle\b/i,
  /\bdivide error: /,
  /\bstack segment: /,
  /\bint3: \d/,
  /\binvalid opcode: \d/,
  /\bUBSAN: /,
  /\bKASAN: /,
  /\bKCSAN: /,
  /\brefcount_t: /,
  /\bpossible (?:circular|recursive) locking\b/,
  /\binconsistent lock state\b/,
  /\bsuspicious RCU usage\b/,
  /\brcu: INFO: .* (?:detected|self-detected) stall/,
  /\bsoft lockup\b/,
  /\bhard LOCKUP\b/i,
  /\bINFO: task .* blocked for more than\b/,
  /\bunregister_netdevice: waiting\b/,
  /\bbad: scheduling from\b/,
  /\bmemory leak\b/,
];

/** Returns the lines of a kernel's log that report a fault of the kernel. */
export function findSplats(lines: readonly string[]): string[] {
  return lines.filter((line) => splats.some((splat) => splat.test(line)));
}
