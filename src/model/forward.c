/* SPDX-License-Identifier: Apache-2.0 */
#include "model/forward.h"

#include <assert.h>
#include <math.h>

/* ---- memory ------------------------------------------------------------------------------------------------ */

struct widths {
    size_t q, kv, ffn, act; /* floats of a row, bytes of the widest int8 or bfloat16 row */
    size_t head_dim, group, widest;
};

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

/* Whether products of layer i may take two bfloat16 for an activation. */
static bool is_twice(const struct gem_hparams *h, uint32_t i) { return i < GEM_TWICE_LAYERS && h->hidden < GEM_NARROW; }

static struct widths find_widths(const struct gem_hparams *h)
{
    struct widths w = {.widest = max_size(h->hidden, (size_t)h->ple * h->n_layers)};
    size_t twice = max_size(h->hidden, h->ple); /* widest row that may be two of bfloat16; not the feed-forward's */

    for (uint32_t i = 0; i < h->n_layers; i++) {
        const struct gem_layer_hparams *l = &h->layers[i];
        w.q = max_size(w.q, (size_t)h->n_heads * l->head_dim);
        w.kv = max_size(w.kv, (size_t)l->n_kv_heads * l->head_dim);
        w.ffn = max_size(w.ffn, l->ffn);
        w.head_dim = max_size(w.head_dim, l->head_dim);
        w.group = max_size(w.group, h->n_heads / l->n_kv_heads);
        if (is_twice(h, i)) twice = max_size(twice, (size_t)h->n_heads * l->head_dim);
    }
    w.widest = max_size(w.widest, max_size(w.q, max_size(w.ffn, h->ffn_expert)));
    w.act = max_size(gem_act_bytes((w.widest + 31) / 32 * 32), gem_align_up(w.widest * sizeof(uint16_t)));
    w.act = max_size(w.act, gem_align_up(2 * twice * sizeof(uint16_t)));
    return w;
}

/* One piece of an arena; only counted while the arena has no memory, so that one function both measures and takes. */
static void *take(struct gem_arena *a, uint64_t n, uint64_t size)
{
    const uint64_t bytes = gem_align_up(n * size);

    if (a->base) return gem_arena_take(a, (size_t)bytes);
    a->used += (size_t)bytes;
    return NULL;
}

static void take_experts(struct gem_forward *f, const struct widths *w)
{
    struct gem_expert_scratch *e = &f->experts;
    const struct gem_hparams *h = f->h;
    const uint64_t slots = (uint64_t)f->max_rows * h->n_experts_used;

    e->probs = take(&f->arena, (uint64_t)f->max_rows * h->n_experts, sizeof(float));
    e->chosen = take(&f->arena, slots, sizeof(uint32_t));
    e->weight = take(&f->arena, slots, sizeof(float));
    e->order = take(&f->arena, slots, sizeof(uint32_t));
    e->start = take(&f->arena, h->n_experts + 1, sizeof(uint32_t));
    e->in = take(&f->arena, slots * h->hidden, sizeof(float));
    e->gate_up = take(&f->arena, slots * 2 * h->ffn_expert, sizeof(float));
    e->result = take(&f->arena, slots * h->hidden, sizeof(float));
    e->act = take(&f->arena, f->wide ? 2 * slots : slots, w->act);
}

/* Room for four rows a thread in four spans each. */
static void take_split(struct gem_forward *f, const struct widths *w, unsigned n_threads)
{
    struct gem_split *s = &f->split;

    s->n_queries = (size_t)16 * n_threads * w->group;
    s->top = take(&f->arena, s->n_queries, sizeof(float));
    s->sum = take(&f->arena, s->n_queries, sizeof(float));
    s->value = take(&f->arena, s->n_queries * w->head_dim, sizeof(float));
    s->states = take(&f->arena, s->n_queries, sizeof *s->states);
}

