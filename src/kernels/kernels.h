/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/kernels.h - the operations of the decoder, one table of functions.
 * Every operation has a definition in plain C (suffix _c, in the files without an instruction set in their name);
 * the variants of an instruction set live in *_avx2.c and *_avx512.c, which end by installing themselves.
 *
 * SAME BITS. Within one table, an output depends only on its own inputs: never on how many rows or columns
 * were computed in the same call, nor on where in a tile it fell. For sums that means: the order of
 * additions of an output is a function of k alone. Variants may order sums differently from the definition and
 * must stay within the bound that each operation states. */
#ifndef GEM_KERNELS_H
#define GEM_KERNELS_H

#include "tensor/format.h"

/* y[j * ldy + i] = sum over k of w[i * ldw + k] * x[j * ldx + k],  i < n, j < m.
 *   w [n, k] weights of the variant's type, row stride ldw in elements; x [m, k] float32; y [m, n] float32.
 * Any n, m, k >= 1, no alignment. Never reads past a row's k elements.
 * Bound: (8 + k / 8) * FLT_EPSILON * sum |w x|; the definition sums in double. */
typedef void gem_gemm_fn(const void *w, size_t ldw, const float *x, size_t ldx, float *y, size_t ldy, size_t n,
                         size_t m, size_t k);

/* Attention over one run of n_keys consecutive cached rows that share a K/V head.
 *   score: s[h * lds + j] = sum over d of q[h * ldq + d] * key[j * ldk + d],  h < n_q, j < n_keys
 *   value: o[h * ldo + d] += sum over j, in order of j, of p[h * ldp + j] * value[j * ldv + d]
 * value adds one j after the other into o (fused multiply-add or not, but the same for every call), so a run may be
 * cut anywhere without changing bits. Keys and values are float32 or bfloat16; d any number. */
typedef void gem_score_fn(const float *q, size_t ldq, const void *key, size_t ldk, float *s, size_t lds, size_t n_q,
                          size_t n_keys, size_t d);
typedef void gem_value_fn(const float *p, size_t ldp, const void *value, size_t ldv, float *o, size_t ldo, size_t n_q,
                          size_t n_keys, size_t d);

/* y = x * (mean(x^2) + eps)^(-1/2) * w   [n]; w NULL means 1; y may be x. The sum runs in float32 lanes or better.
 * Bound per element: 16 * FLT_EPSILON relative plus n * FLT_EPSILON / 16. */
typedef void gem_rms_norm_fn(float *y, const float *x, const float *w, size_t n, float eps);
/* gate = gelu_tanh(gate) * up, gelu_tanh(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
 * Bound: 4e-7 * max(1, |gate|) * |up|. Infinite or NaN input gives infinite or NaN, no trap. */
typedef void gem_gelu_mul_fn(float *gate, const float *up, size_t n);
/* x = exp(x - max x) in place, NOT divided by the sum; returns the sum and writes max x; n >= 1. Entries of -INFINITY
 * become 0. The order of the sum depends on n only. Bound per entry: (4e-7 + |x - max| * FLT_EPSILON / 2)
 * relative, since the difference rounds before it becomes an exponent; NaN stays NaN. */
typedef float gem_softmax_fn(float *x, size_t n, float *max);
/* Rotates x [n_heads, d] in place: pair (i, i + d/2) by the angle with cos[i], sin[i], for i < n_rot <= d/2; other
 * elements stay (spec/text-model.md 2.4.1). No contraction that depends on position in a vector: each output is
 * computed as fma(-x1, s, x0 * c) and fma(x1, c, x0 * s), or unfused in the C definition. */
typedef void gem_rope_fn(float *x, size_t n_heads, size_t d, const float *cos, const float *sin, size_t n_rot);
/* x = cap * tanh(x / cap), in place. Bound: 4e-7 * cap. */
typedef void gem_softcap_fn(float *x, size_t n, float cap);
/* y += x;   y = (y + x) * scale */
typedef void gem_add_fn(float *y, const float *x, size_t n);
typedef void gem_add_scale_fn(float *y, const float *x, float scale, size_t n);
/* y = x between low and high, low <= high; y may be x. NaN stays. */
typedef void gem_clamp_fn(float *y, const float *x, float low, float high, size_t n);
/* float32 to bfloat16, to nearest even. */
typedef void gem_to_bf16_fn(uint16_t *y, const float *x, size_t n);

