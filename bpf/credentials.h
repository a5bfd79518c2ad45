/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the reading of credentials and of user namespaces into the payload of an argument.

#ifndef WEIR_CREDENTIALS_H
#define WEIR_CREDENTIALS_H

#include "kernel.h"
#include "payload.h"

/* Reads a struct cred. Not static: see read_path. */
__noinline int read_credentials(__u32 slot, __u32 number, __u64 address) {
    struct weir_credential_argument *payload = payload_begin(slot, number, sizeof(*payload));
    const struct cred *cred = (const struct cred *)address;

    if (!payload)
        return 0;
    if (bpf_core_read(&payload->uid, sizeof(payload->uid), &cred->uid)) {
        payload_unreadable(slot, number);
        return 0;
    }
    payload->gid = BPF_CORE_READ(cred, gid.val);
    payload->euid = BPF_CORE_READ(cred, euid.val);
    payload->egid = BPF_CORE_READ(cred, egid.val);
    payload->suid = BPF_CORE_READ(cred, suid.val);
    payload->sgid = BPF_CORE_READ(cred, sgid.val);
    payload->fsuid = BPF_CORE_READ(cred, fsuid.val);
    payload->fsgid = BPF_CORE_READ(cred, fsgid.val);
    payload->auid = (__u32)-1; // of a task, not of credentials
    payload->securebits = BPF_CORE_READ(cred, securebits);
    bpf_core_read(&payload->cap_permitted, sizeof(__u64), &cred->cap_permitted);
    bpf_core_read(&payload->cap_effective, sizeof(__u64), &cred->cap_effective);
    bpf_core_read(&payload->cap_inheritable, sizeof(__u64), &cred->cap_inheritable);
    payload->user_namespace = BPF_CORE_READ(cred, user_ns, ns.inum);
    payload->user_namespace_level = BPF_CORE_READ(cred, user_ns, level);
    return 0;
}

/* Reads a struct user_namespace. Not static: see read_path. */
__noinline int read_user_namespace(__u32 slot, __u32 number, __u64 address) {
    struct weir_user_namespace_argument *payload = payload_begin(slot, number, sizeof(*payload));
    const struct user_namespace *namespace = (const struct user_namespace *)address;

    if (!payload)
        return 0;
    if (bpf_core_read(&payload->inode, sizeof(payload->inode), &namespace->ns.inum)) {
        payload_unreadable(slot, number);
        return 0;
    }
    payload->level = BPF_CORE_READ(namespace, level);
    payload->owner = BPF_CORE_READ(namespace, owner.val);
    payload->group = BPF_CORE_READ(namespace, group.val);
    return 0;
}

#endif
