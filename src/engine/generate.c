/* SPDX-License-Identifier: Apache-2.0
 * src/engine/generate.c - answers: what must come, the mask, the draw, what to tell; and many of them in one batch. */
#include "engine/internal.h"

#include "base/memory.h"
#include "base/stop.h"
#include "generate/sampler.h"

#include <time.h>

enum { MAX_FORCED = 64, MAX_TOP = 100, MAX_TOGETHER = 64 };

struct gem_generation {
    gem_session *session;
    const struct gem_model *model;
    gem_generate_options options;
    gem_sampling sampling;
    const uint64_t *allowed_by_caller;
    gem_token_fn *on_token;
    void *user;
    struct gem_matcher *matcher;
    bool wants_text;
    gem_text_stream stream;
    struct gem_stop stop;
    uint64_t *allowed;     /* [vocab / 64] with a constraint or min_tokens */
    size_t n_tokens;       /* known: the prompt and what follows it */
    size_t n_reported;     /* of these, from the front, those whose logprobs were told, or are not wanted */
    bool has_prompt;       /* it was computed */
    bool computed;         /* logits are those after the last known token */
    const float *logits;   /* [vocab] */
    int32_t opens, closes; /* control tokens around a thought, or -1 */
    bool thinking;
    size_t n_thought; /* tokens of the open thought */
    bool ended;
    double start;
    gem_generate_stats stats;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static size_t stop_tokens(const struct gem_generation *g, const int32_t **ids)
{
    const gem_generate_options *o = &g->options;

    *ids = o->stop ? o->stop : g->model->stop;
    if (o->ignore_stop) return 0;
    return o->stop ? o->n_stop : g->model->n_stop;
}

static bool is_stop(const struct gem_generation *g, int32_t token)
{
    const int32_t *stop;
    const size_t n = stop_tokens(g, &stop);

    for (size_t i = 0; i < n; i++)
        if (stop[i] == token) return true;
    return false;
}

static void end(struct gem_generation *g, gem_finish finish)
{
    g->ended = true;
    g->stats.finish = finish;
}

/* Tokens that may still be delivered: the last one needs no place in the context. */
static size_t budget(const struct gem_generation *g)
{
    const size_t room = g->session->cache.context + 1 - g->n_tokens;
    const size_t left = g->options.max_tokens ? g->options.max_tokens - g->stats.n_generated : SIZE_MAX;

    return left < room ? left : room;
}

/* ---- logprobs ------------------------------------------------------------------------------------------ */

static void report(struct gem_generation *g, size_t position, int32_t token, const float *logits)
{
    gem_logprob top[MAX_TOP], chosen;
    const size_t n_top = gem_logprobs(logits, g->model->h.vocab, token, &chosen, top, g->options.top_logprobs);

    g->options.on_logprobs(g->user, position, &chosen, top, n_top);
}

/* The row of a token whose follower is already known: of the prompt, or before a forced one. */
static bool on_known_row(void *user, uint32_t position, const float *logits, size_t vocab)
{
    struct gem_generation *g = user;

    (void)vocab;
    if (position + 1 < g->n_tokens) report(g, position + 1, g->session->sequence[position + 1], logits);
    return true;
}

/* ---- steps --------------------------------------------------------------------------------------------- */

static gem_advance step_of(struct gem_generation *g)
{
    const gem_generate_options *o = &g->options;
    gem_advance step = {.session = g->session,
                        .tokens = g->session->sequence,
                        .n_tokens = g->n_tokens,
                        .media = o->media,
                        .n_media = o->n_media};

    if (o->on_logprobs && g->n_reported < g->n_tokens) {
        step.on_logits = on_known_row;
        step.logits_from = (uint32_t)g->n_reported - 1;
        step.user = g;
    }
    return step;
}

/* A mask, and who reports log-probabilities, look at all logits. */
static struct gem_ask ask_of(const struct gem_generation *g)
{
    const gem_generate_options *o = &g->options;
    struct gem_ask ask = {.n_strict = g->stats.n_prompt};

