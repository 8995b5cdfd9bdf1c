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

enum {
    GEM_PANEL = 16,     /* rows of a packed matrix, or positions of a cache, that vectors take side by side */
    GEM_ACT_BLOCK = 32, /* int8 activations that share a scale */
};

/* y[j * ldy + i] = sum over k of w[i * ldw + k] * x[j * ldx + k],  i < n, j < m.
 *   w [n, k] weights of the variant's type, row stride ldw in elements; x [m, k] float32; y [m, n] float32.
 * Any n, m, k >= 1, no alignment. Never reads past a row's k elements.
 * Bound: (8 + k / 8) * FLT_EPSILON * sum |w x|; the definition sums in double. */
typedef void gem_gemm_fn(const void *w, size_t ldw, const float *x, size_t ldx, float *y, size_t ldy, size_t n,
                         size_t m, size_t k);

/* The same with x [m, k] bfloat16 as well, where products of pairs are one instruction: twice as fast as gemm_bf16, and
 * only worth rounding x for where the table says has_bf16. For few rows, which are as fast as memory brings w; many
 * have gem_gemm_rows. k any number. Bound: as above; subnormal inputs may read as 0. */
typedef void gem_gemm_bf16_bf16_fn(const uint16_t *w, size_t ldw, const uint16_t *x, size_t ldx, float *y, size_t ldy,
                                   size_t n, size_t m, size_t k);

/* Attention over one run of cached positions that share a K/V head. The cache holds keys in panels of GEM_PANEL = 16
 * positions, so that a vector has one dimension of 16 keys and one value of a query, broadcast, serves them all; and
 * bfloat16 in pairs, since products of bfloat16 are made two at a time. A panel of either has 16 d elements:
 *   keys    float32   [d][16]            bfloat16   [d / 2][16][2]
 *   values  float32   [16][d]            bfloat16   [8][d][2]      position pairs: value i of positions 2 a, 2 a + 1
 *
 *   score: s[h * lds + j] = sum over i of q[h * ldq + i] * key j [i],   h < n_q, j < 16 * n_panels
 *   value: o[h * ldo + i] += sum over j, in order of j, of p[h * ldp + j] * value j [i],   j < n
 * Panels lie one after the other. Values need not come from a cache: position j (of bfloat16, pair j / 2) lies at
 * j * ldv, and n is any number (of bfloat16, even). d is even for scores and for bfloat16. q and p are float32 for
 * float32 caches. For bfloat16 caches they are what gem_kernels.has_bf16 says; strides count elements of that type.
 * Vectors need no alignment. value adds one j (or pair) after the other into o, so a run may be cut between them
 * without changing bits; what p = 0 meets changes nothing, if it is finite. Bounds: score (8 + d / 8) * FLT_EPSILON *
 * sum |q k|; value (n + 2) * FLT_EPSILON / 2 * (|o| + sum |p v|). */
typedef void gem_score_fn(const void *q, size_t ldq, const void *keys, float *s, size_t lds, size_t n_q,
                          size_t n_panels, size_t d);
typedef void gem_value_fn(const void *p, size_t ldp, const void *values, size_t ldv, float *o, size_t ldo, size_t n_q,
                          size_t n, size_t d);
/* A panel of keys that has n dimensions of a panel of values: their bits, moved. values: the first of these dimensions
 * in position 0, rows of ldv elements (of bfloat16, pairs) apart. n is even for bfloat16. */
typedef void gem_transpose_fn(void *keys, const void *values, size_t ldv, size_t n);

/* y = x * (mean(x^2) + eps)^(-1/2) * w   [n]; w NULL means 1; y may be x. The sum runs in float32 lanes or better.
 * Bound per element: 16 * FLT_EPSILON relative plus n * FLT_EPSILON / 16. */
typedef void gem_rms_norm_fn(float *y, const float *x, const float *w, size_t n, float eps);
/* gate = gelu_tanh(gate) * up, gelu_tanh(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
 * Bound: 4e-7 * max(1, |gate|) * |up|. Infinite or NaN input gives infinite or NaN, no trap. */
