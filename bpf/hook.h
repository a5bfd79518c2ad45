/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns one run of a hook's program: is it this program's turn, which selectors hold for the process, which
// for the arguments, and what follows. Ordered by cost: whoever is out of scope leaves before an argument is
// read, and an argument is read only where those before it left a selector.

#ifndef WEIR_HOOK_H
#define WEIR_HOOK_H

#include "arguments.h"
#include "enforce.h"
#include "field.h"
#include "match.h"
#include "parts.h"
#include "returns.h"
#include "scope.h"
#include "spec.h"
#include "stack.h"
#include "tally.h"
#include "text_nodes.h"
#include "tracepoint.h"

#define HOOK_TAKES_TEXT_OF_RECORD                                                                            \
    (HOOK_TAKES(WEIR_ARGUMENT_SOURCE_RECORD_TEXT) || HOOK_TAKES(WEIR_ARGUMENT_SOURCE_RECORD_DATA) ||         \
     HOOK_TAKES(WEIR_ARGUMENT_SOURCE_RECORD_RELATIVE_DATA))
#define HOOK_TAKES_OF_TRACEPOINT (spec.sources & (0xffffffffU << WEIR_ARGUMENT_SOURCE_CONTEXT))
#define HOOK_READS_BUFFERS                                                                                   \
    (HOOK_READS(WEIR_ARGUMENT_TYPE_CHAR_BUF) || HOOK_READS(WEIR_ARGUMENT_TYPE_CONST_BUF) ||                  \
     HOOK_READS(WEIR_ARGUMENT_TYPE_CHAR_IOVEC) || HOOK_READS(WEIR_ARGUMENT_TYPE_IOV_ITER))
#define HOOK_COMPARES_NUMBERS                                                                                \
    (spec.parts & ~(1U << WEIR_ARGUMENT_PART_WHOLE | 1U << WEIR_ARGUMENT_PART_SIZED))
#define HOOK_LOOKS_UP_TEXTS                                                                                  \
    (HOOK_LOOKS_UP(WEIR_DIMENSION_KIND_FORWARD) || HOOK_LOOKS_UP(WEIR_DIMENSION_KIND_REVERSE))
#define HOOK_LOOKS_UP_SUBSTRINGS                                                                             \
    (HOOK_LOOKS_UP(WEIR_DIMENSION_KIND_SUBSTRING) || HOOK_LOOKS_UP(WEIR_DIMENSION_KIND_SUBSTRING_FOLD))

// 1: the context is the record of a tracepoint.
const volatile __u32 is_record = 0;

/* Gets a parameter of the hooked function. Where that cannot be, the result is negative. */
typedef long (*value_getter)(void *ctx, __u32 slot, __u32 number, __u64 *value);

static __always_inline long function_value(void *ctx, __u32 slot, __u32 number, __u64 *value) {
    (void)slot;
    return bpf_get_func_arg(ctx, number, value);
}

/* Of sys_enter: the first value of the tracepoint is the pointer to the registers. */
static __always_inline long first_value(void *ctx, __u32 slot, __u32 number, __u64 *value) {
    (void)slot;
    (void)number;
    *value = *(__u64 *)ctx;
    return 0;
}

/* Of tracepoints: each of their arguments has another source. */
static __always_inline long no_value(void *ctx, __u32 slot, __u32 number, __u64 *value) {
    (void)ctx;
    (void)slot;
    (void)number;
    *value = 0;
    return 0;
}

/*
 * Whether a file is the one that stands behind a file of overlayfs: opening or reading that one calls the
 * same functions again for this one, with the mounter's credentials (seen on 6.1 and 6.12). It is one act and
 * one event.
 */
static __always_inline bool is_file_behind(__u64 raw) {
    return BPF_CORE_READ((struct file___mode *)raw, f_mode) & WEIR_FMODE_NOACCOUNT;
}

