/* SPDX-License-Identifier: Apache-2.0
 * tests/kernels/check_packed.c - panels, int8 activations and their products. Panels are read back here by the letter
 * of kernels.h, so that packing, definition and variants all face the same outsider. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_names[GEM_N_PK] = {"none", "q4",    "q8",  "q4m", "q5", "q5m",
                                                 "q4k",  "q4k16", "q5k", "q6k", "q8k"};

/* Each block format: where the float16 scales of a block lie. Other bytes may have any value. */
static const struct {
    enum gem_type type;
    int places[2];
} formats[] = {
    {GEM_Q4_0, {0, 0}}, {GEM_Q4_1, {0, 2}},     {GEM_Q5_0, {0, 0}},     {GEM_Q5_1, {0, 2}},
    {GEM_Q8_0, {0, 0}}, {GEM_Q2_K, {80, 82}},   {GEM_Q3_K, {108, 108}}, {GEM_Q4_K, {0, 2}},
    {GEM_Q5_K, {0, 2}}, {GEM_Q6_K, {208, 208}}, {GEM_IQ4_NL, {0, 0}},   {GEM_IQ4_XS, {0, 0}},
};
static const size_t sizes[] = {32, 64, 256, 704, 2816};

/* Rows of random blocks of formats[f], their end at a guard page. */
static uint8_t *random_rows(size_t f, size_t n_rows, size_t k, size_t *row_bytes)
{
    const struct gem_type_info *t = gem_type_info(formats[f].type);
    uint8_t *rows;

    *row_bytes = k / t->block * t->bytes;
    rows = check_buf(n_rows * *row_bytes);
    check_fill_bytes(rows, n_rows * *row_bytes);
    for (size_t b = 0; b < n_rows * (k / t->block); b++) {
        for (int i = 0; i < 2; i++) {
            const uint16_t h = gem_f32_to_f16(0.01f * check_rnd_f32(CHECK_MIXED));
            memcpy(rows + b * t->bytes + formats[f].places[i], &h, sizeof h);
        }
    }
    return rows;
}

/* ---- reading panels ---------------------------------------------------------------------------------------- */

/* The table of kernels.h. */
static const struct {
    size_t bits, group, implied;
    bool compact; /* int8 scales, and a head for 8 blocks */
} kinds[GEM_N_PK] = {
    [GEM_PK_Q4] = {4, 32, 8, false},   [GEM_PK_Q8] = {8, 32, 128, false}, [GEM_PK_Q4M] = {4, 32, 0, false},
    [GEM_PK_Q5] = {5, 32, 16, false},  [GEM_PK_Q5M] = {5, 32, 0, false},  [GEM_PK_Q4K] = {4, 32, 0, true},
    [GEM_PK_Q4K16] = {4, 16, 0, true}, [GEM_PK_Q5K] = {5, 32, 0, true},   [GEM_PK_Q6K] = {6, 16, 32, true},
    [GEM_PK_Q8K] = {8, 32, 128, true},
};

static size_t n_sets(enum gem_pack_kind kind) { return kinds[kind].implied ? 1 : 2; }
static size_t head_bytes(enum gem_pack_kind kind) { return kinds[kind].compact ? 32 * n_sets(kind) : 0; }
static size_t code_bytes(enum gem_pack_kind kind) { return 16 * 32 * kinds[kind].bits / 8; }
static size_t set_bytes(enum gem_pack_kind kind) { return kinds[kind].compact ? 16 : 32; }
static size_t block_bytes(enum gem_pack_kind kind)
{
    return code_bytes(kind) + 32 / kinds[kind].group * n_sets(kind) * set_bytes(kind);
}
static size_t run_columns(enum gem_pack_kind kind) { return kinds[kind].compact ? 256 : 32; }
static size_t run_bytes(enum gem_pack_kind kind)
{
    return head_bytes(kind) + run_columns(kind) / 32 * block_bytes(kind);
}

static int panel_code(enum gem_pack_kind kind, const uint8_t *codes, size_t row, size_t k)
{
    const size_t lane = row * 4 + k % 4, quad = k % 16 / 4, n = kinds[kind].bits - 4, f = 2 * quad + k / 16;
    int code;

    if (kinds[kind].bits == 8) return codes[k / 4 * 64 + lane];
    code = codes[quad * 64 + lane] >> (k < 16 ? 0 : 4) & 15;
    if (n) code += (codes[(4 + f * n / 8) * 64 + lane] >> f * n % 8 & ((1 << n) - 1)) * 16;
    return code;
}

/* What a panel says of one element: w = scale * code - min. */
struct element {
    double scale, min;
    int code;
};

