/* SPDX-License-Identifier: Apache-2.0
 * src/model/ple.h - rows of the per-layer embedding table (spec/text-model.md 2.2). The table is as large as all other
 * weights together, and a token needs one row of a few kilobytes: so it stays in its file, and rows are read when the
 * tokens of a batch are known, before anything is computed. What was read lately is kept within a ceiling, for the
 * system's page cache may be under pressure from the very weights that a pass streams through it. */
#ifndef GEM_MODEL_PLE_H
#define GEM_MODEL_PLE_H

#include "model/weights.h"

struct gem_ple {
    const struct gem_ple_table *table; /* NULL: the model has none */
    uint64_t row_bytes;                /* as stored; slots are aligned */
    uint32_t n_slots;                  /* rows that are kept: row r in slot r % n_slots */
    uint32_t *slot_of;                 /* [n_slots] the row that is there, plus 1 */
    uint8_t *slots;                    /* [n_slots] rows */
    uint8_t *batch;                    /* [max_rows] rows of the batch, as stored */
    uint64_t n_rows, n_kept, n_bytes;  /* asked for, found in a slot, bytes read from the file */
    double seconds;                    /* for all of it */
};

/* Bytes that gem_ple_open takes; `cap` is the ceiling for rows that are kept. 0 for a model without the table. */
uint64_t gem_ple_bytes(const struct gem_weights *w, uint32_t max_rows, uint64_t cap);
gem_status gem_ple_open(struct gem_ple *p, const struct gem_weights *w, uint32_t max_rows, uint64_t cap,
                        gem_error *err);
void gem_ple_close(struct gem_ple *p);

/* Rows [n] of the table into the batch. GEM_E_IO when the file cannot be read any more. */
gem_status gem_ple_fetch(struct gem_ple *p, const uint32_t *rows, uint32_t n, gem_error *err);
/* Row i of the batch, decoded to out [cols of the table]. */
void gem_ple_row(const struct gem_ple *p, uint32_t i, float *out);

#endif
