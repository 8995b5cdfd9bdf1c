/* SPDX-License-Identifier: Apache-2.0
 * src/tensor/format.c - the definition of each number format. One function per block format takes a block apart into
 * codes, scales and mins; decoding and packing both start from there, so the bit layouts are written once. The
 * float32 operations and their order are those of the `gguf` Python package, to which tests/unit/format.c compares
 * bit by bit. */
#include "tensor/format.h"

#include <assert.h>

static inline uint16_t load_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t load_u32(const uint8_t *p) { return load_u16(p) | (uint32_t)load_u16(p + 2) << 16; }
static inline float load_f16(const uint8_t *p) { return gem_f16_to_f32(load_u16(p)); }

/* ---- float16 and bfloat16 ---------------------------------------------------------------------------------- */

static inline uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

uint16_t gem_f32_to_bf16(float f)
{
    const uint32_t u = bits_of(f);

    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40); /* quiet: rounding could make it infinite */
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float gem_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;

    if (exponent == 31) return float_of(sign | 0x7f800000 | mantissa << 13);
    if (exponent) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
    return float_of(sign | bits_of((float)mantissa * 0x1p-24f)); /* subnormal: a normal float32, exactly */
}

uint16_t gem_f32_to_f16(float f)
{
    const uint32_t u = bits_of(f), a = u & 0x7fffffff, sign = u >> 16 & 0x8000;

    if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff)); /* NaN, quiet */
    if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00);                    /* 65520 and up round to infinity */
    if (a < 0x38800000) /* below 2^-14: at 0.5 one unit of float32 is 2^-24, so the addition rounds to that */
        return (uint16_t)(sign | (bits_of(float_of(a) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | (a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13);
}

/* ---- blocks of 32 ------------------------------------------------------------------------------------------ */

/* 16 bytes whose low nibbles are elements 0..15 and whose high nibbles are elements 16..31. */
static void load_nibbles(const uint8_t *qs, uint8_t *code)
{
    for (int i = 0; i < 16; i++) {
        code[i] = qs[i] & 15;
        code[i + 16] = qs[i] >> 4;
    }
}

/* The fifth bit of element i is bit i of qh. */
static void load_fifth_bits(const uint8_t *qh, uint8_t *code)
{
    const uint32_t bits = load_u32(qh);
    for (int i = 0; i < 32; i++) code[i] |= (uint8_t)((bits >> i & 1) << 4);
}

static void load_q4_0(const uint8_t *src, struct gem_block *b) /* d, qs[16] */
{
    b->scale[0] = load_f16(src);
    load_nibbles(src + 2, b->code);
}

static void load_q4_1(const uint8_t *src, struct gem_block *b) /* d, m, qs[16];  d * q + m */
{
    b->scale[0] = load_f16(src);
    b->min[0] = -load_f16(src + 2);
    load_nibbles(src + 4, b->code);
}

static void load_q5_0(const uint8_t *src, struct gem_block *b) /* d, qh[4], qs[16] */
{
    b->scale[0] = load_f16(src);
    load_nibbles(src + 6, b->code);
    load_fifth_bits(src + 2, b->code);
}

static void load_q5_1(const uint8_t *src, struct gem_block *b) /* d, m, qh[4], qs[16] */
{
    b->scale[0] = load_f16(src);
    b->min[0] = -load_f16(src + 2);
    load_nibbles(src + 8, b->code);
    load_fifth_bits(src + 4, b->code);
}

static void load_q8_0(const uint8_t *src, struct gem_block *b) /* d, int8 q[32] */
{
    b->scale[0] = load_f16(src);
    for (int i = 0; i < 32; i++) b->code[i] = src[2 + i] ^ 0x80;
}

/* The values of the 16 codes of IQ4_NL and IQ4_XS, plus 128. */
static const uint8_t iq4_values[16] = {
    128 - 127, 128 - 104, 128 - 83, 128 - 65, 128 - 49, 128 - 35, 128 - 22, 128 - 10,
    128 + 1,   128 + 13,  128 + 25, 128 + 38, 128 + 53, 128 + 69, 128 + 89, 128 + 113,
};

static void load_iq4(const uint8_t *qs, uint8_t *code)
{
    load_nibbles(qs, code);
    for (int i = 0; i < 32; i++) code[i] = iq4_values[code[i]];
}

static void load_iq4_nl(const uint8_t *src, struct gem_block *b) /* d, qs[16] */
{
    b->scale[0] = load_f16(src);
    load_iq4(src + 2, b->code);
}

/* ---- blocks of 256 ----------------------------------------------------------------------------------------- */

/* code[i] |= (bits shift.. of src[i], `mask` wide) << up, for 32 elements: inner loops of this shape become vectors. */
static inline void or_bits(uint8_t *code, const uint8_t *src, int shift, int mask, int up)
{
    for (int i = 0; i < 32; i++) code[i] |= (uint8_t)((src[i] >> shift & mask) << up);
}

/* 64 bytes of 2-bit codes: bits 2s, 2s + 1 of byte 32h + i are element 128h + 32s + i. */
static void load_two_bits(const uint8_t *qs, int up, uint8_t *code)
{
    for (int g = 0; g < 8; g++) or_bits(code + 32 * g, qs + g / 4 * 32, g % 4 * 2, 3, up);
}

/* 128 bytes: low nibbles of bytes 32h.. are elements 64h.., high nibbles elements 64h + 32.. */
static void load_nibbles_256(const uint8_t *qs, uint8_t *code)
{
    for (int g = 0; g < 8; g++) or_bits(code + 32 * g, qs + g / 2 * 32, g % 2 * 4, 15, 0);
}

/* 32 bytes: bit g of byte i belongs to element 32g + i. */
static void load_one_bit(const uint8_t *qh, int up, uint8_t *code)
{
    for (int g = 0; g < 8; g++) or_bits(code + 32 * g, qh, g, 1, up);
}

static void load_q2_k(const uint8_t *src, struct gem_block *b) /* scales[16], qs[64], d, dmin */
{
    const float d = load_f16(src + 80), dmin = load_f16(src + 82);

    for (int g = 0; g < 16; g++) {
        b->scale[g] = d * (float)(src[g] & 15);
        b->min[g] = dmin * (float)(src[g] >> 4);
    }
    load_two_bits(src + 16, 0, b->code);
}

static void load_q3_k(const uint8_t *src, struct gem_block *b) /* hmask[32], qs[64], scales[12], d */
{
    const uint8_t *scales = src + 96;
    const float d = load_f16(src + 108);

    for (int g = 0; g < 16; g++) { /* 6 bits: nibbles of bytes 0..7, then pairs of bits of bytes 8..11 */
        const int low = scales[g % 8] >> g / 8 * 4 & 15, high = scales[8 + g % 4] >> g / 4 * 2 & 3;
        b->scale[g] = d * (float)((low | high << 4) - 32);
    }
    load_two_bits(src + 32, 0, b->code);
    load_one_bit(src, 2, b->code);
}

/* Q4_K and Q5_K: d, dmin, then 8 scales and 8 mins of 6 bits in 12 bytes. */
static void load_scales_k(const uint8_t *src, struct gem_block *b)
{
    const float d = load_f16(src), dmin = load_f16(src + 2);
    const uint8_t *s = src + 4;

    for (int g = 0; g < 4; g++) {
        b->scale[g] = d * (float)(s[g] & 63);
        b->min[g] = dmin * (float)(s[g + 4] & 63);
        b->scale[g + 4] = d * (float)((s[g + 8] & 15) | (s[g] >> 6) << 4);
        b->min[g + 4] = dmin * (float)(s[g + 8] >> 4 | (s[g + 4] >> 6) << 4);
    }
}

static void load_q4_k(const uint8_t *src, struct gem_block *b) /* d, dmin, scales[12], qs[128] */
{
    load_scales_k(src, b);
    load_nibbles_256(src + 16, b->code);
}

static void load_q5_k(const uint8_t *src, struct gem_block *b) /* d, dmin, scales[12], qh[32], qs[128] */
{
    load_scales_k(src, b);
    load_nibbles_256(src + 48, b->code);
    load_one_bit(src + 16, 4, b->code);
}

static void load_q6_k(const uint8_t *src, struct gem_block *b) /* ql[128], qh[64], int8 scales[16], d */
{
    const float d = load_f16(src + 208);

    for (int g = 0; g < 16; g++) b->scale[g] = d * (float)((src[192 + g] ^ 0x80) - 128);
    load_two_bits(src + 128, 4, b->code);
    for (int g = 0; g < 8; g++) /* low nibbles of 64 bytes are 64 elements, then their high nibbles */
        or_bits(b->code + 32 * g, src + g / 4 * 64 + g % 2 * 32, g / 2 % 2 * 4, 15, 0);
}

static void load_iq4_xs(const uint8_t *src, struct gem_block *b) /* d, scales_h (2 bits each), scales_l[4], qs[128] */
{
    const float d = load_f16(src);
    const unsigned high = load_u16(src + 2);

    for (int g = 0; g < 8; g++) {
        const unsigned low = src[4 + g / 2] >> g % 2 * 4 & 15;
        b->scale[g] = d * (float)((int)(low | (high >> 2 * g & 3) << 4) - 32);
        load_iq4(src + 8 + 16 * g, b->code + 32 * g);
    }
}

/* ---- the tables -------------------------------------------------------------------------------------------- */

static const struct gem_type_info types[GEM_N_TYPES] = {
    [GEM_F32] = {"F32", 1, 4, true},
    [GEM_F16] = {"F16", 1, 2, true},
    [GEM_Q4_0] = {"Q4_0", 32, 18, true},
    [GEM_Q4_1] = {"Q4_1", 32, 20, true},
    [GEM_Q5_0] = {"Q5_0", 32, 22, true},
    [GEM_Q5_1] = {"Q5_1", 32, 24, true},
    [GEM_Q8_0] = {"Q8_0", 32, 34, true},
    [9] = {"Q8_1", 32, 40, false}, /* GGUF's size; ggml's own block has 36 bytes, but none is ever in a file */
    [GEM_Q2_K] = {"Q2_K", 256, 84, true},
    [GEM_Q3_K] = {"Q3_K", 256, 110, true},
    [GEM_Q4_K] = {"Q4_K", 256, 144, true},
    [GEM_Q5_K] = {"Q5_K", 256, 176, true},
    [GEM_Q6_K] = {"Q6_K", 256, 210, true},
    [15] = {"Q8_K", 256, 292, false},
    [16] = {"IQ2_XXS", 256, 66, false},
    [17] = {"IQ2_XS", 256, 74, false},
    [18] = {"IQ3_XXS", 256, 98, false},
    [19] = {"IQ1_S", 256, 50, false},
    [GEM_IQ4_NL] = {"IQ4_NL", 32, 18, true},
    [21] = {"IQ3_S", 256, 110, false},
    [22] = {"IQ2_S", 256, 82, false},
    [GEM_IQ4_XS] = {"IQ4_XS", 256, 136, true},
    [GEM_I8] = {"I8", 1, 1, false},
    [GEM_I16] = {"I16", 1, 2, false},
    [GEM_I32] = {"I32", 1, 4, false},
    [GEM_I64] = {"I64", 1, 8, false},
    [GEM_F64] = {"F64", 1, 8, false},
    [29] = {"IQ1_M", 256, 56, false},
    [GEM_BF16] = {"BF16", 1, 2, true},
    [34] = {"TQ1_0", 256, 54, false},
    [35] = {"TQ2_0", 256, 66, false},
    [39] = {"MXFP4", 32, 17, false},
    [40] = {"NVFP4", 64, 36, false},
    [41] = {"Q1_0", 128, 18, false},
};

const struct gem_type_info *gem_type_info(uint32_t type)
{
    static const struct gem_type_info unknown = {NULL, 1, 0, false};

    return type < GEM_N_TYPES && types[type].name ? &types[type] : &unknown;
}

static const struct block_format {
    void (*load)(const uint8_t *src, struct gem_block *b); /* to codes and mins that are 0 */
    uint32_t group;
    int32_t offset;
} block_formats[GEM_N_TYPES] = {
    [GEM_Q4_0] = {load_q4_0, 32, 8},  [GEM_Q4_1] = {load_q4_1, 32, 0},       [GEM_Q5_0] = {load_q5_0, 32, 16},
    [GEM_Q5_1] = {load_q5_1, 32, 0},  [GEM_Q8_0] = {load_q8_0, 32, 128},     [GEM_Q2_K] = {load_q2_k, 16, 0},
    [GEM_Q3_K] = {load_q3_k, 16, 4},  [GEM_Q4_K] = {load_q4_k, 32, 0},       [GEM_Q5_K] = {load_q5_k, 32, 0},
    [GEM_Q6_K] = {load_q6_k, 16, 32}, [GEM_IQ4_NL] = {load_iq4_nl, 32, 128}, [GEM_IQ4_XS] = {load_iq4_xs, 32, 128},
};

void gem_block_load(enum gem_type type, const uint8_t *src, struct gem_block *b)
{
    const struct block_format *f = &block_formats[type];

    assert(f->load);
    b->n = types[type].block;
    b->group = f->group;
    b->offset = f->offset;
    memset(b->code, 0, b->n);
    memset(b->min, 0, sizeof b->min);
    f->load(src, b);
}

static void block_decode(const struct gem_block *b, float *dst)
{
    for (uint32_t g = 0; g < b->n / b->group; g++) {
        const uint8_t *code = b->code + g * b->group;
        for (uint32_t i = 0; i < b->group; i++)
            dst[g * b->group + i] = b->scale[g] * (float)(code[i] - b->offset) - b->min[g];
    }
}

void gem_decode_row(enum gem_type type, const void *src, float *dst, size_t n)
{
    const struct gem_type_info *t = gem_type_info(type);
    const uint8_t *p = src;
    struct gem_block b;

    assert(t->decodes && n % t->block == 0);
    switch (type) {
    case GEM_F32:
        if (n) memcpy(dst, src, n * sizeof *dst); /* n 0: src may be NULL */
        return;
    case GEM_F16:
        for (size_t i = 0; i < n; i++) dst[i] = load_f16(p + 2 * i);
        return;
    case GEM_BF16:
        for (size_t i = 0; i < n; i++) dst[i] = gem_bf16_to_f32(load_u16(p + 2 * i));
        return;
    default:
        for (; n; n -= t->block, p += t->bytes, dst += t->block) {
            gem_block_load(type, p, &b);
            block_decode(&b, dst);
        }
    }
}