/* ---- the fast tier: packed weights times int8 activations -----------------------------------------------
 *
 * PANELS. A quantised matrix [n, k] is repacked once into panels of GEM_PANEL = 16 rows (the last one padded with
 * zero rows). Every source format becomes  w = scale * code - min  with unsigned codes of 4 or 8 bits and one scale
 * (and perhaps one min) for each row and group of 16 or 32 consecutive k:
 *
 *   kind          code   group   scale, min of a group      from
 *   GEM_PK_Q4     4 bit  32      f16, implied 8 * scale     Q4_0
 *   GEM_PK_Q8     8 bit  32      f16, implied 128 * scale   Q8_0
 *   GEM_PK_Q4M    4 bit  32      f32, f32                   Q4_1, Q4_K
 *   GEM_PK_Q8M    8 bit  32      f32, f32                   Q5_0, Q5_1, Q5_K, IQ4_NL, IQ4_XS
 *   GEM_PK_Q8M16  8 bit  16      f32, f32                   Q2_K, Q3_K, Q6_K
 *
 * A panel is stored group after group along k, so that decoding streams memory in order. A group holds its codes,
 * interleaved so that a 64-byte vector has 4 consecutive k of each of the 16 rows
 *   8 bit: byte [(kk / 4) * 64 + row * 4 + kk % 4], kk < group
 *   4 bit: vector v of 4 (k 4v.. in the low nibbles, k 16 + 4v.. in the high ones), byte [v * 64 + row * 4 + kk % 4]
 * then 16 scales, then (kinds with M) 16 mins. The value of a panel equals the format's definition up to one rounding
 * of each scale product. */
enum gem_pack_kind { GEM_PK_NONE, GEM_PK_Q4, GEM_PK_Q8, GEM_PK_Q4M, GEM_PK_Q8M, GEM_PK_Q8M16, GEM_N_PK };
enum { GEM_PANEL = 16, GEM_ACT_BLOCK = 32 };

/* The kind that a format packs to; GEM_PK_NONE for float formats. */
enum gem_pack_kind gem_pack_kind_of(enum gem_type type);
/* Bytes of one panel with k columns; k a multiple of 32. */
uint64_t gem_panel_bytes(enum gem_pack_kind kind, size_t k);
/* Packs rows [n_rows <= 16, k] of `type`, row stride in bytes, into one panel at dst (64-byte aligned). */
void gem_pack_panel(enum gem_type type, const uint8_t *rows, size_t row_bytes, size_t n_rows, size_t k, uint8_t *dst);

/* ACTIVATIONS. One row of k floats (k a multiple of 32) becomes int8: per block of 32 a scale = max|x| / 127 and
 * q = nearest(x * (127 / max|x|)) in float32 (ties to even; q in [-127, 127]), and the sums of q over each half block
 * of 16. Where max|x| < 2^-100 the block is zero: scale 0, q 0. Where a value is infinite or NaN: scale NaN, q 0, so
 * that every output is NaN. A row is stored as int8 q[k], then float scale[k / 32], then int32 sum[k / 16]:
 * gem_act_bytes(k), rows 64-byte aligned. All tables give the same bits. */
static inline size_t gem_act_bytes(size_t k)
{
    const size_t n = k + k / 32 * 4 + k / 16 * 4;
    return (n + 63) & ~(size_t)63;
}
static inline const float *gem_act_scale(const void *row, size_t k) { return (const float *)((const char *)row + k); }
static inline const int32_t *gem_act_sum(const void *row, size_t k)
{
    return (const int32_t *)((const char *)row + k + k / 32 * 4);
}

typedef void gem_quantize_fn(void *act, const float *x, size_t k);

/* y[j * ldy + i] for the rows i of n_panels consecutive panels (row 0 of the first panel is i = 0; rows at or past
 * n_rows are not written) and the activations j < m, which lie gem_act_bytes(k) apart: sum over groups g of  scale_g *
 * xscale * (sum code * q)  -  min_g * xscale * (sum q) Integer sums are exact. Each output is one float32 accumulator
 * acc, which takes blocks of 32 in order of k: min implied   acc = fma(scale * xscale, sum code * q - implied * sum q,
 * acc), the second factor an exact integer otherwise     t = 0; per group t = fma(-min, sum q, t), t = fma(scale, sum
 * code * q, t); acc = fma(xscale, t, acc) Bound to the definition (double): (8 + k / 16) * FLT_EPSILON * sum over
 * groups of |terms|, where the two terms of an implied min count as one. */