static struct element panel_element(enum gem_pack_kind kind, const uint8_t *panel, size_t row, size_t at)
{
    const uint8_t *head = panel + at / run_columns(kind) * run_bytes(kind);
    const uint8_t *block = head + head_bytes(kind) + at % run_columns(kind) / 32 * block_bytes(kind);
    const uint8_t *sets = block + code_bytes(kind) + at % 32 / kinds[kind].group * n_sets(kind) * set_bytes(kind);
    double value[2] = {0, 0};

    for (size_t i = 0; i < n_sets(kind); i++) {
        const uint8_t *set = sets + i * set_bytes(kind);
        uint16_t h;
        memcpy(&h, (kinds[kind].compact ? head + 32 * i : set) + 2 * row, sizeof h);
        value[i] = (double)gem_f16_to_f32(h);
        if (kinds[kind].compact) value[i] *= set[row] < 128 ? set[row] : set[row] - 256;
    }
    if (kinds[kind].implied) value[1] = value[0] * (double)kinds[kind].implied;
    return (struct element){value[0], value[1], panel_code(kind, block, row, at % 32)};
}

/* The panel's value is exact in double; decoding rounds the scale product and, where a format has a min, the
 * difference. */
static void check_unpacked(size_t f, size_t n_rows, size_t k)
{
    const enum gem_type type = formats[f].type;
    const enum gem_pack_kind kind = gem_pack_kind_of(type);
    size_t row_bytes;
    const uint8_t *rows = random_rows(f, n_rows, k, &row_bytes);
    uint8_t *panel = check_buf_aligned(gem_panel_bytes(kind, k), 64);
    float *want = check_buf(k * sizeof *want), *back = check_buf(k * sizeof *back);

    check_case("%s k=%zu rows=%zu", gem_type_info(type)->name, k, n_rows);
    memset(panel, 0xee, gem_panel_bytes(kind, k)); /* what packing leaves out would show */
    gem_pack_panel(type, rows, row_bytes, n_rows, k, panel);
    for (size_t row = 0; row < GEM_PANEL; row++) {
        if (row < n_rows)
            gem_decode_row(type, rows + row * row_bytes, want, k);
        else
            memset(want, 0, k * sizeof *want);
        for (size_t i = 0; i < k; i++) {
            const struct element e = panel_element(kind, panel, row, i);
            const double w = (double)want[i], got = e.scale * e.code - e.min;
            check_near(row * k + i, got, w, FLT_EPSILON / 2 * (fabs(e.scale * e.code) + fabs(w)));
        }
        gem_unpack_row(type, panel, row, k, back);
        check_true(row >= n_rows || !memcmp(back, want, k * sizeof *want), "rows come back bit by bit");
    }
    check_release();
}

static void check_pack(void)
{
    if (!check_func("pack_panel", (check_fn *)gem_pack_panel)) return;
    for (size_t f = 0; f < COUNT(formats); f++) {
        for (size_t s = 0; s < COUNT(sizes); s++) {
            if (sizes[s] % gem_type_info(formats[f].type)->block) continue;
            check_unpacked(f, 16, sizes[s]);
            check_unpacked(f, 1 + s * 3, sizes[s]);
        }
    }
    check_case("kinds");
    check_true(gem_pack_kind_of(GEM_F32) == GEM_PK_NONE && gem_pack_kind_of(GEM_BF16) == GEM_PK_NONE &&
                   gem_pack_kind_of(GEM_I8) == GEM_PK_NONE && gem_pack_kind_of((enum gem_type)9999) == GEM_PK_NONE,
               "no kind for types that are not quantised");
    check_true(gem_panel_bytes(GEM_PK_Q4, 2816) == 88 * 288, "the size of a panel");
    check_true(gem_panel_bytes(GEM_PK_Q6K, 2816) == 11 * (32 + 8 * 416), "the size of a panel with heads");
}

/* ---- activations ------------------------------------------------------------------------------------------- */

/* Blocks that a rounding, a division or a comparison could get wrong. NAN_BLOCK and after have no finite maximum. */
enum { ZERO, MINUS_ZERO, TIES, TINY, SMALL, HUGE_BLOCK, ONE_LARGE, NAN_BLOCK, MINUS_NAN, INFINITE, N_SPECIAL };
static float special(int which, size_t i)
{
    switch (which) {
    case ZERO: return 0.0f;
    case MINUS_ZERO: return -0.0f;
    case TIES: return i ? (float)i - 16.5f : -127.0f; /* scale 1 */
    case TINY: return (float)i * 1e-45f;
    case SMALL: return ldexpf((float)i - 20.0f, -104); /* about where blocks begin to count */
    case HUGE_BLOCK: return i % 2 ? FLT_MAX : -FLT_MAX / (float)(i + 1);
    case ONE_LARGE: return i == 21 ? -1e30f : 1e-30f;
    case NAN_BLOCK: return i == 30 ? NAN : 1.0f;
    case MINUS_NAN: return i == 3 ? -NAN : 1e38f;
    default: return i == 17 ? -INFINITY : 2.0f;
    }
}

