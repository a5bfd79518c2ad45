// SPDX-License-Identifier: Apache-2.0
// Owns the layouts of what the agent writes into kernel maps, and their bounds. The meaning of each map is told in
// bpf/maps.h; how a plan becomes entries, in agent/src/policy.
import { enumeration, field, layout } from './layout.js';

/** Bounds that C and TypeScript share. Each is a limit that a refusal names. */
export const limits = {
  /** 64-bit words of a mask: a hook takes mask_words × 64 selectors. */
  mask_words: 8,
  selectors_per_hook: 512,
  dimensions_per_hook: 32,
  arguments_per_hook: 6,
  /** Arguments and return values, each by the types that policies read it as. */
  slots_per_hook: 8,
  socket_owners: 32_768,
  /** Offsets to add and pointers to follow, on the way to a field. */
  field_steps: 12,
  /** Bytes of a prefix, suffix or exact string in a trie, its closing mark included: the kernel's trie takes 256 bytes of key, four of which name the dimension. */
  trie_data_bytes: 252,
  /** Bytes of a path that are read, the closing NUL included. */
  path_bytes: 4096,
  /** Bytes that an event has of all its buffers that are read whole (maxData). */
  whole_bytes: 327_680,
  /** Bytes of an exec's arguments that are read. */
  arguments_bytes: 4096,
  hooks: 1024,
  hook_configs: 2048,
  /** Numbers of system calls: below this. */
  syscalls: 512,
  /** Bounds in one page of a range dimension: with its head, 512 bytes. */
  range_page_bounds: 63,
  /** Conditions that follow descent (followChildren, followForks), of all policies. */
  lineages: 512,
  /** Pages from the first to the one with the bounds. */
  range_page_levels: 3,
} as const;

/** Maps of the process sensor's object (bpf/process.bpf.c) that the objects of hooks share with it. */
export const sharedMapNames = [
  'events',
  'counters',
  'failures',
  'process_states',
  'scratch_claims',
  'scratch_slots',
  'scope_at_exec',
  'scope_at_fork',
  'lineage_configs',
  'lineage_strings',
  'lineage_pids',
  'lineage_seeds',
  'throttle_limits',
  'throttle_windows',
  'throttled',
] as const;

export const dimensionKind = enumeration('dimension_kind', 'How a dimension looks its key up.', {
  none: [0, 'not in use'],
  forward: [1, 'trie over the bytes and a closing NUL: exact strings and prefixes'],
  reverse: [2, 'trie over the bytes from the last to the first: suffixes'],
  integer: [3, 'hash of a 64-bit value'],
  range: [4, 'sorted bounds of intervals that together are all numbers'],
  bits: [5, 'each bit of the number; the masks of those that are set, ORed, turn the default over'],
  address: [6, 'trie over the version (4 or 6) and the bytes of an internet address'],
  substring: [
    7,
    'nodes of an automaton that finds texts anywhere in the text; the masks of those found ORed',
  ],
  substring_fold: [8, 'as substring, the letters A to Z taken as a to z'],
  set: [16, 'each member of a set of numbers; a term holds where one of its members is there'],
});

export const argumentPart = enumeration('argument_part', 'What of an argument a dimension looks at.', {
  whole: [0, 'its value or its text'],
  source_address: [1, 'of a socket'],
  destination_address: [2, 'of a socket'],
  source_port: [3, 'of a socket'],
  destination_port: [4, 'of a socket'],
  protocol: [5, 'of a socket'],
  family: [6, 'of a socket'],
  state: [7, 'of a socket'],
  sized: [8, 'the number of its bytes (two bytes, the higher first), then its bytes'],
  file_type: [9, 'of a file: bits 12 to 15 of its mode'],
  capabilities_more: [10, 'those that it has, and the other argument has not'],
  capabilities_less: [11, 'those that the other argument has, and it has not'],
  difference: [12, 'the number less the other argument, in 64 bits'],
  sum: [13, 'the number and the other argument, in 64 bits'],
  order: [14, '0 where it is less than the other argument, 1 where they are equal, 2 where it is more'],
  length: [15, 'how many bytes its text has'],
});

