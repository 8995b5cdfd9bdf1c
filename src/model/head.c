/* SPDX-License-Identifier: Apache-2.0
 *
 * The output head (spec 2.8): all logits of a row, or in two stages (coarse.h) those that may be among the best. */
#include "model/coarse.h"
#include "model/forward.h"

#include <float.h>
#include <math.h>

/* ---- all logits ---------------------------------------------------------------------------------------------- */

struct cap_job {
    const struct gem_forward *f;
    float *logits;
    size_t n;
    bool *bad; /* [pieces]: NaN or infinity before the cap hides it */
};

enum { CAP_PIECE = 8192, MAX_PIECES = (1 << 22) / CAP_PIECE + 1 };

static void cap_pieces(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct cap_job *j = context;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *x = j->logits + i * CAP_PIECE;
        const size_t left = j->n - i * CAP_PIECE, n = left < CAP_PIECE ? left : CAP_PIECE;
        int bad = 0;

        for (size_t k = 0; k < n; k++) bad |= !(fabsf(x[k]) <= 3e38f);
        j->bad[i] = bad != 0;
        if (j->f->h->softcap > 0) j->f->kern->softcap(x, n, j->f->h->softcap);
    }
}

/* false: NaN or infinity. */
static bool cap_logits(const struct gem_forward *f, float *logits, size_t n)
{
    bool bad[MAX_PIECES], any = false;
    struct cap_job job = {.f = f, .logits = logits, .n = n, .bad = bad};
    const size_t pieces = (job.n + CAP_PIECE - 1) / CAP_PIECE;

    gem_pool_run(f->pool, pieces, 4, cap_pieces, &job);
    for (size_t i = 0; i < pieces; i++) any |= bad[i];
    return !any;
}

/* The head's product; where the head does not stay in memory, slice by slice. */
static void head_product(struct gem_forward *f, struct gem_act *act)
{
    const struct gem_matrix *head = &f->w->head;
    const uint32_t fit = (uint32_t)(GEM_STREAM_SLICE / (head->row_bytes * GEM_PANEL)) * GEM_PANEL;
    const uint32_t step = fit ? fit : GEM_PANEL;
    const uint64_t panel = gem_panel_bytes(head->kind, head->cols);

    if (!gem_stream_drops(&f->stream, f->h->n_layers + 1)) {
        gem_linear(f, f->logits, f->h->vocab, head, act);
        return;
    }
    for (uint32_t at = 0; at < head->rows; at += step) {
        const uint32_t left = head->rows - at, next = left > step ? left - step : 0;
        struct gem_matrix slice = *head;

        slice.rows = left < step ? left : step;
        slice.data += at * head->row_bytes;
        if (slice.panels) slice.panels += at / GEM_PANEL * panel;
        gem_map_prefetch(slice.data + slice.rows * head->row_bytes, (next < step ? next : step) * head->row_bytes);
        gem_linear(f, f->logits + at, f->h->vocab, &slice, act);
        gem_stream_drop(&f->stream, slice.data, slice.rows * head->row_bytes);
    }
}

/* ---- in two stages ------------------------------------------------------------------------------------------- */

/* One row of logits. */
struct choice {
    struct gem_forward *f;
    const struct gem_coarse *copy;
    const float *logits; /* [vocab] the copy's */
    struct gem_coarse_error error;
};

static size_t n_blocks(const struct gem_forward *f) { return gem_n_panels(f->h->vocab); }

static inline float error_of(const struct choice *c, size_t row)
{
    return c->copy->left[row] * c->error.x + c->copy->norm[row] * c->error.rest + c->error.tiny;
}

/* The largest of n values. */
static inline float largest(const float *x, size_t n)
{
    float most = x[0];

    for (size_t i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
    return most;
}

/* n is a constant but at the end of the table: compilers make vectors of it. */
static inline void bound_block(const struct choice *c, size_t block, size_t n)
{
    const size_t first = block * GEM_PANEL;
    float low[GEM_PANEL] = {0}, high[GEM_PANEL] = {0};

    for (size_t i = 0; i < n; i++) {
        const float y = c->logits[first + i], e = error_of(c, first + i);
        low[i] = y - e;
        high[i] = y + e;
    }
    c->f->head.low[block] = largest(low, n);
    c->f->head.high[block] = largest(high, n);
}

static void bound_blocks(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct choice *c = context;
    const size_t rows = c->f->h->vocab;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        if ((i + 1) * GEM_PANEL <= rows)
            bound_block(c, i, GEM_PANEL);
        else
            bound_block(c, i, rows - i * GEM_PANEL);
    }
}