/*
 * Whether the current task is the one that called. In a soft or hard interrupt it is whoever was interrupted,
 * who must not be punished for what a packet or a timer does. Interrupts have stacks of their own, and a
 * program's context lies on the stack of its caller. (preempt_count, which also tells, has another place in
 * each of 6.1, 6.2 and 6.15.)
 */
static __always_inline bool is_own_call(const struct hook_work *work) {
    struct task_struct___stack *task = (void *)bpf_get_current_task_btf();

    if (is_record) {
        __u64 at = stack_of_record(work->context);

        // The lower half of all addresses is user space's.
        return !(at >> 63) || at - (__u64)task->stack < WEIR_THREAD_STACK_BYTES;
    }
    return work->context - (__u64)task->stack < WEIR_THREAD_STACK_BYTES;
}

/*
 * Looks the text of an argument up, from either end; where that is a name in a payload, it is brought to the
 * slot for texts that are turned round. A function of its own for its stack:
 * all frames may have 512 bytes together (6.1, 6.12).
 */
static __attribute__((noinline)) const struct weir_mask *look_up_text(__u32 slot, __u32 number,
                                                                      __u32 dimension_id, __u32 kind) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return NULL;
    number &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(number);
    const struct weir_argument *argument = &work->arguments[number];
    __u32 offset = name_offset(argument->type);
    __u32 length = offset ? argument->value : argument->payload.length;

    if (kind == WEIR_DIMENSION_KIND_REVERSE)
        turn_text(slot, number, offset, length);
    else if (offset)
        copy_name(slot, number, offset);
    struct text_slot *text =
        text_of(slot, kind == WEIR_DIMENSION_KIND_REVERSE || offset ? TURNED_TEXT : number);

    return text ? look_up_forward(text, length, dimension_id) : NULL;
}

/* Looks an address of a socket up. See look_up_text. */
static __attribute__((noinline)) const struct weir_mask *look_up_address(__u32 slot, __u32 number,
                                                                         __u32 dimension_id, __u32 part) {
    __u32 length = address_key(slot, number, part);
    struct text_slot *key = text_of(slot, TURNED_TEXT);

    // The key's own length, with no NUL behind it. An empty one finds nothing.
    return key ? look_up_forward(key, length - 1, dimension_id) : NULL;
}

/* Looks up a buffer of a certain size. See look_up_text. */
static __attribute__((noinline)) const struct weir_mask *look_up_sized(__u32 slot, __u32 number,
                                                                       __u32 dimension_id) {
    __u32 length = size_text(slot, number);
    struct text_slot *text = text_of(slot, TURNED_TEXT);

    return text ? look_up_forward(text, length, dimension_id) : NULL;
}

/*
 * ANDs the mask of one dimension into the candidates. Returns whether any is left. Not static, so that the
 * verifier looks at it once, however many dimensions there are.
 */
