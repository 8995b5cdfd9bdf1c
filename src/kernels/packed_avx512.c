/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/packed_avx512.c - int8 products by VNNI: a vector holds 4 codes of each of 16 rows, so vpdpbusd with 4
 * bytes of an activation broadcast adds 4 products to each row's lane, exactly (255 * 127 * 32 fits 21 bits).
 *
 * SAME BITS: an output is one lane of one float accumulator, and takes its groups in order of k. How many activations
 * share a tile changes only who else is in registers. */
#include "kernels/packed.h"
#include "kernels/simd.h"

enum { TILE = 8 }; /* activations whose accumulators, integer and float, fit the 32 registers beside the codes */

/* ---- activations ------------------------------------------------------------------------------------------- */

static uint32_t max_bits(__m512 lo, __m512 hi)
{
    const __m512i abs = _mm512_set1_epi32(0x7fffffff);
    const __m512i a = _mm512_and_si512(_mm512_castps_si512(lo), abs);
    const __m512i b = _mm512_and_si512(_mm512_castps_si512(hi), abs);

    return _mm512_reduce_max_epu32(_mm512_max_epu32(a, b));
}

/* 16 values to int8, to nearest even (the default rounding mode); returns their sum. */
static int32_t quantize_half(int8_t *q, __m512 x, float inverse)
{
    const __m512i i = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse)));

    _mm_storeu_si128((__m128i *)q, _mm512_cvtepi32_epi8(i));
    return _mm512_reduce_add_epi32(i);
}

static void quantize(void *act, const float *x, size_t k)
{
    int8_t *q = act;
    float *scale = (float *)((char *)act + k);
    int32_t *sum = (int32_t *)((char *)act + k + k / 32 * 4);

    for (size_t b = 0; b < k / GEM_ACT_BLOCK; b++, x += GEM_ACT_BLOCK, q += GEM_ACT_BLOCK) {
        const __m512 lo = _mm512_loadu_ps(x), hi = _mm512_loadu_ps(x + 16);
        const struct gem_act_factor f = gem_act_factor(max_bits(lo, hi));

        scale[b] = f.scale;
        if (f.inverse == 0.0f) {
            memset(q, 0, GEM_ACT_BLOCK);
            sum[2 * b] = sum[2 * b + 1] = 0;
            continue;
        }
        sum[2 * b] = quantize_half(q, lo, f.inverse);
        sum[2 * b + 1] = quantize_half(q + 16, hi, f.inverse);
    }
}

/* ---- products ---------------------------------------------------------------------------------------------- */

/* sum[j] += 4 codes times 4 bytes of activation j, lane by lane. */
GEM_INLINE void add_products(__m512i code, const char *q, size_t bytes, int m, __m512i *sum)
{
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        sum[j] = _mm512_dpbusd_epi32(sum[j], code, _mm512_set1_epi32(gem_load_i32(q + j * bytes)));
    }
}

/* sum[j] += code * q over the group whose activations start at q, lane by lane. */
GEM_INLINE void dot_group(struct gem_pack_layout l, const uint8_t *codes, const char *q, size_t bytes, int m,
                          __m512i *sum)
{
    const __m512i low = _mm512_set1_epi8(15);

    GEM_UNROLL for (int v = 0; v < l.code_bytes / 64; v++)
    {
        __m512i c = _mm512_loadu_si512(codes + 64 * v);
        if (l.bits == 4) {
            const __m512i high = _mm512_and_si512(_mm512_srli_epi16(c, 4), low);
            add_products(high, q + 16 + 4 * v, bytes, m, sum);
            c = _mm512_and_si512(c, low);
        }
        add_products(c, q + 4 * v, bytes, m, sum);
    }
}

/* y[j] += scale * xscale * (sum code * q - implied * sum q): the bracket is an exact integer. */
GEM_INLINE void add_implied(struct gem_pack_layout l, const uint8_t *group, const struct gem_act_cursor *x, int m,
                            __m512 *y)
{
    const __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(group + l.code_bytes)));
    __m512i sum[TILE];

    GEM_UNROLL for (int j = 0; j < m; j++) sum[j] = _mm512_set1_epi32(-l.implied * gem_act_sum_at(x, j, 0, 32));
    dot_group(l, group, x->q, x->bytes, m, sum);
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m512 xs = _mm512_set1_ps(gem_act_scale_at(x, j));
        y[j] = _mm512_fmadd_ps(_mm512_mul_ps(scale, xs), _mm512_cvtepi32_ps(sum[j]), y[j]);
    }
}

