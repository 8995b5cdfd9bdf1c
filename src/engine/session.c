/* SPDX-License-Identifier: Apache-2.0
 *
 * Engines and sessions: all memory is taken here. */
#include "engine/internal.h"

#include <stdio.h>

enum {
    DEFAULT_CHUNK = 256,
    MAX_CHUNK = 4096,
    DEFAULT_CONTEXT = 8192,
    DEFAULT_SLACK = 1024,
    DEFAULT_PLE_RAM = 16 << 20
};

static const uint64_t default_media_cache = (uint64_t)256 << 20;

static uint32_t chunk_of(const gem_engine_options *o) { return o && o->chunk ? o->chunk : DEFAULT_CHUNK; }

static unsigned threads_of(const gem_engine_options *o)
{
    return o && o->n_threads ? o->n_threads : gem_physical_cores();
}

/* Mixtures of experts keep float32 in both tiers, for the reason that gem_act gives: with 16 bits, sets of experts
 * still differ from the exact ones now and then (docs/performance.md has the numbers). */
static enum gem_cache_type cache_type(const struct gem_model *m, const gem_session_options *o)
{
    if (m->info.precision == GEM_PRECISION_EXACT) return GEM_CACHE_F32;
    if (o && o->int8_cache) return GEM_CACHE_INT8;
    return m->h.n_experts > 0 ? GEM_CACHE_F32 : GEM_CACHE_BF16;
}

static uint64_t ple_cap(const gem_engine_options *o) { return o && o->ple_ram ? o->ple_ram : DEFAULT_PLE_RAM; }

static uint64_t pool_bytes(uint64_t n) { return n * 256; /* threads' bookkeeping; their stacks are the system's */ }

uint64_t gem_engine_bytes(const gem_model *m, const gem_engine_options *o)
{
    return gem_forward_bytes(&m->h, chunk_of(o), threads_of(o)) + gem_ple_bytes(&m->w, chunk_of(o), ple_cap(o)) +
           pool_bytes(threads_of(o));
}

/* Only a ceiling makes a pass care where its weights are. */
gem_status gem_engine_open_stream(const struct gem_engine *e, struct gem_forward *f, gem_error *err)
{
    const struct gem_model *m = e->model;

    if (m->ledger->ceiling == UINT64_MAX) return GEM_OK;
    return gem_stream_open(&f->stream, &m->w, &m->h, m->info.precision == GEM_PRECISION_FAST, err);
}

gem_status gem_engine_open(gem_engine **out, const gem_model *m, const gem_engine_options *o, gem_error *err)
{
    const uint64_t needed = chunk_of(o) <= MAX_CHUNK ? gem_engine_bytes(m, o) : 0, there = gem_memory_available();
    gem_status st = GEM_E_NOMEM;
    struct gem_engine *e;

    *out = NULL;
    if (m->metadata_only) return gem_fail(err, GEM_E_ARGUMENT, 0, "the model was opened with metadata_only");
    if (chunk_of(o) > MAX_CHUNK)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "chunk: %u is not between 1 and %d", chunk_of(o), MAX_CHUNK);
    if (needed > there)
        return gem_fail(err, GEM_E_LIMIT, 0, "chunk: %u rows need %llu MiB of scratch memory, %llu MiB are free",
                        chunk_of(o), (unsigned long long)(needed >> 20), (unsigned long long)(there >> 20));
    if (!(e = gem_calloc(1, sizeof *e, "an engine", err))) return st;
    e->model = m;
    e->chunk = chunk_of(o);
    e->ple_cap = ple_cap(o);
    if ((st =
             gem_ledger_take(m->ledger, needed, gem_session_bytes(m, NULL, o), "the scratch memory of an engine", err)))
        goto fail;
    e->taken = needed;
    e->soft.ceiling = o && o->media_cache_bytes ? o->media_cache_bytes : default_media_cache;
    if ((st = gem_pool_open(&e->pool, threads_of(o), err))) goto fail;
    if ((st = gem_forward_open(&e->forward, &m->h, &m->w, &m->kern, e->pool, m->info.precision == GEM_PRECISION_EXACT,
                               e->chunk, e->ple_cap, err)))
        goto fail;
    if ((st = gem_engine_open_stream(e, &e->forward, err))) goto fail;
    *out = e;
    return GEM_OK;
fail:
    gem_engine_close(e);
    return st;
}

void gem_engine_close(gem_engine *e)
{
    if (!e) return;
    gem_soft_cache_close(&e->soft);
    gem_vision_scratch_close(&e->vision_scratch);
    gem_audio_close(&e->ears);
    gem_forward_close(&e->forward);
    gem_pool_close(e->pool);
    gem_ledger_give(e->model->ledger, e->taken + e->encoders_taken);
    gem_free(e);
}

void gem_engine_get_stats(const gem_engine *e, gem_engine_stats *out)
{
    const struct gem_ple *p = &e->forward.ple_rows;

    *out = (gem_engine_stats){.ple_rows = p->n_rows,
                              .ple_kept = p->n_kept,
                              .ple_bytes = p->n_bytes,
                              .ple_seconds = p->seconds,
                              .n_batches = e->n_batches,
                              .head_rows = e->forward.head.counts.n_tried,
                              .head_whole = e->forward.head.counts.n_full,
                              .head_computed = e->forward.head.counts.n_computed,
                              .n_rows = e->n_rows};
}

uint32_t gem_engine_threads(const gem_engine *e) { return gem_pool_threads(e->pool); }

/* ---- sessions ------------------------------------------------------------------------------------------------------
 */

