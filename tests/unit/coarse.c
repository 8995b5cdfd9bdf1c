/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/coarse.c - the head in two stages: the bound of every row in double, and the same best logits, bit for
 * bit, as the whole product gives, on tables made to mislead it. */
#include "model/coarse.h"

#include <math.h>
#include <sys/mman.h>

#include "model/forward.h"
#include "unit/check.h"

enum { ROWS = 3005, N_X = 6, MOST_COLS = 1056 };

static const enum gem_type types[] = {GEM_F32, GEM_F16, GEM_BF16};

static uint64_t state = 1;
static double uniform(void) /* in (0, 1) */
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 11) + 0.5) * 0x1p-53;
}
static double normal(void) { return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()); }

/* What a table is like. */
enum kind { RANDOM, OUTLIERS, EQUAL, NEAR, ZERO, MIXED, TINY, SPOILT, N_KINDS };

static float weight(enum kind kind, size_t row, size_t col)
{
    static const float sizes[] = {1e-30f, 1e-8f, 1e-3f, 1, 60, 20000};

    switch (kind) {
    case OUTLIERS: return (float)(normal() * (col % 37 == 5 ? 40 : 0.05));
    case EQUAL: return sinf((float)col);
    case NEAR: return sinf((float)col) + (float)(normal() * 1e-4);
    case ZERO: return 0;
    case MIXED: return (float)normal() * sizes[row % 6];
    case TINY: return (float)(normal() * 1e-41);
    default: return (float)(normal() * 0.03);
    }
}

struct bench {
    struct gem_hparams h;
    struct gem_weights w;
    struct gem_kernels kern;
    struct gem_pool *pool;
    struct gem_forward f;
    float *table;  /* [ROWS, cols] as the number format has it */
    uint8_t *data; /* as a file is mapped: its pages can be given back and are what they were */
};

static void make_table(struct bench *b, enum kind kind, enum gem_type type, uint32_t cols)
{
    const size_t row_bytes = (size_t)gem_row_bytes(type, cols);

    b->table = malloc((size_t)ROWS * cols * sizeof *b->table);
    b->data = mmap(NULL, (size_t)ROWS * row_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (b->data == MAP_FAILED) abort();
    for (size_t i = 0; i < ROWS; i++) {
        float *row = b->table + i * cols;
        for (size_t j = 0; j < cols; j++) row[j] = weight(kind, i, j);
        if (kind == SPOILT && i % 1000 == 7) row[i % cols] = i == 7 ? INFINITY : 3e38f; /* too large for 8 bits */
        (void)gem_encode_row(type, row, b->data + i * row_bytes, cols);
        gem_decode_row(type, b->data + i * row_bytes, row, cols);
    }
    b->w.head = (struct gem_matrix){.type = type, .rows = ROWS, .cols = cols, .data = b->data, .row_bytes = row_bytes};
}

static void open_bench(struct bench *b, enum kind kind, enum gem_type type, uint32_t cols, unsigned cpu, bool exact)
{
    *b = (struct bench){.h = {.vocab = ROWS, .hidden = cols}};
    make_table(b, kind, type, cols);
    gem_kernels_init(&b->kern, cpu);
    CHECK_EQ(gem_pool_open(&b->pool, 2, NULL), GEM_OK);
    CHECK_EQ(gem_coarse_open(&b->w.coarse, &b->w.head, b->pool, NULL), GEM_OK);
    CHECK_EQ(gem_forward_open(&b->f, &b->h, &b->w, &b->kern, b->pool, exact, GEM_HEAD_ROWS, 0, NULL), GEM_OK);
}

static void close_bench(struct bench *b)
{
    gem_forward_close(&b->f);
    gem_coarse_close(b->w.coarse);
    gem_pool_close(b->pool);
    free(b->table);
    munmap(b->data, ROWS * b->w.head.row_bytes);
}

/* Row i of what is multiplied: plain, with a few large values as trained models have, huge, tiny, near a row. */
static void make_x(const struct bench *b, float *x, int i)
{
    const size_t n = b->h.hidden;

    for (size_t j = 0; j < n; j++) {
        x[j] = (float)normal();
        if (i == 1 && j % 50 == 3) x[j] *= 100;
        if (i == 2) x[j] *= 1e12f;
        if (i == 3) x[j] *= 1e-36f;
        if (i == 4) x[j] = b->table[11 * n + j] + 0.01f * x[j];
        if (i == 5) x[j] = b->table[ROWS / 2 * n + j];
    }
}

/* ---- the bound --------------------------------------------------------------------------------------------- */

static double exact_product(const float *w, const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) sum += (double)w[i] * x[i];
    return sum;
}