typedef void gem_gelu_mul_fn(float *gate, const float *up, size_t n);
/* x = x * sigmoid(gate) = x / (1 + e^-gate) [n]; with gate == x, SiLU. Bound: 1e-6 relative plus |x| 2^-127 (where
 * e^-gate exceeds float32) plus 2^-149. Infinite or NaN input gives infinite, NaN or 0, no trap. */
typedef void gem_sigmoid_mul_fn(float *x, const float *gate, size_t n);
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
/* int8 to bfloat16, exactly; n a multiple of 16. */
typedef void gem_int8_to_bf16_fn(uint16_t *y, const int8_t *x, size_t n);

/* ---- the fast tier: packed weights times int8 activations -----------------------------------------------
 *
 * PANELS. A quantised matrix [n, k] is repacked once into panels of GEM_PANEL = 16 rows (the last one padded with
 * zero rows). Every source format becomes  w = scale * code - min  with unsigned codes and one scale (and perhaps one
 * min) for each row and group of 16 or 32 consecutive k. No kind needs many more bits than the formats it serves,
 * because decoding is as fast as memory brings them:
 *
 *   kind          code   group   scale, min of a group       bits of w   from
 *   GEM_PK_Q4     4 bit  32      f16, implied   8 * scale    4.5         Q4_0
 *   GEM_PK_Q8     8 bit  32      f16, implied 128 * scale    8.5         Q8_0, IQ4_NL
 *   GEM_PK_Q4M    4 bit  32      f16, f16                    5           Q4_1
 *   GEM_PK_Q5     5 bit  32      f16, implied  16 * scale    5.5         Q5_0
 *   GEM_PK_Q5M    5 bit  32      f16, f16                    6           Q5_1
 *   GEM_PK_Q4K    4 bit  32      d * i8, dmin * i8           4.625       Q4_K
 *   GEM_PK_Q4K16  4 bit  16      d * i8, dmin * i8           5.125       Q2_K
 *   GEM_PK_Q5K    5 bit  32      d * i8, dmin * i8           5.625       Q5_K
 *   GEM_PK_Q6K    6 bit  16      d * i8, implied  32 * scale 6.5625      Q3_K, Q6_K
 *   GEM_PK_Q8K    8 bit  32      d * i8, implied 128 * scale 8.3125      IQ4_XS
 *
 * A panel is stored along k, so that decoding streams memory in order, in blocks of 32 columns. Eight blocks of a kind
 * that ends in K share a head in front of them: 16 float16 d, then (kinds with mins) 16 float16 dmin, one of each row.
 * A block holds its codes, interleaved so that a 64-byte vector has 4 consecutive k of each of the 16 rows, byte
 * row * 4 + k % 4 (k < 32):
 *   8 bit        vector k / 4
 *   4 to 6 bit   vector k % 16 / 4 has the low 4 bits of k < 16 in its low nibbles, those of k >= 16 in the high ones
 *   5, 6 bit     further vectors have the upper n = 1 or 2 bits: those of k are field f = 2 * (k % 16 / 4) + k / 16,
 *                in vector 4 + f * n / 8 from bit f * n % 8 up
 * then for each group 16 scales and (kinds with mins) 16 mins, float16 or int8. The value of a panel equals the
 * format's definition up to one rounding of each scale product. */
enum gem_pack_kind {
    GEM_PK_NONE,
    GEM_PK_Q4,
    GEM_PK_Q8,
    GEM_PK_Q4M,
    GEM_PK_Q5,
    GEM_PK_Q5M,
    GEM_PK_Q4K,
    GEM_PK_Q4K16,
    GEM_PK_Q5K,
    GEM_PK_Q6K,
    GEM_PK_Q8K,
    GEM_N_PK
};

/* The kind that a format packs to; GEM_PK_NONE for float formats. */
enum gem_pack_kind gem_pack_kind_of(enum gem_type type);
/* Panels that n_rows rows take. */
static inline size_t gem_n_panels(size_t n_rows) { return (n_rows + GEM_PANEL - 1) / GEM_PANEL; }
/* Bytes of one panel with k columns; k a multiple of 32, for kinds with heads of 256. */
uint64_t gem_panel_bytes(enum gem_pack_kind kind, size_t k);
/* Packs rows [n_rows <= 16, k] of `type`, row stride in bytes, into one panel at dst (64-byte aligned). */
void gem_pack_panel(enum gem_type type, const uint8_t *rows, size_t row_bytes, size_t n_rows, size_t k, uint8_t *dst);
/* The way back: dst [k] receives row `row` of a panel that was packed from `type`, the very floats of gem_decode_row.
 */
