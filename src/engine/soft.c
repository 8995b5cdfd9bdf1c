/* SPDX-License-Identifier: Apache-2.0
 *
 * Soft tokens: towers opened when first needed, and a cache by content. */
#include "engine/internal.h"

#include <math.h>

/* ---- towers ------------------------------------------------------------------------------------------------------ */

/* For an image of this size: a refusal counts what encoding it takes too. */
static gem_status open_vision(const struct gem_model *m, struct gem_pool *pool, struct gem_size size, gem_error *err)
{
    struct gem_towers *t = m->towers;
    const struct gem_vision_hparams *config = m->sees == &m->archive && !m->archive.is_gguf ? &m->vision_h : NULL;
    gem_status st = GEM_OK;

    pthread_mutex_lock(&t->lock);
    if (!t->vision_is_open && !(st = gem_vision_open(&t->vision, m->sees, config, m->h.hidden, err))) {
        if (m->info.precision == GEM_PRECISION_FAST) st = gem_vision_pack(&t->vision, &m->kern, pool, err);
        if (!st)
            st = gem_ledger_take(m->ledger, t->vision.packed_bytes,
                                 gem_vision_scratch_bytes(&t->vision, gem_pool_threads(pool), size), "the vision tower",
                                 err);
        if (st) gem_vision_close(&t->vision);
        t->vision_is_open = st == GEM_OK;
    }
    pthread_mutex_unlock(&t->lock);
    return st;
}

static gem_status open_audio(const struct gem_model *m, struct gem_pool *pool, gem_error *err)
{
    struct gem_towers *t = m->towers;
    gem_status st = GEM_OK;

    pthread_mutex_lock(&t->lock);
    if (!t->audio_is_open && !(st = gem_audio_bind(&t->audio, m->hears, m->h.hidden, err))) {
        if (m->info.precision == GEM_PRECISION_FAST) st = gem_audio_pack(&t->audio, &m->kern, pool, err);
        if (!st)
            st = gem_ledger_take(m->ledger, t->audio.packed_bytes,
                                 gem_audio_bytes(&t->audio, 0, gem_pool_threads(pool)), "the audio encoder", err);
        if (st) gem_audio_weights_close(&t->audio);
        t->audio_is_open = st == GEM_OK;
    }
    pthread_mutex_unlock(&t->lock);
    return st;
}

static gem_status check_finite(const struct gem_engine *e, const float *rows, size_t n, gem_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(rows[i]))
            return gem_fail(err, GEM_E_NONFINITE, 0, "%s: the vision tower gave NaN or infinity: damaged weights",
                            e->model->sees->paths[0]);
    return GEM_OK;
}

/* n bytes more for the engine, until it is closed. */
static gem_status take(struct gem_engine *e, uint64_t n, const char *what, gem_error *err)
{
    gem_status st = gem_ledger_take(e->model->ledger, n, 0, what, err);

    if (!st) e->encoders_taken += n;
    return st;
}

static gem_status fit_vision(struct gem_engine *e, struct gem_size size, gem_error *err)
{
    const struct gem_vision *v = &e->model->towers->vision;
    const uint64_t needed = gem_vision_scratch_bytes(v, gem_pool_threads(e->pool), size);
    const uint64_t there = e->vision_scratch.arena.cap;
    gem_status st;

    if (needed <= there) return GEM_OK;
    if ((st = take(e, needed - there, "encoding an image", err))) return st;
    return gem_vision_scratch_fit(&e->vision_scratch, needed, err);
}

static gem_status open_ears(struct gem_engine *e, gem_error *err)
{
    const struct gem_audio_weights *w = &e->model->towers->audio;
    gem_status st;

    if ((st = take(e, gem_audio_bytes(w, 0, gem_pool_threads(e->pool)), "encoding sound", err))) return st;
    if ((st = gem_audio_open(&e->ears, w, &e->model->kern, e->pool, 0, err))) gem_audio_close(&e->ears);
    return st;
}

static gem_status encode_image(struct gem_engine *e, const gem_media *media, float *rows, gem_error *err)
{
    const struct gem_model *m = e->model;
    const struct gem_vision *v = &m->towers->vision;
    const struct gem_size size = {media->image.width, media->image.height};
    gem_status st;

    if ((st = gem_archive_check(m->sees, err))) return st;
    if ((st = open_vision(m, e->pool, size, err))) return st;
    if ((st = gem_vision_check(v, size, err))) return st;
    if ((st = fit_vision(e, size, err))) return st;
    gem_vision_encode(v, &m->kern, e->pool, &e->vision_scratch, &media->image, rows);
    return check_finite(e, rows, (size_t)media->n_tokens * m->h.hidden, err);
}

static gem_status encode_sound(struct gem_engine *e, const gem_media *media, float *rows, gem_error *err)
{
    const struct gem_model *m = e->model;
    gem_status st;

    if ((st = gem_archive_check(m->hears, err))) return st;
    if ((st = open_audio(m, e->pool, err))) return st;
    if (!e->ears.w && (st = open_ears(e, err))) return st;
    return gem_audio_encode(&e->ears, media->sound.pcm, media->sound.n, rows, err);
}