    if (g->matcher || g->allowed_by_caller || o->on_logprobs || g->stats.n_generated < o->min_tokens) return ask;
    if (g->sampling.n_bias > GEM_HEAD_BEST) return ask;
    ask.n_best = gem_sampling_best(&g->sampling, g->model->h.vocab);
    ask.bias = g->sampling.bias;
    ask.n_bias = (uint32_t)g->sampling.n_bias;
    return ask;
}

static void take_logits(struct gem_generation *g, const gem_advance *step)
{
    if (!g->has_prompt) g->stats.n_kept = step->n_kept;
    g->has_prompt = true;
    g->n_reported = g->n_tokens;
    g->logits = step->logits;
    g->computed = true;
}

/* Logits after the last known token of each, at most MAX_TOGETHER of them. Progress is that of the first prompt. */
static gem_status compute(struct gem_engine *e, struct gem_generation *const *items, size_t n, gem_error *err)
{
    gem_advance steps[MAX_TOGETHER];
    struct gem_ask asks[MAX_TOGETHER];
    const gem_generate_options *o = NULL;
    gem_status st;

    for (size_t i = 0; i < n; i++) {
        steps[i] = step_of(items[i]);
        asks[i] = ask_of(items[i]);
        if (!o && !items[i]->has_prompt) o = &items[i]->options;
    }
    if (n == 0) return GEM_OK;
    if ((st = gem_engine_step(e, steps, n, asks, o ? o->progress : NULL, o ? o->progress_user : NULL, err))) return st;
    for (size_t i = 0; i < n; i++) take_logits(items[i], &steps[i]);
    return GEM_OK;
}

static void follow_thought(struct gem_generation *g, int32_t token)
{
    if (token == g->closes)
        g->thinking = false;
    else if (g->thinking)
        g->n_thought++; /* a second opening token too */
    else if (token == g->opens)
        g->thinking = true;
    if (!g->thinking) g->n_thought = 0;
}

/* The text of a token, as far as it is decided. false: the caller wants no more. */
static gem_status tell_text(struct gem_generation *g, int32_t token, bool *go_on, gem_error *err)
{
    char text[GEM_TEXT_STREAM_MAX];
    size_t n;
    gem_status st;

    if (!g->wants_text) return GEM_OK;
    if ((st = gem_tokenizer_stream_push(g->model->tokenizer, &g->stream, token, text, &n, err))) return st;
    if (!gem_stop_push(&g->stop, text, n)) *go_on = false;
    return GEM_OK;
}

static void end_text(struct gem_generation *g)
{
    char text[GEM_TEXT_STREAM_MAX];
    size_t n;

    if (!g->wants_text) return;
    gem_text_stream_finish(&g->stream, text, &n);
    gem_stop_push(&g->stop, text, n);
    gem_stop_flush(&g->stop);
}

/* Tells of a token, and takes it into the sequence. */
static gem_status deliver(struct gem_generation *g, int32_t token, gem_error *err)
{
    const gem_generate_options *o = &g->options;
    bool go_on;
    gem_status st;

    if (g->stats.n_generated++ == 0) g->stats.prompt_seconds = now() - g->start;
    g->computed = false;
    follow_thought(g, token);
    go_on = !g->on_token || g->on_token(g->user, token);
    if ((st = tell_text(g, token, &go_on, err))) return st;
    if (g->wants_text && g->stop.found >= 0) {
        g->stats.stop_string = g->stop.found;
        end(g, GEM_FINISH_STOP);
    } else if (!go_on) {
        end(g, GEM_FINISH_CANCELLED);
    } else if (o->max_tokens && g->stats.n_generated == o->max_tokens) {
        end(g, GEM_FINISH_LENGTH);
    } else if (g->n_tokens == g->session->cache.context) {
        end(g, GEM_FINISH_CONTEXT);
    }
    if (g->n_tokens < g->session->cache.context) g->session->sequence[g->n_tokens++] = token;
    if (!g->matcher) return GEM_OK;
    if ((st = gem_matcher_take(g->matcher, token, err))) return st;
    if (g->ended && g->stats.finish == GEM_FINISH_CANCELLED) return GEM_OK;
    /* A budget that is used up to the last token by a complete text was no limit. */
    if (gem_matcher_finished(g->matcher) || (g->ended && gem_matcher_done(g->matcher))) end(g, GEM_FINISH_STOP);
    return GEM_OK;
}

/* Appends what the constraint forces; computed together when logits are needed next. *n: how many. */
static gem_status take_forced(struct gem_generation *g, size_t *n, gem_error *err)
{
    int32_t forced[MAX_FORCED];
    gem_status st;

    *n = 0;
    if (!g->matcher) return GEM_OK;
    if ((st = gem_matcher_find_forced(g->matcher, budget(g), forced, MAX_FORCED, n, err))) return st;
    for (size_t i = 0; i < *n && !g->ended; i++) {
        if (is_stop(g, forced[i])) { /* an id that ends answers is no text here */
            *n = i;
            break;
        }
        if ((st = deliver(g, forced[i], err))) return st;
        g->stats.n_forced++;
    }
    return GEM_OK;
}

static void permit(const struct gem_generation *g, int32_t token, bool may)
{
    const uint64_t bit = UINT64_C(1) << (uint32_t)token % 64;

    if (token < 0 || (uint32_t)token >= g->model->h.vocab) return;
    if (may)
        g->allowed[(uint32_t)token / 64] |= bit;
    else
        g->allowed[(uint32_t)token / 64] &= ~bit;
}

/* Which tokens may be drawn. */
static gem_status find_allowed(struct gem_generation *g, gem_error *err)
{
    const size_t n_words = (g->model->h.vocab + 63) / 64;
    bool may_stop = g->stats.n_generated >= g->options.min_tokens;
    const int32_t *stop;
    const size_t n_stop = stop_tokens(g, &stop);
    gem_status st;

    g->sampling.allowed = g->allowed_by_caller;
    if (!g->matcher && may_stop) return GEM_OK;
    if (g->matcher) {
        if ((st = gem_matcher_find_mask(g->matcher, budget(g), err))) return st;
        for (size_t i = 0; i < n_words; i++)
            g->allowed[i] = g->matcher->bits[i] & (g->sampling.allowed ? g->sampling.allowed[i] : UINT64_MAX);
        may_stop = may_stop && gem_matcher_done(g->matcher);
    } else if (g->sampling.allowed) {
        memcpy(g->allowed, g->sampling.allowed, n_words * sizeof *g->allowed);
    } else {
        memset(g->allowed, 0xff, n_words * sizeof *g->allowed);
    }
    for (size_t i = 0; i < n_stop; i++) permit(g, stop[i], g->matcher && may_stop);
    g->sampling.allowed = g->allowed;
    return GEM_OK;
}

static gem_status draw(struct gem_generation *g, gem_error *err)
{
    int32_t token;
    gem_status st;

    if ((st = find_allowed(g, err))) return st;
    if (g->matcher && g->matcher->n_allowed == 0 && gem_matcher_done(g->matcher)) { /* all that fits is the end */
        end(g, GEM_FINISH_STOP);
        return GEM_OK;
    }
    if ((st = gem_sample(&g->sampling, g->logits, g->model->h.vocab, g->session->sequence, g->n_tokens,
                         g->stats.n_generated, &token, err)))
        return st;
    if (is_stop(g, token)) {
        if (g->stats.n_generated == 0) g->stats.prompt_seconds = now() - g->start;
        g->stats.stop_token = token;
        end(g, GEM_FINISH_STOP);
        return GEM_OK;
    }
    if (g->options.on_logprobs) report(g, g->n_tokens, token, g->logits);
    g->n_reported++;
    return deliver(g, token, err);
}

/* ---- thoughts ------------------------------------------------------------------------------------------ */

static bool is_allowed(const struct gem_generation *g, int32_t token)
{
    return !g->sampling.allowed || (g->sampling.allowed[(uint32_t)token / 64] >> (uint32_t)token % 64 & 1);
}

static bool ends_line(const struct gem_generation *g)
{
    size_t n;
    const char *piece = gem_tokenizer_piece(g->model->tokenizer, g->session->sequence[g->n_tokens - 1], &n);

    return piece && n > 0 && piece[n - 1] == '\n';
}

/* Once a thought has all its tokens, the next ones end it, as soon as a constraint lets them (it waits for the end of a
 * character). *did: whether a token was appended. */
static gem_status end_long_thought(struct gem_generation *g, bool *did, gem_error *err)
{
    const size_t most = g->options.max_thought_tokens;
    const int32_t newline = ends_line(g) ? -1 : gem_tokenizer_find(g->model->tokenizer, "\n", 1);
    int32_t next = g->closes;
    gem_status st;

    *did = false;
    if ((st = find_allowed(g, err))) return st;
    /* The newline only once, and only where there is a token to spare for it. */
    if (newline >= 0 && g->n_thought == most && budget(g) > 1 && is_allowed(g, newline)) next = newline;
    if (!is_allowed(g, next)) return GEM_OK;
    *did = true;
    g->stats.n_forced++;
    return deliver(g, next, err);
}

/* A thought may have begun in the prompt. */
static void find_thought(struct gem_generation *g)
{
    const struct gem_tokenizer *t = g->model->tokenizer;

    g->opens = g->closes = -1;
    if (!t || g->options.max_thought_tokens == 0) return;
    g->opens = gem_tokenizer_find(t, "<|channel>", 10);
    g->closes = gem_tokenizer_find(t, "<channel|>", 10);
    for (size_t i = g->n_tokens; i-- > 0 && g->opens >= 0 && g->closes >= 0;) {
        g->thinking = g->session->sequence[i] == g->opens;
        if (g->thinking || g->session->sequence[i] == g->closes) break;
    }
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static gem_status check(const struct gem_generation *g, gem_error *err)
{
    const gem_generate_options *o = &g->options;

    if (o->constraint && o->n_stop_strings > 0)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "stop strings: they would cut what the constraint guarantees");
    if (o->top_logprobs > MAX_TOP)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "top_logprobs: %u is above %d", o->top_logprobs, MAX_TOP);
    if (o->constraint && o->constraint->trie != g->model->shared->trie)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "constraint: compiled for another model");
    return GEM_OK;
}

