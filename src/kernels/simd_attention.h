/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/simd_attention.h - score, value and transpose (kernels.h) for all vector instruction sets, part of
 * simd_float.h.
 *
 * RUN vectors of keys times QUERIES queries, HEADS heads times VECS vectors of values: accumulators that fill the
 * registers. Lanes are keys in score and dimensions in value, so nothing is ever added across lanes.
 *
 * SAME BITS. A score adds dimensions in order, an element of o positions in order, each in a lane of its own. */
#ifndef GEM_KERNELS_SIMD_ATTENTION_H
#define GEM_KERNELS_SIMD_ATTENTION_H

/* Two consecutive dimensions of LANES keys, or two positions of LANES dimensions; `stride` elements from the first to
 * the second in float32, where bfloat16 has them in pairs. */
static INLINE void load_two(enum gem_type type, const void *p, size_t element, size_t stride, vf *a, vf *b)
{
    if (type == GEM_F32) {
        *a = v_load((const float *)p + element);
        *b = v_load((const float *)p + element + stride);
    } else {
        v_load_pair((const uint16_t *)p + element, a, b);
    }
}

/* ---- scores --------------------------------------------------------------------------------------------------- */

enum { MAX_RUN = 2, MAX_QUERIES = 6, PANEL_VECTORS = GEM_PANEL / LANES };

/* s of n_q <= QUERIES queries and the keys of `run` vectors, whose panels are `step` vectors apart. */
static INLINE void score_tile(enum gem_type type, const float *q, size_t ldq, const void *const *keys, float *s,
                              size_t lds, int n_q, int run, size_t d)
{
    vf acc[MAX_RUN][MAX_QUERIES], even[MAX_RUN], odd[MAX_RUN];

    UNROLL
    for (int r = 0; r < run; r++) {
        UNROLL
        for (int h = 0; h < n_q; h++) acc[r][h] = v_set(0.0f);
    }
    for (size_t i = 0; i < d; i += 2) {
        UNROLL
        for (int r = 0; r < run; r++) load_two(type, keys[r], i * GEM_PANEL, GEM_PANEL, &even[r], &odd[r]);
        UNROLL
        for (int h = 0; h < n_q; h++) {
            const vf q0 = v_set(q[(size_t)h * ldq + i]), q1 = v_set(q[(size_t)h * ldq + i + 1]);
            UNROLL
            for (int r = 0; r < run; r++) acc[r][h] = v_fma(q1, odd[r], v_fma(q0, even[r], acc[r][h]));
        }
    }
    UNROLL
    for (int h = 0; h < n_q; h++) {
        UNROLL
        for (int r = 0; r < run; r++) v_store(s + (size_t)h * lds + (size_t)r * LANES, acc[r][h]);
    }
}

/* All queries against `run` vectors of keys, which stay in the first-level cache. */
static INLINE void score_queries(enum gem_type type, const float *q, size_t ldq, const void *const *keys, float *s,
                                 size_t lds, size_t n_q, int run, size_t d)
{
    for (; n_q >= QUERIES; n_q -= QUERIES, q += QUERIES * ldq, s += QUERIES * lds)
        score_tile(type, q, ldq, keys, s, lds, QUERIES, run, d);
    for (; n_q >= 2; n_q -= 2, q += 2 * ldq, s += 2 * lds) score_tile(type, q, ldq, keys, s, lds, 2, run, d);
    if (n_q) score_tile(type, q, ldq, keys, s, lds, 1, run, d);
}

/* Vector v of a run of panels starts at this element: bfloat16 vectors hold pairs. */
static INLINE const void *key_vector(enum gem_type type, const void *keys, size_t v, size_t d)
{
    const size_t panel = v / PANEL_VECTORS * GEM_PANEL * d, lane = v % PANEL_VECTORS * LANES;

    return row_of(type, keys, panel + (type == GEM_F32 ? lane : 2 * lane));
}

static INLINE void score(enum gem_type type, const float *q, size_t ldq, const void *keys, float *s, size_t lds,
                         size_t n_q, size_t n_panels, size_t d)
{
    const size_t n = n_panels * PANEL_VECTORS;
    const void *run[MAX_RUN];
    size_t v = 0;

    for (; v + RUN <= n; v += RUN) {
        for (size_t r = 0; r < RUN; r++) run[r] = key_vector(type, keys, v + r, d);
        score_queries(type, q, ldq, run, s + v * LANES, lds, n_q, RUN, d);
    }
    for (; v < n; v++) {
        run[0] = key_vector(type, keys, v, d);
        score_queries(type, q, ldq, run, s + v * LANES, lds, n_q, 1, d);
    }
}

