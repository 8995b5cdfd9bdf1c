/* SPDX-License-Identifier: Apache-2.0
 * src/base/threads.h - a pool of threads that share loops. */
#ifndef GEM_BASE_THREADS_H
#define GEM_BASE_THREADS_H

#include "base/status.h"

struct gem_pool;

/* Works on items [begin, end); thread is below the pool's number, for scratch memory. What an item computes
 * must not depend on thread, begin or end. */
typedef void gem_loop_fn(void *context, size_t begin, size_t end, unsigned thread);

/* n_threads 0: one per physical core that this process may use. The caller's thread is one of them. */
gem_status gem_pool_open(struct gem_pool **out, unsigned n_threads, gem_error *err);
void gem_pool_close(struct gem_pool *pool); /* accepts NULL */
unsigned gem_pool_threads(const struct gem_pool *pool);

/* Runs fn over n items in pieces of `grain`, and returns when all are done. One caller at a time. */
void gem_pool_run(struct gem_pool *pool, size_t n, size_t grain, gem_loop_fn *fn, void *context);

/* Physical cores that this process may run on, at least 1; of a machine with two sizes of cores the large ones: loops
 * end when their slowest piece does. */
unsigned gem_physical_cores(void);
/* The same by a tree like /sys/devices, of the CPUs i < n with usable[i]; what the tree leaves open are cores of one
 * size and one CPU. */
unsigned gem_count_cores(const char *sys, const bool *usable, int n);

#endif
