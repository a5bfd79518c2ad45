// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Entry points of the hooks. Each is a template: the loader clones it for a kernel function and gives the
// clone its own `spec`, by which the verifier removes what that hook does not need. What a run does is in
// hook.h.

#include "hook.h"
#include "prevent.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// Number of the system call that a clone of on_sys_enter is for.
const volatile __u32 syscall_number = 0;
// 1: an LSM hook may be made to fail. Else what it returns is 0, whatever it is: the verifier asks of each
// hook another range.
const volatile __u32 denies = 0;
// 1: the hooked function is a system call's entry, whose one parameter points to the saved registers. 2: it
// is the entry of 32-bit programs, whose arguments are in other registers.
const volatile __u32 takes_registers = 0;
// Bits of the security functions through which a clone of mark_function has its call denied.
const volatile __u64 denying_functions = 0;

// By number of a system call: 1 + position in the list that a clone of observe_listed_calls is for, 0 where
// it is not in it.
const volatile __u16 call_places[WEIR_LIMIT_SYSCALLS] = {};

/* The number of a system call, of sys_enter. Programs of the x32 ABI set a bit in it. */
static __always_inline __u64 call_number(__u64 *ctx) {
    return ctx[1] & ~WEIR_X32_SYSCALL_BIT;
}

/*
 * Matching has stack frames of its own: in one with what comes before and after it, 6.1 counts more than the
 * 512 bytes that all frames may have together ("combined stack size of 4 calls is 544").
 */
static __attribute__((noinline)) int match_function(void *ctx, __u32 slot, __u32 config_index) {
    return match_arguments(ctx, slot, config_index, function_value, takes_registers);
}

static __attribute__((noinline)) int match_system_call(void *ctx, __u32 slot, __u32 config_index) {
    return match_arguments(ctx, slot, config_index, first_value, true);
}

/* Of a call in a list: notes which. */
static __attribute__((noinline)) int match_listed_call(void *ctx, __u32 slot, __u32 config_index) {
    struct hook_work *work = hook_work_of(slot);
    __u64 number = call_number(ctx);

    if (!work || number >= WEIR_LIMIT_SYSCALLS)
        return false;
    work->call_place = call_places[number] - 1;
    return match_arguments(ctx, slot, config_index, first_value, true);
}

static __attribute__((noinline)) int match_tracepoint(void *ctx, __u32 slot, __u32 config_index) {
    return match_arguments(ctx, slot, config_index, no_value, false);
}

/* Observes a function. Signals that it sends come before the function, but do not keep it from running. */
SEC("fentry/security_file_open")
int observe_function(__u64 *ctx) {
    run_hook(ctx, match_function, never);
    return 0;
}

/* Enforces on a system call: marks what is to be denied, for the security functions on its path. */
SEC("fentry/security_file_open")
int mark_function(__u64 *ctx) {
    // Where the program at the return of the last call was skipped (the kernel does so where it interrupts
    // itself), its mark is still there.
    struct call_mark *left = call_mark_find(bpf_get_current_task_btf());

    if (left)
        call_mark_clear(left);
    int error = run_hook(ctx, match_function, always);

    if (error)
        call_mark_set(denying_functions, error);
    return 0;
}

/* Enforces on a function of the kernel's security checks: what it returns is what the check says. */
SEC("fmod_ret/security_file_open")
long enforce_function(__u64 *ctx) {
    int error = run_hook(ctx, match_function, always);

    return as_denial(error);
}

static __always_inline bool is_denying(void) {
    return denies;
}

/* Observes or enforces on an LSM hook, where bpf is among the kernel's active security modules. */
SEC("lsm/file_open")
long at_lsm_hook(__u64 *ctx) {
    // Left behind by a call that another module denied in between.
    if (HOOK_HAS(WEIR_HOOK_FEATURE_IMA_HASH))
        ima_send_unhashed();
    int error = run_hook(ctx, match_function, is_denying);

    if (HOOK_HAS(WEIR_HOOK_FEATURE_IMA_HASH) && error && ima_defer(error))
        return 0;
    return denies ? as_denial(error) : 0;
}

/* Run after at_lsm_hook at hooks whose first parameter is a program that is about to run: adds its hash to
 * events. */
SEC("lsm.s/bprm_check_security")
long hash_program(__u64 *ctx) {
    struct linux_binprm *program = (void *)ctx[0];
    int error = ima_send_hashed(program->file);

    return denies ? as_denial(error) : 0;
}

/* The same at hooks whose first parameter is a file. */
SEC("lsm.s/file_open")
long hash_file(__u64 *ctx) {
    int error = ima_send_hashed((void *)ctx[0]);

    return denies ? as_denial(error) : 0;
}

/* Run last: does for events that nobody has hashed what the two above do for others. */
SEC("lsm/file_open")
long after_hash(void *ctx) {
    int error = ima_send_unhashed();

    (void)ctx;
    return denies ? as_denial(error) : 0;
}

static __always_inline long function_result(void *ctx, __u64 *value) {
    return bpf_get_func_ret(ctx, value);
}

/* Ends what the entry of a call began: there, one of the programs above that is attached to the same
 * function.
 */
SEC("fexit/security_file_open")
int at_return(__u64 *ctx) {
    run_return(ctx, function_result);
    return 0;
}

/* Observes one system call, where functions cannot be hooked. Calls by the 32-bit entry have other numbers.
 */
SEC("tp_btf/sys_enter")
int observe_system_call(__u64 *ctx) {
    if (ctx[1] != syscall_number || is_compat_call())
        return 0;
    run_hook(ctx, match_system_call, never);
    return 0;
}

/* Observes the system calls of a list. */
SEC("tp_btf/sys_enter")
int observe_listed_calls(__u64 *ctx) {
    __u64 number = call_number(ctx);

    if (number >= WEIR_LIMIT_SYSCALLS || !call_places[number] || is_compat_call())
        return 0;
    run_hook(ctx, match_listed_call, never);
    return 0;
}

/* Observes a tracepoint by the values with which it was called. */
SEC("tp_btf/sys_enter")
int observe_raw_tracepoint(__u64 *ctx) {
    run_hook(ctx, match_tracepoint, never);
    return 0;
}

/* Observes a tracepoint by the record that the kernel made of it. */
SEC("tracepoint")
int observe_tracepoint(__u64 *ctx) {
    run_hook(ctx, match_tracepoint, never);
    return 0;
}

struct flip {
    __u32 index;
    __u32 reserved;
    __u64 state;
};

/* Sets the state of a program by one store of 64 bits; a map update from user space may write byte by byte.
 */
SEC("syscall")
int set_hook_state(struct flip *flip) {
    __u32 index = flip->index;
    volatile __u64 *state = bpf_map_lookup_elem(&hook_states, &index);

    if (!state)
        return 1;
    *state = flip->state;
    return 0;
}