__noinline int match_dimension(__u32 slot, __u32 config_index, __u32 place, __u32 d, __u32 kind) {
    // The position of the argument, above it the argument_part, and above that the position of the argument
    // that some parts compare it with: a function takes five values.
    __u32 number = place & 0xff;
    __u32 part = place >> 8 & 0xff;
    __u32 other = place >> 16;
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return 0;
    // Masks in place of comparisons: see lay_out_argument.
    number &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(number);
    const struct weir_argument *argument = &work->arguments[number];
    __u32 id = dimension_id_of(work->config_id, d);
    const struct weir_mask *found = NULL;
    __u64 value = argument->value;
    bool is_known;

    if (HOOK_COMPARES_NUMBERS && part && part != WEIR_ARGUMENT_PART_SIZED &&
        kind != WEIR_DIMENSION_KIND_ADDRESS)
        value = part_number(slot, number, part, other);
    if (kind == WEIR_DIMENSION_KIND_FORWARD)
        is_known = front_known(argument);
    else if (kind == WEIR_DIMENSION_KIND_REVERSE)
        is_known = end_known(argument);
    else
        is_known = !(argument->flags & WEIR_ARGUMENT_FLAG_UNREADABLE) && other_known(slot, part, other) &&
                   (!HOOK_COMPARES(WEIR_ARGUMENT_PART_LENGTH) || length_known(argument, part));

    if (!is_known) {
        bool is_longer =
            HOOK_READS_PATHS && kind == WEIR_DIMENSION_KIND_FORWARD && is_longer_than_values(argument);

        found = look_up_incomplete(id, is_longer, &is_known);
        if (!is_known) {
            work->undecided_count++;
            count(WEIR_KERNEL_COUNTER_UNDECIDED);
        }
    } else if (HOOK_LOOKS_UP(WEIR_DIMENSION_KIND_INTEGER) && kind == WEIR_DIMENSION_KIND_INTEGER) {
        found = look_up_integer(id, value, PURPOSE_VALUE);
    } else if (HOOK_LOOKS_UP(WEIR_DIMENSION_KIND_RANGE) && kind == WEIR_DIMENSION_KIND_RANGE) {
        found = look_up_range(id, value, argument->type);
    } else if (HOOK_LOOKS_UP(WEIR_DIMENSION_KIND_BITS) && kind == WEIR_DIMENSION_KIND_BITS) {
        look_up_bits(slot, config_index, d, value);
        found = &work->found;
    } else if (HOOK_LOOKS_UP(WEIR_DIMENSION_KIND_ADDRESS) && kind == WEIR_DIMENSION_KIND_ADDRESS) {
        found = look_up_address(slot, number, id, part);
    } else if (HOOK_LOOKS_UP_SUBSTRINGS && is_substring(kind)) {
        find_substrings(slot, config_index, number, d, kind);
        found = &work->found;
    } else {
        if (HOOK_HAS(WEIR_HOOK_FEATURE_LONG_TEXTS))
            found = look_up_long(slot, number, id, kind, part == WEIR_ARGUMENT_PART_SIZED);
        if (found) {
            // The longest value that the text begins with (or ends with) is none of the trie's.
        } else if (HOOK_COMPARES(WEIR_ARGUMENT_PART_SIZED) && part == WEIR_ARGUMENT_PART_SIZED) {
            found = look_up_sized(slot, number, id);
        } else if (HOOK_LOOKS_UP_TEXTS) {
            found = look_up_text(slot, number, id, kind);
        }
    }
    if (!found)
        found = default_mask(config_index, work->config_id, d);
    if (!found) { // cannot be: a configuration is kept while a call needs it
        mask_clear(&work->candidates);
        return 0;
    }
    return mask_and(&work->candidates, found, spec.word_count);
}

/* Reads the arguments and matches each. Returns whether a selector is left. Dimensions are in order of
 * arguments. */
