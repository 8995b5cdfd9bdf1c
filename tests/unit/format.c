/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/format.c - number formats against the vectors of tools/make_format_vectors.py (gguf, numpy, torch). */
#include "tensor/format.h"
#include "unit/check.h"

#include <math.h>

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* Equal bits, or both NaN: which NaN comes out of 0 * inf is the machine's choice. */
static bool same_float(float a, float b) { return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b)); }

static uint8_t *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(1 << 20);

    *n = f && data ? fread(data, 1, 1 << 20, f) : 0;
    if (f) fclose(f);
    if (!*n) printf("cannot read %s\n", path);
    return data;
}

/* Decodes one record of decode.bin from a place `shift` bytes off alignment; returns the elements that differ. */
static size_t count_wrong(const uint32_t *head, const uint8_t *raw, size_t shift)
{
    uint8_t *src = malloc(head[2] + shift);
    float *got = malloc(head[1] * sizeof *got), want;
    size_t wrong = 0;

    memcpy(src + shift, raw, head[2]);
    gem_decode_row((enum gem_type)head[0], src + shift, got, head[1]);
    for (uint32_t i = 0; i < head[1]; i++) {
        memcpy(&want, raw + head[2] + i * sizeof want, sizeof want);
        if (same_float(got[i], want)) continue;
        if (!wrong++) printf("%s[%u]: %a, not %a\n", gem_type_info(head[0])->name, i, (double)got[i], (double)want);
    }
    free(src);
    free(got);
    return wrong;
}

static void test_decode_equals_gguf(void)
{
    size_t n, at = 0;
    uint8_t *file = read_file("golden/formats/decode.bin", &n);
    bool seen[GEM_N_TYPES] = {false};

    while (at + 12 <= n) {
        uint32_t head[3]; /* type, elements, bytes */
        memcpy(head, file + at, sizeof head);
        at += sizeof head;
        if (head[2] > n - at || head[1] > (n - at - head[2]) / 4) break;
        CHECK_EQ(gem_row_bytes((enum gem_type)head[0], head[1]), head[2]);
        CHECK_EQ(count_wrong(head, file + at, 0), 0);
        CHECK_EQ(count_wrong(head, file + at, 1), 0);
        CHECK_EQ(count_wrong(head, file + at, 3), 0);
        seen[head[0]] = true;
        at += head[2] + 4 * (size_t)head[1];
    }
    CHECK_EQ(at, n);
    for (uint32_t t = 0; t < GEM_N_TYPES; t++) CHECK_EQ(seen[t], gem_type_info(t)->decodes);
    free(file);
}

static void test_encode_equals_gguf(void)
{
    size_t n, at = 0, n_types = 0;
    uint8_t *file = read_file("golden/formats/encode.bin", &n);

    for (; at + 12 <= n; n_types++) {
        uint32_t head[3]; /* type, elements, bytes */
        float *x;
        uint8_t *got;
        memcpy(head, file + at, sizeof head);
        at += sizeof head;
        if (head[1] > (n - at) / 4 || head[2] > n - at - 4 * (size_t)head[1]) break;
        x = malloc(4 * (size_t)head[1]);
        got = malloc(head[2] + 1);
        memcpy(x, file + at, 4 * (size_t)head[1]);
        at += 4 * (size_t)head[1];
        CHECK(gem_encode_row((enum gem_type)head[0], x, got + 1, head[1])); /* of any alignment */
        for (size_t i = 0, wrong = 0; i < head[2] && !wrong; i++) {
            wrong = got[1 + i] != file[at + i];
            if (wrong)
                printf("%s: byte %zu is %u, not %u\n", gem_type_info(head[0])->name, i, got[1 + i], file[at + i]);
            CHECK(!wrong);
        }
        at += head[2];
        free(x);
        free(got);
    }
    CHECK_EQ(at, n);
    CHECK_EQ(n_types, 5);
    free(file);
}