static float *random_activations(size_t k, enum check_sign sign, bool specials)
{
    float *x = check_buf(k * sizeof *x);

    check_fill_f32(x, k, sign);
    for (size_t i = 0; specials && i < k; i++)
        if (i / 32 % 2 == 0) x[i] = special((int)(i / 64 + k / 64 * 3) % N_SPECIAL, i % 32);
    return x;
}

/* One block by the letter of kernels.h. */
static void check_block(size_t b, const float *x, const struct gem_act_block *got)
{
    const int8_t *q = got->q;
    const float scale = got->scale;
    float max = 0.0f;
    int sums[2] = {0, 0};
    bool finite = true;

    for (int i = 0; i < 32; i++) {
        finite = finite && isfinite(x[i]);
        max = fmaxf(max, fabsf(x[i]));
        sums[i / 16] += q[i];
    }
    check_true(got->sum[0] == sums[0] && got->sum[1] == sums[1], "the sums of q");
    check_true(got->offset == -8 * (sums[0] + sums[1]), "the offset of a block");
    if (!finite) {
        check_true(isnan(scale) && !sums[0] && !sums[1], "NaN for a block that is not finite");
        return;
    }
    check_near(b, (double)scale, max < 0x1p-100f ? 0.0 : (double)max / 127.0, FLT_EPSILON / 2 * (double)max / 127.0);
    for (int i = 0; i < 32; i++) {
        check_true(q[i] >= -127 && q[i] != -128, "q in [-127, 127]");
        if (scale > 0.0f)
            check_near(b * 32 + (size_t)i, (double)q[i], (double)x[i] / (double)scale, 0.5 + 127 * 2 * FLT_EPSILON);
        else
            check_true(q[i] == 0, "q 0 where scale is 0");
    }
}

static void check_quantized(const struct gem_kernels *k, size_t n, enum check_sign sign, bool specials)
{
    const float *x = random_activations(n, sign, specials);
    char *act = check_buf_aligned(gem_act_bytes(n), 64), *want = check_buf_aligned(gem_act_bytes(n), 64);
    const size_t used = n / 32 * sizeof(struct gem_act_block);

    check_case("k=%zu sign=%d specials=%d", n, sign, specials);
    k->quantize(act, x, n);
    for (size_t b = 0; b < n / 32; b++) check_block(b, x + 32 * b, (const struct gem_act_block *)(const void *)act + b);
    check_definition()->quantize(want, x, n);
    check_bits(act, want, used, 1);
    check_release();
}

static void check_quantize(const struct gem_kernels *k)
{
    if (check_func("quantize", (check_fn *)k->quantize)) {
        for (size_t s = 0; s < COUNT(sizes); s++)
            for (int i = 0; i < 4; i++) check_quantized(k, sizes[s], i & 1 ? CHECK_ONE_SIGN : CHECK_MIXED, i & 2);
    }
}

/* ---- products ---------------------------------------------------------------------------------------------- */

enum { N_ROWS = 40, N_PANELS = 3, N_ACTS = 19, MAX_K = 2816 };
enum fill { RANDOM, ONE_SIGN, LARGEST, N_FILLS }; /* LARGEST: every code and every q as large as can be */

/* A panel of random codes and sane scales: of int8 any, and d small. */
static void fill_panel(enum gem_pack_kind kind, uint8_t *panel, size_t k, enum fill fill)
{
    const enum check_sign sign = fill == ONE_SIGN ? CHECK_ONE_SIGN : CHECK_MIXED;

    for (size_t at = 0; at < k; at += run_columns(kind)) {
        check_fill_f16((uint16_t *)(void *)panel, head_bytes(kind) / 2, sign);
        panel += head_bytes(kind);
        for (size_t i = 0; i < run_columns(kind) / 32; i++, panel += block_bytes(kind)) {
            uint8_t *scales = panel + code_bytes(kind);
            const size_t n = block_bytes(kind) - code_bytes(kind);
            check_fill_bytes(panel, code_bytes(kind));
            if (fill == LARGEST) memset(panel, 0xff, code_bytes(kind));
            if (kinds[kind].compact)
                check_fill_bytes(scales, n);
            else
                check_fill_f16((uint16_t *)(void *)scales, n / 2, sign);
            for (size_t b = 0; kinds[kind].compact && fill == ONE_SIGN && b < n; b++) scales[b] &= 127;
        }
    }
}