/* rows [n_tokens, hidden]: the one place that knows which tower a kind of media goes to. */
static gem_status encode(struct gem_engine *e, const gem_media *media, float *rows, gem_error *err)
{
    switch (media->kind) {
    case GEM_MEDIA_IMAGE:
    case GEM_MEDIA_FRAME: return encode_image(e, media, rows, err);
    case GEM_MEDIA_AUDIO: return encode_sound(e, media, rows, err);
    }
    return gem_fail(err, GEM_E_UNSUPPORTED, 0, "media of kind %d has no encoder", (int)media->kind);
}

/* ---- the cache --------------------------------------------------------------------------------------------------- */

static struct gem_soft_entry *find(const struct gem_soft_cache *c, const struct gem_digest *digest)
{
    for (size_t i = 0; i < c->n; i++)
        if (!memcmp(&c->entries[i].digest, digest, sizeof *digest)) return &c->entries[i];
    return NULL;
}

static void drop(struct gem_soft_cache *c, size_t i)
{
    c->n_bytes -= c->entries[i].n_bytes;
    gem_free(c->entries[i].rows);
    c->entries[i] = c->entries[--c->n];
}

/* Forgets the least recently used until `more` bytes fit below the ceiling, as far as entries are not pinned. */
static void make_room(struct gem_soft_cache *c, uint64_t more)
{
    while (c->n_bytes + more > c->ceiling) {
        size_t oldest = SIZE_MAX;
        for (size_t i = 0; i < c->n; i++)
            if (!c->entries[i].pinned && (oldest == SIZE_MAX || c->entries[i].last_use < c->entries[oldest].last_use))
                oldest = i;
        if (oldest == SIZE_MAX) return;
        drop(c, oldest);
    }
}

static gem_status reserve_entry(struct gem_soft_cache *c, gem_error *err)
{
    const size_t cap = c->cap ? 2 * c->cap : 16;
    struct gem_soft_entry *more;

    if (c->n < c->cap) return GEM_OK;
    if (!(more = gem_realloc(c->entries, cap, sizeof *more, "a list of media", err))) return GEM_E_NOMEM;
    c->entries = more;
    c->cap = cap;
    return GEM_OK;
}

gem_status gem_soft_get(struct gem_engine *e, const gem_media *media, const float **rows, bool *encoded, gem_error *err)
{
    struct gem_soft_cache *c = &e->soft;
    struct gem_soft_entry *known = find(c, &media->digest);
    struct gem_soft_entry fresh = {.digest = media->digest, .pinned = true};
    gem_status st;

    *encoded = known == NULL && media->n_tokens > 0;
    if (media->n_tokens == 0) { /* a sound of a few milliseconds: only its markers are heard */
        if (rows) *rows = NULL;
        return GEM_OK;
    }
    if (!known) {
        fresh.n_bytes = (uint64_t)media->n_tokens * e->model->h.hidden * sizeof(float);
        make_room(c, fresh.n_bytes);
        if ((st = reserve_entry(c, err))) return st;
        if (!(fresh.rows = gem_alloc_aligned(fresh.n_bytes, "soft tokens", err))) return GEM_E_NOMEM;
        if ((st = encode(e, media, fresh.rows, err))) {
            gem_free(fresh.rows);
            return st;
        }
        known = &c->entries[c->n++];
        *known = fresh;
        c->n_bytes += fresh.n_bytes;
    }
    known->pinned = true;
    known->last_use = ++c->clock;
    if (rows) *rows = known->rows;
    return GEM_OK;
}

bool gem_soft_pin(struct gem_soft_cache *c, const gem_media *media)
{
    struct gem_soft_entry *known = find(c, &media->digest);

    if (known) known->pinned = true;
    return known != NULL;
}

const float *gem_soft_find(const struct gem_soft_cache *c, const gem_media *media)
{
    const struct gem_soft_entry *known = find(c, &media->digest);

    return known ? known->rows : NULL;
}

void gem_soft_cache_release(struct gem_soft_cache *c)
{
    for (size_t i = 0; i < c->n; i++) c->entries[i].pinned = false;
    make_room(c, 0);
}

void gem_soft_cache_close(struct gem_soft_cache *c)
{
    while (c->n > 0) drop(c, c->n - 1);
    gem_free(c->entries);
    *c = (struct gem_soft_cache){0};
}

gem_status gem_engine_encode(gem_engine *e, const gem_media *media, const float **soft, gem_error *err)
{
    bool encoded;

    *soft = NULL;
    if (media->model != e->model)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "the media item was opened for another model");
    for (size_t i = 0; i < e->soft.n; i++) e->soft.entries[i].pinned = false; /* what the last call gave */
    return gem_soft_get(e, media, soft, &encoded, err);
}