/* Restores the order of a heap whose root is the least. */
static void sift_down(float *heap, size_t n, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        const float moved = heap[i];
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (moved <= heap[child]) return;
        heap[i] = heap[child];
        heap[child] = moved;
    }
}

/* The k-th largest of x [n], k <= n. */
static float kth_largest(const float *x, size_t n, size_t k)
{
    float heap[GEM_HEAD_BEST];

    memcpy(heap, x, k * sizeof *heap);
    for (size_t i = k / 2; i-- > 0;) sift_down(heap, k, i);
    for (size_t i = k; i < n; i++) {
        if (!(x[i] > heap[0])) continue;
        heap[0] = x[i];
        sift_down(heap, k, 0);
    }
    return heap[0];
}

/* What a logit must reach so as to be one of the best, where k are at least `floor`. The soft-cap computes
 * cap tanh(x / cap) within 4e-7 cap, so that it may give two logits the same value, or turn them round, if their exact
 * values are less than twice that apart. */
static float least_useful(float floor, float cap)
{
    double t;

    if (!(cap > 0)) return floor;
    t = tanh((double)floor / cap) - 1e-6;
    if (!(t > -1)) return -INFINITY;
    t = cap * atanh(t);
    return (float)(t - fabs(t) * FLT_EPSILON - FLT_MIN);
}

/* Rows of the table that may be among the best, and those that the reader changes; 0 when there are too many. */
static size_t choose_rows(const struct choice *c, const struct gem_row *row, float floor)
{
    struct gem_head_scratch *s = &c->f->head;
    const size_t vocab = c->f->h->vocab, most = s->n_rows - row->n_bias;
    size_t n = 0;

    for (size_t b = 0; b < n_blocks(c->f); b++) {
        if (!(s->high[b] >= floor)) continue;
        for (size_t i = b * GEM_PANEL; i < (b + 1) * GEM_PANEL && i < vocab; i++) {
            if (!(c->logits[i] + error_of(c, i) >= floor)) continue;
            if (n == most) return 0;
            s->rows[n++] = (uint32_t)i;
        }
    }
    for (uint32_t i = 0; i < row->n_bias; i++) s->rows[n++] = (uint32_t)row->bias[i].token;
    return n;
}

/* How many of the best logits are wanted: some of them may be changed by their reader, the others then move up. */
static size_t n_wanted(const struct gem_row *row) { return (size_t)row->n_best + row->n_bias; }

static bool can_choose(const struct gem_forward *f, const struct gem_row *row)
{
    return row->n_best > 0 && n_wanted(row) <= GEM_HEAD_BEST && n_wanted(row) <= n_blocks(f);
}

/* Row r of f->logits: from the copy's logits to those of the table where they matter, else -INFINITY. false: the whole
 * product is needed. The largest of a block stands for the block: k blocks have k logits. */
static bool choose(struct gem_forward *f, const struct gem_act *act, const struct gem_act *pairs, uint32_t r,
                   const struct gem_row *row, bool *finite)
{
    const size_t vocab = f->h->vocab, k = f->h->hidden;
    float *logits = f->logits + r * vocab;
    struct gem_head_scratch *s = &f->head;
    struct choice c = {.f = f, .copy = f->w->coarse, .logits = logits};
    float floor;
    size_t n;

    c.error = gem_coarse_bound(c.copy, pairs->x + r * pairs->ldx, pairs->other + (size_t)2 * r * gem_act_bytes(k));
    if (!c.error.usable) return false;
    gem_pool_run(f->pool, n_blocks(f), 512, bound_blocks, &c);
    floor = least_useful(kth_largest(s->low, n_blocks(f), n_wanted(row)), f->h->softcap);
    if (!(n = choose_rows(&c, row, floor))) return false;
    gem_linear_some(f, s->values, &f->w->head, act, r, s->rows, n);
    *finite = cap_logits(f, s->values, n);
    for (size_t i = 0; i < vocab; i++) logits[i] = -INFINITY;
    for (size_t i = 0; i < n; i++) logits[s->rows[i]] = s->values[i];
    s->counts.n_computed += n;
    return true;
}

