/* SPDX-License-Identifier: Apache-2.0
 * src/tensor/format.h - number formats of tensors on disk. Block layouts are GGUF's (ggml); each format's
 * decoder in format.c is its definition. */
#ifndef GEM_TENSOR_FORMAT_H
#define GEM_TENSOR_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Values are GGUF's tensor type numbers. */
enum gem_type {
    GEM_F32 = 0,
    GEM_F16 = 1,
    GEM_Q4_0 = 2,
    GEM_Q4_1 = 3,
    GEM_Q5_0 = 6,
    GEM_Q5_1 = 7,
    GEM_Q8_0 = 8,
    GEM_Q2_K = 10,
    GEM_Q3_K = 11,
    GEM_Q4_K = 12,
    GEM_Q5_K = 13,
    GEM_Q6_K = 14,
    GEM_IQ4_NL = 20,
    GEM_IQ4_XS = 23,
    GEM_I8 = 24,
    GEM_I16 = 25,
    GEM_I32 = 26,
    GEM_I64 = 27,
    GEM_F64 = 28,
    GEM_BF16 = 30,
    GEM_N_TYPES = 42 /* one more than GGUF's largest number; not every number below has a name */
};

struct gem_type_info {
    const char *name;      /* "Q4_0"; NULL: a number that GGUF does not define */
    uint32_t block, bytes; /* elements and bytes of one block; 1 and 0 for unknown numbers */
    bool decodes;          /* gem_decode_row works: false for integers, F64 and formats known by name only (IQ2_XXS) */
};

/* Never NULL; .name is NULL for unknown numbers of any value. */
const struct gem_type_info *gem_type_info(uint32_t type);

/* Bytes of n elements; n must be a multiple of the block. */
static inline uint64_t gem_row_bytes(enum gem_type type, uint64_t n)
{
    const struct gem_type_info *t = gem_type_info(type);
    return n / t->block * t->bytes;
}

/* The definition: n elements (a multiple of the block) at src, any alignment, to float32. The type must decode. */
void gem_decode_row(enum gem_type type, const void *src, float *dst, size_t n);

/* The other way, as the `gguf` package does it (ggml's reference quantisers): n floats, a multiple of the block, to
 * F32, F16, BF16, Q4_0 or Q8_0. false when a value is not finite or too large for the type; dst is then unspecified. */
bool gem_encode_row(enum gem_type type, const float *src, void *dst, size_t n);

/* One block of a quantised type taken apart. In float32 and in this order, element i of group g = i / group is
 *   scale[g] * (code[i] - offset) - min[g]
 * Every scale and min is exact: a float16 times an integer of at most 8 bits. */
struct gem_block {
    uint32_t n, group; /* elements of the block (32 or 256) and of a group (16 or 32) */
    int32_t offset;
    uint8_t code[256];
    float scale[16], min[16];
};

/* `type` has decodes set and is none of F32, F16, BF16; src has any alignment. */
void gem_block_load(enum gem_type type, const uint8_t *src, struct gem_block *b);

static inline float gem_bf16_to_f32(uint16_t h)
{
    const uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
/* Round to nearest, ties to even; NaN stays NaN. */
uint16_t gem_f32_to_bf16(float f);
float gem_f16_to_f32(uint16_t h);
uint16_t gem_f32_to_f16(float f);

#endif
