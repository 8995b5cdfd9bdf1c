/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *gem_calloc(size_t n, size_t size, const char *what, gem_error *err)
{
    void *p;

    if (n == 0 || size == 0) n = size = 1;
    p = calloc(n, size); /* checks the product itself */
    if (!p) gem_fail_nomem(err, (uint64_t)n * size, what);
    return p;
}

/* Large blocks lie on huge pages where the system has them: streaming packed weights from 4 KiB pages spends a quarter
 * of the bandwidth on address translation (docs/performance.md). */
enum { HUGE_PAGE = 2 << 20 };

void *gem_alloc_aligned(uint64_t n_bytes, const char *what, gem_error *err)
{
    const uint64_t align = n_bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : GEM_ALIGN;
    const uint64_t rounded = (n_bytes + align - (n_bytes > 0)) / align * align;
    void *p = NULL;

    if (rounded >= n_bytes && rounded <= PTRDIFF_MAX) p = aligned_alloc((size_t)align, (size_t)rounded);
    if (!p) gem_fail_nomem(err, n_bytes, what);
#if defined(MADV_HUGEPAGE)
    if (p && align == HUGE_PAGE) (void)madvise(p, (size_t)rounded, MADV_HUGEPAGE); /* only advice */
#endif
    return p;
}

void *gem_realloc(void *p, size_t n, size_t size, const char *what, gem_error *err)
{
    void *q = NULL;

    if (n == 0 || size == 0) n = size = 1;
    if (n <= PTRDIFF_MAX / size) q = realloc(p, n * size);
    if (!q) gem_fail_nomem(err, (uint64_t)n * size, what);
    return q;
}

char *gem_strndup(const char *s, size_t n, gem_error *err)
{
    char *copy = gem_calloc(n + 1, 1, "a string", err);

    if (copy && n) memcpy(copy, s, n);
    return copy;
}

void gem_free(void *p) { free(p); }

gem_status gem_arena_open(struct gem_arena *a, uint64_t n_bytes, const char *what, gem_error *err)
{
    *a = (struct gem_arena){0};
    a->base = gem_alloc_aligned(n_bytes, what, err);
    if (!a->base) return GEM_E_NOMEM;
    a->cap = (size_t)gem_align_up(n_bytes);
    return GEM_OK;
}

void gem_arena_close(struct gem_arena *a)
{
    gem_free(a->base);
    *a = (struct gem_arena){0};
}

void *gem_arena_take(struct gem_arena *a, size_t n_bytes)
{
    void *p = a->base + a->used;

    n_bytes = (size_t)gem_align_up(n_bytes);
    assert(n_bytes <= a->cap - a->used);
    a->used += n_bytes;
    if (a->used > a->peak) a->peak = a->used;
    return p;
}

void gem_arena_rewind(struct gem_arena *a, size_t mark)
{
    assert(mark <= a->used);
#ifndef NDEBUG
    memset(a->base + mark, 0xff, a->used - mark); /* NaN in every float */
#endif
    a->used = mark;
}
