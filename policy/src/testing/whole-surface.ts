// SPDX-License-Identifier: Apache-2.0
// Owns texts that use every field of the language at least once: what the parser must take, and what its fuzzer bends.

/** A cluster-wide policy with every part that it may have. */
export const wholeSurface = `apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: whole-surface
  annotations: {description: "every field"}
  labels: {team: security}
  creationTimestamp: null
spec:
  loader: true
  options:
  - {name: policy-mode, value: monitor}
  - {name: override-method, value: fmod-ret}
  - {name: disable-kprobe-multi, value: "true"}
  - {name: disable-uprobe-multi, value: "1"}
  - {name: match-binaries, value: current}
  - {name: on-undecided, value: deny}
  podSelector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: In, values: [a, b]}]}
  containerSelector: {matchExpressions: [{key: name, operator: NotIn, values: [sidecar]}]}
  hostSelector: {}
  nodeSelector: {matchExpressions: [{key: gpu, operator: Exists}]}
  selectorsMacros:
    shells: {matchBinaries: [{operator: In, values: [/bin/sh, /bin/bash]}]}
  lists:
  - {name: dups, type: syscalls, values: [sys_dup, sys_dup2], validated: false}
  - {name: all, type: generated_syscalls}
  - {name: traced, type: generated_ftrace, pattern: "^tcp_"}
  enforcers: [{calls: ["list:dups", sys_dup3]}]
  kprobes:
  - call: security_file_permission
    syscall: false
    return: true
    message: "a file is read"
    tags: [file, read]
    ignore: {callNotFound: true}
    args:
    - {index: 0, type: file, label: file, resolve: f_path.dentry, btfType: file, btfTypeModule: vmlinux}
    - {index: 1, type: int, returnCopy: false, maxData: false}
    - {index: 2, type: char_buf, sizeArgIndex: 2}
    - {index: 3, type: sock}
    data:
    - {index: 0, type: uint32, source: current_task, resolve: cred.uid.val}
    returnArg: {index: 0, type: int}
    returnArgAction: Post
    selectors:
    - label: readers
      macros: [shells]
      matchArgs:
      - {index: 0, operator: Prefix, values: [/etc/]}
      - {args: [1], operator: Equal, values: [4, 0x10, "-1", 017]}
      - {index: 1, operator: GreaterThan, values: ["3"]}
      - {index: 1, operator: lt, values: ["300"]}
      - {index: 1, operator: Mask, values: ["0x3"]}
      - {index: 1, operator: InRange, values: ["1:9"]}
      - {index: 1, operator: NotInRange, values: ["-5:-1"]}
      - {index: 0, operator: SubString, values: [shadow]}
      - {index: 0, operator: FileType, values: [reg]}
      - {index: 0, operator: CelExpr, args: , values: ["arg0.startsWith('/etc')"]}
      matchData: [{index: 0, operator: NotEqual, values: ["0"]}]
      matchReturnArgs: [{index: 0, operator: Equal, values: ["0"]}]
      matchBinaries: [{operator: NotIn, values: [/usr/bin/cat], followChildren: true}]
      matchParentBinaries: [{operator: Prefix, values: [/usr/]}]
      matchPIDs: [{operator: NotIn, values: [1, 2], isNamespacePID: true, followForks: true}]
      matchNamespaces: [{namespace: Pid, operator: NotIn, values: [host_ns, "4026531836"]}]
      matchNamespaceChanges: [{operator: In, values: [Mnt, Net]}]
      matchCapabilities: [{type: Effective, operator: In, isNamespaceCapability: false, values: [CAP_SYS_ADMIN]}]
      matchCapabilityChanges: [{type: Permitted, operator: NotIn, values: [CAP_BPF]}]
      matchWorkloads: [{podSelector: {matchLabels: {app: web}}, containerSelector: {}, hostSelector: {}}]
      matchActions:
      - {action: Post, rateLimit: 1m, rateLimitScope: process, kernelStackTrace: true, userStackTrace: false, imaHash: false}
      - {action: Sigkill}
      - {action: Signal, argSig: 10}
      - {action: Override, argError: -1}
      - {action: GetUrl, argUrl: "http://127.0.0.1/"}
      - {action: DnsLookup, argFqdn: example.org}
      - {action: TrackSock, argSock: 3}
      - {action: UntrackSock, argSock: 3}
      - {action: CleanupEnforcerNotification}
      matchReturnActions: [{action: NoPost}]
  - call: tcp_connect
    syscall: false
    args: [{index: 0, type: sock}]
    selectors:
    - matchArgs:
      - {index: 0, operator: DAddr, values: [10.0.0.0/8, "fd00::/8", 127.0.0.1]}
      - {index: 0, operator: NotSAddr, values: ["::1"]}
      - {index: 0, operator: DPort, values: [443, "8000:8080"]}
      - {index: 0, operator: NotSPortPriv}
      - {index: 0, operator: Protocol, values: [IPPROTO_TCP]}
      - {index: 0, operator: Family, values: [AF_INET]}
      - {index: 0, operator: State, values: [TCP_SYN_SENT]}
  fentries:
  - {call: security_bprm_check, syscall: false, args: [{index: 0, type: linux_binprm}]}
  tracepoints:
  - subsystem: raw_syscalls
    event: sys_enter
    raw: false
    message: "system calls"
    tags: [syscall]
    args: [{index: 4, type: syscall64}]
    selectors:
    - matchArgs: [{index: 0, operator: InMap, values: ["list:dups"]}]
      matchActions: [{action: NotifyEnforcer, argError: -1, argSig: 9}]
  lsmhooks:
  - {hook: file_open, message: "opened", tags: [lsm], args: [{index: 0, type: file}], selectors: [{matchActions: [{action: Override, argError: -13}]}]}
  uprobes:
  - path: /bin/bash
    symbols: [readline]
    refCtrOffsets: [8]
    btfPath: /usr/lib/debug/bash.btf
    return: true
    returnArg: {type: string}
    data: [{type: int}]
    binaryDigests: ["sha256:${'0'.repeat(64)}"]
    ignore: {callNotFound: true}
    message: "bash"
    tags: [shell]
    args: [{index: 0, type: int}]
    selectors:
    - matchActions: [{action: Override, argRegs: ["rax=1"], argNewSymbol: other, argNewAddr: 1, argNewOffset: "2", argError: -1}]
  - {path: /bin/bash, offsets: [0x10, "32"], args: [{index: 5, type: string}]}
  - {path: /bin/bash, addrs: [4096], refCtrOffsets: ["0x10"]}
  usdts:
  - path: /usr/bin/python3
    provider: python
    name: line
    btfPath: /usr/lib/debug/python3.btf
    message: "line"
    tags: [python]
    args: [{index: 0, type: string}, {index: 1, type: int32}]
    selectors:
    - matchActions: [{action: Set, argIndex: 1, argValue: 7}]
`;

/** A namespaced policy, in JSON's clothes, with aliases and a merge. */
export const namespacedSurface = `---
apiVersion: cilium.io/v1alpha1
kind: TracingPolicyNamespaced
metadata: {name: namespaced, namespace: payments}
spec:
  kprobes:
  - &hook
    call: sys_openat
    args: &args [{index: 1, type: string}]
  - <<: *hook
    call: sys_openat2
    args: *args
`;
