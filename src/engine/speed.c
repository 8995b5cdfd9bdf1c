/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast the kernels of an instruction set are here, beside what limits them (gem_measure_speed).
 *
 * Everything is timed in slices of a few milliseconds by the clock on the wall, and the best slice counts, of the
 * machine as of the kernels: what else goes on only ever adds time. Weights and cached positions come from memory, so
 * each call takes the next ones of a stretch that caches cannot hold; what they meet waits in a cache, as it does in
 * a forward pass. */
#include "engine/internal.h"
#include "kernels/peak.h"

#include <time.h>

enum {
    STRETCH = 256 << 20,       /* bytes of weights, ... */
    THREAD_STRETCH = 16 << 20, /* ... at least this much a thread */
    PIECE = 1 << 20,           /* of reading memory, a call */
    NEAR = 16 << 10,           /* of reading the first-level cache */
    N_VECTORS = 96,            /* the most of a call */
    N_COLUMNS = 1536,          /* of all weights, and of vectors alone */
    N_ROWS = 1024,             /* the most of a call */
    SPAN = 256,                /* positions */
    FRESH = 16,                /* calls after which a vector that is changed in place starts anew */
};
static const double SLICE = 0.002, BUDGET = 0.04; /* seconds: of a slice, of all slices of one measurement */

/* What a thread has for itself. */
struct lane {
    uint8_t *stretch; /* [stretch_bytes] numbers of any format, all positive and below 1 */
    size_t at;        /* what comes next of it */
    float *y;         /* [N_VECTORS, N_ROWS] results */
    size_t n_calls;
    char factors[GEM_PEAK_BYTES], sum[64]; /* of loops that measure the machine */
};

struct bench {
    const gem_speed_options *options;
    struct gem_kernels kern;
    struct gem_peaks peaks;
    struct gem_pool *pool;
    struct gem_arena arena;
    struct lane *lanes; /* [n_threads] */
    size_t stretch_bytes;
    float *x;         /* [N_VECTORS, N_COLUMNS] between 0.5 and 1; so are: */
    uint16_t *x_bf16; /* the same */
    uint8_t *act;     /* [N_VECTORS] rows of gem_act_bytes(N_COLUMNS), the same */
    float *cos, *sin; /* [N_COLUMNS] of one angle */
    gem_machine_speed machine;
};

struct test;
typedef void call_fn(const struct bench *b, const struct test *t, struct lane *l);

/* A kernel at work. Operations are `ops` for each of rows * vectors * columns (rows, vectors: 1 where they are 0). */
struct test {
    const char *kernel, *format;
    call_fn *call;
    uint32_t rows, vectors, columns;
    uint32_t type;  /* enum gem_type, or enum gem_pack_kind */
    gem_limit unit; /* of its operations */
    double ops;
    double stream_bytes; /* from memory, of rows * columns */
    double near_bytes;   /* of the cache, of columns */
};

/* ---- calls ----------------------------------------------------------------------------------------------------- */

/* The next n bytes of weights. */
static const uint8_t *next(const struct bench *b, struct lane *l, size_t n)
{
    const size_t at = b->stretch_bytes - l->at < n ? 0 : l->at;

    l->at = at + (size_t)gem_align_up(n);
    return l->stretch + at;
}

/* Room for a result that a kernel changes in place: [columns] as x, every now and then. */
static float *in_place(const struct bench *b, const struct test *t, struct lane *l)
{
    if (l->n_calls++ % FRESH == 0) memcpy(l->y, b->x, t->columns * sizeof *l->y);
    return l->y;
}

static void call_gemm(const struct bench *b, const struct test *t, struct lane *l)
{
    const uint8_t *w = next(b, l, (size_t)(t->rows * t->columns * t->stream_bytes));
    gem_gemm_fn *gemm = t->type == GEM_F32   ? b->kern.gemm_f32
                        : t->type == GEM_F16 ? b->kern.gemm_f16
                                             : b->kern.gemm_bf16;

    gemm(w, t->columns, b->x, N_COLUMNS, l->y, t->rows, t->rows, t->vectors, t->columns);
}