static void test_encode_refuses_what_a_type_lacks(void)
{
    static const enum gem_type types[] = {GEM_F32, GEM_F16, GEM_BF16, GEM_Q4_0, GEM_Q8_0};
    static const struct {
        float value;
        bool fits[5];
    } cases[] = {
        {1.0f, {true, true, true, true, true}},
        {NAN, {false, false, false, false, false}},
        {-INFINITY, {false, false, false, false, false}},
        {70000.0f, {true, false, true, true, true}},   /* float16 ends at 65504 */
        {600000.0f, {true, false, true, false, true}}, /* an eighth of it is too large */
        {9e6f, {true, false, true, false, false}},     /* a 127th */
        {3.4e38f, {true, false, false, false, false}}, /* rounds to infinity */
    };
    uint8_t out[32 * 4];

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (size_t t = 0; t < 5; t++)
            for (size_t place = 0; place < 32; place += 31) {
                float x[32] = {0};
                x[place] = cases[c].value;
                if (gem_encode_row(types[t], x, out, 32) != cases[c].fits[t]) {
                    printf("%g as %s\n", (double)cases[c].value, gem_type_info(types[t])->name);
                    check_failures++;
                }
            }
}

static void test_encode_of_next_to_nothing_is_zero(void) /* where 1 / scale is infinite */
{
    static const enum gem_type types[] = {GEM_Q4_0, GEM_Q8_0};

    for (size_t t = 0; t < 2; t++)
        for (int e = -44; e < -37; e++) {
            const float tiny = (float)pow(10, e);
            uint8_t block[34];
            float x[32] = {[3] = tiny, [4] = -tiny, [30] = tiny / 3}, y[32];
            CHECK(gem_encode_row(types[t], x, block, 32));
            gem_decode_row(types[t], block, y, 32);
            for (int i = 0; i < 32; i++) CHECK(y[i] == 0);
        }
}

static void test_rounding_equals_numpy_and_torch(void)
{
    size_t n;
    uint8_t *file = read_file("golden/formats/round.bin", &n);

    CHECK(n >= 8 * 1000 && n % 8 == 0);
    for (size_t i = 0; i < n; i += 8) {
        float f;
        uint16_t half, brain;
        memcpy(&f, file + i, 4);
        memcpy(&half, file + i + 4, 2);
        memcpy(&brain, file + i + 6, 2);
        if (isnan(f)) {
            CHECK(isnan(gem_f16_to_f32(gem_f32_to_f16(f))));
            CHECK(isnan(gem_bf16_to_f32(gem_f32_to_bf16(f))));
        } else {
            CHECK_EQ(gem_f32_to_f16(f), half);
            CHECK_EQ(gem_f32_to_bf16(f), brain);
        }
    }
    free(file);
}

/* All 65536 float16 values against the formula, and back. */
static void test_every_float16(void)
{
    size_t wrong = 0;

    for (uint32_t h = 0; h < 0x10000; h++) {
        const int e = h >> 10 & 31, m = h & 0x3ff;
        const double a = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
        const float want = (float)(h & 0x8000 ? -a : a), got = gem_f16_to_f32((uint16_t)h);
        wrong += !same_float(got, want);
        if (!isnan(want)) wrong += gem_f32_to_f16(got) != h;
    }
    CHECK_EQ(wrong, 0);
}

/* A message about a file's type must be able to name it, whether we read it or not. */
static void test_types_have_names_and_sizes(void)
{
    CHECK_STR(gem_type_info(GEM_Q4_0)->name, "Q4_0");
    CHECK_STR(gem_type_info(16)->name, "IQ2_XXS");
    CHECK_EQ(gem_type_info(16)->block, 256);
    CHECK_EQ(gem_type_info(16)->bytes, 66);
    CHECK(!gem_type_info(16)->decodes);
    CHECK_STR(gem_type_info(39)->name, "MXFP4");
    CHECK(!gem_type_info(GEM_I32)->decodes && !gem_type_info(GEM_F64)->decodes);
    static const uint32_t unknown[] = {4, 5, 31, 36, 38, GEM_N_TYPES, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        CHECK(!gem_type_info(unknown[i])->name);
        CHECK(!gem_type_info(unknown[i])->decodes);
        CHECK_EQ(gem_type_info(unknown[i])->block, 1); /* so that a division by it never traps */
    }
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"decode_equals_gguf", test_decode_equals_gguf},
        {"encode_equals_gguf", test_encode_equals_gguf},
        {"encode_tiny", test_encode_of_next_to_nothing_is_zero},
        {"encode_refuses", test_encode_refuses_what_a_type_lacks},
        {"rounding_equals_numpy_and_torch", test_rounding_equals_numpy_and_torch},
        {"every_float16", test_every_float16},
        {"types_have_names_and_sizes", test_types_have_names_and_sizes},
    };
    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