/* Whether it can be tried for all of n rows that need logits: a whole product would serve the others too. */
static bool may_choose(const struct gem_forward *f, const struct gem_row *rows, uint32_t n)
{
    if (!f->w->coarse || gem_stream_drops(&f->stream, f->h->n_layers + 1)) return false;
    for (uint32_t r = 0; r < n; r++)
        if (rows[r].wanted && !can_choose(f, &rows[r])) return false;
    return true;
}

/* Where the logits lie too near each other once, they often do again: each time in vain doubles a pause. */
static bool is_paused(struct gem_head_scratch *s)
{
    if (s->skip > 0) s->skip--;
    return s->skip > 0;
}

static void note_attempt(struct gem_head_scratch *s, uint32_t n, bool worked)
{
    enum { LONGEST = 64 };

    s->pause = worked ? 0 : s->pause ? s->pause < LONGEST ? 2 * s->pause : s->pause : 1;
    s->skip = worked ? 0 : s->pause + 1;
    s->counts.n_tried += n;
    s->counts.n_full += worked ? 0 : n;
}

/* Rows [n] of f->norm from `act` on. false: nothing is done. */
static bool head_in_two_stages(struct gem_forward *f, struct gem_act *act, const struct gem_row *rows, bool *finite)
{
    const struct gem_coarse *copy = f->w->coarse;
    struct gem_act pairs = {.ldx = act->k, .m = act->m, .k = act->k, .other = f->head.act, .wide = true};
    uint32_t n = 0;
    bool worked = true;

    if (!may_choose(f, rows, act->m) || is_paused(&f->head)) return false;
    pairs.x = gem_linear_input(f, &f->w->head, act, f->head.x);
    gem_linear(f, f->logits, f->h->vocab, &copy->head, &pairs);
    for (uint32_t r = 0; r < act->m; r++) {
        n += rows[r].wanted;
        if (worked && rows[r].wanted) worked = choose(f, act, &pairs, r, &rows[r], &finite[r]);
    }
    note_attempt(&f->head, n, worked);
    return worked;
}

/* ---- the head ------------------------------------------------------------------------------------------------ */

static void head_whole(struct gem_forward *f, struct gem_act *act, const struct gem_row *rows, bool *finite)
{
    const uint32_t vocab = f->h->vocab;

    head_product(f, act);
    for (uint32_t r = 0; r < act->m; r++)
        if (rows[r].wanted) finite[r] = cap_logits(f, f->logits + (size_t)r * vocab, vocab);
}

void gem_head(struct gem_forward *f, gem_rows_fn *on_row, void *user)
{
    const uint32_t hidden = f->h->hidden, vocab = f->h->vocab;
    const uint32_t n_rows = f->n_rows;

    for (uint32_t at = 0, n; at < n_rows; at += n) {
        const struct gem_row *rows = f->rows + at;
        bool finite[GEM_HEAD_ROWS] = {false};
        struct gem_act act;
        uint32_t wanted = 0;

        n = n_rows - at < GEM_HEAD_ROWS ? n_rows - at : GEM_HEAD_ROWS;
        for (uint32_t r = 0; r < n; r++) wanted += rows[r].wanted;
        if (wanted == 0) continue; /* rows that only the tap asked for */
        act = gem_act_of(f, f->norm + (size_t)at * hidden, hidden, n, hidden);
        act.wide = false; /* no expert is chosen after this */
        if (!head_in_two_stages(f, &act, rows, finite)) head_whole(f, &act, rows, finite);
        for (uint32_t r = 0; r < n; r++)
            if (rows[r].wanted) on_row(user, &rows[r], f->logits + (size_t)r * vocab, finite[r]);
    }
}
