/* SPDX-License-Identifier: Apache-2.0 */
// Marks programs that run from folders that anyone may write to, and raises an alert at every tenth of them
// (MITRE T1059, T1036.005). Written against the ABI alone, as docs/filter-abi.md tells it.
#include "../weir_filter.h"

// The manifest is a section of its own.
__asm__(".section .custom_section.weir.manifest,\"\",@\n"
        ".ascii \"{\\\"abi\\\":1,\\\"name\\\":\\\"temp-exec\\\",\\\"version\\\":\\\"1.0.0\\\",\"\n"
        ".ascii \"\\\"description\\\":\\\"Marks programs that run from /tmp, /var/tmp and /dev/shm\\\",\"\n"
        ".ascii "
        "\"\\\"binds\\\":{\\\"kinds\\\":[\\\"exec\\\"]},\\\"labels\\\":[\\\"binary\\\",\\\"folder\\\"]}\"\n");

#define ALERT_EVERY 10
// Room for annotations of one call; where it is full, the host is asked to call again.
#define ANNOTATIONS_MAX 64

static const char *const folders[] = {"/tmp/", "/var/tmp/", "/dev/shm/"};
static const char label_binary[] = "binary";
static const char label_folder[] = "folder";
static const char message_alert[] = "ten programs have run from folders that anyone may write to";

static struct weir_filter_annotation annotations[ANNOTATIONS_MAX];
static struct weir_filter_label labels[ANNOTATIONS_MAX][2];
static __u32 annotation_count;
// State: it lives as long as the instance does.
static __u32 seen;

static const char *writable_folder(const __u8 *path, __u32 length) {
    for (__u32 index = 0; index < sizeof(folders) / sizeof(folders[0]); index++) {
        if (weir_starts_with(path, length, folders[index]))
            return folders[index];
    }
    return 0;
}

static __u32 length_of(const char *text) {
    __u32 length = 0;
    while (text[length] != 0)
        length++;
    return length;
}

static void mark(const struct weir_event *event, struct weir_span binary, const char *folder) {
    struct weir_filter_label *own = labels[annotation_count];
    // A label's value may point into the batch: it is not copied then.
    own[0] = (struct weir_filter_label){
        weir_text(label_binary, sizeof(label_binary) - 1),
        weir_text(weir_bytes(event, binary), binary.length > 1024 ? 1024 : binary.length)};
    own[1] = (struct weir_filter_label){weir_text(label_folder, sizeof(label_folder) - 1),
                                        weir_text(folder, length_of(folder) - 1)};
    annotations[annotation_count++] = (struct weir_filter_annotation){
        .record = event->index,
        .severity = WEIR_SEVERITY_MEDIUM,
        .label_count = 2,
        .labels_at = (__u32)(uintptr_t)own,
    };
}

static void alert(const struct weir_event *event) {
    annotations[annotation_count++] = (struct weir_filter_annotation){
        .record = event->index,
        .severity = WEIR_SEVERITY_HIGH,
        .alert = 1,
        .message = weir_text(message_alert, sizeof(message_alert) - 1),
    };
}

WEIR_EXPORT("weir_filter")
__u32 weir_filter(struct weir_filter_call *call) {
    const __u8 *verdicts = (const __u8 *)(uintptr_t)call->verdicts_at;
    annotation_count = 0;
    call->annotations_at = (__u32)(uintptr_t)annotations;
    for (__u32 index = call->cursor; index < call->record_count; index++) {
        if (verdicts[index] != WEIR_FILTER_MARK_JUDGE)
            continue;
        // First the cursor: should this trap, the host knows which event it was.
        call->cursor = index;
        // Room for both that one event can have.
        if (annotation_count + 2 > ANNOTATIONS_MAX) {
            call->annotation_count = annotation_count;
            return WEIR_FILTER_ANSWER_AGAIN;
        }
        struct weir_event event = weir_event_at(call, index);
        const struct weir_process_entry *process = weir_process_of(&event);
        if (process == 0)
            continue;
        const char *folder = writable_folder(weir_bytes(&event, process->binary), process->binary.length);
        if (folder == 0)
            continue;
        mark(&event, process->binary, folder);
        if (++seen % ALERT_EVERY == 0)
            alert(&event);
    }
    call->annotation_count = annotation_count;
    return WEIR_FILTER_ANSWER_DONE;
}