/* More rows of the table than one in sixteen would not pay: they lie apart. */
static void take_head(struct gem_forward *f)
{
    struct gem_head_scratch *s = &f->head;
    const uint64_t blocks = gem_n_panels(f->h->vocab);
    struct gem_arena *a = &f->arena;

    s->n_rows = (size_t)blocks + GEM_HEAD_BEST;
    s->x = take(a, (uint64_t)GEM_HEAD_ROWS * f->h->hidden, sizeof(float));
    s->act = take(a, 2 * GEM_HEAD_ROWS, gem_act_bytes((f->h->hidden + 31) / 32 * 32));
    s->low = take(a, blocks, sizeof(float));
    s->high = take(a, blocks, sizeof(float));
    s->rows = take(a, s->n_rows, sizeof(uint32_t));
    s->values = take(a, s->n_rows, sizeof(float));
}

static void layout(struct gem_forward *f, unsigned n_threads)
{
    const struct gem_hparams *h = f->h;
    const struct widths w = find_widths(h);
    const uint64_t m = f->max_rows, queries = max_size(GEM_QUERIES, w.group);
    struct gem_arena *a = &f->arena;

    f->rows = take(a, m, sizeof *f->rows);
    f->x = take(a, m * h->hidden, sizeof(float));
    f->norm = take(a, m * h->hidden, sizeof(float));
    f->out = take(a, m * h->hidden, sizeof(float));
    f->q = take(a, m * w.q, sizeof(float));
    f->k = take(a, m * w.kv, sizeof(float));
    f->v = take(a, m * w.kv, sizeof(float));
    f->query = take(a, m * w.q, sizeof(float));
    f->blocks = take(a, m, sizeof *f->blocks);
    f->gate = take(a, m * w.ffn, sizeof(float));
    f->up = take(a, m * w.ffn, sizeof(float));
    f->ple = take(a, m * h->ple * h->n_layers, sizeof(float));
    f->ple_gate = take(a, m * h->ple, sizeof(float));
    for (int global = 0; global < 2; global++) {
        const uint32_t n_rot = global ? h->rope_global.n_rot : h->rope_local.n_rot;
        f->cos[global] = take(a, m * n_rot, sizeof(float));
        f->sin[global] = take(a, m * n_rot, sizeof(float));
    }
    f->logits = take(a, (uint64_t)GEM_HEAD_ROWS * h->vocab, sizeof(float));
    take_head(f);
    f->act = take(a, f->wide ? 2 * m : m, w.act);
    if (h->n_experts) take_experts(f, &w);
    take_split(f, &w, n_threads);
    f->threads = take(a, n_threads, sizeof *f->threads);
    for (unsigned i = 0; i < n_threads; i++) {
        struct gem_thread_scratch t = {
            .scores = take(a, queries * GEM_SPAN, sizeof(float)),
            .probs = take(a, queries * GEM_SPAN, sizeof(uint16_t)),
            .top = take(a, queries, sizeof(float)),
            .sum = take(a, queries, sizeof(float)),
            .panels = take(a, (uint64_t)GEM_SPAN * w.head_dim, sizeof(uint16_t)),
            .joined = take(a, (uint64_t)GEM_JOINED * w.head_dim, sizeof(uint16_t)),
            .rest = take(a, queries * GEM_JOINED, sizeof(float)),
            .part = take(a, queries * w.head_dim, sizeof(float)),
            .states = take(a, queries, sizeof(struct gem_softmax_state)),
            .tile = take(a, GEM_TILE * w.widest, sizeof(float)),
        };
        if (f->threads) f->threads[i] = t;
    }
}

uint64_t gem_forward_bytes(const struct gem_hparams *h, uint32_t max_rows, unsigned n_threads)
{
    struct gem_forward f = {.h = h, .max_rows = max_rows, .wide = h->n_experts > 0};

    layout(&f, n_threads);
    return f.arena.used;
}