export const argumentSource = enumeration(
  'argument_source',
  'Where the raw value of an argument is taken from.',
  {
    parameter: [0, 'the n-th parameter of the hooked function'],
    syscall: [1, 'the n-th argument of the system call, from its saved registers'],
    user: [2, 'the n-th argument of a function or marker in a program, as its user_argument says'],
    context: [3, 'the n-th value of a raw tracepoint'],
    record: [4, 'a field of the record of a tracepoint, a number without sign'],
    record_signed: [5, 'a field of the record of a tracepoint, a number with sign'],
    record_text: [6, 'characters that lie in the record of a tracepoint'],
    record_data: [7, 'characters whose place in the record (16 bits) and length (16 bits) its field holds'],
    record_relative_data: [8, 'as record_data, the place counted from the end of the field'],
    returned: [9, 'what the function returned; read at its return'],
    current_task: [16, 'the address of the current task'],
    register: [17, 'a register of the program that the hook is in'],
  },
);

export const userArgumentKind = enumeration(
  'user_argument_kind',
  'Where a program keeps an argument of a function or marker.',
  {
    none: [0, 'it has no such argument'],
    constant: [1, 'nowhere: it is always the same'],
    register: [2, 'in a register'],
    memory: [3, 'in its memory'],
  },
);

export const scopeAttribute = enumeration(
  'scope_attribute',
  'What of a process a scope dimension looks at.',
  {
    binary: [0, 'path of the binary'],
    parent_binary: [1, 'path of the binary that its parent ran when it made the process'],
    pid: [2, "process id in the host's pid namespace"],
    namespace_pid: [3, "process id in its own pid namespace, 0 where that is the host's"],
    cap_permitted: [4, 'set of capabilities of the current thread'],
    cap_effective: [5, 'set of capabilities of the current thread'],
    cap_inheritable: [6, 'set of capabilities of the current thread'],
    lineage: [7, 'set of the lineages that the process is of'],
    parent_lineage: [8, 'set of the lineages that its parent was of when it made the process'],
    namespace_changes: [9, 'set of the namespace_kinds that are others than at the last exec'],
    cap_permitted_changes: [
      10,
      'set of capabilities that it has and had not at the last exec, or the other way round',
    ],
    cap_effective_changes: [
      11,
      'set of capabilities that it has and had not at the last exec, or the other way round',
    ],
    cap_inheritable_changes: [
      12,
      'set of capabilities that it has and had not at the last exec, or the other way round',
    ],
    workload: [
      13,
      'number of the workload that its cgroup, or the nearest one around it, is of; 0 for the host',
    ],
    namespace_uts: [16, 'inode number of the namespace; the others follow in the order of namespace_kind'],
  },
);

export const hookFeature = enumeration(
  'hook_feature',
  'What selectors of a hook use beyond the plain, as bit values: a program without a bit has no code for it.',
  {
    rate_limit: [1, 'a selector has a rate limit'],
    kernel_stack: [2, 'a selector wants the stack of the kernel'],
    user_stack: [4, 'a selector wants the stack of the program'],
    notify: [8, 'a selector notifies the enforcers of its policy, or takes that back'],
    enforcer: [16, 'a selector is an enforcer'],
    enforcer_only: [
      32,
      'all selectors are enforcers: of a thread of which nothing is asked there is nothing to do',
    ],
    returns: [64, 'the event of a selector comes at the return of the call'],
    system_call: [128, 'the hook is the entry of a system call'],
    holds_undecided: [256, 'a selector denies where its conditions on the process cannot be looked at'],
    fields: [512, 'an argument is a field of what the parameter points to, or of the current task'],
    data: [1024, 'events have data besides arguments'],
    set: [4096, 'a selector sets an argument of the marker that the hook is on'],
    socket_owners: [
      2048,
      'events name the process that their socket belongs to; selectors may say which that is',
    ],
    long_texts: [8192, 'a value is longer than a trie takes: texts are followed byte by byte'],
    throttle: [16384, 'a throttle of the node holds events back'],
    ima_hash: [131072, 'events have the hash of the file that the LSM hook is about'],
    scoped: [65536, 'a selector holds for some processes only'],
    scopes_change: [
      262144,
      'for which processes a selector holds may change while they run: it is looked at at each hit',
    ],
  },
);