/* The float product, its exact value and the copy's are as near as the bound says. */
static void check_bound(struct bench *b, const float *x)
{
    const size_t n = b->h.hidden;
    const struct gem_coarse *c = b->w.coarse;
    float *whole = malloc(ROWS * sizeof *whole), *copy = malloc(ROWS * sizeof *copy);
    struct gem_act act = gem_act_of(&b->f, x, n, 1, (uint32_t)n);
    struct gem_act pairs = {.ldx = n, .m = 1, .k = (uint32_t)n, .other = b->f.head.act, .wide = true};
    struct gem_coarse_error e;
    int n_bad = 0;

    act.wide = false;
    pairs.x = gem_linear_input(&b->f, &b->w.head, &act, b->f.head.x);
    gem_linear(&b->f, whole, ROWS, &b->w.head, &act);
    gem_linear(&b->f, copy, ROWS, &c->head, &pairs);
    e = gem_coarse_bound(c, pairs.x, pairs.other);
    for (size_t i = 0; i < ROWS && e.usable; i++) {
        const double most = (double)c->left[i] * e.x + (double)c->norm[i] * e.rest + e.tiny;

        if (c->left[i] == INFINITY) continue;
        n_bad += !(fabs((double)whole[i] - copy[i]) <= most);
        n_bad += !(fabs(exact_product(b->table + i * n, pairs.x, n) - copy[i]) <= most);
    }
    CHECK_EQ(n_bad, 0);
    free(whole);
    free(copy);
}

/* ---- the best ---------------------------------------------------------------------------------------------- */

struct result {
    float *logits; /* [N_X, ROWS] */
    bool finite[N_X];
    int n;
};

static void keep_row(void *user, const struct gem_row *row, const float *logits, bool finite)
{
    struct result *r = user;

    (void)row;
    memcpy(r->logits + (size_t)r->n * ROWS, logits, ROWS * sizeof *logits);
    r->finite[r->n++] = finite;
}

static void run_head(struct bench *b, struct result *r, uint32_t n_best, const gem_logit_bias *bias, uint32_t n_bias)
{
    r->n = 0;
    b->f.n_rows = N_X;
    for (int i = 0; i < N_X; i++)
        b->f.rows[i] = (struct gem_row){.wanted = true, .n_best = n_best, .bias = bias, .n_bias = n_bias};
    gem_head(&b->f, keep_row, r);
    CHECK_EQ(r->n, N_X);
}