gem_status gem_forward_open(struct gem_forward *f, const struct gem_hparams *h, const struct gem_weights *w,
                            const struct gem_kernels *kern, struct gem_pool *pool, bool exact, uint32_t max_rows,
                            uint64_t ple_cap, gem_error *err)
{
    const unsigned n_threads = gem_pool_threads(pool);
    gem_status st;

    *f = (struct gem_forward){.h = h, .w = w, .kern = kern, .pool = pool, .exact = exact, .max_rows = max_rows};
    f->wide = h->n_experts > 0;
    if ((st = gem_ple_open(&f->ple_rows, w, max_rows, ple_cap, err))) return st;
    if ((st = gem_arena_open(&f->arena, gem_forward_bytes(h, max_rows, n_threads), "an engine's scratch memory", err)))
        return st;
    layout(f, n_threads);
    return GEM_OK;
}

void gem_forward_close(struct gem_forward *f)
{
    gem_arena_close(&f->arena);
    gem_ple_close(&f->ple_rows);
    gem_stream_close(&f->stream);
    *f = (struct gem_forward){0};
}

/* ---- the pass ---------------------------------------------------------------------------------------------- */

/* Where the head, which mostly is the table, does not stay in memory, touching rows of the table would bring a huge
 * page for each: gem_forward_fetch reads them from the file. */
static bool reads_table(const struct gem_forward *f) { return gem_stream_drops(&f->stream, f->h->n_layers + 1); }

/* Spec 2.1: x = E[id] * sqrt(hidden), the factor rounded to bfloat16. Soft tokens come as they are. */
static void embed_row(void *context, size_t begin, size_t end, unsigned thread)
{
    struct gem_forward *f = context;
    const size_t n = f->h->hidden;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *x = f->x + i * n;
        if (f->rows[i].soft) {
            memcpy(x, f->rows[i].soft, n * sizeof *x);
            continue;
        }
        if (!reads_table(f)) gem_matrix_row(&f->w->table, gem_hparams_table_row(f->h, f->rows[i].token), x);
        for (size_t j = 0; j < n; j++) x[j] *= f->h->embed_scale;
    }
}

/* Layers from here on write no cache, so only rows whose logits are wanted need them (spec 2.5). */
static void keep_wanted_rows(struct gem_forward *f)
{
    const struct gem_hparams *h = f->h;
    struct {
        float *base;
        size_t n;
    } const arrays[] = {
        {f->x, h->hidden},
        {f->norm, h->hidden},
        {f->ple, (size_t)h->ple * h->n_layers},
        {f->cos[0], h->rope_local.n_rot},
        {f->sin[0], h->rope_local.n_rot},
        {f->cos[1], h->rope_global.n_rot},
        {f->sin[1], h->rope_global.n_rot},
    };
    uint32_t n = 0;

    for (uint32_t i = 0; i < f->n_rows; i++) {
        if (!f->rows[i].wanted) continue;
        for (size_t j = 0; j < sizeof arrays / sizeof *arrays && n != i; j++)
            memcpy(arrays[j].base + n * arrays[j].n, arrays[j].base + i * arrays[j].n, arrays[j].n * sizeof(float));
        f->rows[n++] = f->rows[i];
    }
    f->n_rows = n;
}

/* x *= layer_scalar: the whole residual stream (spec 2.3). */
static void scale_rows(struct gem_forward *f, float scale)
{
    const size_t n = (size_t)f->n_rows * f->h->hidden;

    if (scale == 1) return;
    for (size_t i = 0; i < n; i++) f->x[i] *= scale;
}

