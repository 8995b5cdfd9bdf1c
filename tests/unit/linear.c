/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/linear.c - gem_linear with a matrix of bfloat16: one number for an activation, and two. */
#include "model/forward.h"
#include "unit/check.h"

#include <math.h>

enum { MOST_ROWS = 300, MOST_COLS = 640, MOST_M = 100 };

static uint16_t weights[MOST_ROWS * MOST_COLS];
static float x[MOST_M * MOST_COLS], y[MOST_M * MOST_ROWS], one[MOST_ROWS];

static uint64_t state = 1;
static float normal(void) /* near enough: twelve uniform numbers */
{
    float sum = -6;

    for (int i = 0; i < 12; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(state >> 40) * 0x1p-24f;
    }
    return sum;
}

struct bench {
    struct gem_hparams h;
    struct gem_weights w;
    struct gem_kernels kern;
    struct gem_pool *pool;
    struct gem_forward f;
};

static void open_bench(struct bench *b, unsigned cpu, uint32_t widest)
{
    *b = (struct bench){.h = {.vocab = GEM_TILE, .hidden = widest}};
    gem_kernels_init(&b->kern, cpu);
    b->kern.has_bf16 = true; /* its definition serves where the machine has no instruction */
    CHECK_EQ(gem_pool_open(&b->pool, 3, NULL), GEM_OK);
    CHECK_EQ(gem_forward_open(&b->f, &b->h, &b->w, &b->kern, b->pool, false, MOST_M, 0, NULL), GEM_OK);
}

static void close_bench(struct bench *b)
{
    gem_forward_close(&b->f);
    gem_pool_close(b->pool);
}

/* The largest error of a product, in units of what two numbers for an activation may cost: a number of bfloat16 is off
 * by 2^-9 of itself, so two are by 2^-18 (2^-17 where the first one's rounding crosses a power of two); each sum of k
 * products in float32 is off by k 2^-24 of the sum of their sizes, and there are two. */
static double worst_error(const struct gem_matrix *mat, uint32_t m)
{
    const size_t k = mat->cols;
    double worst = 0;

    for (uint32_t r = 0; r < m; r++)
        for (size_t i = 0; i < mat->rows; i++) {
            double sum = 0, size = 0;
            for (size_t c = 0; c < k; c++) {
                const double p = (double)gem_bf16_to_f32(weights[i * k + c]) * x[r * k + c];
                sum += p;
                size += fabs(p);
            }
            worst = fmax(worst, fabs(y[r * mat->rows + i] - sum) / ((0x1p-17 + 2 * ((double)k + 1) * 0x1p-24) * size));
        }
    return worst;
}

static double multiply(struct bench *b, const struct gem_matrix *mat, uint32_t m, bool twice)
{
    struct gem_act act;
    int n_other = 0;

    b->f.twice = twice;
    act = gem_act_of(&b->f, x, mat->cols, m, mat->cols);
    gem_linear(&b->f, y, mat->rows, mat, &act);
    CHECK_EQ(act.form, GEM_ACT_BF16);
    for (uint32_t r = 0; r < m; r += 7) { /* a row alone has the same bits */
        struct gem_act alone = gem_act_of(&b->f, x + (size_t)r * mat->cols, mat->cols, 1, mat->cols);

        gem_linear(&b->f, one, mat->rows, mat, &alone);
        for (size_t i = 0; i < mat->rows; i++) n_other += one[i] != y[r * mat->rows + i];
    }
    CHECK_EQ(n_other, 0);
    return worst_error(mat, m);
}

static void check_product(struct bench *b, uint32_t rows, uint32_t cols, uint32_t m)
{
    const struct gem_matrix mat = {.type = GEM_BF16,
                                   .rows = rows,
                                   .cols = cols,
                                   .data = (const uint8_t *)(const void *)weights,
                                   .row_bytes = cols * sizeof *weights};

    for (size_t i = 0; i < (size_t)rows * cols; i++) weights[i] = gem_f32_to_bf16(normal());
    for (size_t i = 0; i < (size_t)m * cols; i++) x[i] = normal() * (i % 50 == 3 ? 100 : 1);
    CHECK(multiply(b, &mat, m, true) <= 1);
    CHECK(multiply(b, &mat, m, false) > 1); /* or the pairs would prove nothing */
}

static void test_pairs(void)
{
    static const uint32_t shapes[][3] = {{1, 32, 1},   {16, 96, 2},    {37, 96, 47},    {37, 96, 48},
                                         {37, 96, 49}, {128, 640, 96}, {300, 160, 100}, {17, 45, 3}};
    const unsigned sets[] = {0, gem_cpu_flags()};

    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            struct bench b;

            open_bench(&b, sets[s], shapes[i][1]);
            check_product(&b, shapes[i][0], shapes[i][1], shapes[i][2]);
            close_bench(&b);
        }
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {{"pairs", test_pairs}};

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