void gem_unpack_row(enum gem_type type, const uint8_t *panel, size_t row, size_t k, float *dst);

/* ACTIVATIONS. One row of k floats (k a multiple of 32) becomes k / 32 blocks of int8: a scale = max|x| / 127 and
 * q = nearest(x * (127 / max|x|)) in float32 (ties to even; q in [-127, 127]). Where max|x| < 2^-100 the block is zero:
 * scale 0, q 0. Where a value is infinite or NaN: scale NaN, q 0, so that every output is NaN. What kernels want of a
 * block lies side by side, so that one pointer finds all of it. Rows lie gem_act_bytes(k) apart, 64-byte aligned. All
 * tables give the same bits. */
struct gem_act_block {
    int8_t q[GEM_ACT_BLOCK];
    float scale;
    int32_t sum[2]; /* of q over each half */
    int32_t offset; /* -8 (sum[0] + sum[1]): where sums of products with a code of w = scale * (code - 8) start */
};
_Static_assert(sizeof(struct gem_act_block) == 48, "four bytes of a block never cross a line of the cache");

static inline size_t gem_act_bytes(size_t k)
{
    return (k / GEM_ACT_BLOCK * sizeof(struct gem_act_block) + 63) & ~(size_t)63;
}

typedef void gem_quantize_fn(void *act, const float *x, size_t k);

/* y[j * ldy + i] for the rows i of n_panels consecutive panels (row 0 of the first panel is i = 0; rows at or past
 * n_rows are not written) and the activations j < m, which lie gem_act_bytes(k) apart:
 *   sum over groups g of  scale_g * xscale * (sum code * q)  -  min_g * xscale * (sum q)
 * Integer sums are exact, and so are products d * i8. Each output is one float32 accumulator acc, which takes blocks of
 * 32 in order of k:
 *   min implied   per group acc = fma(scale * xscale, sum code * q - implied * sum q, acc); the second factor is an
 *                 exact integer
 *   otherwise     t = 0; per group t = fma(-min, sum q, t), t = fma(scale, sum code * q, t); acc = fma(xscale, t, acc)
 * Bound to the definition (double): (8 + k / 16) * FLT_EPSILON * sum over groups of |terms|, where the two terms of an
 * implied min count as one. */
typedef void gem_gemm_packed_fn(const uint8_t *panels, size_t n_panels, size_t n_rows, const void *act, size_t m,
                                float *y, size_t ldy, size_t k);

/* ---- bfloat16 times bfloat16: many rows, where 8 bits are not enough ------------------------------------
 *
 * PAIRS. A matrix [n, k] becomes panels of 16 rows (the last one padded with zero rows), k padded to even with a zero
 * column: for columns 2v and 2v + 1 a vector of 64 bytes with the pair of each row. */
static inline size_t gem_pairs_bytes(size_t k) { return (k + 1) / 2 * 64; } /* of one panel */
/* Where row i < 16, column j lies in its panel, in elements. */
static inline size_t gem_pairs_at(size_t i, size_t j) { return j / 2 * 32 + 2 * i + j % 2; }
/* Rows [n_rows <= 16, k] of F32, F16 or BF16, row_bytes apart, into one panel; rounded to nearest even, where subnormal
 * results may become 0. */
typedef void gem_pack_pairs_fn(uint16_t *panel, const void *rows, enum gem_type type, size_t row_bytes, size_t n_rows,
                               size_t k);

/* y[j * ldy + i] = sum over k of w[i, k] * x[j * ldx + k],  i < n_rows, j < m.   adds: y += instead
 *   x [m, k] bfloat16, readable up to even k, where an odd k's last is zero or finite
 * Pairs of columns are added in order to an accumulator that starts from 0 or y: a sum may be cut between them without
 * changing bits. Subnormal factors and results may count as zero. Bound: (8 + k / 8) * FLT_EPSILON * sum |w x| +
 * k * 2^-120, y among the terms where it is added to; the definition sums in double. */
