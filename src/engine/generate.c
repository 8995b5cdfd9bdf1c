/* SPDX-License-Identifier: Apache-2.0
 * src/engine/generate.c - the loop of one answer: what must come, the mask, the draw, what to tell. */
#include "engine/internal.h"

#include "base/memory.h"
#include "generate/sampler.h"
#include "generate/stop.h"

#include <time.h>

enum { MAX_FORCED = 64, MAX_TOP = 100 };

struct generation {
    gem_session *session;
    const struct gem_model *model;
    const gem_generate_options *options;
    gem_sampling sampling;
    gem_token_fn *on_token;
    void *user;
    struct gem_matcher *matcher;
    struct gem_stop stop;
    uint64_t *allowed;     /* [vocab / 64] with a constraint or min_tokens */
    size_t n_tokens;       /* known: the prompt and what follows it */
    size_t n_reported;     /* of these, from the front, those whose logprobs were told, or are not wanted */
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

static size_t stop_tokens(const struct generation *g, const int32_t **ids)
{
    const gem_generate_options *o = g->options;

    *ids = o->stop ? o->stop : g->model->stop;
    if (o->ignore_stop) return 0;
    return o->stop ? o->n_stop : g->model->n_stop;
}

static bool is_stop(const struct generation *g, int32_t token)
{
    const int32_t *stop;
    const size_t n = stop_tokens(g, &stop);

    for (size_t i = 0; i < n; i++)
        if (stop[i] == token) return true;
    return false;
}

static void end(struct generation *g, gem_finish finish)
{
    g->ended = true;
    g->stats.finish = finish;
}

/* Tokens that may still be delivered: the last one needs no place in the context. */
static size_t budget(const struct generation *g)
{
    const size_t room = g->session->cache.context + 1 - g->n_tokens;
    const size_t left = g->options->max_tokens ? g->options->max_tokens - g->stats.n_generated : SIZE_MAX;

    return left < room ? left : room;
}

/* ---- logprobs ------------------------------------------------------------------------------------------ */

static void report(struct generation *g, size_t position, int32_t token, const float *logits)
{
    gem_logprob top[MAX_TOP], chosen;
    const size_t n_top = gem_logprobs(logits, g->model->h.vocab, token, &chosen, top, g->options->top_logprobs);

    g->options->on_logprobs(g->user, position, &chosen, top, n_top);
}

/* The row of a token whose follower is already known: of the prompt, or before a forced one. */
static bool on_known_row(void *user, uint32_t position, const float *logits, size_t vocab)
{
    struct generation *g = user;

    (void)vocab;
    if (position + 1 < g->n_tokens) report(g, position + 1, g->session->sequence[position + 1], logits);
    return true;
}

/* ---- steps --------------------------------------------------------------------------------------------- */

/* Logits after the last known token. */
static gem_status compute(struct generation *g, gem_error *err)
{
    const gem_generate_options *o = g->options;
    const bool prompt = g->stats.n_generated == 0;
    gem_advance step = {.session = g->session, .tokens = g->session->sequence, .n_tokens = g->n_tokens};
    gem_status st;

    if (o->on_logprobs && g->n_reported < g->n_tokens) {
        step.on_logits = on_known_row;
        step.logits_from = (uint32_t)g->n_reported - 1;
        step.user = g;
    }
    st = gem_engine_advance(g->session->engine, &step, 1, prompt ? o->progress : NULL, o->progress_user, err);
    if (st) return st;
    if (prompt) g->stats.n_kept = step.n_kept;
    g->n_reported = g->n_tokens;
    g->logits = step.logits;
    g->computed = true;
    return GEM_OK;
}

static void follow_thought(struct generation *g, int32_t token)
{
    if (token == g->closes)
        g->thinking = false;
    else if (g->thinking)
        g->n_thought++; /* a second opening token too */
    else if (token == g->opens)
        g->thinking = true;
    if (!g->thinking) g->n_thought = 0;
}

/* Tells of a token, and takes it into the sequence. */
static gem_status deliver(struct generation *g, int32_t token, gem_error *err)
{
    const gem_generate_options *o = g->options;
    bool go_on;
    gem_status st;

    if (g->stats.n_generated++ == 0) g->stats.prompt_seconds = now() - g->start;
    g->computed = false;
    follow_thought(g, token);
    go_on = !g->on_token || g->on_token(g->user, token);
    if ((st = gem_stop_push(&g->stop, token, &go_on, err))) return st;
    if (g->stop.found >= 0) {
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
static gem_status take_forced(struct generation *g, size_t *n, gem_error *err)
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

static void permit(const struct generation *g, int32_t token, bool may)
{
    const uint64_t bit = UINT64_C(1) << (uint32_t)token % 64;

    if (token < 0 || (uint32_t)token >= g->model->h.vocab) return;
    if (may)
        g->allowed[(uint32_t)token / 64] |= bit;
    else
        g->allowed[(uint32_t)token / 64] &= ~bit;
}

/* Which tokens may be drawn. */
static gem_status find_allowed(struct generation *g, gem_error *err)
{
    const size_t n_words = (g->model->h.vocab + 63) / 64;
    bool may_stop = g->stats.n_generated >= g->options->min_tokens;
    const int32_t *stop;
    const size_t n_stop = stop_tokens(g, &stop);
    gem_status st;

    g->sampling.allowed = g->options->sampling ? g->options->sampling->allowed : NULL;
    if (!g->matcher && may_stop) return GEM_OK;
    if (g->matcher) {
        if ((st = gem_matcher_find_mask(g->matcher, budget(g), err))) return st;
        memcpy(g->allowed, g->matcher->bits, n_words * sizeof *g->allowed);
        may_stop = gem_matcher_done(g->matcher) && (may_stop || g->matcher->n_allowed == 0);
    } else if (g->sampling.allowed) {
        memcpy(g->allowed, g->sampling.allowed, n_words * sizeof *g->allowed);
    } else {
        memset(g->allowed, 0xff, n_words * sizeof *g->allowed);
    }
    for (size_t i = 0; i < n_stop; i++) permit(g, stop[i], g->matcher && may_stop);
    g->sampling.allowed = g->allowed;
    return GEM_OK;
}

static gem_status draw(struct generation *g, gem_error *err)
{
    int32_t token;
    gem_status st;

    if ((st = find_allowed(g, err))) return st;
    if ((st = gem_sample(&g->sampling, g->logits, g->model->h.vocab, g->session->sequence, g->n_tokens,
                         g->stats.n_generated, &token, err)))
        return st;
    if (is_stop(g, token)) {
        if (g->stats.n_generated == 0) g->stats.prompt_seconds = now() - g->start;
        g->stats.stop_token = token;
        end(g, GEM_FINISH_STOP);
        return GEM_OK;
    }
    if (g->options->on_logprobs) report(g, g->n_tokens, token, g->logits);
    g->n_reported++;
    return deliver(g, token, err);
}

/* ---- thoughts ------------------------------------------------------------------------------------------ */

static bool is_allowed(const struct generation *g, int32_t token)
{
    return !g->sampling.allowed || (g->sampling.allowed[(uint32_t)token / 64] >> (uint32_t)token % 64 & 1);
}

static bool ends_line(const struct generation *g)
{
    size_t n;
    const char *piece = gem_tokenizer_piece(g->model->tokenizer, g->session->sequence[g->n_tokens - 1], &n);

    return piece && n > 0 && piece[n - 1] == '\n';
}

/* Once a thought has all its tokens, the next ones end it, as soon as a constraint lets them (it waits for the end of a
 * character). *did: whether a token was appended. */
static gem_status end_long_thought(struct generation *g, bool *did, gem_error *err)
{
    const size_t most = g->options->max_thought_tokens;
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
static void find_thought(struct generation *g)
{
    const struct gem_tokenizer *t = g->model->tokenizer;

    g->opens = g->closes = -1;
    if (!t || g->options->max_thought_tokens == 0) return;
    g->opens = gem_tokenizer_find(t, "<|channel>", 10);
    g->closes = gem_tokenizer_find(t, "<channel|>", 10);
    for (size_t i = g->n_tokens; i-- > 0 && g->opens >= 0 && g->closes >= 0;) {
        g->thinking = g->session->sequence[i] == g->opens;
        if (g->thinking || g->session->sequence[i] == g->closes) break;
    }
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static gem_status check(const struct generation *g, gem_error *err)
{
    const gem_generate_options *o = g->options;

    if (o->constraint && o->n_stop_strings > 0)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "stop strings: they would cut what the constraint guarantees");
    if (o->top_logprobs > MAX_TOP)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "top_logprobs: %u is above %d", o->top_logprobs, MAX_TOP);
    if (o->constraint && o->constraint->trie != g->model->shared->trie)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "constraint: compiled for another model");
    return GEM_OK;
}

/* Takes the prompt over; the engine checks it before anything is told. */
static gem_status begin(struct generation *g, const int32_t *prompt, size_t n_prompt, gem_error *err)
{
    const gem_generate_options *o = g->options;
    gem_session *s = g->session;
    gem_status st;

    if ((st = check(g, err))) return st;
    if (n_prompt == 0 || n_prompt > s->cache.context) { /* refused there, with a message of its own */
        gem_advance step = {.session = s, .tokens = prompt, .n_tokens = n_prompt};
        return gem_engine_advance(s->engine, &step, 1, NULL, NULL, err);
    }
    if (prompt != s->sequence) memmove(s->sequence, prompt, n_prompt * sizeof *prompt);
    g->n_tokens = n_prompt;
    find_thought(g);
    g->n_reported = o->on_logprobs && o->prompt_logprobs ? 1 : n_prompt;
    if ((st = gem_stop_open(&g->stop, g->model->tokenizer, o, g->user, err))) return st;
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

static gem_status run(struct generation *g, gem_error *err)
{
    size_t n_forced;
    bool ended_thought;
    gem_status st;

    if ((st = compute(g, err))) return st;
    while (!g->ended) {
        if ((st = take_forced(g, &n_forced, err))) return st;
        if (n_forced > 0) continue;
        if (g->thinking && g->options->max_thought_tokens && g->n_thought >= g->options->max_thought_tokens) {
            if ((st = end_long_thought(g, &ended_thought, err))) return st;
            if (ended_thought) continue;
        }
        if (!g->computed && (st = compute(g, err))) return st;
        if ((st = draw(g, err))) return st;
    }
    /* Logprobs of forced tokens at the end are still owed. */
    if (g->options->on_logprobs && g->n_reported < g->n_tokens && (st = compute(g, err))) return st;
    return gem_stop_finish(&g->stop, err);
}

gem_status gem_generate(gem_session *s, const int32_t *prompt, size_t n_prompt, const gem_generate_options *options,
                        gem_token_fn *on_token, void *user, gem_generate_stats *stats, gem_error *err)
{
    static const gem_generate_options defaults;
    const gem_generate_options *o = options ? options : &defaults;
    const struct gem_model *m = s->engine->model;
    struct generation g = {.session = s,
                           .model = m,
                           .options = o,
                           .sampling = o->sampling ? *o->sampling : m->sampling,
                           .on_token = on_token,
                           .user = user,
                           .start = now(),
                           .stats = {.n_prompt = n_prompt, .stop_token = -1, .stop_string = -1}};
    gem_status st = begin(&g, prompt, n_prompt, err);

    if (!st) st = run(&g, err);
    g.stats.generate_seconds = now() - g.start - g.stats.prompt_seconds;
    if (!st && stats) *stats = g.stats;
    gem_matcher_end(g.matcher);
    gem_stop_close(&g.stop);
    gem_free(g.allowed);
    return st;
}

gem_status gem_generate_samples(gem_session *s, const int32_t *prompt, size_t n_prompt, size_t n_samples,
                                const gem_generate_options *options, gem_token_fn *on_token, gem_sample_fn *on_sample,
                                void *user, gem_error *err)
{
    const gem_sampling *base = options && options->sampling ? options->sampling : &s->engine->model->sampling;
    gem_generate_options o = options ? *options : (gem_generate_options){0};
    gem_sampling sampling = *base;
    int32_t *copy = gem_calloc(n_prompt, sizeof *copy, "a prompt", err); /* the session may own the prompt */
    gem_status st = copy ? GEM_OK : GEM_E_NOMEM;

    if (copy && n_prompt > 0) memcpy(copy, prompt, n_prompt * sizeof *copy);
    o.sampling = &sampling;
    for (size_t i = 0; i < n_samples && !st; i++) {
        gem_generate_stats stats;
        sampling.seed = gem_sample_seed(base->seed, i);
        if (on_sample && !on_sample(user, i, NULL)) break;
        st = gem_generate(s, copy, n_prompt, &o, on_token, user, &stats, err);
        if (!st && on_sample && !on_sample(user, i, &stats)) break;
    }
    gem_free(copy);
    return st;
}