export const selectorFlag = enumeration('selector_flag', 'Bits of a selector, as bit values.', {
  monitor: [1, 'monitor mode: nothing is done'],
  rate_per_process: [2, 'its rate limit holds for each process; with neither of these two, for each thread'],
  rate_global: [4, 'its rate limit holds for all processes together'],
  kernel_stack: [8, 'its events have the stack of the kernel'],
  user_stack: [16, 'its events have the stack of the program'],
  enforcer: [32, 'it does what a selector of its policy has asked for this thread'],
  returns: [64, 'its event comes at the return of the call'],
  ima_hash: [256, 'its events have the hash of the file'],
  shows_return: [128, 'the last argument that its event shows is what the call returned'],
});

export const mask = layout('mask', 'A bit for each selector of a hook, or for each scope.', [
  field('words', { array: 'u64', count: limits.mask_words }, 'bit n is bit n % 64 of word n / 64'),
]);

export const hookArgument = layout('hook_argument', 'How an argument of a hook is read.', [
  field('type', 'u8', 'argument_type'),
  field('index', 'u8', 'parameter number, or number of the field of a tracepoint, from 0'),
  field('source', 'u8', 'argument_source'),
  field(
    'flags',
    'u8',
    "bits: 1, read for matching only, in no event; 2, an address (sockaddr) that is the socket's own, not its peer's; 4, its bytes are read at the return of the call, as many as that says; 8, the call returns 32 bits; 16, an address whose size is the next parameter; 32, of a tracepoint: what it points to is the caller's memory; 64, a field, found by its field_plan; 128, data, not an argument",
  ),
  field(
    'offset',
    'u16',
    'of a field of a tracepoint: where it lies in the record; of a register: where it is saved',
  ),
  field(
    'size',
    'u16',
    'of a field of a tracepoint, or a register: its bytes; of a buffer: 1 + number of the parameter that says how many bytes, or pieces, 0 where none does; of a buffer of a tracepoint: where that number lies, 4 * offset + log2 of its bytes, 65535 for none',
  ),
]);

export const userArgument = layout('user_argument', 'Where a program keeps an argument (.rodata).', [
  field('kind', 'u8', 'user_argument_kind'),
  field('bytes', 'u8', 'how wide it is: 1, 2, 4 or 8'),
  field('is_signed', 'u8', '1 where its sign is extended'),
  field('shift', 'u8', 'memory: the index register is shifted by so many bits'),
  field('base', 'u16', 'offset of the register among the saved ones (struct pt_regs), 65535 for none'),
  field('index', 'u16', 'memory: offset of the index register, 65535 for none'),
  field('value', 'u64', 'the constant; memory: what is added to the registers'),
]);

export const fieldPlan = layout('field_plan', 'The way to a field of an argument.', [
  field('step_count', 'u8', 'of steps in use'),
  field('number_bytes', 'u8', 'of a number, 1 to 8, read at its end; 0 where what is found is an address'),
  field('bits', 'u8', 'that the number has, 1 to 64'),
  field('bit_offset', 'u8', 'of the lowest of them, 0 to 7'),
  field('is_signed', 'u8', '1 where the highest of them is its sign'),
  field('reserved', 'u8', '0'),
  field('text_bytes', 'u16', 'of an array of characters, where it may be without a NUL; else 0'),
  field(
    'steps',
    { array: 'u32', count: limits.field_steps },
    'what to add to the address; with the highest bit set, what lies there is the next address',
  ),
]);

export const dimension = layout('dimension', 'One look-up of a hook.', [
  field('kind', 'u8', 'dimension_kind'),
  field('argument', 'u8', 'position in the arguments of the hook, or the scope_attribute'),
  field(
    'part',
    'u16',
    'argument_part; of a scope dimension 1 where what it looks at may change while a process runs',
  ),
  field('other', 'u32', 'of a part that compares two arguments: position of the other, which is read before'),
]);