static __always_inline bool match_arguments(void *ctx, __u32 slot, __u32 config_index, value_getter get_value,
                                            __u32 takes_registers) {
    struct pt_regs___x86 *registers = NULL;
    struct hook_work *work = hook_work_of(slot);
    __u32 d = 0;

    if (!work)
        return false;
    // Loaded from the context itself, so that the verifier knows the type, and the registers need no helper.
    if (takes_registers)
        registers = *(struct pt_regs___x86 **)ctx;
#pragma clang loop unroll(disable)
    for (__u32 i = 0; i < HOOK_ARGUMENTS_MAX; i++) {
        if (i >= spec.argument_count)
            break;
        struct text_slot *text = text_of(slot, i);
        struct weir_argument *argument = &work->arguments[i];
        __u64 raw = 0;
        bool is_known = true;

        if (!text)
            return false;
        __builtin_memset(argument, 0, sizeof(*argument));
        argument->type = spec.arguments[i].type;
        argument->index = spec.arguments[i].index;
        text->bytes[0] = 0;
        if (HOOK_TAKES(WEIR_ARGUMENT_SOURCE_RETURNED) &&
            spec.arguments[i].source == WEIR_ARGUMENT_SOURCE_RETURNED) {
            argument->flags = WEIR_ARGUMENT_FLAG_RETURNED | WEIR_ARGUMENT_FLAG_UNREADABLE;
            continue;
        }
        bool is_raw = true;

        if (HOOK_TAKES(WEIR_ARGUMENT_SOURCE_CURRENT_TASK) &&
            spec.arguments[i].source == WEIR_ARGUMENT_SOURCE_CURRENT_TASK) {
            raw = bpf_get_current_task();
        } else if (takes_registers == BY_32_BIT_ENTRY) {
            raw = syscall_argument_32(registers, spec.arguments[i].index);
        } else if (takes_registers) {
            raw = syscall_argument(registers, spec.arguments[i].index);
        } else if (HOOK_TAKES_TEXT_OF_RECORD && is_text_of_record(spec.arguments[i].source)) {
            read_record_text(slot, i, spec.arguments[i].source, spec.arguments[i].offset,
                             spec.arguments[i].size);
            is_raw = false;
        } else if (HOOK_TAKES_OF_TRACEPOINT && is_of_tracepoint(spec.arguments[i].source)) {
            __u16 size = HOOK_READS_BUFFERS && is_buffer(spec.arguments[i].type) ? sizeof(raw)
                                                                                 : spec.arguments[i].size;

            is_raw = read_tracepoint_value(work->context, spec.arguments[i].source, spec.arguments[i].index,
                                           spec.arguments[i].offset, size, &raw);
            if (!is_raw)
                set_unreadable(argument);
        } else {
            is_known = get_value(ctx, slot, spec.arguments[i].index, &raw) == 0;
        }
        // Asked anew each time: what is kept over the reading costs the stack of every kind of program.
        if (is_field(i)) {
            is_raw = walk_to_field(slot, i, raw) == 0;
            raw = is_raw ? take_field(argument) : 0;
        } else if (HOOK_READS(WEIR_ARGUMENT_TYPE_FILE) && spec.arguments[i].type == WEIR_ARGUMENT_TYPE_FILE &&
                   is_file_behind(raw)) {
            return false;
        }
        if (!is_known) {
            set_unreadable(argument);
        } else if (is_raw && HOOK_READS_BUFFERS && is_buffer(spec.arguments[i].type)) {
            __u64 size = ~0ULL;

            if (takes_registers == BY_32_BIT_ENTRY && spec.arguments[i].size)
                size = syscall_argument_32(registers, spec.arguments[i].size - 1);
            else if (takes_registers && spec.arguments[i].size)
                size = syscall_argument(registers, spec.arguments[i].size - 1);
            else if (HOOK_TAKES_OF_TRACEPOINT && is_of_tracepoint(spec.arguments[i].source))
                is_known = read_buffer_size(work->context, spec.arguments[i].size, &size);
            else if (spec.arguments[i].size)
                is_known = get_value(ctx, slot, spec.arguments[i].size - 1, &size) == 0;
            if (!is_known) {
                set_unreadable(argument);
                size = 0;
            }
            if (spec.arguments[i].flags & ARGUMENT_AT_RETURN) {
                keep_place(argument, raw, size);
                continue;
            }
            work->bytes_left = ~0ULL;
            read_buffer(slot, i | (is_of_user(i) ? IN_USER_MEMORY : 0), spec.arguments[i].type, raw, size);
        } else if (is_raw) {
            __u64 size = 0;

            if ((spec.arguments[i].flags & ARGUMENT_SIZED) && takes_registers == BY_32_BIT_ENTRY)
                size = syscall_argument_32(registers, spec.arguments[i].index + 1);
            else if ((spec.arguments[i].flags & ARGUMENT_SIZED) && takes_registers)
                size = (__u32)syscall_argument(registers, spec.arguments[i].index + 1);
            else if (spec.arguments[i].flags & ARGUMENT_SIZED)
                get_value(ctx, slot, spec.arguments[i].index + 1, &size);
            read_argument(argument, slot, i, spec.arguments[i].type, spec.arguments[i].flags, is_of_user(i),
                          raw, size);
        }
#pragma clang loop unroll(disable)
        for (; d < WEIR_LIMIT_DIMENSIONS_PER_HOOK; d++) {
            if (d >= spec.entry_dimension_count || spec.dimensions[d].argument != i)
                break;
            __u32 place = i | spec.dimensions[d].part << 8 | spec.dimensions[d].other << 16;

            if (!match_dimension(slot, config_index, place, d, spec.dimensions[d].kind))
                return false;
        }
    }
    return true;
}