/* What a session takes depends on. */
struct shape {
    enum gem_cache_type type;
    uint32_t context, slack, chunk;
};

static struct shape shape_of(const struct gem_model *m, const gem_session_options *o, uint32_t chunk)
{
    const uint32_t most = m->h.context < DEFAULT_CONTEXT ? m->h.context : DEFAULT_CONTEXT;

    return (struct shape){.type = cache_type(m, o),
                          .context = o && o->context ? o->context : most,
                          .slack = o && o->local_slack ? o->local_slack : DEFAULT_SLACK,
                          .chunk = chunk};
}

static uint32_t local_cap(const struct gem_model *m, const struct shape *s)
{
    return gem_cache_local_cap(&m->h, s->context, s->slack, s->chunk);
}

static uint64_t bytes_for(const struct gem_model *m, struct shape s)
{
    return gem_cache_bytes(&m->h, s.type, s.context, local_cap(m, &s)) +
           2 * gem_align_up((uint64_t)s.context * sizeof(int32_t)) +
           gem_align_up((uint64_t)s.context * sizeof(uint64_t)) + gem_align_up((uint64_t)m->h.vocab * sizeof(float)) +
           sizeof(struct gem_session);
}

uint64_t gem_session_bytes(const gem_model *m, const gem_session_options *o, const gem_engine_options *eo)
{
    return bytes_for(m, shape_of(m, o, chunk_of(eo)));
}

/* The largest context, in steps of 256, that fits into the memory there is. */
static uint32_t fitting_context(const struct gem_model *m, struct shape s, uint64_t there)
{
    uint32_t low = 0, high = m->h.context / 256 + 1;

    while (low + 1 < high) {
        const uint32_t middle = low + (high - low) / 2;
        s.context = middle * 256;
        if (bytes_for(m, s) <= there)
            low = middle;
        else
            high = middle;
    }
    return low * 256;
}

static gem_status check_shape(const struct gem_model *m, struct shape s, gem_error *err)
{
    const uint64_t there = gem_memory_available();

    if (s.context > m->h.context)
        return gem_fail(err, GEM_E_LIMIT, 0, "context: %u tokens, but the model was trained for %u", s.context,
                        m->h.context);
    if (bytes_for(m, s) <= there) return GEM_OK;
    return gem_fail(err, GEM_E_LIMIT, 0, "context: %u tokens need %llu MiB, %llu MiB are free; %u tokens would fit",
                    s.context, (unsigned long long)(bytes_for(m, s) >> 20), (unsigned long long)(there >> 20),
                    fitting_context(m, s, there));
}

gem_status gem_session_open(gem_session **out, gem_engine *e, const gem_session_options *o, gem_error *err)
{
    const struct gem_model *m = e->model;
    const struct shape shape = shape_of(m, o, e->chunk);
    gem_status st = GEM_E_NOMEM;
    struct gem_session *s;

    *out = NULL;
    if (o && o->int8_cache && m->info.precision == GEM_PRECISION_EXACT)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "a cache of 8 bits is for the fast tier: the exact one keeps float32");
    if ((st = check_shape(m, shape, err))) return st;
    st = GEM_E_NOMEM;
    if (!(s = gem_calloc(1, sizeof *s, "a session", err))) return st;
    s->engine = e;
    if ((st = gem_ledger_take(m->ledger, bytes_for(m, shape), 0, "a session of this context", err))) goto fail;
    s->taken = bytes_for(m, shape);
    st = GEM_E_NOMEM;
    if (!(s->tokens = gem_calloc(shape.context, sizeof *s->tokens, "a session's tokens", err))) goto fail;
    if (!(s->keys = gem_calloc(shape.context, sizeof *s->keys, "a session's tokens", err))) goto fail;
    if (!(s->sequence = gem_calloc(shape.context, sizeof *s->sequence, "a session's tokens", err))) goto fail;
    if (!(s->logits = gem_alloc_aligned((uint64_t)m->h.vocab * sizeof(float), "logits", err))) goto fail;
    if ((st = gem_cache_open(&s->cache, &m->h, shape.type, shape.context, local_cap(m, &shape), err))) goto fail;
    *out = s;
    return GEM_OK;
fail:
    gem_session_close(s);
    return st;
}

void gem_session_close(gem_session *s)
{
    if (!s) return;
    gem_cache_close(&s->cache);
    gem_free(s->tokens);
    gem_free(s->keys);
    gem_free(s->sequence);
    gem_free(s->logits);
    gem_ledger_give(s->engine->model->ledger, s->taken);
    gem_free(s);
}

gem_status gem_session_copy(gem_session *to, const gem_session *from, gem_error *err)
{
    if (to == from) return GEM_OK;
    if (to->engine->model != from->engine->model)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "a session can not take over that of another model");
    if (to->cache.type != from->cache.type)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "of two sessions, one has an 8-bit cache, the other has not");
    if (from->cache.n > to->cache.context)
        return gem_fail(err, GEM_E_LIMIT, 0, "%u tokens do not fit a context of %u", from->cache.n, to->cache.context);
    memcpy(to->tokens, from->tokens, from->cache.n * sizeof *to->tokens);
    memcpy(to->keys, from->keys, from->cache.n * sizeof *to->keys);
    gem_cache_copy(&to->cache, &from->cache);
    return GEM_OK;
}

size_t gem_session_tokens(const gem_session *s, const int32_t **tokens)
{
    *tokens = s->tokens;
    return s->cache.n;
}

uint32_t gem_session_context(const gem_session *s) { return s->cache.context; }
