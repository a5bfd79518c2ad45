/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the walks over a text byte by byte: one that finds any of many texts anywhere in it (an Aho-Corasick
// automaton: each byte costs a step or falls back, so the time goes with the length of the text alone,
// whatever the number of texts), and one that follows values which are longer than a trie takes from their
// first byte (or their last) on.

#ifndef WEIR_TEXT_NODES_H
#define WEIR_TEXT_NODES_H

#include "arguments.h"
#include "match.h"

enum {
    STEP_OF_STATE = 256,
    SIZE_BYTES = 2, // of the number of bytes that stands before those of a buffer
};
_Static_assert(WEIR_LIMIT_MASK_WORDS *WORD_BITS >= 256, "the bytes that texts begin with fit into a mask");

#define NOT_SIZED 0xffffffff

static __always_inline const struct weir_text_node *next_node(const struct text_walk *walk, __u64 step) {
    struct weir_text_node_key key = {
        .dimension_id = walk->dimension_id,
        .state = walk->state,
        .step = step,
    };

    return bpf_map_lookup_elem(&text_nodes, &key);
}

static __always_inline __u8 byte_at(const struct text_slot *text, __u32 at) {
    at &= WEIR_LIMIT_PATH_BYTES - 1;
    barrier_var(at);
    return text->bytes[at];
}

/* One step over a text in which others are looked for. Returns 1, which ends the loop, behind the last. */
static long find_step(__u32 index, void *context) {
    __u32 slot = *(__u32 *)context;
    struct hook_work *work = hook_work_of(slot);

    (void)index;
    if (!work)
        return 1;
    struct text_walk *walk = &work->text_walk;
    const struct text_slot *text = text_of(slot, walk->number);

    if (!text || walk->at >= walk->length)
        return 1;
    __u8 byte = byte_at(text, walk->from + walk->at);

    if (walk->kind == WEIR_DIMENSION_KIND_SUBSTRING_FOLD && byte >= 'A' && byte <= 'Z')
        byte += 'a' - 'A';
    // Where nothing has begun, most bytes begin nothing.
    if (walk->state == 0 && !(work->set.words[byte / WORD_BITS] >> (byte % WORD_BITS) & 1)) {
        walk->at++;
        return 0;
    }
    const struct weir_text_node *node = next_node(walk, byte);

    if (!node) {
        if (walk->state == 0) {
            walk->at++;
            return 0;
        }
        walk->state = walk->fall_back;
        walk->fall_back = 0;
        if (walk->state) {
            node = next_node(walk, STEP_OF_STATE);
            if (node)
                walk->fall_back = node->fall_back;
        }
        return 0;
    }
    walk->at++;
    walk->state = node->state;
    walk->fall_back = node->fall_back;
    if (node->found) {
        const struct weir_mask *found = look_up_integer(walk->dimension_id, node->found, PURPOSE_FOUND);

        if (found)
            mask_or(&work->found, found, spec.word_count);
    }
    return 0;
}

/*
 * Puts the mask of the texts that are anywhere in the text of an argument together, in work->found. Of a text
 * that is cut short, those that are not found may be in the part that is missing: they are not decided. Not
 * static, for its stack.
 */
__noinline int find_substrings(__u32 slot, __u32 config_index, __u32 number, __u32 d, __u32 kind) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return 0;
    number &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(number);
    const struct weir_argument *argument = &work->arguments[number];
    __u32 offset = name_offset(argument->type);
    __u32 id = dimension_id_of(work->config_id, d);

    work->text_walk = (struct text_walk){
        .number = number,
        .dimension_id = id,
        .from = offset,
        .length = offset ? argument->value : argument->payload.length,
        .kind = kind,
    };
    const struct weir_mask *first = look_up_integer(id, 0, PURPOSE_BITS);
    const struct weir_mask *none = default_mask(config_index, work->config_id, d);

    if (!first || !none) {
        mask_clear(&work->found);
        return 0;
    }
    mask_copy(&work->set, first, WEIR_LIMIT_MASK_WORDS);
    mask_copy(&work->found, none, WEIR_LIMIT_MASK_WORDS);
    // Each byte is stepped over once, and for each there is at most one step back.
    bpf_loop(2 * WEIR_LIMIT_PATH_BYTES, find_step, &slot, 0);
    if (argument->flags & WEIR_ARGUMENT_FLAG_TRUNCATED) {
        const struct weir_mask *undecided = look_up_integer(id, 0, PURPOSE_UNDECIDED);

        work->undecided_count++;
        count(WEIR_KERNEL_COUNTER_UNDECIDED);
        if (undecided)
            mask_or(&work->found, undecided, spec.word_count);
    }
    return 0;
}

/* One step along long values. Returns 1, which ends the loop, where none goes on so. */
static long follow_step(__u32 index, void *context) {
    __u32 slot = *(__u32 *)context;
    struct hook_work *work = hook_work_of(slot);
    __u8 byte;

    if (!work)
        return 1;
    struct text_walk *walk = &work->text_walk;
    const struct text_slot *text = text_of(slot, walk->number);

    if (!text || index >= walk->length)
        return 1;
    if (walk->kind == WEIR_DIMENSION_KIND_REVERSE)
        byte = byte_at(text, walk->length - 1 - index);
    else if (walk->bytes == NOT_SIZED)
        byte = byte_at(text, index);
    else if (index < SIZE_BYTES)
        byte = walk->bytes >> (index ? 0 : 8);
    else
        byte = byte_at(text, index - SIZE_BYTES);
    const struct weir_text_node *node = next_node(walk, byte);

    if (!node)
        return 1;
    walk->state = node->state;
    if (node->found)
        walk->found = node->found;
    return 0;
}

/*
 * Looks the text of an argument up among values that are longer than a trie takes: the mask of the longest
 * that it begins with (or ends with). NULL where there is none; then those in the trie count.
 */
static __attribute__((noinline)) const struct weir_mask *
look_up_long(__u32 slot, __u32 number, __u32 dimension_id, __u32 kind, __u32 is_sized) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return NULL;
    number &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(number);
    const struct weir_argument *argument = &work->arguments[number];
    struct text_walk *walk = &work->text_walk;

    *walk = (struct text_walk){
        .number = number,
        .dimension_id = dimension_id,
        .length = argument->payload.length,
        .kind = kind,
        .bytes = NOT_SIZED,
    };
    if (is_sized) {
        walk->bytes = argument->original_length > 0xffff ? 0xffff : argument->original_length;
        walk->length += SIZE_BYTES;
    } else if (kind == WEIR_DIMENSION_KIND_FORWARD && !(argument->flags & WEIR_ARGUMENT_FLAG_TRUNCATED)) {
        walk->length++; // the NUL behind it
    }
    // Names are shorter.
    if (walk->length <= WEIR_LIMIT_TRIE_DATA_BYTES || name_offset(argument->type))
        return NULL;
    bpf_loop(WEIR_LIMIT_PATH_BYTES + SIZE_BYTES, follow_step, &slot, 0);
    return walk->found ? look_up_integer(dimension_id, walk->found, PURPOSE_FOUND) : NULL;
}

static __always_inline bool is_substring(__u32 kind) {
    return kind == WEIR_DIMENSION_KIND_SUBSTRING || kind == WEIR_DIMENSION_KIND_SUBSTRING_FOLD;
}

#endif