/* Matches the arguments of a run; a match_arguments with all but these given. Returns whether a selector is
 * left. */
typedef int (*argument_matcher)(void *ctx, __u32 slot, __u32 config_index);

/*
 * What is returned where there is no memory to look at a call with, and policies deny what cannot be decided:
 * an error where the process is in scope of such a selector, or may be.
 */
static __always_inline int deny_unseen(void *ctx, const struct weir_hook_config *config,
                                       const struct weir_mask *in_scope) {
    __u64 denying = 0;

#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++)
        denying |= config->holding.words[word] & (in_scope ? in_scope->words[word] : ~0ULL);
    if (!denying)
        return 0;
    // It would fall upon whoever was interrupted.
    if (!is_on_thread_stack(ctx)) {
        count(WEIR_KERNEL_COUNTER_ENFORCE_FAILED);
        return 0;
    }
    count(WEIR_KERNEL_COUNTER_ENFORCED);
    return ERROR_NOT_PERMITTED;
}

/* Whether a run may make its call fail. Asked where it matters: what is kept over the matching costs the
 * stack of every kind of program. */
typedef bool (*permission)(void);

static __always_inline bool always(void) {
    return true;
}

static __always_inline bool never(void) {
    return false;
}

/* Returns what the hooked function is to return, 0 where it goes on; it matters with may_deny only. */
static __always_inline int run_hook(void *ctx, argument_matcher match, permission may_deny) {
    __u32 hook_id = spec.hook_id;
    __u32 spec_id = spec.spec_id;
    __u32 words = spec.word_count;
    __u32 state_index = 2 * hook_id + (spec_id & 1);
    const volatile __u64 *state_word = bpf_map_lookup_elem(&hook_states, &state_index);

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
    tally_run(hook_id);
    if (HOOK_HAS(WEIR_HOOK_FEATURE_RETURNS))
        forget_returned(place_of_call(ctx, false));
    if (HOOK_HAS(WEIR_HOOK_FEATURE_ENFORCER_ONLY) && !is_notified())
        return 0;

    // The scope: its mask, or NULL where it is still to be evaluated.
    const struct weir_mask *in_scope =
        HOOK_HAS(WEIR_HOOK_FEATURE_SCOPED) ? cached_scope_mask(config) : &config->unscoped;

    if (in_scope && mask_empty(in_scope, words))
        return 0;

    __u32 slot = 0;

    if (!scratch_claim(&slot)) { // counted there; what this hit would have done is not known
        count(WEIR_KERNEL_COUNTER_UNDECIDED);
        if (may_deny() && HOOK_HAS(WEIR_HOOK_FEATURE_HOLDS_UNDECIDED))
            return deny_unseen(ctx, config, in_scope);
        return 0;
    }
    struct hook_work *work = hook_work_of(slot);
    int error = 0;

    if (work) {
        // Through memory, as the verifier lets nobody count with the address of a context.
        work->context = (__u64)ctx;
        work->call_place = 0;
        work->undecided_count = 0;
        work->error = 0;
        work->config_id = config->config_id;
        work->is_return = 0;
        if (HOOK_HAS(WEIR_HOOK_FEATURE_RETURNS))
            returning_clear(work);
        mask_clear(&work->candidates);
        if (in_scope) {
            mask_copy(&work->candidates, in_scope, words);
        } else if (HOOK_HAS(WEIR_HOOK_FEATURE_SCOPES_CHANGE)) {
            fill_process_state(slot);
            evaluate_candidates(slot, config_index);
        } else if (HOOK_HAS(WEIR_HOOK_FEATURE_SCOPED)) {
            select_candidates(work, config);
        }
        if (!mask_empty(&work->candidates, words) && match(ctx, slot, config_index)) {
            take_stacks(ctx, slot);
            work->is_own_call = is_own_call(work);
            error = enforce(slot, may_deny());
            if (HOOK_HAS(WEIR_HOOK_FEATURE_RETURNS) && !mask_empty(&work->returning, words))
                await_return(slot, place_of_call(ctx, false));
        }
        if (work->undecided_count)
            tally_undecided(hook_id, work->undecided_count);
    }
    scratch_release(slot);
    return error;
}

