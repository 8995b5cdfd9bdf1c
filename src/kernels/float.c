/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/float.c - the definitions of the float operations: as near to their formulas as C allows, sums in double,
 * never tuned. A variant that differs by more than its bound is wrong. */
#include "kernels/kernels.h"

#include <math.h>

/* Element i of an array of float32, float16 or bfloat16. */
static float element(enum gem_type type, const void *p, size_t i)
{
    switch (type) {
    case GEM_F16: return gem_f16_to_f32(((const uint16_t *)p)[i]);
    case GEM_BF16: return gem_bf16_to_f32(((const uint16_t *)p)[i]);
    default: return ((const float *)p)[i];
    }
}

static float dot(enum gem_type type, const void *w, size_t at, const float *x, size_t k)
{
    double sum = 0.0;

    for (size_t i = 0; i < k; i++) sum += (double)element(type, w, at + i) * (double)x[i];
    return (float)sum;
}

static void gemm(enum gem_type type, const void *w, size_t ldw, const float *x, size_t ldx, float *y, size_t ldy,
                 size_t n, size_t m, size_t k)
{
    for (size_t j = 0; j < m; j++)
        for (size_t i = 0; i < n; i++) y[j * ldy + i] = dot(type, w, i * ldw, x + j * ldx, k);
}

static void gemm_f32(const void *w, size_t ldw, const float *x, size_t ldx, float *y, size_t ldy, size_t n, size_t m,
                     size_t k)
{
    gemm(GEM_F32, w, ldw, x, ldx, y, ldy, n, m, k);
}

static void gemm_f16(const void *w, size_t ldw, const float *x, size_t ldx, float *y, size_t ldy, size_t n, size_t m,
                     size_t k)
{
    gemm(GEM_F16, w, ldw, x, ldx, y, ldy, n, m, k);
}

static void gemm_bf16(const void *w, size_t ldw, const float *x, size_t ldx, float *y, size_t ldy, size_t n, size_t m,
                      size_t k)
{
    gemm(GEM_BF16, w, ldw, x, ldx, y, ldy, n, m, k);
}

static void gemm_bf16_bf16(const uint16_t *w, size_t ldw, const uint16_t *x, size_t ldx, float *y, size_t ldy, size_t n,
                           size_t m, size_t k)
{
    for (size_t j = 0; j < m; j++)
        for (size_t i = 0; i < n; i++) {
            double sum = 0.0;
            for (size_t l = 0; l < k; l++)
                sum += (double)gem_bf16_to_f32(w[i * ldw + l]) * (double)gem_bf16_to_f32(x[j * ldx + l]);
            y[j * ldy + i] = (float)sum;
        }
}

/* Where dimension i of position j lies in a run of panels. */
static size_t key_at(enum gem_type type, size_t j, size_t i, size_t d)
{
    const size_t panel = j / GEM_PANEL * GEM_PANEL * d, lane = j % GEM_PANEL;

    return panel + (type == GEM_F32 ? i * GEM_PANEL + lane : (i / 2 * GEM_PANEL + lane) * 2 + i % 2);
}

static void score(enum gem_type type, const float *q, size_t ldq, const void *keys, float *s, size_t lds, size_t n_q,
                  size_t n_panels, size_t d)
{
    for (size_t h = 0; h < n_q; h++)
        for (size_t j = 0; j < n_panels * GEM_PANEL; j++) {
            double sum = 0.0;
            for (size_t i = 0; i < d; i++)
                sum += (double)q[h * ldq + i] * (double)element(type, keys, key_at(type, j, i, d));
            s[h * lds + j] = (float)sum;
        }
}

static void score_f32(const void *q, size_t ldq, const void *keys, float *s, size_t lds, size_t n_q, size_t n_panels,
                      size_t d)
{
    score(GEM_F32, q, ldq, keys, s, lds, n_q, n_panels, d);
}

static void score_bf16(const void *q, size_t ldq, const void *keys, float *s, size_t lds, size_t n_q, size_t n_panels,
                       size_t d)
{
    score(GEM_BF16, q, ldq, keys, s, lds, n_q, n_panels, d);
}

/* In float32, unlike the other sums: o must be the same wherever a run is cut. */
static void value(enum gem_type type, const float *p, size_t ldp, const void *values, size_t ldv, float *o, size_t ldo,
                  size_t n_q, size_t n, size_t d)
{
    for (size_t h = 0; h < n_q; h++)
        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < d; i++) {
                const size_t at = type == GEM_F32 ? j * ldv + i : (j / 2 * ldv + i) * 2 + j % 2;
                o[h * ldo + i] += p[h * ldp + j] * element(type, values, at);
            }
}