static void call_gemm_bf16_bf16(const struct bench *b, const struct test *t, struct lane *l)
{
    const void *w = next(b, l, (size_t)t->rows * t->columns * sizeof(uint16_t));

    b->kern.gemm_bf16_bf16(w, t->columns, b->x_bf16, N_COLUMNS, l->y, t->rows, t->rows, t->vectors, t->columns);
}

static void call_gemm_packed(const struct bench *b, const struct test *t, struct lane *l)
{
    const size_t n_panels = t->rows / GEM_PANEL;
    const uint8_t *w = next(b, l, n_panels * (size_t)gem_panel_bytes(t->type, t->columns));

    b->kern.gemm_packed[t->type](w, n_panels, t->rows, b->act, t->vectors, l->y, t->rows, t->columns);
}

static void call_gemm_pairs(const struct bench *b, const struct test *t, struct lane *l)
{
    const size_t panel = gem_pairs_bytes(t->columns);
    const uint8_t *w = next(b, l, t->rows / GEM_PANEL * panel);

    for (uint32_t i = 0; i < t->rows; i += GEM_PANEL)
        b->kern.gemm_pairs((const uint16_t *)(const void *)(w + i / GEM_PANEL * panel), GEM_PANEL, b->x_bf16, N_COLUMNS,
                           t->vectors, l->y + i, t->rows, t->columns, false);
}

static void call_pack_pairs(const struct bench *b, const struct test *t, struct lane *l)
{
    const size_t row_bytes = (size_t)(t->columns * t->stream_bytes);

    b->kern.pack_pairs((uint16_t *)l->y, next(b, l, t->rows * row_bytes), (enum gem_type)t->type, row_bytes, t->rows,
                       t->columns);
}

/* Queries or probabilities for a cache of t->type. */
static const void *narrowed(const struct bench *b, const struct test *t)
{
    return t->type == GEM_BF16 && b->kern.has_bf16 ? (const void *)b->x_bf16 : b->x;
}

static void call_score(const struct bench *b, const struct test *t, struct lane *l)
{
    const void *keys = next(b, l, (size_t)(t->rows * t->columns * t->stream_bytes));

    (t->type == GEM_F32 ? b->kern.score_f32 : b->kern.score_bf16)(narrowed(b, t), t->columns, keys, l->y, t->rows,
                                                                  t->vectors, t->rows / GEM_PANEL, t->columns);
}

static void call_value(const struct bench *b, const struct test *t, struct lane *l)
{
    const void *values = next(b, l, (size_t)(t->rows * t->columns * t->stream_bytes));

    (t->type == GEM_F32 ? b->kern.value_f32 : b->kern.value_bf16)(narrowed(b, t), t->rows, values, t->columns, l->y,
                                                                  t->columns, t->vectors, t->rows, t->columns);
}

static void call_transpose(const struct bench *b, const struct test *t, struct lane *l)
{
    const size_t n = t->columns / GEM_PANEL;

    (t->type == GEM_F32 ? b->kern.transpose_f32 : b->kern.transpose_bf16)(l->y, b->x, n, n);
}

static void call_rms_norm(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.rms_norm(l->y, b->x, b->cos, t->columns, 1e-6f);
}

static void call_gelu_mul(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.gelu_mul(in_place(b, t, l), b->x, t->columns);
}

static void call_sigmoid_mul(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.sigmoid_mul(in_place(b, t, l), b->x, t->columns);
}

static void call_softmax(const struct bench *b, const struct test *t, struct lane *l)
{
    float top;

    b->kern.softmax(in_place(b, t, l), t->columns, &top);
}

static void call_rope(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.rope(in_place(b, t, l), t->columns / SPAN, SPAN, b->cos, b->sin, SPAN / 2);
}

static void call_softcap(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.softcap(in_place(b, t, l), t->columns, 30);
}

static void call_add(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.add(in_place(b, t, l), b->x, t->columns);
}

static void call_add_scale(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.add_scale(in_place(b, t, l), b->x, 0.5f, t->columns);
}

static void call_clamp(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.clamp(l->y, b->x, 0.6f, 0.9f, t->columns);
}