typedef void gem_gemm_packed_fn(const uint8_t *panels, size_t n_panels, size_t n_rows, const void *act, size_t m,
                                float *y, size_t ldy, size_t k);

/* ---- bfloat16 times bfloat16: many rows, where 8 bits are not enough ------------------------------------
 *
 * PAIRS. A matrix [n, k] becomes panels of 16 rows (the last one padded with zero rows), k padded to even with a zero
 * column: for columns 2v and 2v + 1 a vector of 64 bytes with the pair of each row. */
static inline size_t gem_pairs_bytes(size_t k) { return (k + 1) / 2 * 64; } /* of one panel */
/* Where row i < 16, column j lies in its panel, in elements. */
static inline size_t gem_pairs_at(size_t i, size_t j) { return j / 2 * 32 + 2 * i + j % 2; }
/* Rows [n_rows <= 16, k] of bfloat16 into one panel. */
void gem_pack_pairs(uint16_t *panel, const uint16_t *rows, size_t ldr, size_t n_rows, size_t k);

/* y[j * ldy + i] = sum over k of w[i, k] * x[j * ldx + k],  i < n_rows, j < m.
 *   x [m, k] bfloat16, readable up to even k, where an odd k's last is zero or finite
 * Subnormal factors and results may count as zero. Bound: (8 + k / 8) * FLT_EPSILON * sum |w x| + k * 2^-120; the
 * definition sums in double. */
typedef void gem_gemm_pairs_fn(const uint16_t *panels, size_t n_rows, const uint16_t *x, size_t ldx, size_t m, float *y,
                               size_t ldy, size_t k);

/* ---- the table ------------------------------------------------------------------------------------------- */

struct gem_kernels {
    const char *name; /* "c", "avx2", "avx512" */
    gem_gemm_fn *gemm_f32, *gemm_f16, *gemm_bf16;
    gem_score_fn *score_f32, *score_bf16;
    gem_value_fn *value_f32, *value_bf16;
    gem_rms_norm_fn *rms_norm;
    gem_gelu_mul_fn *gelu_mul;
    gem_softmax_fn *softmax;
    gem_rope_fn *rope;
    gem_softcap_fn *softcap;
    gem_add_fn *add;
    gem_add_scale_fn *add_scale;
    gem_clamp_fn *clamp;
    gem_to_bf16_fn *to_bf16;
    gem_quantize_fn *quantize;
    gem_gemm_packed_fn *gemm_packed[GEM_N_PK];
    gem_gemm_pairs_fn *gemm_pairs;
    bool has_pairs; /* gemm_pairs has an instruction of its own: it is faster than gemm_f32 */
};

enum gem_cpu {
    GEM_CPU_AVX2 = 1,   /* AVX2, FMA, F16C */
    GEM_CPU_AVX512 = 2, /* AVX-512 F, BW, VL, DQ, VNNI */
    GEM_CPU_BF16 = 4    /* AVX512-BF16 */
};

/* What this machine can run. */
unsigned gem_cpu_flags(void);
/* C first, then each better tier that `cpu` names overwrites what it improves. The table lives in the model, not in a
 * global, and `cpu` is an argument, so that a test can ask for any tier. */
void gem_kernels_init(struct gem_kernels *k, unsigned cpu);

/* Called by gem_kernels_init; each is the end of a file. float: everything but the packed products. */
void gem_kernels_float_c(struct gem_kernels *k);
void gem_kernels_packed_c(struct gem_kernels *k);
void gem_kernels_pairs_c(struct gem_kernels *k);
void gem_kernels_pairs_avx512bf16(struct gem_kernels *k);
void gem_kernels_float_avx2(struct gem_kernels *k);
void gem_kernels_packed_avx2(struct gem_kernels *k);
void gem_kernels_float_avx512(struct gem_kernels *k);
void gem_kernels_packed_avx512(struct gem_kernels *k);

#endif
