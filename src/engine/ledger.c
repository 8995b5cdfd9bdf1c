/* SPDX-License-Identifier: Apache-2.0
 *
 * The ceiling of memory that a user gave, and what of it is taken. */
#include "engine/internal.h"

#include <assert.h>

static unsigned long long mib(uint64_t n) { return (n + (1 << 20) - 1) >> 20; }

gem_status gem_ledger_take(struct gem_ledger *l, uint64_t n, uint64_t later, const char *what, gem_error *err)
{
    const uint64_t before = atomic_fetch_add(&l->taken, n), needed = before + n + l->floor;

    if (needed <= l->ceiling) return GEM_OK;
    atomic_fetch_sub(&l->taken, n);
    return gem_fail(err, GEM_E_LIMIT, 0, "ram: a ceiling of %llu MiB is too low for %s: %llu MiB would do",
                    (unsigned long long)(l->ceiling >> 20), what, mib(needed + later));
}

void gem_ledger_give(struct gem_ledger *l, uint64_t n)
{
    const uint64_t before = atomic_fetch_sub(&l->taken, n);

    assert(before >= n);
    (void)before;
}

uint64_t gem_ledger_left(const struct gem_ledger *l)
{
    const uint64_t taken = atomic_load(&l->taken);

    return l->ceiling > taken ? l->ceiling - taken : 0;
}
