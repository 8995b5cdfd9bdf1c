/* SPDX-License-Identifier: Apache-2.0
 * tests/kernels/check.h - every variant of every kernel against its definition (the idea is dav1d's checkasm).
 *
 * check.c runs each check_*() once per tier that the machine can run ("c" too: a definition must not read past its
 * buffers either). A check looks like this:
 *
 *   if (check_func("add", (check_fn *)k->add))           a pointer that was checked in a lower tier is skipped
 *       for (sizes ...) {
 *           float *x = check_buf(n * sizeof *x);         ends at an unmapped page
 *           check_case("n=%zu", n);                      names what follows in messages, also when it crashes
 *           k->add(x, ...);  check_definition()->add(y, ...);
 *           for (i ...) check_near(i, x[i], y[i], bound);
 *           check_release();
 *       }
 */
#ifndef GEM_KERNELS_CHECK_H
#define GEM_KERNELS_CHECK_H

#include "kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

typedef void check_fn(void); /* any function, to compare pointers */

/* One of these per file; called for each tier, from the definitions up. */
void check_float(const struct gem_kernels *k);
void check_attention(const struct gem_kernels *k);
void check_packed(const struct gem_kernels *k);
void check_pairs(const struct gem_kernels *k);

/* The table of definitions, tier "c". */
const struct gem_kernels *check_definition(void);
/* Begins a function. False: a lower tier had this pointer already, or the command line asks for others. */
bool check_func(const char *name, check_fn *fn);

/* Names the case at hand, for messages. */
void check_case(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* |got - want| <= bound; equal infinities pass, and NaN passes for NaN. i: which element. */
void check_near(size_t i, double got, double want, double bound);
/* The same n elements of `size` bytes (2: bfloat16, 4: float32, 1: bytes), bit for bit. */
void check_bits(const void *got, const void *want, size_t n, size_t size);
/* Anything else; what: what should have been. */
void check_true(bool ok, const char *what);

/* Memory whose end is followed by a page without access, so that reading or writing past it faults, and preceded by
 * bytes that check_release() compares. As aligned as n_bytes: 4 for floats. */
void *check_buf(size_t n_bytes);
/* The start is a multiple of align; what is left before the page, fewer than align bytes, is compared as well. */
void *check_buf_aligned(size_t n_bytes, size_t align);
/* Frees all buffers; reports those whose surroundings were written to. */
void check_release(void);

/* Random numbers, the same in each run (--seed N for others). */
enum check_sign { CHECK_MIXED, CHECK_ONE_SIGN }; /* one sign: rounding errors add up */
uint32_t check_rnd(void);
size_t check_rnd_below(size_t n);
float check_rnd_f32(enum check_sign sign); /* about normal; one sign: [0.5, 2) */
void check_fill_f32(float *x, size_t n, enum check_sign sign);
void check_fill_bf16(uint16_t *x, size_t n, enum check_sign sign);
void check_fill_f16(uint16_t *x, size_t n, enum check_sign sign);
void check_fill_bytes(void *x, size_t n);

#endif