export const hookSpec = layout(
  'hook_spec',
  'Constants by which the program of one hook is specialised (.rodata): the verifier removes what it does not use.',
  [
    field('hook_id', 'u32', 'its programs have the states 2 * hook_id and the one after it'),
    field(
      'spec_id',
      'u32',
      'of this program; it acts only while its state names it: of the two, the one that is as even or odd as this',
    ),
    field('event_kind', 'u32', 'event_kind of its records'),
    field('argument_count', 'u32', 'of hook_arguments in use'),
    field('dimension_count', 'u32', 'of dimensions in use'),
    field('word_count', 'u32', 'words of a mask in use'),
    field('features', 'u32', 'hook_feature bits'),
    field(
      'entry_dimension_count',
      'u32',
      'of the dimensions, how many are looked up when the call begins; they come first, the rest is for its return',
    ),
    field('whole', 'u32', 'bit n: of argument n, a buffer, events have all bytes (maxData)'),
    field('reserved', 'u32', '0'),
    field('types', 'u64', 'bit n: an argument has the argument_type n'),
    field('sources', 'u32', 'bit n: an argument has the argument_source n'),
    field('kinds', 'u32', 'bit n: a dimension has the dimension_kind n'),
    field('parts', 'u32', 'bit n: a dimension looks at the argument_part n'),
    field(
      'scope_attributes',
      'u32',
      'bit n: a scope looks at the scope_attribute n, or at one like it: of sets of capabilities, of changes of them and of namespaces the first stands for all; 0 where no selector of the hook has a scope',
    ),
    field(
      'arguments',
      { struct: hookArgument, count: limits.slots_per_hook },
      'up to 8, hidden ones included',
    ),
    field('dimensions', { struct: dimension, count: limits.dimensions_per_hook }, ''),
    field(
      'fields',
      { struct: fieldPlan, count: limits.slots_per_hook },
      'by argument; all 0 where it is no field',
    ),
  ],
);

export const hookState = layout(
  'hook_state',
  'By which configuration a program of a hook acts. One 64-bit store flips it.',
  [
    field('config_index', 'u32', 'index in hook_configs'),
    field('spec_id', 'u32', 'of the program; another does not act'),
  ],
);

export const hookConfig = layout('hook_config', 'The selectors of a hook, of all policies.', [
  field(
    'config_id',
    'u32',
    'never reused; the dimension d has the id config_id * dimensions_per_hook + d in the look-up maps',
  ),
  field('selector_count', 'u32', 'bits in use'),
  field('scope_generation', 'u32', 'the generation of scopes whose numbers scope_of holds'),
  field('reserved', 'u32', '0'),
  field('unscoped', { struct: mask, count: 1 }, 'selectors that hold for every process'),
  field('holding', { struct: mask, count: 1 }, 'selectors that deny what cannot be decided'),
  field(
    'scope_of',
    { array: 'u16', count: limits.selectors_per_hook },
    'number of the scope of each selector, 65535 for none',
  ),
  field(
    'defaults',
    { struct: mask, count: limits.dimensions_per_hook },
    'mask of each dimension where its look-up finds nothing',
  ),
]);

export const scopeConfig = layout(
  'scope_config',
  'The scopes (what depends on the process alone) of all hooks.',
  [
    field(
      'generation',
      'u32',
      'above 0, never reused; the dimension d has the id (2^31 + generation * dimensions_per_hook + d) mod 2^32',
    ),
    field('dimension_count', 'u32', 'dimensions in use'),
    field('dimensions', { struct: dimension, count: limits.dimensions_per_hook }, ''),
    field(
      'defaults',
      { struct: mask, count: limits.dimensions_per_hook },
      'mask of each dimension where its look-up finds nothing',
    ),
  ],
);

export const lineageUse = enumeration('lineage_use', 'Bits of what lineages begin with, as bit values.', {
  forward: [1, 'the front of the path of a binary'],
  reverse: [2, 'the end of the path of a binary'],
  pid: [4, "a process id in the host's pid namespace"],
  namespace_pid: [8, 'a process id in its own pid namespace'],
  prefix: [16, 'the front of the path of a binary, whatever follows it; beside forward'],
});

export const lineageConfig = layout(
  'lineage_config',
  'What processes inherit and pass on: lineages are numbers that keep their meaning over changes of policies.',
  [
    field('revision', 'u32', 'rises with each change that processes have to take over from lineage_seeds'),
    field('recycled', 'u32', 'the last revision in which a number got another meaning'),
    field(
      'dimension_id',
      'u32',
      'of the look-ups in lineage_strings (reverse: one more) and lineage_pids; never reused',
    ),
    field('uses', 'u32', 'lineage_use bits'),
    field('uninherited', { struct: mask, count: 1 }, 'lineages that each process is of by itself alone'),
    field(
      'given',
      { array: 'u32', count: limits.lineages },
      'revision in which each number got the meaning that it has',
    ),
  ],
);

