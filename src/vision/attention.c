/* SPDX-License-Identifier: Apache-2.0 */
#include "vision/attention.h"

#include <string.h>

enum { QUERIES = GEM_VISION_QUERIES };

/* Elements of one head's panels. */
static size_t key_elements(const struct gem_vision_attention *a)
{
    return gem_n_panels(a->n) * gem_pairs_bytes(a->d) / 2;
}
static size_t value_elements(const struct gem_vision_attention *a)
{
    return gem_n_panels(a->d) * gem_pairs_bytes(a->n) / 2;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

void *gem_vision_take(struct gem_arena *arena, uint64_t n, uint64_t size)
{
    const uint64_t bytes = gem_align_up(n * size);

    if (arena->base) return gem_arena_take(arena, (size_t)bytes);
    arena->used += (size_t)bytes;
    return NULL;
}

void gem_vision_attention_take(struct gem_vision_attention *a, struct gem_arena *arena)
{
    const uint64_t rows = (uint64_t)a->n_heads * a->n;

    if (a->pairs) {
        a->q16 = gem_vision_take(arena, rows * gem_even(a->d), sizeof(uint16_t));
        a->k16 = gem_vision_take(arena, a->n_heads * (uint64_t)key_elements(a), sizeof(uint16_t));
        a->v16 = gem_vision_take(arena, a->n_heads * (uint64_t)value_elements(a), sizeof(uint16_t));
        return;
    }
    a->q = gem_vision_take(arena, rows * a->d, sizeof(float));
    a->k = gem_vision_take(arena, rows * a->d, sizeof(float));
    a->v = gem_vision_take(arena, rows * a->d, sizeof(float));
}

void gem_vision_scores_take(struct gem_vision_scores *s, const struct gem_vision_attention *a, struct gem_arena *arena)
{
    s->scores = gem_vision_take(arena, QUERIES * (uint64_t)a->n, sizeof(float));
    s->probs = gem_vision_take(arena, a->pairs ? QUERIES * gem_even(a->n) : 0, sizeof(uint16_t));
}

/* ---- rows in ----------------------------------------------------------------------------------------------------- */

void gem_vision_attention_begin(struct gem_vision_attention *a)
{
    const size_t elements = value_elements(a), panel = gem_pairs_bytes(a->n) / 2;

    for (size_t h = 0; h < a->n_heads && a->pairs && a->n % 2; h++)
        for (size_t p = 0; p < gem_n_panels(a->d); p++) memset(a->v16 + h * elements + (p + 1) * panel - 32, 0, 64);
}

void gem_vision_put_query(const struct gem_vision_attention *a, size_t head, size_t row, const float *x)
{
    const size_t at = head * a->n + row;

    if (!a->pairs) {
        memcpy(a->q + at * a->d, x, a->d * sizeof *x);
        return;
    }
    a->kern->to_bf16(a->q16 + at * gem_even(a->d), x, a->d);
    if (a->d % 2) a->q16[at * gem_even(a->d) + a->d] = 0;
}

void gem_vision_put_key(const struct gem_vision_attention *a, size_t head, size_t row, const float *x)
{
    uint16_t *panel, narrow[GEM_VISION_MAX_HEAD + 1];

    if (!a->pairs) {
        memcpy(a->k + (head * a->n + row) * a->d, x, a->d * sizeof *x);
        return;
    }
    panel = a->k16 + head * key_elements(a) + row / GEM_PANEL * (gem_pairs_bytes(a->d) / 2);
    a->kern->to_bf16(narrow, x, a->d);
    narrow[a->d] = 0; /* of an odd number of columns */
    for (size_t j = 0; j < a->d; j += 2)
        memcpy(panel + gem_pairs_at(row % GEM_PANEL, j), narrow + j, 2 * sizeof *narrow);
}

void gem_vision_put_value(const struct gem_vision_attention *a, size_t head, size_t row, const float *x)
{
    uint16_t *to, narrow[GEM_VISION_MAX_HEAD];

    if (!a->pairs) {
        memcpy(a->v + (head * a->n + row) * a->d, x, a->d * sizeof *x);
        return;
    }
    to = a->v16 + head * value_elements(a);
    a->kern->to_bf16(narrow, x, a->d);
    for (size_t j = 0; j < a->d; j++)
        to[j / GEM_PANEL * (gem_pairs_bytes(a->n) / 2) + gem_pairs_at(j % GEM_PANEL, row)] = narrow[j];
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

size_t gem_vision_attention_items(const struct gem_vision_attention *a)
{
    return ((size_t)a->n + QUERIES - 1) / QUERIES * a->n_heads;
}

void gem_vision_attend(const struct gem_vision_attention *a, size_t item, const struct gem_vision_scores *s, float *out)
{
    const size_t n = a->n, d = a->d, head = item % a->n_heads, width = (size_t)a->n_heads * d;
    const size_t first = item / a->n_heads * QUERIES, m = n - first < QUERIES ? n - first : QUERIES;
    const size_t row = head * n + first;
    float sum[QUERIES], top;

    out += first * width + head * d;
    if (a->pairs)
        a->kern->gemm_pairs(a->k16 + head * key_elements(a), n, a->q16 + row * gem_even(d), gem_even(d), m, s->scores,
                            n, d, false);
    else
        a->kern->gemm_f32(a->k + head * n * d, d, a->q + row * d, d, s->scores, n, n, m, d);
    for (size_t r = 0; r < m; r++) {
        sum[r] = a->kern->softmax(s->scores + r * n, n, &top);
        if (!a->pairs) {
            memset(out + r * width, 0, d * sizeof *out);
            continue;
        }
        a->kern->to_bf16(s->probs + r * gem_even(n), s->scores + r * n, n);
        if (n % 2) s->probs[r * gem_even(n) + n] = 0;
    }
    if (a->pairs)
        a->kern->gemm_pairs(a->v16 + head * value_elements(a), d, s->probs, gem_even(n), m, out, width, n, false);
    else
        a->kern->value_f32(s->scores, n, a->v + head * n * d, d, out, width, m, n, d);
    for (size_t r = 0; r < m; r++)
        for (size_t j = 0; j < d; j++) out[r * width + j] /= sum[r];
}
