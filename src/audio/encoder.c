/* SPDX-License-Identifier: Apache-2.0
 *
 * Samples come in, are kept until tokens are complete, and those go through all layers, max_rows at a time. A layer
 * sees the past only through its state, so it makes no difference in how many calls a piece came. */
#include "audio/audio.h"

#include <math.h>

enum {
    MAX_ROWS = 256,
    PIECE_ROWS = GEM_AUDIO_PIECE / GEM_AUDIO_TOKEN,
    PAST = GEM_AUDIO_DISTANCES - 1,
    GLU_PAST = GEM_AUDIO_KERNEL - 1
};

/* The first frame begins this many samples, all 0, before the first one. */
enum { LEAD = GEM_MEL_WINDOW - GEM_MEL_HOP };

/* ---- how long a sound is ------------------------------------------------------------------------------------- */

static uint64_t tokens(bool raw, uint64_t n_samples)
{
    return raw ? (n_samples + GEM_AUDIO_TOKEN - 1) / GEM_AUDIO_TOKEN : (gem_mel_frames(n_samples) + 3) / 4;
}

uint32_t gem_audio_tokens(bool raw, uint64_t n_samples)
{
    const uint64_t n = tokens(raw, n_samples);

    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

struct gem_audio_piece gem_audio_piece(bool raw, uint64_t n_samples, uint32_t i)
{
    struct gem_audio_piece p = {.begin = (uint64_t)i * GEM_AUDIO_PIECE};
    const uint64_t left = p.begin < n_samples ? n_samples - p.begin : 0;

    if (raw) {
        p.begin = 0;
        p.n_samples = i == 0 ? n_samples : 0;
    } else if (i == 0 || tokens(false, left) > 0) {
        p.n_samples = left <= GEM_AUDIO_PIECE || tokens(false, left - GEM_AUDIO_PIECE) == 0 ? left : GEM_AUDIO_PIECE;
    }
    p.n_tokens = gem_audio_tokens(raw, p.n_samples);
    return p;
}

const char *gem_audio_recipe(bool raw)
{
    return raw ? "audio: 16 kHz, frames of 640" : "audio: 16 kHz, log-mel 128, pieces of 480000";
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* The longest row that a product reads or writes. */
static uint64_t widest(const struct gem_audio_weights *w)
{
    const uint64_t flat = GEM_MEL_BANDS / 4 * (uint64_t)w->channels[1];

    if (w->raw) return GEM_AUDIO_TOKEN;
    return larger(larger(w->ffn, 2 * (uint64_t)w->hidden), larger(flat, w->width));
}

static void *take(struct gem_arena *a, bool counting, uint64_t n, uint64_t size)
{
    if (!counting) return gem_arena_take(a, (size_t)(n * size));
    a->used += (size_t)gem_align_up(n * size);
    return NULL;
}

#define FLOATS(n) take(a, counting, n, sizeof(float))

static void lay_out_tower(struct gem_audio_encoder *e, bool counting, unsigned n_threads)
{
    const struct gem_audio_weights *w = e->w;
    const uint64_t rows = e->max_rows, hidden = w->hidden;
    struct gem_arena *a = &e->arena;

    e->frames = FLOATS((4 * GEM_AUDIO_BLOCK + 1) * (GEM_MEL_BANDS + 1));
    e->map = FLOATS((2 * GEM_AUDIO_BLOCK + 1) * (uint64_t)(GEM_MEL_BANDS / 2 + 1) * w->channels[0]);
    e->states = take(a, counting, w->n_layers, sizeof *e->states);
    for (uint32_t i = 0; i < w->n_layers; i++) {
        struct gem_audio_state s = {.k = FLOATS(PAST * hidden), .v = FLOATS(PAST * hidden)};
        s.glu = FLOATS(GLU_PAST * hidden);
        if (!counting) e->states[i] = s;
    }
    e->relative = FLOATS((uint64_t)w->n_layers * GEM_AUDIO_DISTANCES * hidden);
    e->k = FLOATS((PAST + rows) * hidden);
    e->v = FLOATS((PAST + rows) * hidden);
    e->glu = FLOATS((GLU_PAST + rows) * hidden);
    e->scores = FLOATS((uint64_t)n_threads * 2 * GEM_ALIGN / sizeof(float));
}

/* Places everything in the arena, or, while it is not open, adds up in arena.used what it will take. */
static void lay_out(struct gem_audio_encoder *e, unsigned n_threads)
{
    const struct gem_audio_weights *w = e->w;
    const uint64_t rows = e->max_rows, wide = widest(w);
    const bool counting = !e->arena.base;
    struct gem_arena *a = &e->arena;

    e->pcm_cap = LEAD + (size_t)GEM_AUDIO_TOKEN * (e->max_rows + 1);
    e->pcm = FLOATS(e->pcm_cap);
    e->x = FLOATS(rows * larger(w->hidden, w->width));
    e->norm = FLOATS(rows * larger(w->hidden, w->width));
    e->clip = FLOATS(rows * wide);
    e->wide = FLOATS(larger(rows, GEM_AUDIO_DISTANCES) * wide);
    e->products.act = take(a, counting, 2 * rows, larger(gem_act_bytes(wide / 32 * 32 + 32), 2 * gem_even(wide)));
    e->products.threads = take(a, counting, n_threads, sizeof *e->products.threads);
    for (unsigned i = 0; i < n_threads; i++) {
        float *tile = FLOATS(larger(GEM_TILE * wide, GEM_AUDIO_STRIPE * rows));
        if (!counting) e->products.threads[i] = (struct gem_thread_scratch){.tile = tile};
    }
    if (!w->raw) lay_out_tower(e, counting, n_threads);
}

/* Rows of bfloat16 are short, and a whole piece reads the weights once instead of three times. */
static uint32_t rows_of(const struct gem_audio_weights *w, uint32_t max_rows)
{
    if (max_rows) return max_rows;
    return w->n_layers > 0 && w->layers[0].ffn[0].up.parts > 0 ? PIECE_ROWS : MAX_ROWS;
}

uint64_t gem_audio_bytes(const struct gem_audio_weights *w, uint32_t max_rows, unsigned n_threads)
{
    struct gem_audio_encoder e = {.w = w, .max_rows = rows_of(w, max_rows)};

    lay_out(&e, n_threads);
    return e.arena.used;
}

/* R_d of every layer: relative_k_proj times sines and cosines of the distance (spec 5.4). */
static void fill_relative(struct gem_audio_encoder *e)
{
    const uint32_t hidden = e->w->hidden, half = hidden / 2;
    const double step = log(10000.0) / (half > 1 ? half - 1 : 1);

    for (uint32_t r = 0; r < GEM_AUDIO_DISTANCES; r++)
        for (uint32_t m = 0; m < half; m++) {
            const double angle = (PAST - r) * exp(-step * m);
            e->wide[r * hidden + m] = (float)sin(angle);
            e->wide[r * hidden + half + m] = (float)cos(angle);
        }
    for (uint32_t i = 0; i < e->w->n_layers; i++) {
        struct gem_act act = gem_act_of(&e->products, e->wide, hidden, GEM_AUDIO_DISTANCES, hidden);
        gem_linear(&e->products, e->relative + (size_t)i * GEM_AUDIO_DISTANCES * hidden, hidden,
                   &e->w->layers[i].relative, &act);
    }
}

gem_status gem_audio_open(struct gem_audio_encoder *e, const struct gem_audio_weights *w,
                          const struct gem_kernels *kern, struct gem_pool *pool, uint32_t max_rows, gem_error *err)
{
    const unsigned n_threads = gem_pool_threads(pool);
    const uint64_t n_bytes = gem_audio_bytes(w, max_rows, n_threads);
    gem_status st;

    *e = (struct gem_audio_encoder){.w = w, .max_rows = rows_of(w, max_rows)};
    if ((st = gem_arena_open(&e->arena, n_bytes, "an audio encoder", err))) return st;
    e->products.kern = kern;
    e->products.pool = pool;
    e->products.wide = true;
    lay_out(e, n_threads);
    if (!w->raw) {
        gem_mel_init(&e->mel);
        fill_relative(e);
    }
    gem_audio_begin(e);
    return GEM_OK;
}

void gem_audio_close(struct gem_audio_encoder *e)
{
    gem_arena_close(&e->arena);
    *e = (struct gem_audio_encoder){0};
}

/* ---- steps --------------------------------------------------------------------------------------------------- */

struct rows {
    const struct gem_audio_encoder *e;
    const float *x;
    float *y;
    size_t n;
};

static void norm_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct rows *r = context;

    (void)thread;
    for (size_t i = begin; i < end; i++)
        r->e->products.kern->rms_norm(r->y + i * r->n, r->x + i * r->n, NULL, r->n, 1e-6f);
}

static void add_bias(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct rows *r = context;

    (void)thread;
    for (size_t i = begin; i < end; i++) r->e->products.kern->add(r->y + i * r->n, r->x, r->n);
}

/* norm = x without its length, x [n, width]; out = the embedding of that. */
static void embed(struct gem_audio_encoder *e, const float *x, uint32_t n, uint32_t width, float *out)
{
    struct rows r = {e, x, e->wide, width};

    gem_pool_run(e->products.pool, n, 8, norm_rows, &r);
    gem_audio_product(e, out, &e->w->embed, NULL, e->wide, n);
}

/* n tokens, n_frames of their features real. */
static void step_tower(struct gem_audio_encoder *e, uint32_t n, uint64_t n_frames, float *out)
{
    const struct gem_audio_weights *w = e->w;
    const size_t flat = w->in.w.cols;
    struct rows bias = {e, w->out_bias, e->norm, w->width};

    for (uint32_t at = 0; at < n; at += GEM_AUDIO_BLOCK) {
        const uint32_t m = n - at < GEM_AUDIO_BLOCK ? n - at : GEM_AUDIO_BLOCK;
        const uint64_t left = n_frames - 4 * (uint64_t)at, frames = left < 4 * (uint64_t)m ? left : 4 * (uint64_t)m;

        gem_audio_subsample(e, e->pcm + (size_t)at * GEM_AUDIO_TOKEN, m, (uint32_t)frames, e->wide + at * flat);
    }
    gem_audio_product(e, e->x, &w->in, NULL, e->wide, n);
    for (uint32_t i = 0; i < w->n_layers; i++) gem_audio_conformer(e, i, n);
    gem_audio_product(e, e->norm, &w->out, NULL, e->x, n);
    gem_pool_run(e->products.pool, n, 8, add_bias, &bias);
    embed(e, e->norm, n, w->width, out);
}

/* ---- a piece ------------------------------------------------------------------------------------------------- */

void gem_audio_begin(struct gem_audio_encoder *e)
{
    e->n_done = 0;
    e->n_pcm = e->w->raw ? 0 : LEAD;
    memset(e->pcm, 0, LEAD * sizeof *e->pcm);
    if (e->w->raw) return;
    memset(e->frames, 0, (GEM_MEL_BANDS + 1) * sizeof *e->frames);
    memset(e->map, 0, (size_t)(GEM_MEL_BANDS / 2 + 1) * e->w->channels[0] * sizeof *e->map);
    for (uint32_t i = 0; i < e->w->n_layers; i++) {
        memset(e->states[i].k, 0, PAST * e->w->hidden * sizeof(float));
        memset(e->states[i].v, 0, PAST * e->w->hidden * sizeof(float));
        memset(e->states[i].glu, 0, GLU_PAST * e->w->hidden * sizeof(float));
    }
}

/* Complete tokens among n samples that are kept; all of them when no more will come. */
static uint64_t complete(const struct gem_audio_encoder *e, uint64_t n, bool last)
{
    if (e->w->raw) return last ? tokens(true, n) : n / GEM_AUDIO_TOKEN;
    if (n <= LEAD) return 0;
    return last ? tokens(false, n - LEAD) : (n - LEAD - 1) / GEM_AUDIO_TOKEN;
}

uint32_t gem_audio_ready(const struct gem_audio_encoder *e, uint64_t n, bool last)
{
    return (uint32_t)complete(e, e->n_pcm + n, last);
}

/* The first n tokens of those that are kept. */
static void step(struct gem_audio_encoder *e, uint32_t n, float *out)
{
    size_t used = (size_t)n * GEM_AUDIO_TOKEN;

    if (e->w->raw && used > e->n_pcm) { /* the last frame is filled up */
        memset(e->pcm + e->n_pcm, 0, (used - e->n_pcm) * sizeof *e->pcm);
        e->n_pcm = used;
    }
    if (e->w->raw)
        embed(e, e->pcm, n, GEM_AUDIO_TOKEN, out);
    else
        step_tower(e, n, gem_mel_frames(e->n_pcm - LEAD), out);
    if (used > e->n_pcm) used = e->n_pcm;
    memmove(e->pcm, e->pcm + used, (e->n_pcm - used) * sizeof *e->pcm);
    e->n_pcm -= used;
    e->n_done += n;
}

static gem_status check_rows(const struct gem_audio_encoder *e, const float *out, size_t n, gem_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i]))
            return gem_fail(err, GEM_E_NONFINITE, 0,
                            "%.80s: the audio encoder computed NaN or infinity: damaged weights", e->w->path);
    return GEM_OK;
}

gem_status gem_audio_feed(struct gem_audio_encoder *e, const float *pcm, uint64_t n, bool last, float *out,
                          gem_error *err)
{
    float *at = out;
    uint64_t m;

    do {
        const uint64_t room = e->pcm_cap - e->n_pcm, k = n < room ? n : room;

        if (k) { /* pcm may be NULL when there is none */
            memcpy(e->pcm + e->n_pcm, pcm, (size_t)k * sizeof *pcm);
            e->n_pcm += (size_t)k;
            pcm += k;
            n -= k;
        }
        m = complete(e, e->n_pcm, last && n == 0);
        if (m > e->max_rows) m = e->max_rows;
        if (m > 0) step(e, (uint32_t)m, at);
        at += m * e->w->text_hidden;
    } while (m > 0 || n > 0);
    return check_rows(e, out, (size_t)(at - out), err);
}

gem_status gem_audio_encode(struct gem_audio_encoder *e, const float *pcm, uint64_t n, float *out, gem_error *err)
{
    gem_audio_begin(e);
    return gem_audio_feed(e, pcm, n, true, out, err);
}