export const lineageSeedKey = layout('lineage_seed_key', 'A process, as /proc tells of it.', [
  field('pid', 'u32', ''),
  field('reserved', 'u32', '0'),
  field('start_ticks', 'u64', 'start on the boot-time clock, in hundredths of a second'),
]);

export const lineageSeed = layout(
  'lineage_seed',
  'Lineages of a process that the kernel has not seen begin: it was there before, or its state is lost with its leader.',
  [
    field('lineage', { struct: mask, count: 1 }, ''),
    field('parent_lineage', { struct: mask, count: 1 }, 'of its parent'),
  ],
);

export const selectorKey = layout('selector_key', 'Key of a selector.', [
  field('config_id', 'u32', 'of the hook_config'),
  field('bit', 'u32', 'number of the selector'),
]);

export const selectorEntry = layout(
  'selector_entry',
  'What a selector does where it is the first of its policy to match.',
  [
    field('binding_id', 'u32', 'the policy on this hook'),
    field('selector_index', 'u16', "in the policy's hook, from 0"),
    field('last_bit', 'u16', 'bit of the last selector of the same policy on this hook'),
    field('actions', 'u32', 'bit n: action n'),
    field('signal', 'u32', 'to send; 0 for none'),
    field('error', 'i32', 'to return, negative; 0 for none'),
    field('flags', 'u32', 'selector_flag bits'),
    field(
      'shown',
      'u32',
      'nibble n: 1 + position, in the arguments of the hook, of the n-th argument that the event shows; 0 ends them',
    ),
    field('rate_limit_seconds', 'u32', 'time in which the same event is sent once; 0 for no limit'),
    field('policy_id', 'u32', 'of its policy, never that of another one'),
    field('notify_error', 'i32', 'for an enforcer to return, negative; 0 for none'),
    field('notify_signal', 'u32', 'for an enforcer to send; 0 for none'),
    field('return_actions', 'u32', 'bit n: action n, at the return of the call'),
    field('return_signal', 'u32', 'to send at the return; 0 for none'),
    field(
      'socket_arguments',
      'u32',
      'bytes: 1 + position of the socket of which the current process is to be the owner, from now on (TrackSock); of the one that is to have none any more (UntrackSock); the same two at the return of the call. 0 for none',
    ),
    field('set_argument', 'u32', '1 + index of the argument of a marker that is set; 0 for none'),
    field('reserved', 'u32', '0'),
    field('set_value', 'u64', 'what it is set to; as many of the lower bytes as it has'),
  ],
);

export const socketOwner = layout(
  'socket_owner',
  'Value of socket_owners, by the address of the struct sock: the process that the socket belongs to.',
  [
    field('start_ns', 'u64', 'as in a record header'),
    field('exec_ns', 'u64', 'as in a record header'),
    field('cgroup_id', 'u64', 'as in a record header'),
    field('pid', 'u32', 'as in a record header'),
    field('tid', 'u32', 'as in a record header'),
  ],
);

export const callKey = layout(
  'call_key',
  'Key of a call that has begun, and whose return a policy asks for.',
  [
    field('context', 'u64', "address of the program's context, which lies on the stack of the call"),
    field('thread', 'u64', 'process id in the high half, thread id in the low one'),
    field('config_id', 'u32', 'of the hook_config by which its arguments matched'),
    field('hook_id', 'u32', 'of the hook'),
  ],
);

export const integerKey = layout('integer_key', 'Key of an integer look-up.', [
  field('dimension_id', 'u32', ''),
  field(
    'purpose',
    'u32',
    '0: a value; 1: the mask of any dimension where its argument could not be read as far as it must be; 2: an interval of a range dimension, counted from 1; 3: the bits that a bits dimension looks at, in the first word, or the bytes that the texts of a substring dimension begin with, a bit each; 4: one of these bits; 5: the default of a dimension that is looked up at the return; 6: what a text_node finds',
  ),
  field('value', 'u64', 'as the argument type extends it; 0 for purposes 1, 3 and 5'),
]);