static void call_to_bf16(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.to_bf16((uint16_t *)l->y, b->x, t->columns);
}

static void call_int8_to_bf16(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.int8_to_bf16((uint16_t *)l->y, (const int8_t *)b->x, t->columns);
}

static void call_quantize(const struct bench *b, const struct test *t, struct lane *l)
{
    b->kern.quantize(l->y, b->x, t->columns);
}

/* ---- the list -------------------------------------------------------------------------------------------------- */

/* One activation, as in decoding, and many, as in a prompt. */
#define PRODUCT(kernel, format, call, type, unit, bytes)                                                               \
    {kernel, format, call, N_ROWS, 1, N_COLUMNS, type, unit, 2, bytes, 0},                                             \
    {                                                                                                                  \
        kernel, format, call, 256, N_VECTORS, N_COLUMNS, type, unit, 2, bytes, 0                                       \
    }
/* And some, as in decoding several sessions in one batch. */
#define PACKED(format, kind, bits)                                                                                     \
    PRODUCT("gemm_packed", format, call_gemm_packed, GEM_PK_##kind, GEM_LIMIT_INT8, (bits) / 8.0),                     \
    {                                                                                                                  \
        "gemm_packed", format, call_gemm_packed, N_ROWS, 8, N_COLUMNS, GEM_PK_##kind, GEM_LIMIT_INT8, 2, (bits) / 8.0, \
            0                                                                                                          \
    }
/* 8 query heads of one token, and 64 queries. */
#define ATTENTION(kernel, format, call, type, unit, bytes)                                                             \
    {kernel, format, call, SPAN, 8, SPAN, type, unit, 2, bytes, 0},                                                    \
    {                                                                                                                  \
        kernel, format, call, SPAN, 64, SPAN, type, unit, 2, bytes, 0                                                  \
    }
/* Vectors alone. ops: as the formula has them, an exponential being 8 multiply-adds and a division 4; near: bytes that
 * are read or written, whichever are more. */
#define VECTOR(kernel, format, call, type, ops, near)                                                                  \
    {                                                                                                                  \
        kernel, format, call, 0, 0, N_COLUMNS, type, GEM_LIMIT_F32, ops, 0, near                                       \
    }

static const struct test tests[] = {
    PRODUCT("gemm_f32", "F32", call_gemm, GEM_F32, GEM_LIMIT_F32, 4),
    PRODUCT("gemm_f16", "F16", call_gemm, GEM_F16, GEM_LIMIT_F32, 2),
    PRODUCT("gemm_bf16", "BF16", call_gemm, GEM_BF16, GEM_LIMIT_F32, 2),
    PRODUCT("gemm_bf16_bf16", "BF16", call_gemm_bf16_bf16, GEM_BF16, GEM_LIMIT_BF16, 2),
    PRODUCT("gemm_pairs", "BF16", call_gemm_pairs, GEM_BF16, GEM_LIMIT_BF16, 2),
    {"pack_pairs", "BF16", call_pack_pairs, GEM_PANEL, 1, N_COLUMNS, GEM_BF16, GEM_LIMIT_F32, 0, 2, 0},
    {"pack_pairs", "F16", call_pack_pairs, GEM_PANEL, 1, N_COLUMNS, GEM_F16, GEM_LIMIT_F32, 0, 2, 0},
    PACKED("Q4_0", Q4, 4.5),
    PACKED("Q8_0", Q8, 8.5),
    PACKED("Q4_1", Q4M, 5),
    PACKED("Q5_0", Q5, 5.5),
    PACKED("Q5_1", Q5M, 6),
    PACKED("Q4_K", Q4K, 4.625),
    PACKED("Q2_K", Q4K16, 5.125),
    PACKED("Q5_K", Q5K, 5.625),
    PACKED("Q6_K", Q6K, 6.5625),
    PACKED("IQ4_XS", Q8K, 8.3125),
    ATTENTION("score_f32", "F32", call_score, GEM_F32, GEM_LIMIT_F32, 4),
    ATTENTION("score_bf16", "BF16", call_score, GEM_BF16, GEM_LIMIT_BF16, 2),
    ATTENTION("value_f32", "F32", call_value, GEM_F32, GEM_LIMIT_F32, 4),
    ATTENTION("value_bf16", "BF16", call_value, GEM_BF16, GEM_LIMIT_BF16, 2),
    VECTOR("transpose_f32", "F32", call_transpose, GEM_F32, 0, 4),
    VECTOR("transpose_bf16", "BF16", call_transpose, GEM_BF16, 0, 2),
    VECTOR("rms_norm", "", call_rms_norm, GEM_F32, 4, 8),
    VECTOR("gelu_mul", "", call_gelu_mul, GEM_F32, 34, 8),
    VECTOR("sigmoid_mul", "", call_sigmoid_mul, GEM_F32, 26, 8),
    VECTOR("softmax", "", call_softmax, GEM_F32, 18, 4),
    VECTOR("rope", "", call_rope, GEM_F32, 4, 4),
    VECTOR("softcap", "", call_softcap, GEM_F32, 30, 4),
    VECTOR("add", "", call_add, GEM_F32, 1, 8),
    VECTOR("add_scale", "", call_add_scale, GEM_F32, 2, 8),
    VECTOR("clamp", "", call_clamp, GEM_F32, 2, 4),
    VECTOR("to_bf16", "", call_to_bf16, GEM_F32, 0, 4),
    VECTOR("int8_to_bf16", "", call_int8_to_bf16, GEM_F32, 0, 2),
    VECTOR("quantize", "", call_quantize, GEM_F32, 4, 4),
};

/* ---- time ------------------------------------------------------------------------------------------------------ */

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Some calls of one test by some threads, each as many. */
struct slice {
    const struct bench *b;
    const struct test *test;
    size_t n_calls;
};

static void run_lanes(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct slice *s = context;

    (void)thread;
    for (size_t i = begin; i < end; i++)
        for (size_t n = s->n_calls; n > 0; n--) s->test->call(s->b, s->test, &s->b->lanes[i]);
}

static double run_slice(struct slice *s, uint32_t n_threads)
{
    const double start = seconds();

    if (n_threads == 1)
        run_lanes(s, 0, 1, 0);
    else
        gem_pool_run(s->b->pool, n_threads, 1, run_lanes, s);
    return seconds() - start;
}

/* Of one call, in the best slice: first as many calls a slice as make it long enough, which warms up as well. No slice
 * takes more than half of the budget, so that one that something interrupted is not the only one. */
static double best_call(const struct bench *b, const struct test *t, uint32_t n_threads)
{
    struct slice s = {b, t, 1};
    double best = 0, spent = 0;

    while (spent < BUDGET) {
        const double took = run_slice(&s, n_threads), call = took / (double)s.n_calls;

        if (took < SLICE) {
            s.n_calls *= 2;
            continue;
        }
        if (best == 0 || call < best) best = call;
        spent += took < BUDGET / 2 ? took : BUDGET / 2;
    }
    return best;
}

/* ---- what limits ----------------------------------------------------------------------------------------------- */

static void call_memory(const struct bench *b, const struct test *t, struct lane *l)
{
    b->peaks.read(next(b, l, t->columns), t->columns, l->sum);
}

static void call_near(const struct bench *b, const struct test *t, struct lane *l)
{
    b->peaks.read(l->y, t->columns, l->sum);
}

static void call_peak(const struct bench *b, const struct test *t, struct lane *l)
{
    b->peaks.run[t->type](t->columns, l->factors);
}

/* Measures it once more, and keeps the better. */
static void measure_limit(struct bench *b, gem_limit limit, uint32_t n_threads)
{
    static const struct test limits[GEM_N_LIMITS] = {
        [GEM_LIMIT_MEMORY] = {.call = call_memory, .columns = PIECE},
        [GEM_LIMIT_CACHE] = {.call = call_near, .columns = NEAR},
        [GEM_LIMIT_INT8] = {.call = call_peak, .columns = 1000, .type = GEM_PEAK_INT8},
        [GEM_LIMIT_BF16] = {.call = call_peak, .columns = 1000, .type = GEM_PEAK_BF16},
        [GEM_LIMIT_F32] = {.call = call_peak, .columns = 1000, .type = GEM_PEAK_F32},
    };
    const struct test *t = &limits[limit];
    double *known = (n_threads == 1 ? b->machine.one : b->machine.all) + limit, rate;

    if (t->call == call_peak && !b->peaks.run[t->type]) return;
    rate = n_threads * (double)t->columns * (t->call == call_peak ? b->peaks.ops[t->type] : 1) /
           best_call(b, t, n_threads);
    if (rate > *known) *known = rate;
}

static void measure_machine(struct bench *b)
{
    const uint32_t n = b->machine.n_threads;

    for (int limit = 0; limit < GEM_N_LIMITS; limit++) {
        measure_limit(b, (gem_limit)limit, 1);
        if (n > 1) measure_limit(b, (gem_limit)limit, n);
        if (n == 1) b->machine.all[limit] = b->machine.one[limit];
    }
}

/* What a call takes of each limit. */
static void count(const struct bench *b, const struct test *t, double amount[GEM_N_LIMITS])
{
    const double rows = t->rows ? t->rows : 1, vectors = t->vectors ? t->vectors : 1;
    const gem_limit unit = b->machine.one[t->unit] > 0 ? t->unit : GEM_LIMIT_F32;

    memset(amount, 0, GEM_N_LIMITS * sizeof *amount);
    amount[unit] = rows * vectors * t->columns * t->ops;
    amount[GEM_LIMIT_MEMORY] = rows * t->columns * t->stream_bytes;
    amount[GEM_LIMIT_CACHE] = t->columns * t->near_bytes;
}

/* The limit that alone would take longest. */
static gem_limit nearest(const double amount[GEM_N_LIMITS], const double peak[GEM_N_LIMITS])
{
    gem_limit limit = GEM_LIMIT_MEMORY;
    double longest = 0;

    for (int i = 0; i < GEM_N_LIMITS; i++)
        if (amount[i] > 0 && amount[i] / peak[i] > longest) {
            longest = amount[i] / peak[i];
            limit = (gem_limit)i;
        }
    return limit;
}

static gem_kernel_speed measure_test(struct bench *b, const struct test *t, uint32_t n_threads)
{
    const double *peak = n_threads == 1 ? b->machine.one : b->machine.all;
    gem_kernel_speed speed = {.kernel = t->kernel,
                              .format = t->format,
                              .rows = t->rows,
                              .columns = t->columns,
                              .vectors = t->vectors,
                              .n_threads = n_threads};
    double amount[GEM_N_LIMITS];

    count(b, t, amount);
    for (uint32_t i = 0; i < n_threads; i++) b->lanes[i].n_calls = 0;
    speed.seconds = best_call(b, t, n_threads);
    speed.limit = nearest(amount, peak);
    speed.rate = n_threads * amount[speed.limit] / speed.seconds;
    /* What is faster than a limit says that something had disturbed measuring that. */
    for (int i = 0; i < 4 && speed.rate > peak[speed.limit]; i++) measure_limit(b, speed.limit, n_threads);
    speed.peak = peak[speed.limit];
    speed.fraction = speed.rate / speed.peak;
    return speed;
}

/* On all threads too where they share what limits it; first-level caches they have each their own. */
static gem_status measure_tests(struct bench *b, gem_error *err)
{
    const uint32_t all = b->machine.n_threads;
    bool go = true;

    for (size_t i = 0; i < sizeof tests / sizeof *tests && go; i++) {
        gem_kernel_speed speed = measure_test(b, &tests[i], 1);
        go = b->options->fn(b->options->user, &speed);
        if (!go || all == 1 || !tests[i].rows) continue;
        speed = measure_test(b, &tests[i], all);
        go = b->options->fn(b->options->user, &speed);
    }
    return go ? GEM_OK : gem_fail(err, GEM_E_CANCELLED, 0, "measuring kernels was cancelled");
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* Bytes from 0x10 to 0x3f: small numbers in every format, none negative, subnormal or infinite, but all different. */
static void fill_stretch(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct bench *b = context;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        uint64_t state = i + 1, *out = (uint64_t *)(void *)b->lanes[i].stretch;
        for (size_t j = 0; j < b->stretch_bytes / sizeof *out; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
            out[j] = (state >> 13 & 0x1f1f1f1f1f1f1f1fu) + 0x1010101010101010u;
        }
    }
}

static void fill_near(const struct bench *b)
{
    for (uint32_t i = 0; i < N_VECTORS * N_COLUMNS; i++) {
        b->x[i] = 0.5f + (float)(i * 2654435761u >> 8) * 0x1p-25f;
        b->x_bf16[i] = gem_f32_to_bf16(b->x[i]);
    }
    for (uint32_t i = 0; i < N_VECTORS; i++)
        b->kern.quantize(b->act + i * gem_act_bytes(N_COLUMNS), b->x + (size_t)i * N_COLUMNS, N_COLUMNS);
    for (uint32_t i = 0; i < N_COLUMNS; i++) b->cos[i] = 0.8f, b->sin[i] = 0.6f;
    for (uint32_t i = 0; i < b->machine.n_threads; i++) {
        memset(b->lanes[i].y, 0, (size_t)N_VECTORS * N_ROWS * sizeof(float));
        memcpy(b->lanes[i].factors, b->x, sizeof b->lanes[i].factors);
    }
}

static gem_status open_bench(struct bench *b, gem_error *err)
{
    const uint32_t n = b->machine.n_threads;
    const size_t share = STRETCH / n > THREAD_STRETCH ? STRETCH / n : THREAD_STRETCH;
    const size_t x_bytes = N_VECTORS * N_COLUMNS * sizeof(float), y_bytes = N_VECTORS * N_ROWS * sizeof(float);
    const size_t act_bytes = N_VECTORS * gem_act_bytes(N_COLUMNS), row = N_COLUMNS * sizeof(float);
    gem_status st;

    b->stretch_bytes = share / PIECE * PIECE;
    b->lanes = gem_calloc(n, sizeof *b->lanes, "measuring kernels", err);
    if (!b->lanes) return GEM_E_NOMEM;
    st = gem_arena_open(&b->arena, n * (uint64_t)(b->stretch_bytes + y_bytes) + 2 * x_bytes + act_bytes + 2 * row,
                        "measuring kernels", err);
    if (st) return st;
    for (uint32_t i = 0; i < n; i++) b->lanes[i].stretch = gem_arena_take(&b->arena, b->stretch_bytes);
    for (uint32_t i = 0; i < n; i++) b->lanes[i].y = gem_arena_take(&b->arena, y_bytes);
    b->x = gem_arena_take(&b->arena, x_bytes);
    b->x_bf16 = gem_arena_take(&b->arena, x_bytes / 2);
    b->act = gem_arena_take(&b->arena, act_bytes);
    b->cos = gem_arena_take(&b->arena, row);
    b->sin = gem_arena_take(&b->arena, row);
    fill_near(b);
    gem_pool_run(b->pool, n, 1, fill_stretch, b);
    return GEM_OK;
}

gem_status gem_measure_speed(const gem_speed_options *options, gem_machine_speed *machine, gem_error *err)
{
    static const gem_speed_options none;
    struct bench b = {.options = options ? options : &none};
    unsigned cpu;
    gem_status st = gem_choose_cpu(&cpu, b.options->cpu, err);

    if (st) return st;
    gem_kernels_init(&b.kern, cpu);
    gem_peaks_init(&b.peaks, cpu);
    b.machine.cpu = b.kern.name;
    if ((st = gem_pool_open(&b.pool, b.options->n_threads, err))) return st;
    b.machine.n_threads = gem_pool_threads(b.pool);
    if ((st = open_bench(&b, err))) goto done;
    measure_machine(&b);
    if (b.options->fn) st = measure_tests(&b, err);
    if (!st && machine) *machine = b.machine;
done:
    gem_arena_close(&b.arena);
    gem_free(b.lanes);
    gem_pool_close(b.pool);
    return st;
}

const char *gem_limit_name(gem_limit limit)
{
    static const char *const names[GEM_N_LIMITS] = {"memory", "cache", "int8", "bf16", "f32"};

    return (unsigned)limit < GEM_N_LIMITS ? names[limit] : "unknown";
}
