// SPDX-License-Identifier: Apache-2.0
// Owns modules that get in and then attack: each with what it does, and what is to become of it. They are written
// against the bare ABI, which no SDK would let them abuse.
import {
  annotation,
  done,
  dropVerdict,
  eachRecord,
  label,
  type ModuleText,
  pid,
} from '../../filters/host/src/fixtures.js';

/** Keeps a count over all events that it sees, and drops each one at a multiple: a lost or doubled event shows. */
export function innocent(name: string, every: number): ModuleText {
  return {
    name,
    filter: `${eachRecord(`
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (if (i32.eqz (i32.rem_u (global.get $count) (i32.const ${every}))) (then ${dropVerdict}))`)} ${done}`,
  };
}

export interface RunningAttack {
  readonly name: string;
  readonly module: Omit<ModuleText, 'name'>;
  /**
   * What becomes of it. `traps`: each event of pid 666 costs it the event; `quarantined`: it is stopped at the first
   * such event or batch; `harmless`: nothing is to be seen; `refused`: it cannot be loaded.
   */
  readonly outcome: 'traps' | 'quarantined' | 'harmless' | 'refused';
  /** Code of the quarantine, or cause of the trap. */
  readonly code?: string;
  /** What the report of it says. */
  readonly reason?: RegExp;
}

const marked = `(i32.eq ${pid} (i32.const 666))`;
/** Runs the code on each event of pid 666. */
const on = (code: string) => `${eachRecord(`(if ${marked} (then ${code}))`)} ${done}`;
/** Runs the code on every event. */
const always = (code: string) => `${eachRecord(code)} ${done}`;

function traps(name: string, code: string, cause: string, reason: RegExp, rest = ''): RunningAttack {
  return { name, module: { filter: on(code), rest }, outcome: 'traps', code: cause, reason };
}
function lies(name: string, code: string, reason: RegExp, rest = ''): RunningAttack {
  return {
    name,
    module: { filter: code, rest: `${rest} (data (i32.const 4096) "x")`, labels: ['x'] },
    outcome: 'quarantined',
    code: 'lying',
    reason,
  };
}
function harmless(name: string, filter: string, more: Partial<ModuleText> = {}): RunningAttack {
  return {
    name,
    module: { filter, labels: ['x'], ...more, rest: `(data (i32.const 4096) "x") ${more.rest ?? ''}` },
    outcome: 'harmless',
  };
}
function refused(name: string, module: Partial<ModuleText>, reason: RegExp): RunningAttack {
  return { name, module: { filter: done, ...module }, outcome: 'refused', reason };
}

/** Sets $i to the record that it is called for, $v to the address of the verdict on it. */
const ownVerdict = `
  (local.set $i (i32.load offset=16 (local.get $call)))
  (local.set $v (i32.add (i32.load offset=12 (local.get $call)) (local.get $i)))`;

/** The pid of the record that it is called for. */
const firstPid = pid.replaceAll('(local.get $i)', '(i32.load offset=16 (local.get $call))');

const fuel = /fuel/;
const deep = /nest too deeply/;
const memoryEnd = 40 * 65536;
/** 16 labels with values of 1024 bytes each at 8192. */
const manyLabels = Array.from({ length: 16 }, (_, index) =>
  label([4096, 1], [16384, 1024], 8192 + index * 16),
).join('\n');

/** An annotation that asks for `count` redactions, listed at `at`; the first is of `length` bytes at `from` of the batch. */
function redaction(at: number, count: number, from: number, length: number, write = true): string {
  const list = write
    ? `(i32.store (i32.const ${at}) (i32.const ${count}))
       (i32.store offset=8 (i32.const ${at}) (i32.add (i32.load (local.get $call)) (i32.const ${from})))
       (i32.store offset=12 (i32.const ${at}) (i32.const ${length}))`
    : '';
  return `${list} ${annotation()} (i32.store offset=12 (i32.const 1024) (i32.const ${at}))`;
}
function masks(name: string, code: string, reason: RegExp): RunningAttack {
  const one = lies(name, code, reason);
  return { ...one, module: { ...one.module, redacts: ['arguments'] } };
}