/* Takes the prompt over; the engine checks it before anything is told. */
static gem_status begin(struct gem_generation *g, const int32_t *prompt, size_t n_prompt, gem_error *err)
{
    const gem_generate_options *o = &g->options;
    gem_session *s = g->session;
    gem_status st;

    if ((st = check(g, err))) return st;
    if (n_prompt == 0 || n_prompt > s->cache.context) { /* refused there, with a message of its own */
        gem_advance step = {
            .session = s, .tokens = prompt, .n_tokens = n_prompt, .media = o->media, .n_media = o->n_media};
        return gem_engine_advance(s->engine, &step, 1, NULL, NULL, err);
    }
    if (prompt != s->sequence) memmove(s->sequence, prompt, n_prompt * sizeof *prompt);
    g->n_tokens = n_prompt;
    find_thought(g);
    g->n_reported = o->on_logprobs && o->prompt_logprobs ? 1 : n_prompt;
    g->wants_text = o->n_stop_strings > 0 || o->on_text;
    if (g->wants_text && !g->model->tokenizer)
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "text needs the tokenizer, which the model has not");
    if (g->wants_text && (st = gem_stop_open(&g->stop, o->stop_strings, o->n_stop_strings, o->on_text, g->user, err)))
        return st;
    if (o->constraint || o->min_tokens > 0) {
        g->allowed = gem_calloc((g->model->h.vocab + 63) / 64, sizeof *g->allowed, "allowed tokens", err);
        if (!g->allowed) return GEM_E_NOMEM;
    }
    if (!o->constraint) return GEM_OK;
    if ((st = gem_matcher_begin(&g->matcher, o->constraint, err))) return st;
    if (gem_matcher_find_least(g->matcher) > budget(g))
        return gem_fail(err, GEM_E_LIMIT, 0,
                        "constraint: an answer may take %u tokens, max_tokens or the context leave %zu",
                        gem_matcher_find_least(g->matcher), budget(g));
    return GEM_OK;
}