/* Reads a buffer whose place was kept at the entry: as many bytes as the call says that it has put there. */
static __always_inline void read_kept_place(__u32 slot, __u32 i, __u64 returned) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return;
    struct weir_argument *argument = &work->arguments[i];
    __u64 address = argument->value;
    __u64 size = argument->original_length == UNKNOWN_SIZE ? ~0ULL : argument->original_length;
    __s64 bytes = spec.arguments[i].flags & ARGUMENT_NARROW_RETURN ? (__s64)(__s32)returned : (__s64)returned;

    argument->value = 0;
    work->bytes_left = bytes < 0 ? 0 : bytes;
    read_buffer(slot, i | (is_of_user(i) ? IN_USER_MEMORY : 0), spec.arguments[i].type, address, size);
}

/* Gets what the call returned. Where that cannot be, the result is not 0. */
typedef long (*return_getter)(void *ctx, __u64 *value);

/*
 * At the return of a call: takes back what its entry left, reads what only now can be read, matches it, acts
 * and posts.
 */
static __always_inline void run_return(void *ctx, return_getter get_returned) {
    struct weir_call_key key = {};
    __u32 slot = 0;
    __u32 d = spec.entry_dimension_count;
    __u32 size = find_call(place_of_call(ctx, true), &key);

    if (!size)
        return;
    struct scratch *scratch = scratch_claim(&slot);

    if (!scratch) { // counted there
        count(WEIR_KERNEL_COUNTER_RETURNS_LOST);
        bpf_map_delete_elem(&small_calls, &key);
        bpf_map_delete_elem(&large_calls, &key);
        return;
    }
    struct hook_work *work = hook_work_of(slot);

    if (work && take_call(slot, &key, size)) {
        work->context = (__u64)ctx; // see run_hook
        take_stacks(ctx, slot);
#pragma clang loop unroll(disable)
        for (__u32 i = 0; i < HOOK_ARGUMENTS_MAX; i++) {
            if (i >= spec.argument_count)
                break;
            struct weir_argument *argument = &work->arguments[i];
            __u64 raw = 0;

            bool is_copy = spec.arguments[i].flags & ARGUMENT_AT_RETURN;

            if (spec.arguments[i].source != WEIR_ARGUMENT_SOURCE_RETURNED && !is_copy)
                continue;
            argument->flags = WEIR_ARGUMENT_FLAG_RETURNED;
            if (get_returned(ctx, &raw))
                argument->flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
            else if (is_copy)
                read_kept_place(slot, i, raw);
            else
                read_argument(argument, slot, i, spec.arguments[i].type, spec.arguments[i].flags,
                              spec.event_kind == WEIR_EVENT_KIND_UPROBE, raw, 0);
#pragma clang loop unroll(disable)
            for (; d < WEIR_LIMIT_DIMENSIONS_PER_HOOK; d++) {
                if (d >= spec.dimension_count || spec.dimensions[d].argument != i)
                    break;
                match_dimension(slot, NO_CONFIG,
                                i | spec.dimensions[d].part << 8 | spec.dimensions[d].other << 16, d,
                                spec.dimensions[d].kind);
            }
        }
        finish_call(slot, is_own_call(work));
    }
    scratch_release(slot);
}

#endif