export const runningAttacks: readonly RunningAttack[] = [
  // Without end
  traps('loops for ever', '(loop $for (br $for))', 'fuel', fuel),
  traps(
    'loops for ever through a table of branches',
    '(loop $for (br_table $for $for $for (i32.const 1)))',
    'fuel',
    fuel,
  ),
  traps(
    'loops in loops, each a billion times',
    '(loop $outer (local.set $a (i32.const 0)) (loop $inner (local.set $a (i32.add (local.get $a) (i32.const 1))) (br_if $inner (i32.lt_u (local.get $a) (i32.const 1000000000)))) (br $outer))',
    'fuel',
    fuel,
  ),
  traps(
    'grows like the numbers of Fibonacci',
    '(drop (call $fib (i32.const 60)))',
    'fuel',
    fuel,
    '(func $fib (param $n i32) (result i32) (if (result i32) (i32.lt_u (local.get $n) (i32.const 2)) (then (i32.const 1)) (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1))) (call $fib (i32.sub (local.get $n) (i32.const 2)))))))',
  ),
  traps(
    'fills its memory for ever',
    '(loop $for (memory.fill (i32.const 1048576) (i32.const 7) (i32.const 1000000)) (br $for))',
    'fuel',
    fuel,
  ),
  traps(
    'copies its memory for ever',
    '(loop $for (memory.copy (i32.const 1048576) (i32.const 1500000) (i32.const 1000000)) (br $for))',
    'fuel',
    fuel,
  ),
  traps(
    'grows its memory for ever',
    '(loop $for (drop (memory.grow (i32.const 1))) (br $for))',
    'fuel',
    fuel,
  ),
  traps(
    'grows its memory by nothing for ever',
    '(loop $for (drop (memory.grow (i32.const 0))) (br $for))',
    'fuel',
    fuel,
  ),
  traps(
    'writes to the log for ever',
    '(loop $for (call $log (i32.const 1) (i32.const 4096) (i32.const 1)) (br $for))',
    'fuel',
    fuel,
  ),
  traps(
    'fills a table for ever',
    '(loop $for (table.fill $t (i32.const 0) (table.get $t (i32.const 0)) (i32.const 4000)) (br $for))',
    'fuel',
    fuel,
    '(table $t 4000 4000 funcref)',
  ),
  // Without bottom
  traps('calls itself for ever', '(call $deep)', 'depth', deep, '(func $deep (call $deep) (call $deep))'),
  traps(
    'calls for ever, two functions in turn',
    '(call $ping)',
    'depth',
    deep,
    '(func $ping (call $pong) (call $pong)) (func $pong (call $ping) (call $ping))',
  ),
  traps(
    'calls itself for ever through a table',
    '(call_indirect (type $none) (i32.const 0))',
    'depth',
    deep,
    '(type $none (func)) (table 1 1 funcref) (elem (i32.const 0) $self) (func $self (call_indirect (type $none) (i32.const 0)) (call_indirect (type $none) (i32.const 0)))',
  ),
  traps(
    'calls itself with a thousand locals',
    '(drop (call $wide (i64.const 1)))',
    'depth',
    deep,
    `(func $wide (param $p i64) (result i64) ${Array.from({ length: 500 }, (_, index) => `(local $l${index} i64)`).join(' ')} ${Array.from({ length: 500 }, (_, index) => `(local.set $l${index} (i64.add (local.get $p) (i64.const ${index})))`).join(' ')} (i64.add (call $wide (local.get $l7)) ${Array.from({ length: 20 }, (_, index) => `(i64.add (local.get $l${index * 20})`).join(' ')} (i64.const 1)${')'.repeat(20)}))`,
  ),
  // Without sense
  traps('ends by unreachable', '(unreachable)', 'trap', /unreachable/),
  traps('divides by zero', '(drop (i32.div_u (i32.const 1) (i32.const 0)))', 'trap', /divide by zero/),
  traps(
    'divides the least number by -1',
    '(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))',
    'trap',
    /unrepresentable/,
  ),
  traps(
    'makes a whole number of what is none',
    '(drop (i32.trunc_f64_s (f64.const nan)))',
    'trap',
    /unrepresentable/,
  ),
  traps('reads before its memory', '(drop (i32.load (i32.const -4)))', 'trap', /out of bounds/),
  traps(
    'reads across the end of its memory',
    `(drop (i64.load (i32.const ${memoryEnd - 4})))`,
    'trap',
    /out of bounds/,
  ),
  traps(
    'reads at an offset beyond 4 GiB',
    '(drop (i32.load offset=4294967295 (i32.const -1)))',
    'trap',
    /out of bounds/,
  ),
  traps(
    'writes beyond its memory',
    '(i32.store (i32.const 0x7ffffff0) (i32.const 1))',
    'trap',
    /out of bounds/,
  ),
  traps(
    'copies 4 GiB out of its memory',
    '(memory.copy (i32.const 0) (i32.const 0) (i32.const -1))',
    'fuel',
    fuel,
  ),
  traps(
    'calls what is not in its table',
    '(call_indirect (type $none) (i32.const 3))',
    'trap',
    /./,
    '(type $none (func)) (table 4 4 funcref)',
  ),
  traps(
    'calls beyond its table',
    '(call_indirect (type $none) (i32.const 3000000))',
    'trap',
    /./,
    '(type $none (func)) (table 4 4 funcref)',
  ),
  traps(
    'calls by another type',
    '(call_indirect (type $none) (i32.const 0))',
    'trap',
    /./,
    '(type $none (func)) (table 1 1 funcref) (elem (i32.const 0) $one) (func $one (param i32) (result i32) (i32.const 1))',
  ),
  traps(
    'gives a reason that is an escape sequence',
    '(memory.fill (i32.const 9000) (i32.const 27) (i32.const 400)) (call $log (i32.const 4) (i32.const 9000) (i32.const 400)) (unreachable)',
    'trap',
    /^\P{C}+$/u,
  ),
  // Lies: verdicts and answers
  lies('answers what is no answer', '(i32.const 7)', /answered 7/),
  lies('answers the least number', '(i32.const 0x80000000)', /answered -2147483648/),
  lies('gives verdict 2', always('(i32.store8 (local.get $v) (i32.const 2))'), /verdict 2/),
  lies('gives verdict 254', always('(i32.store8 (local.get $v) (i32.const 254))'), /verdict 254/),
  lies(
    'takes back that it was to judge',
    always('(i32.store8 (local.get $v) (i32.const 255))'),
    /verdict 255/,
  ),
  lies('asks to go on from where it began', '(i32.const 1)', /asks to go on from 0/),
  lies(
    'asks to go on from beyond the batch',
    '(i32.store offset=16 (local.get $call) (i32.const 99999)) (i32.const 1)',
    /from 99999/,
  ),
  lies(
    'asks to go on from before the batch',
    '(i32.store offset=16 (local.get $call) (i32.const -1)) (i32.const 1)',
    /from 4294967295/,
  ),
  traps(
    'traps with its cursor beyond the batch',
    '(i32.store offset=16 (local.get $call) (i32.const 99999)) (unreachable)',
    'trap',
    /unreachable/,
  ),
  // Lies: what it is called for. Another filter has dropped every third event before it.
  lies(
    'has itself called for what is not its to judge',
    `${ownVerdict} (memory.fill (i32.add (local.get $v) (i32.const 1)) (i32.const 0) (i32.const 39)) ${done}`,
    /called for record 2$/,
  ),
  lies(
    'traps on what is not its to judge',
    `${ownVerdict} (if (i32.eq (local.get $i) (i32.const 2)) (then (unreachable)))
     (memory.fill (i32.add (local.get $v) (i32.const 1)) (i32.const 0) (i32.const 39)) ${done}`,
    /called for record 2$/,
  ),
  lies(
    'forges verdicts on events that it is not called for',
    `${ownVerdict} (memory.fill (i32.add (local.get $v) (i32.const 1)) (i32.const 1) (i32.const 99)) ${done}`,
    /called for record 1$/,
  ),
  lies(
    'trades an event of its own for one that is not, and says nothing',
    `${ownVerdict}
     (if (i32.eqz (local.get $i)) (then
       (i32.store8 offset=1 (local.get $v) (i32.const 1)) (i32.store8 offset=2 (local.get $v) (i32.const 0)))) ${done}`,
    /called for record 1$/,
  ),
  harmless(
    'drops events that it has let pass before',
    `${ownVerdict}
     (memory.fill (i32.load offset=12 (local.get $call)) (i32.const 1) (local.get $i)) ${done}`,
  ),
  harmless(
    'has events before appear as not called for',
    `${ownVerdict}
     (memory.fill (i32.load offset=12 (local.get $call)) (i32.const 255) (local.get $i)) ${done}`,
  ),
  lies(
    'trades an event of its own for one that is not, and speaks of that',
    `${ownVerdict}
     (if (i32.eqz (local.get $i)) (then
       (i32.store8 offset=1 (local.get $v) (i32.const 1)) (i32.store8 offset=2 (local.get $v) (i32.const 0))))
     (if (i32.eq (local.get $i) (i32.const 2)) (then ${annotation()})) ${done}`,
    /called for record 1$/,
  ),
  // Lies: annotations
  lies('has four billion annotations', `${annotation({ count: -1 })} ${done}`, /4294967295 annotations/),
  lies(
    'has more annotations than events allow',
    `${annotation({ count: 5000 })} ${done}`,
    /5000 annotations/,
  ),
  lies(
    'has annotations beyond its memory',
    `${annotation({ at: 0x7fffff00 })} ${done}`,
    /outside of its memory/,
  ),
  lies('has annotations at the last address', `${annotation({ at: -1 })} ${done}`, /outside of its memory/),
  lies(
    'has annotations across the end of its memory',
    `${annotation({ at: memoryEnd - 8 })} ${done}`,
    /outside of its memory/,
  ),
  lies(
    'annotates an event that is not there',
    `${annotation({ record: '(i32.const 99999)' })} ${done}`,
    /record 99999/,
  ),
  lies(
    'annotates an event before the batch',
    `${annotation({ record: '(i32.const -1)' })} ${done}`,
    /record 4294967295/,
  ),
  lies('has a severity beyond critical', `${annotation({ severity: 200 })} ${done}`, /severity 200/),
  lies('raises half an alert', `${annotation({ alert: 2 })} ${done}`, /alert 2/),
  lies(
    'has a message of a megabyte',
    `${annotation({ message: [0, 1048576] })} ${done}`,
    /message of 1048576/,
  ),
  lies(
    'has a message beyond its memory',
    `${annotation({ message: [0x7fffffff, 100] })} ${done}`,
    /outside of its memory/,
  ),
  lies(
    'has a message whose end wraps around',
    `${annotation({ message: [-16, 400] })} ${done}`,
    /outside of its memory/,
  ),
  lies('has 65535 labels', `${annotation({ labels: 65535 })} ${done}`, /65535 labels/),
  lies(
    'has labels beyond its memory',
    `${annotation({ labels: 1, labelsAt: -16 })} ${done}`,
    /outside of its memory/,
  ),
  lies(
    'has a label with a name beyond its memory',
    `${label([0x7fffffff, 5], [0, 0])} ${annotation({ labels: 1 })} ${done}`,
    /name lies outside/,
  ),
  lies(
    'has a label with a name that wraps around',
    `${label([-4, -1], [0, 0])} ${annotation({ labels: 1 })} ${done}`,
    /name lies outside/,
  ),
  lies(
    'has a label with a value beyond its memory',
    `${label([4096, 1], [0x7fffffff, 5])} ${annotation({ labels: 1 })} ${done}`,
    /outside of its memory/,
  ),
  lies(
    'has a label with a value of 5000 bytes',
    `${label([4096, 1], [0, 5000])} ${annotation({ labels: 1 })} ${done}`,
    /value of 5000/,
  ),
  // Lies and faults: redactions
  lies(
    'masks though its manifest says that it masks nothing',
    `${redaction(6000, 1, 0, 8)} ${done}`,
    /redacts nothing/,
  ),
  masks('has 65535 redactions', `${redaction(6000, 65535, 0, 8)} ${done}`, /65535 redactions/),
  masks(
    'has redactions beyond its memory',
    `${redaction(-16, 1, 0, 8, false)} ${done}`,
    /outside of its memory/,
  ),
  masks(
    'has redactions across the end of its memory',
    `${redaction(memoryEnd - 16, 2, 0, 8)} ${done}`,
    /outside of its memory/,
  ),
  {
    ...traps('masks the header of the batch', redaction(6000, 1, 0, 104), 'trap', /in no field of record/),
    ...{ module: { filter: on(redaction(6000, 1, 0, 104)), redacts: ['arguments', 'process.arguments'] } },
  },
  {
    ...traps('masks all there is', '', 'trap', /in no field of record/),
    ...{ module: { filter: on(redaction(6000, 1, 0, -1)), redacts: ['arguments', 'process.cwd'] } },
  },
  {
    ...traps('masks what lies before the batch', '', 'trap', /in no field of record/),
    ...{ module: { filter: on(redaction(6000, 1, -64, 8)), redacts: ['arguments'] } },
  },
  // Tries that come to nothing
  harmless(
    'labels under another filter',
    always(
      `(i64.store (i32.const 5000) (i64.const 0x722e7265746c6966)) ${label([5000, 8], [0, 4])} ${annotation({ labels: 1 })}`,
    ),
  ),
  harmless(
    'labels by a name that is not UTF-8',
    always(
      `(i32.store (i32.const 5000) (i32.const 0xfefdfcff)) ${label([5000, 4], [0, 4])} ${annotation({ labels: 1 })}`,
    ),
  ),
  harmless(
    'labels by a name of a megabyte',
    always(`${label([0, 1048576], [0, 4])} ${annotation({ labels: 1 })}`),
  ),
  harmless('labels by an empty name', always(`${label([0, 0], [0, 4])} ${annotation({ labels: 1 })}`)),
  harmless(
    'labels as the host does',
    always(
      `(i64.store (i32.const 5000) (i64.const 0x726f727265)) ${label([5000, 5], [0, 4])} ${annotation({ labels: 1 })}`,
    ),
  ),
  harmless(
    'has a message that is not UTF-8',
    always(
      `(memory.fill (i32.const 9000) (i32.const 255) (i32.const 512)) ${annotation({ message: [9000, 512] })}`,
    ),
  ),
  harmless(
    'says as much as it may of the last event',
    always(`${manyLabels} ${annotation({ labels: 16, labelsAt: 8192, message: [16384, 512] })}`),
  ),
  harmless(
    'wipes the batch in its memory',
    `(memory.fill (i32.load (local.get $call)) (i32.const 255) (i32.load offset=4 (local.get $call))) ${done}`,
  ),
  harmless(
    'changes what the batch says of its length',
    `(i32.store offset=4 (local.get $call) (i32.const -1)) (i32.store offset=8 (local.get $call) (i32.const -1)) ${done}`,
  ),
  harmless(
    'moves the batch and its verdicts',
    `(i32.store (local.get $call) (i32.const 7)) (i32.store offset=12 (local.get $call) (i32.const 7)) ${done}`,
  ),
  harmless(
    'grows its memory to its end in each call',
    `(block $end (loop $more (br_if $end (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (br $more))) ${done}`,
  ),
  harmless('grows its memory a page a call', `(drop (memory.grow (i32.const 1))) ${done}`),
  harmless(
    'writes to the log from beyond its memory',
    `(call $log (i32.const 1) (i32.const -1) (i32.const -1)) (call $log (i32.const -9) (i32.const ${memoryEnd - 2}) (i32.const 100)) ${done}`,
  ),
  harmless(
    'writes fifteen lines to the log for each event',
    `(loop $for (call $log (i32.const 1) (i32.const 4096) (i32.const 1)) (local.set $a (i32.add (local.get $a) (i32.const 1))) (br_if $for (i32.lt_u (local.get $a) (i32.const 15)))) ${done}`,
  ),
  harmless(
    'hoards all that it sees',
    `(memory.copy (i32.add (i32.const 1700000) (i32.and (global.get $count) (i32.const 0xffff))) (i32.load (local.get $call)) (i32.const 1000)) (global.set $count (i32.add (global.get $count) (i32.const 1000))) ${done}`,
  ),
  harmless('judges nothing', done),
  harmless(
    'puts its cursor wherever it likes',
    `(i32.store offset=16 (local.get $call) (i32.const -1)) ${done}`,
  ),
  harmless(
    'asks to go on after each event, with nothing to say',
    `
    (local.set $i (i32.add (i32.load offset=16 (local.get $call)) (i32.const 1)))
    (i32.store offset=16 (local.get $call) (local.get $i))
    (i32.lt_u (local.get $i) (i32.load offset=8 (local.get $call)))`,
  ),
  // By what the loop within the module, and the filter in it, are made of
  traps('calls itself on the event at hand for ever', '(drop (call 3 (local.get $call)))', 'depth', deep),
  harmless(
    'calls itself once more for each event',
    `(if (i32.eqz (global.get $count)) (then (global.set $count (i32.const 1)) (drop (call 3 (local.get $call))) (global.set $count (i32.const 0)))) ${done}`,
  ),
  harmless('asks itself for room on each event', `(drop (call 2 (i32.const 1048576))) ${done}`),
  harmless(
    'returns from within loops and blocks',
    `(block $a1 (loop $b1 (block $c1 (loop $d1 (if (i32.and ${firstPid} (i32.const 1)) (then (return (i32.const 0)))) (br_if $d1 (i32.const 0))))) (return (i32.const 0))) ${done}`,
  ),
  harmless(
    'leaves by tables of branches to its own end',
    `(block (result i32) (br_table 0 1 0 (i32.const 0) (i32.and ${firstPid} (i32.const 1))))`,
  ),
  harmless(
    'hands several values through its blocks',
    `(drop (i32.sub (loop (result i32 i32) (i32.const 3) (i32.const 4)))) ${done}`,
  ),
  traps(
    'drops its event and traps then',
    `${ownVerdict} ${dropVerdict} (unreachable)`,
    'trap',
    /unreachable/,
  ),
  traps(
    'traps after it has said that it is done with the batch',
    '(i32.store offset=8 (local.get $call) (i32.const 0)) (i32.store offset=20 (local.get $call) (i32.const -1)) (unreachable)',
    'trap',
    /unreachable/,
  ),
  traps(
    'grows its memory and reads beyond it',
    '(drop (memory.grow (i32.const 1))) (drop (i32.load (i32.mul (memory.size) (i32.const 65536))))',
    'trap',
    /out of bounds/,
  ),
  traps(
    'gives its data up and asks for it',
    '(data.drop $passive) (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 4))',
    'trap',
    /out of bounds/,
    '(data $passive "weir")',
  ),
  traps(
    'gives its elements up and asks for them',
    '(elem.drop $passive) (table.init $t $passive (i32.const 0) (i32.const 0) (i32.const 1))',
    'trap',
    /out of bounds/,
    '(table $t 1 1 funcref) (elem $passive func 1)',
  ),
  traps(
    'calls through a chain of two thousand functions',
    '(call $f0)',
    'depth',
    deep,
    `${Array.from({ length: 2000 }, (_, index) => `(func $f${index} (call $f${index + 1}) (call $f${index + 1}))`).join(' ')} (func $f2000)`,
  ),
  traps(
    'takes square roots of vectors for ever',
    '(loop $for (v128.store (i32.const 9000) (f64x2.sqrt (v128.load (i32.const 9000)))) (br $for))',
    'fuel',
    fuel,
  ),
  traps(
    'writes across lines of the cache for ever',
    '(loop $for (i64.store offset=1 align=1 (i32.const 9020) (i64.load align=1 (i32.const 9020))) (br $for))',
    'fuel',
    fuel,
  ),
  {
    ...traps('says more than its fuel is for', '', 'fuel', /with what it says of it/),
    module: {
      filter: on(`${manyLabels} ${annotation({ labels: 16, labelsAt: 8192 })}`),
      labels: ['x'],
      rest: '(data (i32.const 4096) "x")',
      budget: { fuelPerEvent: 3000 },
    },
  },
  lies(
    'lists as its annotations what the host has told it',
    `(i32.store offset=20 (local.get $call) (i32.const 1)) (i32.store offset=24 (local.get $call) (local.get $call)) ${done}`,
    /annotation 0 is on record/,
  ),
  lies(
    'says one thing on its event and one on the next',
    `(i32.store (i32.const 1048) (i32.add (i32.load offset=16 (local.get $call)) (i32.const 1)))
     (local.set $i (i32.load offset=16 (local.get $call))) ${annotation({ count: 2 })} ${done}`,
    /annotation 1 is on record/,
  ),
  lies(
    'answers that it goes on with what it has judged before',
    `(i32.store offset=16 (local.get $call) (i32.sub (i32.load offset=8 (local.get $call)) (i32.const 1))) (i32.const 1)`,
    /asks to go on from/,
  ),
  lies(
    'passes over all that is to come',
    `${ownVerdict} (memory.fill (i32.add (local.get $v) (i32.const 1)) (i32.const 255) (i32.const 40)) ${done}`,
    /changed whether it is called/,
  ),
  lies(
    'leaves numbers that are no marks on all that is to come',
    `${ownVerdict} (memory.fill (i32.add (local.get $v) (i32.const 1)) (i32.const 7) (i32.const 40)) ${done}`,
    /changed whether it is called/,
  ),
  harmless(
    'says what lies in pages that it has just grown',
    always(
      `(if (i32.lt_u (memory.size) (i32.const 50)) (then (drop (memory.grow (i32.const 10)))))
       (memory.fill (i32.const 2700000) (i32.const 65) (i32.const 512)) ${annotation({ message: [2_700_000, 512] })}`,
    ),
  ),
  harmless(
    'labels by what lies across the end of the batch',
    always(
      `${label([4096, 1], [0, 1000])}
       (i32.store (i32.const 2056) (i32.sub (i32.add (i32.load (local.get $call)) (i32.load offset=4 (local.get $call))) (i32.const 10)))
       ${annotation({ labels: 1 })}`,
    ),
  ),
  harmless(
    'labels by the header of the batch, and what follows',
    always(
      `${label([4096, 1], [0, 1024])} (i32.store (i32.const 2056) (i32.load (local.get $call))) ${annotation({ labels: 1 })}`,
    ),
  ),
  harmless(
    'drops where a NaN tells the machine',
    always(
      `(if (i32.or
         (i64.ne (i64.reinterpret_f64 (f64.div (f64.const 0) (f64.const 0))) (i64.const 0x7ff8000000000000))
         (i32.or
           (i32.ne (i32.reinterpret_f32 (f32.demote_f64 (f64.sqrt (f64.const -1)))) (i32.const 0x7fc00000))
           (i32.ne (i32x4.extract_lane 2 (f32x4.sub (f32x4.splat (f32.const inf)) (f32x4.splat (f32.const inf)))) (i32.const 0x7fc00000))))
       (then ${dropVerdict}))`,
    ),
  ),
  harmless('holds references and vectors where a loop cannot', `(call $held) ${done}`, {
    rest: '(table $t 1 1 funcref) (elem declare func 1) (func $held (local funcref externref v128) (local.set 0 (ref.func 1)) (table.set $t (i32.const 0) (local.get 0)) (local.set 2 (v128.const i32x4 1 2 3 4)))',
  }),
  harmless(
    'writes at the level of failures, and does not fail',
    `(call $log (i32.const 4) (i32.const 4096) (i32.const 1)) ${done}`,
  ),
  harmless('takes all memory that there is as it starts', done, {
    start:
      '(block $end (loop $more (br_if $end (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (br $more)))',
  }),
  // Tries while it is loaded
  refused('gives no room for a batch', { reserve: '(i32.const 0)' }, /no room/),
  refused(
    'gives room outside of its memory',
    { reserve: `(i32.const ${memoryEnd})` },
    /not within its memory/,
  ),
  refused(
    'gives room across the end of its memory',
    { reserve: `(i32.const ${memoryEnd - 4096})` },
    /not within its memory/,
  ),
  refused('gives room at the last address', { reserve: '(i32.const -8)' }, /not within its memory/),
  refused('gives room that is not aligned', { reserve: '(i32.const 65537)' }, /not within its memory/),
  refused('loops for ever as it gives room', { reserve: '(loop $for (br $for)) (i32.const 0)' }, fuel),
  refused('traps as it gives room', { reserve: '(unreachable)' }, /unreachable/),
  refused('loops for ever at its start', { start: '(loop $for (br $for))' }, fuel),
  refused(
    'calls for ever at its start',
    { start: '(call $deep)', rest: '(func $deep (call $deep) (call $deep))' },
    /deep/,
  ),
  refused('traps at its start', { start: '(unreachable)' }, /unreachable/),
  refused(
    'has data beyond its memory',
    { rest: '(data (i32.const 0x7fffff00) "x")' },
    /data segment|out of bounds/,
  ),
  refused(
    'has elements beyond its table',
    { rest: '(table 1 1 funcref) (elem (i32.const 1) $f) (func $f)' },
    /table|out of bounds|element/,
  ),
];