/* Tokens, until logits are needed or there are no more. */
static gem_status go_on(struct gem_generation *g, gem_error *err)
{
    size_t n_forced;
    bool ended_thought;
    gem_status st;

    while (!g->ended) {
        if ((st = take_forced(g, &n_forced, err))) return st;
        if (n_forced > 0) continue;
        if (g->thinking && g->options.max_thought_tokens && g->n_thought >= g->options.max_thought_tokens) {
            if ((st = end_long_thought(g, &ended_thought, err))) return st;
            if (ended_thought) continue;
        }
        if (!g->computed) return GEM_OK;
        if ((st = draw(g, err))) return st;
    }
    /* Logprobs of forced tokens at the end are still owed. */
    if (g->options.on_logprobs && g->n_reported < g->n_tokens && (st = compute(g->session->engine, &g, 1, err)))
        return st;
    g->stats.generate_seconds = now() - g->start - g->stats.prompt_seconds;
    end_text(g);
    return GEM_OK;
}

/* ---- public -------------------------------------------------------------------------------------------- */

gem_status gem_generation_open(gem_generation **out, gem_session *session, const int32_t *prompt, size_t n_prompt,
                               const gem_generate_options *options, gem_token_fn *on_token, void *user, gem_error *err)
{
    const struct gem_model *m = session->engine->model;
    struct gem_generation *g = gem_calloc(1, sizeof *g, "an answer", err);
    gem_status st;

    *out = NULL;
    if (!g) return GEM_E_NOMEM;
    *g = (struct gem_generation){.session = session,
                                 .model = m,
                                 .options = options ? *options : (gem_generate_options){0},
                                 .sampling = options && options->sampling ? *options->sampling : m->sampling,
                                 .on_token = on_token,
                                 .user = user,
                                 .start = now(),
                                 .stats = {.n_prompt = n_prompt, .stop_token = -1, .stop_string = -1}};
    g->allowed_by_caller = g->sampling.allowed;
    g->stats.seed = g->sampling.seed;
    if ((st = begin(g, prompt, n_prompt, err)))
        gem_generation_close(g);
    else
        *out = g;
    return st;
}

