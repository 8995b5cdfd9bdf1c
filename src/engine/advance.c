/* SPDX-License-Identifier: Apache-2.0
 *
 * gem_engine_advance: from whole sequences to batches of rows. */
#include "engine/internal.h"

#include <assert.h>

struct step {
    struct gem_engine *engine;
    gem_advance *items;
    size_t n_items;
    bool cancelled, poisoned; /* by a callback; by NaN or infinity */
};

/* ---- before anything is computed ------------------------------------------------------------------------------------
 */

static gem_status check_item(const struct gem_engine *e, const gem_advance *it, size_t i, gem_error *err)
{
    const uint32_t vocab = e->model->h.vocab;

    if (!it->session || it->session->engine != e)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "item %zu: its session belongs to another engine", i);
    if (it->n_tokens == 0 || !it->tokens) return gem_fail(err, GEM_E_ARGUMENT, 0, "item %zu: no tokens", i);
    if (it->n_tokens > it->session->cache.context)
        return gem_fail(err, GEM_E_LIMIT, 0, "item %zu: %zu tokens do not fit a context of %u", i, it->n_tokens,
                        it->session->cache.context);
    for (size_t t = 0; t < it->n_tokens; t++)
        if (it->tokens[t] < 0 || (uint32_t)it->tokens[t] >= vocab)
            return gem_fail(err, GEM_E_LIMIT, 0, "item %zu: token %zu is %d, the vocabulary has %u", i, t,
                            it->tokens[t], vocab);
    return GEM_OK;
}

static gem_status check_items(const struct step *s, gem_error *err)
{
    gem_status st = GEM_OK;
    size_t n = 0;

    for (size_t i = 0; i < s->n_items && !st; i++) st = check_item(s->engine, &s->items[i], i, err);
    for (; n < s->n_items && !st; n++) {
        if (s->items[n].session->in_step) {
            st = gem_fail(err, GEM_E_ARGUMENT, 0, "item %zu: its session is named twice", n);
            break;
        }
        s->items[n].session->in_step = true;
    }
    for (size_t i = 0; i < n; i++) s->items[i].session->in_step = false;
    return st;
}

/* How many leading tokens stay, and forgets the rest. */
static void keep_prefix(gem_advance *it)
{
    struct gem_session *s = it->session;
    size_t n = 0, most = it->n_tokens - (it->no_logits ? 0 : 1);

    if (it->on_logits && it->logits_from < most) most = it->logits_from;
    if (it->on_hidden) most = 0;
    while (n < most && n < s->cache.n && s->tokens[n] == it->tokens[n]) n++;
    n = gem_cache_keepable(&s->cache, (uint32_t)n);
    gem_cache_cut(&s->cache, (uint32_t)n);
    it->n_kept = n;
    it->logits = NULL;
}

/* ---- batches
 * --------------------------------------------------------------------------------------------------------- */

static bool is_wanted(const gem_advance *it, size_t position)
{
    if (it->on_logits && position >= it->logits_from) return true;
    return !it->no_logits && position + 1 == it->n_tokens;
}

/* Rows of the next batch: of each session in turn as many as still fit. */
static void fill_rows(struct step *s)
{
    struct gem_forward *f = &s->engine->forward;

    f->n_rows = 0;
    for (size_t i = 0; i < s->n_items; i++) {
        gem_advance *it = &s->items[i];
        for (size_t p = it->session->cache.n; p < it->n_tokens && f->n_rows < s->engine->chunk; p++)
            f->rows[f->n_rows++] = (struct gem_row){.cache = &it->session->cache,
                                                    .position = (uint32_t)p,
                                                    .token = it->tokens[p],
                                                    .item = (uint32_t)i,
                                                    .wanted = is_wanted(it, p)};
    }
}

static void on_row(void *user, const struct gem_row *row, const float *logits, bool finite)
{
    struct step *s = user;
    gem_advance *it = &s->items[row->item];
    const uint32_t vocab = s->engine->model->h.vocab;

    s->poisoned |= !finite;
    if (s->poisoned || s->cancelled) return;
    if (it->on_logits && row->position >= it->logits_from)
        s->cancelled = !it->on_logits(it->user, row->position, logits, vocab);
    if (it->no_logits || row->position + 1 != it->n_tokens) return;
    memcpy(it->session->logits, logits, vocab * sizeof *logits);
    it->logits = it->session->logits;
}

static void on_hidden(void *user, const struct gem_row *row, uint32_t layer, const float *x)
{
    const struct step *s = user;
    const gem_advance *it = &s->items[row->item];

    if (it->on_hidden) it->on_hidden(it->user, layer, row->position, x, s->engine->model->h.hidden);
}

/* Runs one batch and makes its rows part of their sessions. */
static void run_batch(struct step *s)
{
    struct gem_forward *f = &s->engine->forward;
    uint32_t left = f->n_rows;
    bool tap = false;

    for (uint32_t r = 0; r < f->n_rows; r++) tap |= s->items[f->rows[r].item].on_hidden != NULL;
    for (uint32_t r = 0; r < f->n_rows; r++) /* before the pass, which drops rows on its way */
        s->items[f->rows[r].item].session->tokens[f->rows[r].position] = f->rows[r].token;
    gem_forward_run(f, tap ? on_hidden : NULL, on_row, s);
    for (size_t i = 0; i < s->n_items && left > 0; i++) {
        gem_advance *it = &s->items[i];
        const size_t todo = it->n_tokens - it->session->cache.n;
        const uint32_t done = todo < left ? (uint32_t)todo : left; /* as fill_rows shared them out */

        gem_cache_commit(&it->session->cache, done);
        if (s->poisoned && done > 0) gem_cache_clear(&it->session->cache);
        left -= done;
    }
    assert(left == 0);
}

static size_t rows_left(const struct step *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_items; i++) n += s->items[i].n_tokens - s->items[i].session->cache.n;
    return n;
}

gem_status gem_engine_advance(gem_engine *e, gem_advance *items, size_t n_items, gem_progress_fn *progress,
                              void *progress_user, gem_error *err)
{
    struct step s = {.engine = e, .items = items, .n_items = n_items};
    size_t total, left;
    gem_status st;

    if ((st = gem_archive_check(&e->model->archive, err))) return st;
    if ((st = check_items(&s, err))) return st;
    for (size_t i = 0; i < n_items; i++) keep_prefix(&items[i]);
    total = rows_left(&s);
    while ((left = rows_left(&s)) > 0) {
        if (progress && !progress(progress_user, "reading the prompt", total - left, total)) s.cancelled = true;
        if (s.cancelled)
            return gem_fail(err, GEM_E_CANCELLED, 0, "cancelled after %zu of %zu tokens", total - left, total);
        fill_rows(&s);
        if (e->forward.stream.n_units) gem_stream_plan(&e->forward.stream, gem_ledger_left(e->model->ledger));
        if ((st = gem_forward_fetch(&e->forward, err))) return st;
        run_batch(&s);
        if (s.poisoned) return gem_weights_blame(&e->model->archive, e->model->roles, err);
    }
    if (s.cancelled) return gem_fail(err, GEM_E_CANCELLED, 0, "cancelled after %zu of %zu tokens", total, total);
    return GEM_OK;
}
