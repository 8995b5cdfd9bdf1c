/* SPDX-License-Identifier: Apache-2.0
 *
 * Samples with the output head in two stages are those of the whole product: test_two_stage MODEL..., each in both
 * precisions, drawn greedily and otherwise, one session and several together, with other numbers of threads. */
#include <gemmule.h>

#include "unit/check.h"

enum { N_TOKENS = 160, N_SESSIONS = 3 };

static const int32_t prompts[N_SESSIONS][6] = {{2, 15, 300, 301, 302, 16}, {2, 90, 91, 92, 93, 94}, {2, 7, 7, 7, 7, 7}};

struct answer {
    int32_t tokens[N_TOKENS];
    size_t n;
};

static bool on_token(void *user, int32_t token)
{
    struct answer *a = user;

    a->tokens[a->n++] = token;
    return true;
}

static void fail(const gem_error *err)
{
    printf("%s\n", err->message);
    exit(1);
}

/* Answers to all prompts, computed together. */
static gem_engine_stats answer(const gem_model *model, uint32_t threads, const gem_generate_options *how,
                               struct answer answers[N_SESSIONS])
{
    const gem_engine_options options = {.n_threads = threads, .chunk = 5};
    const gem_session_options room = {.context = N_TOKENS + 8};
    gem_session *sessions[N_SESSIONS];
    gem_generation *items[N_SESSIONS];
    gem_engine *engine;
    gem_engine_stats stats;
    size_t left = 1;
    gem_error err;

    memset(answers, 0, N_SESSIONS * sizeof *answers);
    if (gem_engine_open(&engine, model, &options, &err)) fail(&err);
    for (int i = 0; i < N_SESSIONS; i++) {
        if (gem_session_open(&sessions[i], engine, &room, &err)) fail(&err);
        if (gem_generation_open(&items[i], sessions[i], prompts[i], 6, how, on_token, &answers[i], &err)) fail(&err);
    }
    while (left > 0)
        if (gem_engine_generate(engine, items, N_SESSIONS, &left, &err)) fail(&err);
    gem_engine_get_stats(engine, &stats);
    for (int i = 0; i < N_SESSIONS; i++) {
        gem_generation_close(items[i]);
        gem_session_close(sessions[i]);
    }
    gem_engine_close(engine);
    return stats;
}

static void compare(const gem_model *whole, const gem_model *two, const gem_sampling *sampling, bool tried)
{
    const gem_generate_options how = {.sampling = sampling, .max_tokens = N_TOKENS, .ignore_stop = true};
    struct answer a[N_SESSIONS], b[N_SESSIONS];

    CHECK_EQ(answer(whole, 1, &how, a).head_rows, 0);
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        const gem_engine_stats stats = answer(two, threads, &how, b);

        CHECK_EQ(stats.head_rows > 0, tried);
        CHECK(!memcmp(a, b, sizeof a));
        CHECK(stats.head_whole <= stats.head_rows);
    }
}

static void try_model(const char *path, gem_precision precision)
{
    const gem_model_options plain = {.precision = precision};
    const gem_model_options staged = {.precision = precision, .two_stage_head = true};
    static const gem_logit_bias bias[] = {{300, -1e9f}, {17, 2}, {18, -1}};
    const gem_sampling greedy = {0}, forced = {.n_bias = 3, .bias = bias};
    const gem_sampling few = {.temperature = 1, .top_k = 20, .top_p = 0.95f, .seed = 5};
    const gem_sampling biased = {.temperature = 3, .top_k = 3, .min_p = 0.1f, .seed = 6, .n_bias = 3, .bias = bias};
    const gem_sampling all = {.temperature = 1, .seed = 5}, penalised = {.repetition_penalty = 1.3f};
    gem_model *whole, *two = NULL;
    gem_error err;

    if (gem_model_open(&whole, path, &plain, &err) || gem_model_open(&two, path, &staged, &err)) fail(&err);
    CHECK_EQ(gem_model_get_info(two)->packed_bytes - gem_model_get_info(whole)->packed_bytes,
             gem_model_get_info(whole)->two_stage_bytes);
    CHECK(gem_model_get_info(two)->token_bytes < gem_model_get_info(whole)->token_bytes);
    compare(whole, two, &greedy, true);
    compare(whole, two, &forced, true);
    compare(whole, two, &few, true);
    compare(whole, two, &biased, true);
    compare(whole, two, &all, false); /* what looks at all logits has them */
    compare(whole, two, &penalised, false);
    gem_model_close(whole);
    gem_model_close(two);
}

/* Its ceiling counts the copy, and a table of few bits has none. */
static void check_limits(const char *path, const char *quantised)
{
    gem_model_options o = {.two_stage_head = true};
    gem_model *model;
    uint64_t without;
    gem_error err;

    CHECK_EQ(gem_model_open(&model, quantised, &o, &err), GEM_E_ARGUMENT);
    o.two_stage_head = false;
    if (gem_model_open(&model, path, &o, &err)) fail(&err);
    without = gem_model_get_info(model)->ram_bytes;
    CHECK(gem_model_get_info(model)->two_stage_bytes > 0);
    gem_model_close(model);
    o.two_stage_head = true;
    if (gem_model_open(&model, path, &o, &err)) fail(&err);
    CHECK_EQ(gem_model_get_info(model)->ram_bytes, without + gem_model_get_info(model)->two_stage_bytes);
    gem_model_close(model);
}

int main(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        try_model(argv[i], GEM_PRECISION_FAST);
        try_model(argv[i], GEM_PRECISION_EXACT);
        check_limits(argv[i], argv[1]);
    }
    printf("%s\n", check_failures ? "FAILED" : "ok");
    return check_failures != 0;
}