export const textNodeKey = layout(
  'text_node_key',
  'Key of a step from one state of an automaton over bytes to the next.',
  [
    field('dimension_id', 'u32', ''),
    field('state', 'u32', 'that the step begins in; 0 where nothing is found yet'),
    field('step', 'u64', 'the byte; 256 for the state itself, which tells its fall_back'),
  ],
);

export const textNode = layout('text_node', 'Where a step ends.', [
  field('state', 'u32', ''),
  field('fall_back', 'u32', 'state to go on from where no step leads on: the longest end of what was found'),
  field('found', 'u32', 'value of the integer_key under which the mask is; 0 where nothing ends here'),
  field('reserved', 'u32', '0'),
]);

export const rangeKey = layout('range_key', 'Key of a page of a range dimension.', [
  field('dimension_id', 'u32', ''),
  field('page', 'u32', 'from 0, which is where a search begins'),
]);

export const rangePage = layout('range_page', 'A part of the sorted bounds of a range dimension.', [
  field('count', 'u16', 'bounds in use'),
  field('is_leaf', 'u16', '1 where an interval begins at each bound, 0 where a page does'),
  field('first', 'u32', 'number of the interval, or of the page, before the first bound'),
  field(
    'bounds',
    { array: 'u64', count: limits.range_page_bounds },
    'rising; with the sign bit turned over, but for the type uint64, so that all compare without sign',
  ),
]);

export const hookCounts = layout('hook_counts', 'Counts of one hook, on one CPU.', [
  field('hits', 'u64', 'runs of its program'),
  field('undecided', 'u64', 'terms that could not be decided'),
]);

export const bindingCounts = layout('binding_counts', 'Counts of one policy on one hook, on one CPU.', [
  field('matches', 'u64', 'calls that matched'),
  field('posted', 'u64', 'events sent'),
  field('rate_limited', 'u64', 'events that a rate limit held back'),
  field('lost', 'u64', 'events that the ring buffer had no room for'),
  field('enforced', 'u64', 'calls denied, signalled, or told to an enforcer'),
  field('enforce_failed', 'u64', 'calls for which that could not be done'),
  field('throttled', 'u64', 'events that a throttle of the node held back'),
]);

export const throttleLimit = layout(
  'throttle_limit',
  'What the throttle of one throttle_scope lets through.',
  [
    field('events', 'u64', 'of one kind in any window, below 2^20; 0 where this scope has no limit'),
    field('window_ns', 'u64', 'above 0'),
  ],
);

export const throttleKey = layout('throttle_key', 'Whose events are counted together.', [
  field('scope', 'u32', 'throttle_scope'),
  field('id', 'u32', 'thread, process or policy; 0 of a cgroup'),
  field(
    'instance',
    'u64',
    'start of the thread or process, boot-time clock; id of the cgroup; 0 of a policy',
  ),
  field('kind', 'u32', 'event_kind; 0 where it is told who is throttled, for events of whatever kind'),
  field('reserved', 'u32', '0'),
]);

export const narrowingAttribute = enumeration(
  'narrowing_attribute',
  'What of a process decides whether it is told of.',
  {
    binary: [0, 'path of the binary'],
    uid: [1, 'real user id'],
    pid_namespace: [2, 'inode number of the pid namespace'],
    mnt_namespace: [3, 'inode number of the mount namespace'],
    cgroup: [4, 'id of its cgroup, or of the nearest one around it that is that of a workload'],
  },
);

export const narrowing = layout('narrowing', 'Which processes are told of (.rodata).', [
  field(
    'allowed',
    'u32',
    'bit n: who is in rule n is told of, and who is in no rule of these is not; 0: all are',
  ),
  field('denied', 'u32', 'bit n: who is in rule n is not told of'),
  field('uses', 'u32', 'bit n: a rule looks at the narrowing_attribute n'),
  field(
    'defaults',
    { array: 'u32', count: 5 },
    'by narrowing_attribute: bit n: rule n does not look at it; what a look-up that finds nothing gives',
  ),
]);

export const narrowingKey = layout('narrowing_key', 'Key of the rules that hold for a number.', [
  field('attribute', 'u32', 'narrowing_attribute'),
  field('reserved', 'u32', '0'),
  field('value', 'u64', ''),
]);

