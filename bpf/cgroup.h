/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the order in which the cgroups around a process are looked at: which of them is somebody's.
//
// From its own up, as the nearest counts; and where it lies very deep, from as far down as containers are
// found up to the root. Who may make cgroups within its own can make any number, and must not leave its
// container so.

#ifndef WEIR_CGROUP_H
#define WEIR_CGROUP_H

enum {
    // Levels that are looked at from a process's own cgroup up, and as many from the root down.
    WEIR_CGROUP_LEVELS = 32,
    WEIR_CGROUP_STEPS_MAX = 2 * WEIR_CGROUP_LEVELS,
};

/* The level that is looked at in the n-th step for a process whose cgroup is at `level`; negative: none. */
static __always_inline int cgroup_level_at(int step, int level) {
    return step < WEIR_CGROUP_LEVELS ? level - step : WEIR_CGROUP_STEPS_MAX - 1 - step;
}

/* Whether the root was reached from below: there is no n-th step. */
static __always_inline bool cgroup_levels_end(int step, int level) {
    return step > level && level < WEIR_CGROUP_LEVELS;
}

/* Whether all of the cgroups around a process are looked at. */
static __always_inline bool cgroup_levels_known(int level) {
    return level < WEIR_CGROUP_STEPS_MAX;
}

#endif