typedef void gem_gemm_pairs_fn(const uint16_t *panels, size_t n_rows, const uint16_t *x, size_t ldx, size_t m, float *y,
                               size_t ldy, size_t k, bool adds);

/* ---- the table ------------------------------------------------------------------------------------------- */

struct gem_kernels {
    const char *name; /* of the best tier in it, as in gem_kernel_tiers */
    bool has_bf16; /* bfloat16 is multiplied as it is: score_bf16 and value_bf16 take bfloat16 q and p, else float32 */
    gem_gemm_fn *gemm_f32, *gemm_f16, *gemm_bf16;
    gem_gemm_bf16_bf16_fn *gemm_bf16_bf16;
    gem_score_fn *score_f32, *score_bf16;
    gem_value_fn *value_f32, *value_bf16;
    gem_transpose_fn *transpose_f32, *transpose_bf16;
    gem_rms_norm_fn *rms_norm;
    gem_gelu_mul_fn *gelu_mul;
    gem_sigmoid_mul_fn *sigmoid_mul;
    gem_softmax_fn *softmax;
    gem_rope_fn *rope;
    gem_softcap_fn *softcap;
    gem_add_fn *add;
    gem_add_scale_fn *add_scale;
    gem_clamp_fn *clamp;
    gem_to_bf16_fn *to_bf16;
    gem_int8_to_bf16_fn *int8_to_bf16;
    gem_quantize_fn *quantize;
    gem_gemm_packed_fn *gemm_packed[GEM_N_PK];
    gem_pack_pairs_fn *pack_pairs;
    gem_gemm_pairs_fn *gemm_pairs;
};

static inline size_t gem_even(size_t k) { return (k + 1) / 2 * 2; }

/* BLOCKS. m rows of k bfloat16 for gem_gemm_rows: one block of GEM_BLOCK_COLUMNS columns of all rows after the other,
 * and in the last one what is left, made even by a zero. What is multiplied together lies together, not at a power of
 * two. */
enum { GEM_BLOCK_COLUMNS = 256 };
/* Where column c of row r is, in elements; those up to the end of its block follow. */
static inline size_t gem_block_at(size_t r, size_t c, size_t m, size_t k)
{
    const size_t first = c / GEM_BLOCK_COLUMNS * GEM_BLOCK_COLUMNS, left = gem_even(k - first);

    return first * m + r * (left < GEM_BLOCK_COLUMNS ? left : GEM_BLOCK_COLUMNS) + c % GEM_BLOCK_COLUMNS;
}
/* Row r of them from k floats. */
void gem_block_row(const struct gem_kernels *kern, uint16_t *blocks, const float *row, size_t r, size_t m, size_t k);

/* As gemm_pairs, of a matrix as it lies in a file, rows of F32, F16 or BF16 row_bytes apart, and blocks of activations.
 * Packing the matrix on the way costs 3 % with 256 of them. */
void gem_gemm_rows(const struct gem_kernels *kern, const void *w, enum gem_type type, size_t row_bytes, size_t n_rows,
                   const uint16_t *blocks, size_t m, float *y, size_t ldy, size_t k, bool adds);

enum gem_cpu {
    GEM_CPU_AVX2 = 1,   /* AVX2, FMA, F16C */
    GEM_CPU_AVX512 = 2, /* AVX-512 F, BW, VL, DQ, VNNI */
    GEM_CPU_BF16 = 4,   /* AVX512-BF16 */
    GEM_CPU_VNNI256 = 8 /* AVX-VNNI */
};

/* Tiers by name, better ones later, and what a machine must have for each. */
struct gem_kernel_tier {
    const char *name;
    unsigned flags;
};

enum { GEM_N_KERNEL_TIERS = 5 };
extern const struct gem_kernel_tier gem_kernel_tiers[GEM_N_KERNEL_TIERS];

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
void gem_kernels_packed_avxvnni(struct gem_kernels *k);
void gem_kernels_float_avx512(struct gem_kernels *k);
void gem_kernels_packed_avx512(struct gem_kernels *k);
void gem_kernels_gemm_avx512bf16(struct gem_kernels *k);
void gem_kernels_attention_avx512bf16(struct gem_kernels *k);

#endif