void gem_generation_close(gem_generation *g)
{
    if (!g) return;
    gem_matcher_end(g->matcher);
    gem_stop_close(&g->stop);
    gem_free(g->allowed);
    gem_free(g);
}

bool gem_generation_get_stats(const gem_generation *g, gem_generate_stats *out)
{
    *out = g->stats;
    return g->ended;
}

gem_status gem_engine_generate(gem_engine *e, gem_generation *const *items, size_t n_items, size_t *n_left,
                               gem_error *err)
{
    struct gem_generation *waiting[MAX_TOGETHER];
    size_t n = 0;
    gem_status st;

    *n_left = 0;
    for (size_t i = 0; i < n_items; i++) {
        if (!items[i]->ended && !items[i]->computed) waiting[n++] = items[i];
        if (n < MAX_TOGETHER && i + 1 < n_items) continue;
        if ((st = compute(e, waiting, n, err))) return st;
        n = 0;
    }
    for (size_t i = 0; i < n_items; i++) {
        if (!items[i]->ended && (st = go_on(items[i], err))) return st;
        *n_left += !items[i]->ended;
    }
    return GEM_OK;
}

static gem_status run(struct gem_engine *e, gem_generation *const *items, size_t n_items, gem_error *err)
{
    size_t n_left = 1;
    gem_status st = GEM_OK;

    while (n_left > 0 && !st) st = gem_engine_generate(e, items, n_items, &n_left, err);
    return st;
}

gem_status gem_generate(gem_session *s, const int32_t *prompt, size_t n_prompt, const gem_generate_options *options,
                        gem_token_fn *on_token, void *user, gem_generate_stats *stats, gem_error *err)
{
    gem_generation *g;
    gem_status st = gem_generation_open(&g, s, prompt, n_prompt, options, on_token, user, err);

    if (st) return st;
    if (!(st = run(s->engine, &g, 1, err)) && stats) (void)gem_generation_get_stats(g, stats);
    gem_generation_close(g);
    return st;
}

/* ---- samples of one prompt ----------------------------------------------------------------------------- */

/* Sample i in a session of its own that holds what that of the first does. */
static gem_status open_sample(gem_generation **out, const struct gem_generation *first, size_t i, void *user,
                              gem_error *err)
{
    const struct gem_cache *cache = &first->session->cache;
    const size_t n = first->stats.n_prompt, most = first->options.max_tokens;
    const gem_session_options room = {.int8_cache = cache->type == GEM_CACHE_INT8,
                                      .context =
                                          most && most < cache->context - n ? (uint32_t)(n + most) : cache->context,
                                      .local_slack = 1};
    gem_generate_options options = first->options;
    gem_sampling sampling = first->sampling;
    gem_session *session;
    gem_status st = gem_session_open(&session, first->session->engine, &room, err);

    *out = NULL;
    if (st) return st;
    sampling.seed = gem_sample_seed(sampling.seed, i);
    options.sampling = &sampling;
    options.prompt_logprobs = false;
    st = gem_session_copy(session, first->session, err);
    if (!st) st = gem_generation_open(out, session, first->session->sequence, n, &options, first->on_token, user, err);
    if (st) gem_session_close(session);
    return st;
}

gem_status gem_generate_samples(gem_session *s, const int32_t *prompt, size_t n_prompt, size_t n_samples,
                                const gem_generate_options *options, gem_token_fn *on_token, void *const *users,
                                gem_generate_stats *stats, gem_error *err)
{
    gem_generation **items = gem_calloc(n_samples, sizeof *items, "samples", err);
    size_t n = 0;
    gem_status st = items ? GEM_OK : GEM_E_NOMEM;

    if (st || n_samples == 0) goto out;
    st = gem_generation_open(&items[0], s, prompt, n_prompt, options, on_token, users ? users[0] : NULL, err);
    if (st) goto out;
    n = 1;
    st = compute(s->engine, items, 1, err); /* the prompt, for all */
    for (; n < n_samples && !st; n += !st) st = open_sample(&items[n], items[0], n, users ? users[n] : NULL, err);
    if (!st) st = run(s->engine, items, n, err);
    for (size_t i = 0; i < n && !st && stats; i++) (void)gem_generation_get_stats(items[i], &stats[i]);
out:
    for (size_t i = 0; i < n; i++) {
        gem_session *own = i > 0 ? items[i]->session : NULL;
        gem_generation_close(items[i]);
        gem_session_close(own);
    }
    gem_free(items);
    return st;
}