static void value_f32(const void *p, size_t ldp, const void *values, size_t ldv, float *o, size_t ldo, size_t n_q,
                      size_t n, size_t d)
{
    value(GEM_F32, p, ldp, values, ldv, o, ldo, n_q, n, d);
}

static void value_bf16(const void *p, size_t ldp, const void *values, size_t ldv, float *o, size_t ldo, size_t n_q,
                       size_t n, size_t d)
{
    value(GEM_BF16, p, ldp, values, ldv, o, ldo, n_q, n, d);
}

static void transpose_f32(void *keys, const void *values, size_t ldv, size_t n)
{
    for (size_t j = 0; j < GEM_PANEL; j++)
        for (size_t i = 0; i < n; i++)
            ((uint32_t *)keys)[key_at(GEM_F32, j, i, n)] = ((const uint32_t *)values)[j * ldv + i];
}

static void transpose_bf16(void *keys, const void *values, size_t ldv, size_t n)
{
    for (size_t j = 0; j < GEM_PANEL; j++)
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)keys)[key_at(GEM_BF16, j, i, n)] = ((const uint16_t *)values)[(j / 2 * ldv + i) * 2 + j % 2];
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    double sum = 0.0, scale;

    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    scale = 1.0 / sqrt(sum / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) y[i] = (float)((double)x[i] * scale * (w ? (double)w[i] : 1.0));
}

static void gelu_mul(float *gate, const float *up, size_t n)
{
    const double root = 0.79788456080286535588; /* sqrt(2 / pi) */

    for (size_t i = 0; i < n; i++) {
        const double x = (double)gate[i];
        gate[i] = (float)(x / 2.0 * (1.0 + tanh(root * (x + 0.044715 * x * x * x))) * (double)up[i]);
    }
}

static void sigmoid_mul(float *x, const float *gate, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)((double)x[i] / (1.0 + exp(-(double)gate[i])));
}

static float softmax(float *x, size_t n, float *max)
{
    double sum = 0.0;
    float top = -INFINITY;

    for (size_t i = 0; i < n; i++)
        if (x[i] > top) top = x[i];
    *max = top;
    if (top == -INFINITY) top = 0.0f; /* all entries are masked and become 0, but for NaN */
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)exp((double)x[i] - (double)top);
        sum += (double)x[i];
    }
    return (float)sum;
}

static void rope(float *x, size_t n_heads, size_t d, const float *cosine, const float *sine, size_t n_rot)
{
    for (size_t h = 0; h < n_heads; h++, x += d)
        for (size_t i = 0; i < n_rot; i++) {
            const float x0 = x[i], x1 = x[i + d / 2];
            x[i] = x0 * cosine[i] - x1 * sine[i];
            x[i + d / 2] = x1 * cosine[i] + x0 * sine[i];
        }
}

static void softcap(float *x, size_t n, float cap)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)((double)cap * tanh((double)x[i] / (double)cap));
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

static void add_scale(float *y, const float *x, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = (y[i] + x[i]) * scale;
}

static void clamp(float *y, const float *x, float low, float high, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}

static void to_bf16(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = gem_f32_to_bf16(x[i]);
}

static void int8_to_bf16(uint16_t *y, const int8_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = gem_f32_to_bf16((float)x[i]);
}

void gem_kernels_float_c(struct gem_kernels *k)
{
    k->gemm_f32 = gemm_f32;
    k->gemm_f16 = gemm_f16;
    k->gemm_bf16 = gemm_bf16;
    k->gemm_bf16_bf16 = gemm_bf16_bf16;
    k->score_f32 = score_f32;
    k->score_bf16 = score_bf16;
    k->value_f32 = value_f32;
    k->value_bf16 = value_bf16;
    k->transpose_f32 = transpose_f32;
    k->transpose_bf16 = transpose_bf16;
    k->rms_norm = rms_norm;
    k->gelu_mul = gelu_mul;
    k->sigmoid_mul = sigmoid_mul;
    k->softmax = softmax;
    k->rope = rope;
    k->softcap = softcap;
    k->add = add;
    k->add_scale = add_scale;
    k->clamp = clamp;
    k->to_bf16 = to_bf16;
    k->int8_to_bf16 = int8_to_bf16;
}