/* m activations by the definition. */
static void fill_acts(char *act, size_t m, size_t k, enum fill fill)
{
    float x[MAX_K];

    for (size_t j = 0; j < m; j++) {
        check_fill_f32(x, k, fill == RANDOM ? CHECK_MIXED : CHECK_ONE_SIGN);
        for (size_t i = 0; fill == LARGEST && i < k; i++) x[i] = j % 2 ? -3.0f : 3.0f;
        check_definition()->quantize(act + j * gem_act_bytes(k), x, k);
    }
}

/* y of one row and activation, in double from elements, with the sum of |terms| that bounds the error. Where the min is
 * implied the two terms of a group are one integer times a scale. */
static double product(enum gem_pack_kind kind, const uint8_t *panel, size_t row, const char *act, size_t k, double *sum)
{
    const size_t group = kinds[kind].group;
    const struct gem_act_block *x = (const struct gem_act_block *)(const void *)act;
    double y = 0.0;

    *sum = 0.0;
    for (size_t at = 0; at < k; at += group) {
        const double xs = (double)x[at / 32].scale;
        const struct element g = panel_element(kind, panel, row, at);
        double dot = 0.0, sum_q = 0.0;
        for (size_t i = at; i < at + group; i++) {
            dot += (double)panel_element(kind, panel, row, i).code * (double)x[i / 32].q[i % 32];
            sum_q += (double)x[i / 32].q[i % 32];
        }
        y += xs * (g.scale * dot - g.min * sum_q);
        *sum += kinds[kind].implied ? fabs(xs * g.scale * (dot - (double)kinds[kind].implied * sum_q))
                                    : fabs(xs * g.scale * dot) + fabs(xs * g.min * sum_q);
    }
    return y;
}

/* Calls for n_rows and m with buffers of just that size, and compares with the same corner of y, bit for bit. */
static void check_corner(gem_gemm_packed_fn *fn, enum gem_pack_kind kind, const uint8_t *panels, size_t n_rows,
                         const char *act, size_t m, const float *y, size_t k)
{
    const size_t n_panels = (n_rows + GEM_PANEL - 1) / GEM_PANEL, panel_bytes = n_panels * gem_panel_bytes(kind, k);
    const size_t act_bytes = gem_act_bytes(k), ldy = n_rows + m % 3;
    uint8_t *some_panels = check_buf_aligned(panel_bytes, 64);
    char *some_acts = check_buf_aligned(m * act_bytes, 64);
    float *got = check_buf(((m - 1) * ldy + n_rows) * sizeof *got);

    check_case("k=%zu rows=%zu m=%zu", k, n_rows, m);
    memcpy(some_panels, panels, panel_bytes);
    memcpy(some_acts, act, m * act_bytes);
    for (size_t i = 0; i < (m - 1) * ldy + n_rows; i++) got[i] = 12345.0f;
    fn(some_panels, n_panels, n_rows, some_acts, m, got, ldy, k);
    for (size_t j = 0; j < m; j++) {
        check_bits(got + j * ldy, y + j * N_ROWS, n_rows, sizeof *y);
        for (size_t i = n_rows; j + 1 < m && i < ldy; i++)
            check_true(got[j * ldy + i] == 12345.0f, "rows past n_rows left alone");
    }
    check_release();
}

/* All of y against the formula. */
static void check_products(enum gem_pack_kind kind, const uint8_t *panels, const char *act, const float *y, size_t k)
{
    for (size_t j = 0; j < N_ACTS; j++) {
        for (size_t i = 0; i < N_ROWS; i++) {
            const uint8_t *panel = panels + i / GEM_PANEL * gem_panel_bytes(kind, k);
            double sum;
            const double want = product(kind, panel, i % GEM_PANEL, act + j * gem_act_bytes(k), k, &sum);
            check_near(j * N_ROWS + i, (double)y[j * N_ROWS + i], want, (8 + (double)k / 16) * FLT_EPSILON * sum);
        }
    }
}