static NOINLINE void score_f32(const void *q, size_t ldq, const void *keys, float *s, size_t lds, size_t n_q,
                               size_t n_panels, size_t d)
{
    score(GEM_F32, q, ldq, keys, s, lds, n_q, n_panels, d);
}

static NOINLINE void score_bf16(const void *q, size_t ldq, const void *keys, float *s, size_t lds, size_t n_q,
                                size_t n_panels, size_t d)
{
    score(GEM_BF16, q, ldq, keys, s, lds, n_q, n_panels, d);
}

/* ---- values --------------------------------------------------------------------------------------------------- */

enum { MAX_HEADS = 4, MAX_VECS = 4 };

struct mix {
    enum gem_type type;
    const float *p;
    const void *values;
    float *o;
    size_t ldp, ldv, ldo, n, d;
};

/* o of `heads` heads and `vecs` vectors from dimension `at` on stays in registers over all positions. */
static INLINE void mix_tile(const struct mix *m, size_t at, int heads, int vecs)
{
    vf acc[MAX_HEADS][MAX_VECS];
    const size_t pair = m->type == GEM_F32 ? 1 : 2; /* elements from one dimension to the next */
    size_t j = 0;

    UNROLL
    for (int h = 0; h < heads; h++) {
        UNROLL
        for (int v = 0; v < vecs; v++) acc[h][v] = v_load(m->o + (size_t)h * m->ldo + at + (size_t)v * LANES);
    }
    for (; j + 2 <= m->n; j += 2) {
        vf first[MAX_VECS], second[MAX_VECS];
        UNROLL
        for (int v = 0; v < vecs; v++)
            load_two(m->type, m->values, j * m->ldv + (at + (size_t)v * LANES) * pair, m->ldv, &first[v], &second[v]);
        UNROLL
        for (int h = 0; h < heads; h++) {
            const float *p = m->p + (size_t)h * m->ldp + j;
            UNROLL
            for (int v = 0; v < vecs; v++) acc[h][v] = v_fma(v_set(p[0]), first[v], acc[h][v]);
            UNROLL
            for (int v = 0; v < vecs; v++) acc[h][v] = v_fma(v_set(p[1]), second[v], acc[h][v]);
        }
    }
    if (m->type == GEM_F32 && j < m->n) {
        UNROLL
        for (int h = 0; h < heads; h++) {
            UNROLL
            for (int v = 0; v < vecs; v++) {
                const vf last = v_load((const float *)m->values + j * m->ldv + at + (size_t)v * LANES);
                acc[h][v] = v_fma(v_set(m->p[(size_t)h * m->ldp + j]), last, acc[h][v]);
            }
        }
    }
    UNROLL
    for (int h = 0; h < heads; h++) {
        UNROLL
        for (int v = 0; v < vecs; v++) v_store(m->o + (size_t)h * m->ldo + at + (size_t)v * LANES, acc[h][v]);
    }
}

/* Dimensions that do not fill a vector. */
static void mix_rest(const struct mix *m, size_t at, size_t n_q)
{
    for (size_t h = 0; h < n_q; h++)
        for (size_t i = at; i < m->d; i++) {
            float acc = m->o[h * m->ldo + i];
            for (size_t j = 0; j < m->n; j++) {
                const size_t e = m->type == GEM_F32 ? j * m->ldv + i : (j / 2 * m->ldv + i) * 2 + j % 2;
                const float v = m->type == GEM_F32 ? ((const float *)m->values)[e]
                                                   : gem_bf16_to_f32(((const uint16_t *)m->values)[e]);
                acc = fmaf(m->p[h * m->ldp + j], v, acc);
            }
            m->o[h * m->ldo + i] = acc;
        }
}