/* One decoder layer (spec 2.3) on the residual stream f->x. */
static void run_layer(struct gem_forward *f, uint32_t i, bool all_rows)
{
    const struct gem_layer *l = &f->w->layers[i];
    const size_t hidden = f->h->hidden;

    gem_norm_rows(f, f->norm, f->x, l->attn_norm, hidden);
    if (i < f->h->n_own) gem_store_kv(f, i);
    if (i + 1 == f->h->n_own && !all_rows) keep_wanted_rows(f);
    if (f->n_rows == 0) return;

    gem_attention(f, i);
    gem_join_branch(f, l->post_attn_norm);

    if (f->h->n_experts) {
        gem_experts_layer(f, i);
    } else {
        gem_norm_rows(f, f->norm, f->x, l->ffn_norm, hidden);
        gem_feed_forward(f, &l->gate, &l->up, &l->down);
    }
    gem_join_branch(f, l->post_ffn_norm);

    if (f->h->ple) gem_ple_layer(f, i);
    scale_rows(f, l->scale);
}

static void tap_rows(const struct gem_forward *f, gem_tap_fn *tap, void *user, uint32_t layer, const float *x)
{
    for (uint32_t r = 0; tap && r < f->n_rows; r++) tap(user, &f->rows[r], layer, x + (size_t)r * f->h->hidden);
}

gem_status gem_forward_fetch(struct gem_forward *f, gem_error *err)
{
    enum { MOST = 4096 };
    uint32_t rows[MOST];
    gem_status st = GEM_OK;

    assert(f->n_rows <= MOST);
    for (uint32_t i = 0; i < f->n_rows; i++) rows[i] = gem_hparams_table_row(f->h, f->rows[i].token);
    for (uint32_t i = 0; i < f->n_rows && reads_table(f) && !st; i++)
        st = gem_matrix_read_row(f->w, &f->w->table, rows[i], f->threads[0].tile, f->x + (size_t)i * f->h->hidden, err);
    if (st || !f->h->ple) return st;
    return gem_ple_fetch(&f->ple_rows, rows, f->n_rows, err);
}

void gem_forward_run(struct gem_forward *f, gem_tap_fn *tap, gem_rows_fn *on_row, void *user)
{
    gem_pool_run(f->pool, f->n_rows, 8, embed_row, f);
    tap_rows(f, tap, user, 0, f->x);
    gem_rope_rows(f);
    gem_stream_enter(&f->stream, 0);
    if (f->h->ple) gem_ple_rows(f);
    gem_stream_leave(&f->stream, 0);
    for (uint32_t i = 0; i < f->h->n_layers && f->n_rows > 0; i++) {
        gem_stream_enter(&f->stream, i + 1);
        f->twice = is_twice(f->h, i);
        run_layer(f, i, tap != NULL);
        gem_stream_leave(&f->stream, i + 1);
        if (i + 1 < f->h->n_layers) tap_rows(f, tap, user, i + 1, f->x);
    }
    f->twice = false;
    if (f->n_rows == 0) return;
    gem_norm_rows(f, f->norm, f->x, f->w->norm, f->h->hidden);
    tap_rows(f, tap, user, f->h->n_layers, f->norm);
    gem_head(f, on_row, user);
}

/* ---- norms --------------------------------------------------------------------------------------------------- */

struct norm_job {
    const struct gem_forward *f;
    float *out;
    const float *in, *w;
    size_t n;
};

static void norm_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct norm_job *j = context;

    (void)thread;
    for (size_t i = begin; i < end; i++)
        j->f->kern->rms_norm(j->out + i * j->n, j->in + i * j->n, j->w, j->n, j->f->h->eps);
}

void gem_norm_rows(struct gem_forward *f, float *out, const float *in, const float *w, size_t n)
{
    struct norm_job job = {.f = f, .out = out, .in = in, .w = w, .n = n};

    gem_pool_run(f->pool, f->n_rows, 8, norm_rows, &job);
}

static void join_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct norm_job *j = context;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *out = j->f->out + i * j->n;
        j->f->kern->rms_norm(out, out, j->w, j->n, j->f->h->eps);
        j->f->kern->add(j->f->x + i * j->n, out, j->n);
    }
}

void gem_join_branch(struct gem_forward *f, const float *w)
{
    struct norm_job job = {.f = f, .w = w, .n = f->h->hidden};

    gem_pool_run(f->pool, f->n_rows, 8, join_rows, &job);
}