/* t[j] += scale * (sum code * q) - min * (sum q) for the group that starts at half block `half`. */
GEM_INLINE void dot_min(struct gem_pack_layout l, const uint8_t *group, const struct gem_act_cursor *x, int half, int m,
                        __m512 *t)
{
    const __m512 scale = _mm512_loadu_ps(group + l.code_bytes), min = _mm512_loadu_ps(group + l.code_bytes + 64);
    __m512i sum[TILE];

    GEM_UNROLL for (int j = 0; j < m; j++) sum[j] = _mm512_setzero_si512();
    dot_group(l, group, x->q + 16 * half, x->bytes, m, sum);
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m512 sum_q = _mm512_set1_ps((float)gem_act_sum_at(x, j, half, l.group));
        t[j] = _mm512_fnmadd_ps(min, sum_q, t[j]);
        t[j] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum[j]), t[j]);
    }
}

/* y[j] += xscale * (the groups of one block of activations, in order of k) */
GEM_INLINE void add_min(struct gem_pack_layout l, const uint8_t *group, const struct gem_act_cursor *x, int m,
                        __m512 *y)
{
    __m512 t[TILE];

    GEM_UNROLL for (int j = 0; j < m; j++) t[j] = _mm512_setzero_ps();
    dot_min(l, group, x, 0, m, t);
    if (l.group == 16) dot_min(l, group + l.group_bytes, x, 1, m, t);
    GEM_UNROLL for (int j = 0; j < m; j++) y[j] = _mm512_fmadd_ps(_mm512_set1_ps(gem_act_scale_at(x, j)), t[j], y[j]);
}

/* One panel times m <= TILE activations; the first n_rows rows are written. kind and m are constants where it is
 * called. */
GEM_INLINE void tile(enum gem_pack_kind kind, int m, const uint8_t *panel, struct gem_act_cursor x, size_t n_blocks,
                     float *y, size_t ldy, size_t n_rows)
{
    const struct gem_pack_layout l = gem_pack_layout(kind);
    const __mmask16 rows = (__mmask16)(n_rows < GEM_PANEL ? (1u << n_rows) - 1 : 0xffff);
    __m512 acc[TILE];

    GEM_UNROLL for (int j = 0; j < m; j++) acc[j] = _mm512_setzero_ps();
    for (; n_blocks; n_blocks--, panel += GEM_ACT_BLOCK / l.group * l.group_bytes, gem_act_next(&x)) {
        if (l.implied)
            add_implied(l, panel, &x, m, acc);
        else
            add_min(l, panel, &x, m, acc);
    }
    GEM_UNROLL for (int j = 0; j < m; j++) _mm512_mask_storeu_ps(y + j * ldy, rows, acc[j]);
}

#define GEMM(kind)                                                                                                     \
    GEM_TILE(kind, 1)                                                                                                  \
    GEM_TILE(kind, 2)                                                                                                  \
    GEM_TILE(kind, 3)                                                                                                  \
    GEM_TILE(kind, 4)                                                                                                  \
    GEM_TILE(kind, 5)                                                                                                  \
    GEM_TILE(kind, 6)                                                                                                  \
    GEM_TILE(kind, 7)                                                                                                  \
    GEM_TILE(kind, 8)                                                                                                  \
    GEM_GEMM_OF_TILES(kind, tile_##kind##_1, tile_##kind##_2, tile_##kind##_3, tile_##kind##_4, tile_##kind##_5,       \
                      tile_##kind##_6, tile_##kind##_7, tile_##kind##_8)
GEMM(Q4)
GEMM(Q8)
GEMM(Q4M)
GEMM(Q8M)
GEMM(Q8M16)

void gem_kernels_packed_avx512(struct gem_kernels *k)
{
    k->quantize = quantize;
    k->gemm_packed[GEM_PK_Q4] = gemm_Q4;
    k->gemm_packed[GEM_PK_Q8] = gemm_Q8;
    k->gemm_packed[GEM_PK_Q4M] = gemm_Q4M;
    k->gemm_packed[GEM_PK_Q8M] = gemm_Q8M;
    k->gemm_packed[GEM_PK_Q8M16] = gemm_Q8M16;
}
