/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/internal.h"

#include <time.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool is_stop(const struct gem_model *m, const gem_generate_options *o, int32_t token)
{
    const int32_t *stop = o->stop ? o->stop : m->stop;
    const size_t n = o->stop ? o->n_stop : m->n_stop;

    for (size_t i = 0; i < n && !o->ignore_stop; i++)
        if (stop[i] == token) return true;
    return false;
}

gem_status gem_generate(gem_session *s, const int32_t *prompt, size_t n_prompt, const gem_generate_options *options,
                        gem_token_fn *on_token, void *user, gem_generate_stats *stats, gem_error *err)
{
    static const gem_generate_options defaults;
    const gem_generate_options *o = options ? options : &defaults;
    const struct gem_model *m = s->engine->model;
    const gem_sampling *sampling = o->sampling ? o->sampling : &m->sampling;
    gem_generate_stats result = {.n_prompt = n_prompt, .stop_token = -1, .finish = GEM_FINISH_CONTEXT};
    gem_advance step = {.session = s, .tokens = prompt, .n_tokens = n_prompt, .media = o->media, .n_media = o->n_media};
    const double start = now();
    gem_status st;

    if ((st = gem_engine_advance(s->engine, &step, 1, o->progress, o->progress_user, err))) return st;
    result.n_kept = step.n_kept;
    memcpy(s->sequence, prompt, n_prompt * sizeof *prompt);
    step.tokens = s->sequence;
    for (;;) {
        int32_t token;

        if ((st = gem_sample(sampling, step.logits, m->h.vocab, s->sequence, step.n_tokens, result.n_generated, &token,
                             err)))
            return st;
        if (result.n_generated == 0) result.prompt_seconds = now() - start;
        if (is_stop(m, o, token)) {
            result.finish = GEM_FINISH_STOP;
            result.stop_token = token;
            break;
        }
        result.n_generated++;
        if (on_token && !on_token(user, token)) {
            result.finish = GEM_FINISH_CANCELLED;
            break;
        }
        if (o->max_tokens && result.n_generated == o->max_tokens) {
            result.finish = GEM_FINISH_LENGTH;
            break;
        }
        if (step.n_tokens == s->cache.context) break;
        s->sequence[step.n_tokens++] = token;
        if ((st = gem_engine_step(s->engine, &step, 1, n_prompt, NULL, NULL, err))) return st;
    }
    result.generate_seconds = now() - start - result.prompt_seconds;
    if (stats) *stats = result;
    return GEM_OK;
}