/* Panels one by one and activations one by one: no sum may depend on its neighbours. */
static void check_splits(gem_gemm_packed_fn *fn, enum gem_pack_kind kind, const uint8_t *panels, const char *act,
                         const float *y, size_t k)
{
    float got[GEM_PANEL];

    for (size_t p = 0; p < N_PANELS; p++) {
        const size_t n = N_ROWS - p * GEM_PANEL < GEM_PANEL ? N_ROWS - p * GEM_PANEL : GEM_PANEL;
        for (size_t j = 0; j < N_ACTS; j++) {
            fn(panels + p * gem_panel_bytes(kind, k), 1, n, act + j * gem_act_bytes(k), 1, got, n, k);
            check_bits(got, y + j * N_ROWS + p * GEM_PANEL, n, sizeof *got);
        }
    }
}

static void check_kind(gem_gemm_packed_fn *fn, enum gem_pack_kind kind, size_t k, enum fill fill)
{
    static float y[N_ACTS * N_ROWS];
    uint8_t *panels = aligned_alloc(64, N_PANELS * ((gem_panel_bytes(kind, k) + 63) & ~(size_t)63));
    char *act = aligned_alloc(64, N_ACTS * gem_act_bytes(k));

    for (size_t p = 0; p < N_PANELS; p++) fill_panel(kind, panels + p * gem_panel_bytes(kind, k), k, fill);
    fill_acts(act, N_ACTS, k, fill);
    check_case("k=%zu fill=%d", k, fill);
    fn(panels, N_PANELS, N_ROWS, act, N_ACTS, y, N_ROWS, k);
    check_products(kind, panels, act, y, k);
    check_splits(fn, kind, panels, act, y, k);
    for (size_t n_rows = 1; n_rows <= N_ROWS; n_rows++) /* all pairs are too many for SIMDe: each n, each m often */
        check_corner(fn, kind, panels, n_rows, act, 1 + n_rows * 7 % N_ACTS, y, k);
    for (size_t m = 1; m <= N_ACTS; m++) check_corner(fn, kind, panels, 1 + check_rnd_below(N_ROWS), act, m, y, k);
    free(panels);
    free(act);
}

/* From a format's rows and floats to y: off by no more than the rounding of activations explains. */
static void check_whole(const struct gem_kernels *kernels, size_t f, size_t k)
{
    const enum gem_pack_kind kind = gem_pack_kind_of(formats[f].type);
    size_t row_bytes;
    const uint8_t *rows = random_rows(f, 5, k, &row_bytes);
    uint8_t *panel = check_buf_aligned(gem_panel_bytes(kind, k), 64);
    char *act = check_buf_aligned(gem_act_bytes(k), 64);
    float *x = check_buf(k * sizeof *x), w[MAX_K], y[5];

    check_case("%s k=%zu, from floats", gem_type_info(formats[f].type)->name, k);
    check_fill_f32(x, k, CHECK_MIXED);
    gem_pack_panel(formats[f].type, rows, row_bytes, 5, k, panel);
    kernels->quantize(act, x, k);
    kernels->gemm_packed[kind](panel, 1, 5, act, 1, y, 5, k);
    for (size_t i = 0; i < 5; i++) {
        double want = 0.0, bound = 0.0, sum;
        gem_decode_row(formats[f].type, rows + i * row_bytes, w, k);
        for (size_t at = 0; at < k; at++) {
            want += (double)w[at] * (double)x[at];
            bound += fabs((double)w[at]) * (0.5 + 1e-4) *
                     (double)((const struct gem_act_block *)(const void *)act)[at / 32].scale;
        }
        product(kind, panel, i, act, k, &sum);
        check_near(i, (double)y[i], want, bound + (8 + (double)k / 16) * FLT_EPSILON * sum);
    }
    check_release();
}

static void check_gemm_packed(const struct gem_kernels *k)
{
    for (int kind = GEM_PK_NONE + 1; kind < GEM_N_PK; kind++) {
        gem_gemm_packed_fn *fn = k->gemm_packed[kind];
        char name[32];

        snprintf(name, sizeof name, "gemm_packed_%s", kind_names[kind]);
        if (check_func(name, (check_fn *)fn)) {
            for (size_t s = 0; s < COUNT(sizes); s++)
                for (enum fill fill = RANDOM; sizes[s] % run_columns((enum gem_pack_kind)kind) == 0 && fill < N_FILLS;
                     fill++)
                    check_kind(fn, (enum gem_pack_kind)kind, sizes[s], fill);
            for (size_t f = 0; f < COUNT(formats); f++)
                if (gem_pack_kind_of(formats[f].type) == (enum gem_pack_kind)kind) check_whole(k, f, 512);
        }
    }
}

void check_packed(const struct gem_kernels *k)
{
    check_pack();
    check_quantize(k);
    check_gemm_packed(k);
}
