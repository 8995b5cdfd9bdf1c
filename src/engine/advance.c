/* SPDX-License-Identifier: Apache-2.0
 *
 * gem_engine_advance: from whole sequences to batches of rows. */
#include "engine/internal.h"

#include <assert.h>

struct step {
    struct gem_engine *engine;
    gem_advance *items;
    const struct gem_ask *asks; /* or NULL */
    size_t n_items;
    bool cancelled, poisoned; /* by a callback; by NaN or infinity */
};

/* ---- before anything is computed ------------------------------------------------------------------------------------
 */

static bool is_placeholder(const struct gem_hparams *h, int32_t token)
{
    return token >= 0 && (token == h->placeholders[0] || token == h->placeholders[1] || token == h->placeholders[2]);
}

/* Item m stands on a run of placeholders that is its own: neither shorter nor longer. */
static gem_status check_run(const struct gem_engine *e, const gem_advance *it, size_t i, size_t m, size_t from,
                            gem_error *err)
{
    const struct gem_hparams *h = &e->model->h;
    const gem_media *media = it->media[m].media;
    const size_t at = it->media[m].at;
    size_t n = 0;

    if (!media || media->model != e->model)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "item %zu: media %zu was opened for another model", i, m);
    if (h->placeholders[media->kind] < 0)
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "item %zu: media %zu: the model has no placeholder for its kind", i,
                        m);
    if (at < from) return gem_fail(err, GEM_E_ARGUMENT, 0, "item %zu: media %zu begins inside or before another", i, m);
    if (at > it->n_tokens)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "item %zu: media %zu begins at %zu, behind the last of %zu tokens", i,
                        m, at, it->n_tokens);
    while (at + n < it->n_tokens && it->tokens[at + n] == h->placeholders[media->kind]) n++;
    if (n != media->n_tokens || (at > 0 && is_placeholder(h, it->tokens[at - 1])) ||
        (at + n < it->n_tokens && is_placeholder(h, it->tokens[at + n])))
        return gem_fail(err, GEM_E_ARGUMENT, 0,
                        "item %zu: media %zu needs %u placeholders (token %d) at %zu with other tokens around them; "
                        "there are %zu",
                        i, m, media->n_tokens, h->placeholders[media->kind], at, n);
    return GEM_OK;
}

/* Every placeholder among the first n tokens belongs to one. */
static gem_status check_media(const struct gem_engine *e, const gem_advance *it, size_t i, size_t n, gem_error *err)
{
    size_t from = 0;
    gem_status st;

    for (size_t m = 0; m <= it->n_media && it->n_media > 0; m++) {
        const size_t to = m < it->n_media ? it->media[m].at : it->n_tokens;

        if (m < it->n_media && (st = check_run(e, it, i, m, from, err))) return st;
        for (; from < to && from < n; from++)
            if (is_placeholder(&e->model->h, it->tokens[from]))
                return gem_fail(err, GEM_E_ARGUMENT, 0,
                                "item %zu: token %zu is a placeholder (%d), but none of the %zu media stands there", i,
                                from, it->tokens[from], it->n_media);
        if (m < it->n_media) from = to + it->media[m].media->n_tokens;
    }
    return GEM_OK;
}

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

    for (size_t i = 0; i < s->n_items && !st; i++)
        if (!(st = check_item(s->engine, &s->items[i], i, err)))
            st = check_media(s->engine, &s->items[i], i, s->asks ? s->asks[i].n_strict : SIZE_MAX, err);
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

/* ---- media in a sequence: item m takes positions [at, end) ------------------------------------------------------- */

static size_t media_end(const gem_advance *it, size_t m) { return it->media[m].at + it->media[m].media->n_tokens; }

static bool is_in_media(const gem_advance *it, size_t m, size_t p) { return m < it->n_media && it->media[m].at <= p; }

/* From item m on, the one that covers position p or is the next one; n_media when there is none. */
static size_t media_from(const gem_advance *it, size_t m, size_t p)
{
    while (m < it->n_media && media_end(it, m) <= p) m++;
    return m;
}

/* What a session remembers of a position's content, m as media_from() gives it. */
static uint64_t key_of(const gem_advance *it, size_t m, size_t p)
{
    uint64_t key;

    if (!is_in_media(it, m, p)) return 0;
    memcpy(&key, it->media[m].media->digest.bytes, sizeof key);
    return key | 1; /* never that of text */
}

