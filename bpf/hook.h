/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns one run of a hook's program: is it this program's turn, which selectors hold for the process, which
// for the arguments, and what follows. Ordered by cost: whoever is out of scope leaves before an argument is
// read, and an argument is read only where those before it left a selector.

#ifndef WEIR_HOOK_H
#define WEIR_HOOK_H

#include "arguments.h"
#include "enforce.h"
#include "match.h"
#include "scope.h"

/* Gets a parameter of the hooked function. Where it has fewer, the value is 0 and the result negative. */
typedef long (*value_getter)(void *ctx, __u32 number, __u64 *value);

static __always_inline long function_value(void *ctx, __u32 number, __u64 *value) {
    return bpf_get_func_arg(ctx, number, value);
}

/* Of sys_enter: the first value of the tracepoint is the pointer to the registers. */
static __always_inline long first_value(void *ctx, __u32 number, __u64 *value) {
    (void)number;
    *value = *(__u64 *)ctx;
    return 0;
}

/* Whether the current system call came by the 32-bit entry (thread_info.status, TS_COMPAT). */
static __always_inline bool is_compat_call(void) {
    struct task_struct___thread_info *task = (void *)bpf_get_current_task();

    return BPF_CORE_READ(task, thread_info.status) & WEIR_TS_COMPAT;
}

/* ANDs the mask of one dimension into the candidates. Returns whether any is left. */
static __always_inline bool match_dimension(const volatile struct weir_hook_spec *spec, __u32 d,
                                            const struct weir_hook_config *config,
                                            const struct weir_argument *argument, __u32 argument_number,
                                            struct text_slot *text, __u32 slot, struct hook_work *work) {
    __u32 id = config->config_id * WEIR_LIMIT_DIMENSIONS_PER_HOOK + d;
    __u8 kind = spec->dimensions[d].kind;
    __u32 length = argument->payload.length & (WEIR_LIMIT_PATH_BYTES - 1);
    const struct weir_mask *found = NULL;
    bool is_known;

    if (kind == WEIR_DIMENSION_KIND_FORWARD)
        is_known = front_known(argument);
    else if (kind == WEIR_DIMENSION_KIND_REVERSE)
        is_known = end_known(argument);
    else
        is_known = !(argument->flags & WEIR_ARGUMENT_FLAG_UNREADABLE);

    if (!is_known) {
        work->undecided_count++;
        count(WEIR_KERNEL_COUNTER_UNDECIDED);
        found = look_up_integer(id, 0, PURPOSE_UNDECIDED);
    } else if (kind == WEIR_DIMENSION_KIND_FORWARD) {
        found = look_up_forward(text, length, id);
    } else if (kind == WEIR_DIMENSION_KIND_REVERSE) {
        struct text_slot *turned = text_of(slot, TURNED_TEXT);

        turn_text(slot, argument_number, length);
        if (turned)
            found = look_up_forward(turned, length, id);
    } else {
        found = look_up_integer(id, argument->value, PURPOSE_VALUE);
    }
    if (!found)
        found = &config->defaults[d];
    return mask_and(&work->candidates, found, spec->word_count);
}

/* Reads the arguments and matches each. Returns whether a selector is left. Dimensions are in order of
 * arguments. */
static __always_inline bool match_arguments(void *ctx, const volatile struct weir_hook_spec *spec,
                                            value_getter get_value, bool takes_registers,
                                            const struct weir_hook_config *config, __u32 slot,
                                            struct hook_work *work) {
    struct pt_regs___x86 *registers = NULL;
    __u32 d = 0;

    if (takes_registers)
        get_value(ctx, 0, (__u64 *)&registers);
#pragma clang loop unroll(disable)
    for (__u32 i = 0; i < HOOK_ARGUMENTS_MAX; i++) {
        if (i >= spec->argument_count)
            break;
        struct text_slot *text = text_of(slot, i);
        struct weir_argument *argument = &work->arguments[i];
        __u64 raw = 0;

        if (!text)
            return false;
        __builtin_memset(argument, 0, sizeof(*argument));
        argument->type = spec->arguments[i].type;
        argument->index = spec->arguments[i].index;
        text->bytes[0] = 0;
        if (takes_registers)
            raw = syscall_argument(registers, spec->arguments[i].index);
        else
            get_value(ctx, spec->arguments[i].index, &raw);
        read_argument(argument, text, slot, i, spec->arguments[i].type, takes_registers, raw);
#pragma clang loop unroll(disable)
        for (; d < WEIR_LIMIT_DIMENSIONS_PER_HOOK; d++) {
            if (d >= spec->dimension_count || spec->dimensions[d].argument != i)
                break;
            if (!match_dimension(spec, d, config, argument, i, text, slot, work))
                return false;
        }
    }
    return true;
}

/* Returns what the hooked function is to return, 0 where it goes on; what is returned matters with may_deny
 * only. */
static __always_inline int run_hook(void *ctx, const volatile struct weir_hook_spec *spec,
                                    value_getter get_value, bool takes_registers, bool may_deny) {
    __u32 hook_id = spec->hook_id;
    __u32 spec_id = spec->spec_id;
    __u32 words = spec->word_count;
    const volatile __u64 *state_word = bpf_map_lookup_elem(&hook_states, &hook_id);

    if (!state_word)
        return 0;
    __u64 state = *state_word; // once: program and configuration go together

    if (spec_id == 0 || (__u32)(state >> 32) != spec_id)
        return 0;
    __u32 config_index = state;
    const struct weir_hook_config *config = bpf_map_lookup_elem(&hook_configs, &config_index);

    if (!config)
        return 0;
    count(WEIR_KERNEL_COUNTER_HOOK_RUNS);

    // The scope: its mask, or NULL where it is still to be evaluated.
    const struct weir_mask *in_scope =
        config->scope_generation == 0 ? &config->unscoped : cached_scope_mask(config);

    if (in_scope && mask_empty(in_scope, words))
        return 0;

    __u32 slot = 0;
    struct scratch *scratch = scratch_claim(&slot);

    if (!scratch) { // counted there; what this hit would have done is not known
        count(WEIR_KERNEL_COUNTER_UNDECIDED);
        return 0;
    }
    struct hook_work *work = hook_work_of(slot);
    struct enforcement all = {
        .slot = slot,
        .config_id = config->config_id,
        .event_kind = spec->event_kind,
        .may_deny = may_deny,
    };
    int error = 0;

    if (work) {
        mask_clear(&work->candidates);
        work->undecided_count = 0;
        work->error = 0;
        if (in_scope)
            mask_copy(&work->candidates, in_scope, words);
        else
            evaluate_candidates(slot, config_index);
        if (!mask_empty(&work->candidates, words) &&
            match_arguments(ctx, spec, get_value, takes_registers, config, slot, work))
            error = enforce(&all);
    }
    scratch_release(slot);
    return error;
}

#endif
