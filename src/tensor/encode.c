/* SPDX-License-Identifier: Apache-2.0
 * src/tensor/encode.c - float32 to the formats that models are packed to. The operations and their order are those of
 * the `gguf` Python package, to which tests/unit/format.c compares bit by bit. */
#include "tensor/format.h"

#include <assert.h>
#include <math.h>

static void store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static float largest(const float *x, size_t n) /* by magnitude, with its sign; NaN where one is */
{
    float best = x[0];

    for (size_t i = 1; i < n; i++)
        if (!isnan(best) && !(fabsf(x[i]) <= fabsf(best))) best = x[i];
    return best;
}

/* 1 / d; where that is no number, d is so small that its float16 is 0 and the codes do not matter. */
static float inverse_of(float d)
{
    const float inverse = d == 0 ? 0 : 1 / d;

    return isinf(inverse) ? 0 : inverse;
}

/* d = -largest / 8: the largest becomes code 0. */
static bool encode_q4_0(const float *x, uint8_t *dst)
{
    const float d = largest(x, 32) / -8, inverse = inverse_of(d);
    const uint16_t h = gem_f32_to_f16(d);
    uint8_t code[32];

    if ((h & 0x7c00) == 0x7c00) return false;
    for (int i = 0; i < 32; i++) {
        const float q = (float)((double)x[i] * (double)inverse) + 8.5f; /* no fused multiply-add: rounded twice */
        code[i] = (uint8_t)(q < 15 ? q : 15);
    }
    store_u16(dst, h);
    for (int i = 0; i < 16; i++) dst[2 + i] = (uint8_t)(code[i] | code[i + 16] << 4);
    return true;
}

static bool encode_q8_0(const float *x, uint8_t *dst)
{
    const float d = fabsf(largest(x, 32)) / 127, inverse = inverse_of(d);
    const uint16_t h = gem_f32_to_f16(d);

    if ((h & 0x7c00) == 0x7c00) return false;
    store_u16(dst, h);
    for (int i = 0; i < 32; i++) { /* nearest, halves away from zero */
        const float q = fabsf(x[i] * inverse);
        const int whole = (int)q, nearest = whole + (q - (float)whole >= 0.5f);
        dst[2 + i] = (uint8_t)(x[i] < 0 ? -nearest : nearest);
    }
    return true;
}

static bool encode_f16(const float *x, uint8_t *dst)
{
    const uint16_t h = gem_f32_to_f16(*x);

    store_u16(dst, h);
    return (h & 0x7c00) != 0x7c00;
}

static bool encode_bf16(const float *x, uint8_t *dst)
{
    const uint16_t h = gem_f32_to_bf16(*x);

    store_u16(dst, h);
    return (h & 0x7f80) != 0x7f80;
}

static bool encode_f32(const float *x, uint8_t *dst)
{
    memcpy(dst, x, sizeof *x);
    return isfinite(*x);
}

bool gem_encode_row(enum gem_type type, const float *src, void *dst, size_t n)
{
    static bool (*const encoders[GEM_N_TYPES])(const float *, uint8_t *) = {
        [GEM_F32] = encode_f32,   [GEM_F16] = encode_f16,   [GEM_BF16] = encode_bf16,
        [GEM_Q4_0] = encode_q4_0, [GEM_Q8_0] = encode_q8_0,
    };
    const struct gem_type_info *t = gem_type_info(type);
    uint8_t *p = dst;
    bool ok = true;

    assert(encoders[type] && n % t->block == 0);
    for (size_t i = 0; i < n; i += t->block, p += t->bytes) ok &= encoders[type](src + i, p);
    return ok;
}