/* All heads for `vecs` vectors, which stay in the first-level cache. */
static INLINE void mix_heads(struct mix m, size_t at, size_t n_q, int vecs)
{
    for (; n_q >= HEADS; n_q -= HEADS, m.p += HEADS * m.ldp, m.o += HEADS * m.ldo) mix_tile(&m, at, HEADS, vecs);
    for (; n_q; n_q--, m.p += m.ldp, m.o += m.ldo) mix_tile(&m, at, 1, vecs);
}

static INLINE void value(enum gem_type type, const float *p, size_t ldp, const void *values, size_t ldv, float *o,
                         size_t ldo, size_t n_q, size_t n, size_t d)
{
    const struct mix m = {type, p, values, o, ldp, ldv, ldo, n, d};
    size_t at = 0;

    for (; at + VECS * LANES <= d; at += VECS * LANES) mix_heads(m, at, n_q, VECS);
    for (; at + LANES <= d; at += LANES) mix_heads(m, at, n_q, 1);
    if (at < d) mix_rest(&m, at, n_q);
}

static NOINLINE void value_f32(const void *p, size_t ldp, const void *values, size_t ldv, float *o, size_t ldo,
                               size_t n_q, size_t n, size_t d)
{
    value(GEM_F32, p, ldp, values, ldv, o, ldo, n_q, n, d);
}

static NOINLINE void value_bf16(const void *p, size_t ldp, const void *values, size_t ldv, float *o, size_t ldo,
                                size_t n_q, size_t n, size_t d)
{
    value(GEM_BF16, p, ldp, values, ldv, o, ldo, n_q, n, d);
}

/* ---- keys of values -------------------------------------------------------------------------------------------- */

/* Both types are moved as rows of 32 bits: two positions of a dimension, in float32 after unpacking two rows; then two
 * dimensions of two positions are 64 bits of a square that is transposed. */
enum { HALF = LANES / 2 };

/* Dimensions [i, i + LANES) of the positions from j on, as many as lanes. */
static INLINE void transpose_tile(enum gem_type type, float *keys, const float *values, size_t ldv, size_t i, size_t j)
{
    vf x[2][HALF];
    const int n = type == GEM_F32 ? 2 : 1;

    UNROLL
    for (int r = 0; r < HALF; r++) {
        if (type == GEM_F32) {
            const vf a = v_load(values + (j + 2 * (size_t)r) * ldv + i);
            const vf b = v_load(values + (j + 2 * (size_t)r + 1) * ldv + i);
            x[0][r] = v_unpack_low(a, b);
            x[1][r] = v_unpack_high(a, b);
        } else {
            x[0][r] = v_swap_middle(v_load(values + (j / 2 + (size_t)r) * ldv + i));
        }
    }
    UNROLL
    for (int h = 0; h < n; h++) {
        v_transpose(x[h]);
        UNROLL
        for (int r = 0; r < HALF; r++) { /* unpacking gave dimensions 0, 1, 4, 5 ... and 2, 3, 6, 7 ... */
            const size_t row = type == GEM_F32 ? i + (size_t)(r / 2 * 4 + r % 2 + 2 * h) : i / 2 + (size_t)r;
            v_store(keys + row * GEM_PANEL + j, x[h][r]);
        }
    }
}

/* Dimensions that do not fill a vector. */
static void transpose_rest(enum gem_type type, void *keys, const void *values, size_t ldv, size_t i, size_t n)
{
    for (; i < n; i++)
        for (size_t j = 0; j < GEM_PANEL; j++) {
            if (type == GEM_F32)
                ((uint32_t *)keys)[i * GEM_PANEL + j] = ((const uint32_t *)values)[j * ldv + i];
            else
                ((uint16_t *)keys)[(i / 2 * GEM_PANEL + j) * 2 + i % 2] =
                    ((const uint16_t *)values)[(j / 2 * ldv + i) * 2 + j % 2];
        }
}

static INLINE void transpose(enum gem_type type, void *keys, const void *values, size_t ldv, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < GEM_PANEL; j += LANES) transpose_tile(type, keys, values, ldv, i, j);
    transpose_rest(type, keys, values, ldv, i, n);
}

static NOINLINE void transpose_f32(void *keys, const void *values, size_t ldv, size_t n)
{
    transpose(GEM_F32, keys, values, ldv, n);
}

static NOINLINE void transpose_bf16(void *keys, const void *values, size_t ldv, size_t n)
{
    transpose(GEM_BF16, keys, values, ldv, n);
}

#endif