/* How many leading tokens stay, and forgets the rest. */
static void keep_prefix(gem_advance *it)
{
    struct gem_session *s = it->session;
    size_t n = 0, m = 0, most = it->n_tokens - (it->no_logits ? 0 : 1);

    if (it->on_logits && it->logits_from < most) most = it->logits_from;
    if (it->on_hidden) most = 0;
    for (; n < most && n < s->cache.n && s->tokens[n] == it->tokens[n]; n++) {
        m = media_from(it, m, n);
        if (s->keys[n] != key_of(it, m, n)) break;
    }
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

/* Which logits of a row matter: all to those who are told of them. */
static struct gem_ask ask_of(const struct step *s, size_t i, size_t position)
{
    const gem_advance *it = &s->items[i];

    if (!s->asks || (it->on_logits && position >= it->logits_from)) return (struct gem_ask){0};
    return s->asks[i];
}

/* Rows that must be computed together from position p on: those of an image whose tokens see each other, else one. */
static size_t together(const struct step *s, const gem_advance *it, size_t p, size_t m)
{
    if (!s->engine->model->h.bidirectional_media || !is_in_media(it, m, p)) return 1;
    return it->media[m].media->kind == GEM_MEDIA_AUDIO ? 1 : media_end(it, m) - p;
}

/* Adds the next n rows of item i; m: the media item at or after them. */
static void add_rows(struct step *s, size_t i, size_t n, size_t m)
{
    struct gem_forward *f = &s->engine->forward;
    const gem_advance *it = &s->items[i];
    struct gem_session *session = it->session;
    const size_t first = session->cache.n + session->n_rows, hidden = s->engine->model->h.hidden;
    const float *soft = is_in_media(it, m, first) ? gem_soft_find(&s->engine->soft, it->media[m].media) : NULL;

    for (size_t p = first; p < first + n; p++) {
        const struct gem_ask ask = ask_of(s, i, p);

        session->tokens[p] = it->tokens[p];
        session->keys[p] = key_of(it, m, p);
        f->rows[f->n_rows++] = (struct gem_row){.cache = &session->cache,
                                                .position = (uint32_t)p,
                                                .token = it->tokens[p],
                                                .item = (uint32_t)i,
                                                .wanted = is_wanted(it, p),
                                                .n_best = ask.n_best,
                                                .bias = ask.bias,
                                                .n_bias = ask.n_bias,
                                                .soft = soft ? soft + (p - it->media[m].at) * hidden : NULL,
                                                .sees_to = (uint32_t)(n > 1 ? first + n - 1 : p)};
    }
    session->n_rows += (uint32_t)n;
}

/* Rows of the next batch: of each session in turn as many as still fit. */
static void fill_rows(struct step *s)
{
    struct gem_forward *f = &s->engine->forward;

    f->n_rows = 0;
    for (size_t i = 0; i < s->n_items; i++) {
        const gem_advance *it = &s->items[i];
        size_t m = 0;

        it->session->n_rows = 0;
        for (size_t p = it->session->cache.n, n; p < it->n_tokens; p += n) {
            m = media_from(it, m, p);
            n = together(s, it, p, m);
            if (f->n_rows > 0 && f->n_rows + n > s->engine->chunk) break;
            add_rows(s, i, n, m);
        }
    }
    assert(f->n_rows <= f->max_rows);
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
    bool tap = false;

    for (uint32_t r = 0; r < f->n_rows; r++) tap |= s->items[f->rows[r].item].on_hidden != NULL;
    s->engine->n_batches++;
    s->engine->n_rows += f->n_rows; /* running leaves only those that are wanted */
    gem_forward_run(f, tap ? on_hidden : NULL, on_row, s);
    for (size_t i = 0; i < s->n_items; i++) {
        const struct gem_session *session = s->items[i].session;

        gem_cache_commit(&s->items[i].session->cache, session->n_rows);
        if (s->poisoned && session->n_rows > 0) gem_cache_clear(&s->items[i].session->cache);
    }
}

static size_t rows_left(const struct step *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_items; i++) n += s->items[i].n_tokens - s->items[i].session->cache.n;
    return n;
}

/* ---- media --------------------------------------------------------------------------------------------------------
 */

static void pin_media(const struct step *s)
{
    for (size_t i = 0; i < s->n_items; i++) {
        const gem_advance *it = &s->items[i];
        for (size_t m = media_from(it, 0, it->session->cache.n); m < it->n_media; m++)
            gem_soft_pin(&s->engine->soft, it->media[m].media);
    }
}

