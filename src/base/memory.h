/* SPDX-License-Identifier: Apache-2.0
 * src/base/memory.h - allocation with overflow checks, and arenas.
 * All memory of the library comes from here (and from yyjson's default allocator), so that a test can fail
 * each allocation once by wrapping malloc, calloc, realloc, aligned_alloc and free at link time. */
#ifndef GEM_BASE_MEMORY_H
#define GEM_BASE_MEMORY_H

#include "base/status.h"

enum { GEM_ALIGN = 64 };

/* n * size bytes, zeroed; NULL and an error when they cannot be had or the product overflows. Never returns NULL
 * for a product of 0. */
void *gem_calloc(size_t n, size_t size, const char *what, gem_error *err);
/* The same, 64-byte aligned and not zeroed: for large numeric arrays. */
void *gem_alloc_aligned(uint64_t n_bytes, const char *what, gem_error *err);
/* Grows or shrinks; on failure the old block stays valid and NULL is returned. */
void *gem_realloc(void *p, size_t n, size_t size, const char *what, gem_error *err);
/* A copy of n bytes with a terminating zero. */
char *gem_strndup(const char *s, size_t n, gem_error *err);
void gem_free(void *p); /* accepts NULL */

/* A bump allocator over one block: proven large enough when it is made, so that taking from it cannot fail
 * (assert). Each piece is 64-byte aligned and not zeroed. */
struct gem_arena {
    uint8_t *base;
    size_t used, cap, peak;
};

gem_status gem_arena_open(struct gem_arena *a, uint64_t n_bytes, const char *what, gem_error *err);
void gem_arena_close(struct gem_arena *a);
void *gem_arena_take(struct gem_arena *a, size_t n_bytes);
static inline size_t gem_arena_mark(const struct gem_arena *a) { return a->used; }
void gem_arena_rewind(struct gem_arena *a, size_t mark); /* debug builds poison what is freed */

/* Rounded up to the alignment of arenas: sum these to size one. */
static inline uint64_t gem_align_up(uint64_t n) { return (n + GEM_ALIGN - 1) & ~(uint64_t)(GEM_ALIGN - 1); }

#endif
