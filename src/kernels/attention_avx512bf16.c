/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/attention_avx512bf16.c - score and value of bfloat16 caches with AVX512-BF16: vdpbf16ps adds two products
 * to each lane, at twice the rate of float32 and without unpacking. It takes subnormals for zero, and rounds queries
 * and probabilities to bfloat16, as keys and values are already.
 *
 * SAME BITS: as in simd_attention.h, with pairs of dimensions and pairs of positions in order. */
#include "kernels/kernels.h"
#include "kernels/simd.h"

/* Tiles of 16 accumulators: products wait for nothing, and a load serves two to four of them. */
enum { RUN = 2, QUERIES = 8, HEADS = 4, VECS = 4, LANES = 16 };

/* A pair of bfloat16 for all lanes. */
static INLINE __m512bh pair(const uint16_t *p)
{
    int32_t two;

    memcpy(&two, p, sizeof two);
    return (__m512bh)_mm512_set1_epi32(two);
}

static INLINE __m512bh load(const uint16_t *p) { return (__m512bh)_mm512_loadu_si512(p); }

/* ---- scores --------------------------------------------------------------------------------------------------- */

static INLINE void score_tile(const uint16_t *q, size_t ldq, const uint16_t *keys, float *s, size_t lds, int n_q,
                              int run, size_t d)
{
    __m512 acc[RUN][QUERIES];

    UNROLL
    for (int r = 0; r < run; r++) {
        UNROLL
        for (int h = 0; h < n_q; h++) acc[r][h] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < d; i += 2) {
        __m512bh key[RUN];
        UNROLL
        for (int r = 0; r < run; r++) key[r] = load(keys + ((size_t)r * d + i) * GEM_PANEL);
        UNROLL
        for (int h = 0; h < n_q; h++) {
            const __m512bh two = pair(q + (size_t)h * ldq + i);
            UNROLL
            for (int r = 0; r < run; r++) acc[r][h] = _mm512_dpbf16_ps(acc[r][h], key[r], two);
        }
    }
    UNROLL
    for (int h = 0; h < n_q; h++) {
        UNROLL
        for (int r = 0; r < run; r++) _mm512_storeu_ps(s + (size_t)h * lds + (size_t)r * GEM_PANEL, acc[r][h]);
    }
}

/* All queries against `run` panels, which stay in the first-level cache. */
static INLINE void score_queries(const uint16_t *q, size_t ldq, const uint16_t *keys, float *s, size_t lds, size_t n_q,
                                 int run, size_t d)
{
    for (; n_q >= QUERIES; n_q -= QUERIES, q += QUERIES * ldq, s += QUERIES * lds)
        score_tile(q, ldq, keys, s, lds, QUERIES, run, d);
    if (n_q >= 4) {
        score_tile(q, ldq, keys, s, lds, 4, run, d);
        n_q -= 4, q += 4 * ldq, s += 4 * lds;
    }
    for (; n_q; n_q--, q += ldq, s += lds) score_tile(q, ldq, keys, s, lds, 1, run, d);
}

static void score_bf16(const void *q, size_t ldq, const void *keys, float *s, size_t lds, size_t n_q, size_t n_panels,
                       size_t d)
{
    const uint16_t *k = keys;

    for (; n_panels >= RUN; n_panels -= RUN, k += RUN * GEM_PANEL * d, s += RUN * GEM_PANEL)
        score_queries(q, ldq, k, s, lds, n_q, RUN, d);
    if (n_panels) score_queries(q, ldq, k, s, lds, n_q, 1, d);
}

/* ---- values --------------------------------------------------------------------------------------------------- */

struct mix {
    const uint16_t *p, *values;
    float *o;
    size_t ldp, ldv, ldo, n, d;
};

/* A vector of which only the first lanes may be touched. */
static INLINE __m512 load_lanes(const void *p, __mmask16 lanes)
{
    return _mm512_mask_loadu_ps(_mm512_setzero_ps(), lanes, p);
}

/* o of `heads` heads and `vecs` vectors from dimension `at` on stays in registers over all positions. lanes: of each
 * vector. */
static INLINE void mix_tile(const struct mix *m, size_t at, int heads, int vecs, __mmask16 lanes)
{
    __m512 acc[HEADS][VECS];

    UNROLL
    for (int h = 0; h < heads; h++) {
        UNROLL
        for (int v = 0; v < vecs; v++)
            acc[h][v] = load_lanes(m->o + (size_t)h * m->ldo + at + (size_t)v * LANES, lanes);
    }
    for (size_t j = 0; j < m->n; j += 2) {
        const uint16_t *values = m->values + j * m->ldv + 2 * at;
        __m512bh value[VECS];
        UNROLL
        for (int v = 0; v < vecs; v++)
            value[v] = (__m512bh)_mm512_castps_si512(load_lanes(values + (size_t)v * LANES * 2, lanes));
        UNROLL
        for (int h = 0; h < heads; h++) {
            const __m512bh two = pair(m->p + (size_t)h * m->ldp + j);
            UNROLL
            for (int v = 0; v < vecs; v++) acc[h][v] = _mm512_dpbf16_ps(acc[h][v], value[v], two);
        }
    }
    UNROLL
    for (int h = 0; h < heads; h++) {
        UNROLL
        for (int v = 0; v < vecs; v++)
            _mm512_mask_storeu_ps(m->o + (size_t)h * m->ldo + at + (size_t)v * LANES, lanes, acc[h][v]);
    }
}

/* All heads for `vecs` vectors, which stay in the first-level cache. */
static INLINE void mix_heads(struct mix m, size_t at, size_t n_q, int vecs, __mmask16 lanes)
{
    for (; n_q >= HEADS; n_q -= HEADS, m.p += HEADS * m.ldp, m.o += HEADS * m.ldo) mix_tile(&m, at, HEADS, vecs, lanes);
    for (; n_q >= 2; n_q -= 2, m.p += 2 * m.ldp, m.o += 2 * m.ldo) mix_tile(&m, at, 2, vecs, lanes);
    if (n_q) mix_tile(&m, at, 1, vecs, lanes);
}

static void value_bf16(const void *p, size_t ldp, const void *values, size_t ldv, float *o, size_t ldo, size_t n_q,
                       size_t n, size_t d)
{
    const struct mix m = {p, values, o, ldp, ldv, ldo, n, d};
    size_t at = 0;

    for (; at + VECS * LANES <= d; at += VECS * LANES) mix_heads(m, at, n_q, VECS, 0xffff);
    for (; at + LANES <= d; at += LANES) mix_heads(m, at, n_q, 1, 0xffff);
    if (at < d) mix_heads(m, at, n_q, 1, (__mmask16)((1u << (d - at)) - 1));
}

void gem_kernels_attention_avx512bf16(struct gem_kernels *k)
{
    k->has_bf16 = true;
    k->score_bf16 = score_bf16;
    k->value_bf16 = value_bf16;
}