static bool comes_before(const float *logits, int a, int b)
{
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

/* The n best, best first, by repeated search. */
static void find_best(const float *logits, int *best, int n)
{
    for (int k = 0; k < n; k++) {
        best[k] = -1;
        for (int i = 0; i < ROWS; i++)
            if ((k == 0 || comes_before(logits, best[k - 1], i)) && (best[k] < 0 || comes_before(logits, i, best[k])))
                best[k] = i;
    }
}

static bool same_bits(const void *a, const void *b, size_t n) { return !memcmp(a, b, n); }

static void compare(const struct result *whole, const struct result *two, int n_best, const gem_logit_bias *bias)
{
    int a[64], z[64];

    for (int r = 0; r < N_X; r++) {
        const float *x = whole->logits + (size_t)r * ROWS, *y = two->logits + (size_t)r * ROWS;
        int n_other = 0;

        CHECK_EQ(whole->finite[r], two->finite[r]);
        if (!whole->finite[r]) continue;
        for (int i = 0; i < ROWS; i++) n_other += y[i] != -INFINITY && !same_bits(&x[i], &y[i], sizeof *x);
        CHECK_EQ(n_other, 0);
        find_best(x, a, n_best);
        find_best(y, z, n_best);
        CHECK(!memcmp(a, z, (size_t)n_best * sizeof *a));
        for (int i = 0; i < 2 && bias; i++) CHECK(x[bias[i].token] == y[bias[i].token]);
    }
}

static void check_best(struct bench *b, float cap)
{
    static const gem_logit_bias bias[] = {{3, -INFINITY}, {ROWS - 1, 5}};
    struct result whole = {.logits = malloc((size_t)N_X * ROWS * sizeof(float))};
    struct result two = {.logits = malloc((size_t)N_X * ROWS * sizeof(float))};

    b->h.softcap = cap;
    run_head(b, &whole, 0, NULL, 0);
    for (int k = 1; k <= 64; k += 21) {
        b->f.head.skip = 0; /* tried each time */
        run_head(b, &two, (uint32_t)k, NULL, 0);
        compare(&whole, &two, k, NULL);
        b->f.head.skip = 0;
        run_head(b, &two, (uint32_t)k, bias, 2);
        compare(&whole, &two, k, bias);
    }
    free(whole.logits);
    free(two.logits);
}

static void try_table(enum kind kind, enum gem_type type, uint32_t cols, unsigned cpu, bool exact)
{
    struct bench b;

    open_bench(&b, kind, type, cols, cpu, exact);
    for (int i = 0; i < N_X; i++) {
        make_x(&b, b.f.norm + (size_t)i * cols, i);
        check_bound(&b, b.f.norm + (size_t)i * cols);
    }
    check_best(&b, 0);
    check_best(&b, 30); /* of large logits many become 30: ties, the first of which counts */
    check_best(&b, 1e-3f);
    close_bench(&b);
}

static void test_tables(void)
{
    static const uint32_t cols[] = {64, MOST_COLS};
    const unsigned has = gem_cpu_flags();

    for (size_t tier = 0; tier < GEM_N_KERNEL_TIERS; tier++) {
        if ((gem_kernel_tiers[tier].flags & has) != gem_kernel_tiers[tier].flags) continue;
        for (size_t i = 0; i < 2 * N_KINDS * 3; i++) {
            const enum kind kind = (enum kind)(i / 6);
            const bool best = tier + 1 == GEM_N_KERNEL_TIERS || i % 6 == tier; /* a few of each on the others */
            if (best) try_table(kind, types[i % 3], cols[i / 3 % 2], gem_kernel_tiers[tier].flags, i % 4 == 3);
        }
    }
}

/* Where rows differ few are computed; where they are equal, all, and attempts pause. */
static void test_effort(void)
{
    struct result r = {.logits = malloc((size_t)N_X * ROWS * sizeof(float))};
    struct bench b;

    open_bench(&b, RANDOM, GEM_BF16, 512, gem_cpu_flags(), false);
    for (int i = 0; i < N_X; i++) make_x(&b, b.f.norm + (size_t)i * 512, 0);
    run_head(&b, &r, 1, NULL, 0);
    CHECK_EQ(b.f.head.counts.n_tried, N_X);
    CHECK_EQ(b.f.head.counts.n_full, 0);
    CHECK(b.f.head.counts.n_computed <= 10 * N_X);
    run_head(&b, &r, 0, NULL, 0);
    CHECK_EQ(b.f.head.counts.n_tried, N_X);
    close_bench(&b);

    open_bench(&b, EQUAL, GEM_BF16, 512, gem_cpu_flags(), false);
    for (int i = 0; i < N_X; i++) make_x(&b, b.f.norm + (size_t)i * 512, 0);
    for (int i = 0; i < 20; i++) run_head(&b, &r, 1, NULL, 0);
    CHECK(b.f.head.counts.n_tried >= N_X && b.f.head.counts.n_tried <= 6 * N_X);
    CHECK_EQ(b.f.head.counts.n_full, b.f.head.counts.n_tried);
    close_bench(&b);
    free(r.logits);
}

/* NaN and infinity are told of, in the table and in what is multiplied. */
static void test_not_finite(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    struct result r = {.logits = malloc((size_t)N_X * ROWS * sizeof(float))};
    struct bench b;

    open_bench(&b, RANDOM, GEM_F32, 64, gem_cpu_flags(), false);
    for (int i = 0; i < N_X; i++) {
        make_x(&b, b.f.norm + (size_t)i * 64, 0);
        if (i < 4) b.f.norm[i * 64 + 40] = bad[i];
    }
    run_head(&b, &r, 1, NULL, 0);
    for (int i = 0; i < 3; i++) CHECK(!r.finite[i]);
    CHECK(r.finite[5]);
    close_bench(&b);

    open_bench(&b, SPOILT, GEM_F32, 64, gem_cpu_flags(), false);
    for (int i = 0; i < N_X; i++) make_x(&b, b.f.norm + (size_t)i * 64, 0);
    CHECK(b.w.coarse->left[7] == INFINITY);
    run_head(&b, &r, 1, NULL, 0);
    for (int i = 0; i < N_X; i++) CHECK(!r.finite[i]);
    close_bench(&b);
    free(r.logits);
}

static void test_what_has_none(void)
{
    struct gem_matrix m = {.type = GEM_Q8_0, .rows = 100, .cols = 64};

    CHECK_EQ(gem_coarse_bytes(&m), 0);
    m.type = GEM_BF16;
    m.cols = 48;
    CHECK_EQ(gem_coarse_bytes(&m), 0);
    m.cols = 64;
    CHECK_EQ(gem_coarse_bytes(&m), 7 * (16 * 68 + 2 * 64));
}

static const struct check_test tests[] = {
    {"tables", test_tables},
    {"effort", test_effort},
    {"not finite", test_not_finite},
    {"what has none", test_what_has_none},
};

int main(int argc, char **argv) { return check_main(tests, sizeof tests / sizeof *tests, argc, argv); }