/* Encodes what will be computed, before anything is: a batch cannot fail. */
static gem_status encode_media(struct step *s, gem_progress_fn *progress, void *user, gem_error *err)
{
    gem_status st;

    pin_media(s);
    for (size_t i = 0; i < s->n_items; i++) {
        gem_advance *it = &s->items[i];

        it->n_encoded = 0;
        for (size_t m = media_from(it, 0, it->session->cache.n); m < it->n_media; m++) {
            bool encoded;
            const bool sound = it->media[m].media->kind == GEM_MEDIA_AUDIO;
            if (progress && !progress(user, sound ? "listening" : "looking at images", m, it->n_media))
                return gem_fail(err, GEM_E_CANCELLED, 0, "cancelled before media %zu of %zu", m, it->n_media);
            if ((st = gem_soft_get(s->engine, it->media[m].media, NULL, &encoded, err))) return st;
            it->n_encoded += encoded;
        }
    }
    return GEM_OK;
}

/* An image whose tokens see each other is one batch, which may need more rows than a chunk has. */
static gem_status fit_forward(const struct step *s, gem_error *err)
{
    struct gem_engine *e = s->engine;
    const struct gem_model *m = e->model;
    struct gem_forward larger;
    size_t rows = e->forward.max_rows;
    uint64_t needed;
    gem_status st;

    for (size_t i = 0; i < s->n_items; i++) {
        const gem_advance *it = &s->items[i];
        for (size_t j = media_from(it, 0, it->session->cache.n); j < it->n_media; j++) {
            const size_t from = it->media[j].at > it->session->cache.n ? it->media[j].at : it->session->cache.n;
            if (together(s, it, from, j) > rows) rows = together(s, it, from, j);
        }
    }
    if (rows == e->forward.max_rows) return GEM_OK;
    needed = gem_forward_bytes(&m->h, (uint32_t)rows, gem_pool_threads(e->pool)) +
             gem_ple_bytes(&m->w, (uint32_t)rows, e->ple_cap);
    if (needed > gem_memory_available())
        return gem_fail(err, GEM_E_LIMIT, 0, "an image of %zu soft tokens needs %llu MiB of scratch memory", rows,
                        (unsigned long long)(needed >> 20));
    if ((st = gem_ledger_take(m->ledger, needed, 0, "the rows of an image", err))) return st;
    st = gem_forward_open(&larger, &m->h, &m->w, &m->kern, e->pool, e->forward.exact, (uint32_t)rows, e->ple_cap, err);
    if (!st && e->forward.stream.n_units) st = gem_engine_open_stream(e, &larger, err);
    if (st) {
        gem_forward_close(&larger);
        gem_ledger_give(m->ledger, needed);
        return st;
    }
    larger.head.counts = e->forward.head.counts;
    gem_forward_close(&e->forward);
    gem_ledger_give(m->ledger, e->taken);
    e->forward = larger;
    e->taken = needed;
    return GEM_OK;
}

/* ---- the step -------------------------------------------------------------------------------------------------------
 */

static gem_status run(struct step *s, gem_progress_fn *progress, void *progress_user, gem_error *err)
{
    const struct gem_model *m = s->engine->model;
    struct gem_forward *f = &s->engine->forward;
    const size_t total = rows_left(s);
    gem_status st;
    size_t left;

    while ((left = rows_left(s)) > 0) {
        if (progress && !progress(progress_user, "reading the prompt", total - left, total)) s->cancelled = true;
        if (s->cancelled)
            return gem_fail(err, GEM_E_CANCELLED, 0, "cancelled after %zu of %zu tokens", total - left, total);
        fill_rows(s);
        if (f->stream.n_units) gem_stream_plan(&f->stream, gem_ledger_left(m->ledger));
        if ((st = gem_forward_fetch(f, err))) return st;
        run_batch(s);
        if (s->poisoned) return gem_weights_blame(&m->archive, m->roles, err);
    }
    if (s->cancelled) return gem_fail(err, GEM_E_CANCELLED, 0, "cancelled after %zu of %zu tokens", total, total);
    return GEM_OK;
}

gem_status gem_engine_step(struct gem_engine *e, gem_advance *items, size_t n_items, const struct gem_ask *asks,
                           gem_progress_fn *progress, void *progress_user, gem_error *err)
{
    struct step s = {.engine = e, .items = items, .asks = asks, .n_items = n_items};
    gem_status st;

    if ((st = gem_archive_check(&e->model->archive, err))) return st;
    if ((st = check_items(&s, err))) return st;
    for (size_t i = 0; i < n_items; i++) keep_prefix(&items[i]);
    if ((st = encode_media(&s, progress, progress_user, err))) goto out;
    if ((st = fit_forward(&s, err))) goto out;
    st = run(&s, progress, progress_user, err);
out:
    gem_soft_cache_release(&e->soft);
    return st;
}

gem_status gem_engine_advance(gem_engine *e, gem_advance *items, size_t n_items, gem_progress_fn *progress,
                              void *progress_user, gem_error *err)
{
    return gem_engine_step(e, items, n_items, NULL, progress, progress_user, err);
}
