/* SPDX-License-Identifier: Apache-2.0 */
#include "model/ple.h"

#include <time.h>

static uint64_t slot_bytes(const struct gem_ple_table *t) { return gem_align_up(t->row_bytes); }

static uint32_t slots_for(const struct gem_ple_table *t, uint64_t cap)
{
    const uint64_t n = cap / (slot_bytes(t) + sizeof(uint32_t));

    return n < t->rows ? (uint32_t)n : t->rows;
}

uint64_t gem_ple_bytes(const struct gem_weights *w, uint32_t max_rows, uint64_t cap)
{
    const struct gem_ple_table *t = &w->ple_table;

    if (!t->rows) return 0;
    return (slots_for(t, cap) + (uint64_t)max_rows) * slot_bytes(t) + gem_align_up(4 * (uint64_t)slots_for(t, cap));
}

gem_status gem_ple_open(struct gem_ple *p, const struct gem_weights *w, uint32_t max_rows, uint64_t cap, gem_error *err)
{
    const struct gem_ple_table *t = &w->ple_table;

    *p = (struct gem_ple){0};
    if (!t->rows) return GEM_OK;
    p->table = t;
    p->row_bytes = slot_bytes(t);
    p->n_slots = slots_for(t, cap);
    p->slot_of = gem_calloc(p->n_slots, sizeof *p->slot_of, "rows of per-layer embeddings", err);
    if (p->slot_of) p->slots = gem_alloc_aligned(p->n_slots * p->row_bytes, "rows of per-layer embeddings", err);
    if (p->slots) p->batch = gem_alloc_aligned(max_rows * p->row_bytes, "rows of per-layer embeddings", err);
    if (p->batch) return GEM_OK;
    gem_ple_close(p);
    return GEM_E_NOMEM;
}

void gem_ple_close(struct gem_ple *p)
{
    gem_free(p->slot_of);
    gem_free(p->slots);
    gem_free(p->batch);
    *p = (struct gem_ple){0};
}

static bool is_kept(const struct gem_ple *p, uint32_t row)
{
    return p->n_slots && p->slot_of[row % p->n_slots] == row + 1;
}

static gem_status fetch_row(struct gem_ple *p, uint32_t row, uint8_t *out, gem_error *err)
{
    const struct gem_ple_table *t = p->table;
    uint8_t *slot = p->n_slots ? p->slots + row % p->n_slots * p->row_bytes : out;
    gem_status st;

    p->n_rows++;
    if (is_kept(p, row)) {
        p->n_kept++;
    } else {
        if (p->n_slots) p->slot_of[row % p->n_slots] = 0; /* until it has arrived */
        st = gem_map_read(t->map, t->path, t->offset + row * t->row_bytes, slot, (size_t)t->row_bytes, err);
        if (st) return st;
        p->n_bytes += t->row_bytes;
        if (p->n_slots) p->slot_of[row % p->n_slots] = row + 1;
    }
    if (slot != out) memcpy(out, slot, (size_t)t->row_bytes);
    return GEM_OK;
}

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

gem_status gem_ple_fetch(struct gem_ple *p, const uint32_t *rows, uint32_t n, gem_error *err)
{
    const struct gem_ple_table *t = p->table;
    const double start = seconds_now();
    gem_status st = GEM_OK;

    for (uint32_t i = 0; i < n && n > 1; i++) /* a disk takes many requests at once, reading waits for each */
        if (!is_kept(p, rows[i])) gem_map_will_read(t->map, t->offset + rows[i] * t->row_bytes, t->row_bytes);
    for (uint32_t i = 0; i < n && !st; i++) st = fetch_row(p, rows[i], p->batch + i * p->row_bytes, err);
    p->seconds += seconds_now() - start;
    return st;
}

void gem_ple_row(const struct gem_ple *p, uint32_t i, float *out)
{
    gem_decode_row(p->table->type, p->batch + i * p->row_bytes, out, p->table->cols);
}
