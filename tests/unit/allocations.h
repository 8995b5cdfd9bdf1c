/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/allocations.h - counts what a test takes from the system, and refuses the n-th request on purpose.
 *
 * gem_wrap_allocations() in CMake gives a test the link options: malloc, calloc, realloc, aligned_alloc, free, mmap,
 * munmap, pthread_create and pthread_join of everything linked statically then come here first; the C library's own
 * calls do not. Counting needs no sanitizer. */
#ifndef GEM_TEST_ALLOCATIONS_H
#define GEM_TEST_ALLOCATIONS_H

#include <stdbool.h>
#include <stddef.h>

struct allocations {
    size_t n_requests; /* since the last allocations_begin, refused ones included */
    size_t n_refused;
    size_t n_blocks, n_maps, n_threads; /* live: taken since then and not given back */
};

/* Starts counting. Request number `refuse` (from 0) fails, and all that follow it too when `from_there_on`.
 * SIZE_MAX refuses none. */
void allocations_begin(size_t refuse, bool from_there_on);
/* Stops counting; nothing is refused any more. */
struct allocations allocations_end(void);

#endif
