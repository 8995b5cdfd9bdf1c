/* SPDX-License-Identifier: Apache-2.0
 * src/model/coarse.h - the output head in two stages. Who samples from the few best logits needs no others: a copy of
 * the table in 8 bits gives every logit up to an error that is bounded for each row, and only rows that may be among
 * the best are multiplied with the table itself. Their bits are those of the whole product; where the bounds leave too
 * many rows the whole product is computed.
 *
 * THE BOUND. w a row of the table, c the same row of the copy, x what the table is multiplied with (in the fast tier
 * perhaps rounded to bfloat16), a + b its two int8 rows. In real numbers, by Cauchy and Schwarz,
 *   |w x - c (a + b)| = |(w - c) x + c (x - a - b)| <= |w - c| |x| + |c| |x - a - b|
 * and floating point adds what kernels.h states: of the product with the table at most g |w| |x|,
 * g = (8 + k / 8) FLT_EPSILON, |w| <= |w - c| + |c|; of the two with the copy h |c| (|a| + |b|),
 * h = (8 + k / 16) FLT_EPSILON; and little things where numbers are subnormal (gem_coarse_bound). */
#ifndef GEM_MODEL_COARSE_H
#define GEM_MODEL_COARSE_H

#include "model/weights.h"

struct gem_coarse {
    struct gem_matrix head; /* the copy: Q8_0 in panels, of which rows are not kept */
    float *left;            /* [rows] at least |w - c|; INFINITY where 8 bits cannot have the row: always computed */
    float *norm;            /* [rows] at least |c| */
    float most;             /* at least |w| of every row whose `left` is finite */
};

/* How far a logit may be from that of the copy: at most left[i] * x + norm[i] * rest + tiny. */
struct gem_coarse_error {
    float x, rest, tiny;
    bool usable; /* numbers are neither 0 nor so large that a sum may overflow */
};

/* Bytes of the copy; 0 where the head is none of F32, F16, BF16, of which 8 bits are about half, or does not fit blocks
 * of 32. */
uint64_t gem_coarse_bytes(const struct gem_matrix *head);
/* Makes the copy. NULL or gem_coarse_close it. */
gem_status gem_coarse_open(struct gem_coarse **out, const struct gem_matrix *head, struct gem_pool *pool,
                           gem_error *err);
void gem_coarse_close(struct gem_coarse *c); /* accepts NULL */

/* x [k] and its two int8 rows, gem_act_bytes(k) apart. */
struct gem_coarse_error gem_coarse_bound(const struct gem_coarse *c, const float *x, const void *act);

#endif