export const throttled = layout('throttled', 'Who is throttled, and what was held back since that began.', [
  field('since_ns', 'u64', 'when the first event was held back, boot-time clock'),
  field('last_ns', 'u64', 'when the last one was'),
  field('held_back', 'u64', 'events'),
  field('cgroup_id', 'u64', 'of who made the first; 0 of a policy'),
  field('start_ns', 'u64', 'of its process; 0 of a policy'),
  field('pid', 'u32', 'of its process; 0 of a policy'),
  field('tid', 'u32', 'of its thread; 0 of a policy'),
  field('cgroup_name', { array: 'u8', count: 128 }, "last part of its cgroup's path, closed by NUL"),
]);

/** Counters of the kernel stage, per CPU; index in the map `counters`. */
export const kernelCounter = enumeration('kernel_counter', 'Per-CPU counters of the kernel stage.', {
  produced: [0, 'records for which a sequence number was taken'],
  ring_full: [1, 'records that the ring buffer had no room for'],
  scratch_busy: [2, 'events for which no scratch slot was free'],
  undecided: [3, 'terms that could not be decided'],
  truncated_path: [4, 'paths cut short'],
  truncated_argument: [5, 'arguments cut short'],
  storage_failed: [6, 'task storage that could not be had'],
  map_full: [7, 'entries that a map had no room for'],
  unreadable: [8, 'memory that could not be read'],
  hook_runs: [9, 'runs of hook programs that were active'],
  hook_matches: [10, 'matched policies'],
  enforced: [11, 'signals sent and calls denied'],
  enforce_failed: [
    12,
    'signals that could not be sent, and what was not done because the call was made in an interrupt',
  ],
  produced_exec: [13, 'of produced: exec'],
  produced_clone: [14, 'of produced: clone'],
  produced_exit: [15, 'of produced: exit'],
  produced_hook: [16, 'of produced: hooks'],
  rate_limited: [17, 'events that the rate limit of their selector held back'],
  returns_lost: [
    18,
    'calls whose return a policy asked for, and whose return was not seen or not kept track of',
  ],
  produced_tamper: [19, 'of produced: signals to the agent'],
  throttled: [
    22,
    'events that a throttle of the node held back; of these, exec, clone and exit are produced all the same, withheld',
  ],
  narrowed: [23, 'of produced: exec, clone and exit that are withheld, as the agent was told to'],
});

/** Where in the kernel stage a read or a copy failed; index in the map `failures`. */
export const failurePlace = enumeration(
  'failure_place',
  'Where in the kernel stage something could not be read; per-CPU counts. Their sum is the counter unreadable.',
  {
    path_dentry: [0, 'a dentry on the way to the root'],
    path_name: [1, 'the name of a dentry'],
    path_mount: [2, 'a mount on the way to the root'],
    record_room: [3, 'a payload that the record had no room for'],
    program_name: [4, 'argv[0] of an exec'],
    program_arguments: [5, 'argv[1] and on of an exec'],
    cgroup_name: [6, 'the name of a cgroup'],
    credentials: [7, 'credentials of a task'],
    namespace_pid: [8, "a process id in the task's own namespace"],
    binary: [9, 'the file that a process runs'],
    hook_argument: [10, 'an argument of a hooked function'],
    hook_string: [11, 'a string of a hooked function, in user or kernel memory'],
    hook_descriptor: [12, 'an open file by its number'],
    stack: [13, 'the stack of the kernel or of a program'],
  },
);

export const kernelMaps = [
  hookCounts,
  bindingCounts,
  throttleLimit,
  throttleKey,
  throttled,
  narrowing,
  narrowingKey,
  mask,
  hookArgument,
  userArgument,
  fieldPlan,
  dimension,
  hookSpec,
  hookState,
  hookConfig,
  scopeConfig,
  lineageConfig,
  lineageSeedKey,
  lineageSeed,
  selectorKey,
  selectorEntry,
  socketOwner,
  callKey,
  integerKey,
  textNodeKey,
  textNode,
  rangeKey,
  rangePage,
];

export const kernelEnumerations = [
  hookFeature,
  selectorFlag,
  dimensionKind,
  argumentPart,
  argumentSource,
  userArgumentKind,
  scopeAttribute,
  lineageUse,
  narrowingAttribute,
  kernelCounter,
  failurePlace,
];
