/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/bench.c - gemmule bench: how fast a model runs here. Token ids are random but always the same, so no
 * tokenizer is needed and two builds do the same work. */
#include "bench.h"
#include "commands.h"
#include "engine.h"
#include "input.h"
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct args {
    struct gem_cli_common common;
    const char *model;
    uint32_t n_prompt, n_gen, repetitions, n_sessions;
    bool kernels, json, no_warmup;
    struct gem_cli_engine_args engine;
};

static const struct gem_cli_option options[] = {
    {.name = "prompt",
     .letter = 'p',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, n_prompt),
     .min = 1,
     .max = 1 << 20,
     .value = "N",
     .fallback = "512",
     .help = "tokens of the prompt"},
    {.name = "generate",
     .letter = 'n',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, n_gen),
     .max = 1 << 20,
     .value = "N",
     .fallback = "64",
     .help = "tokens generated after the first"},
    {.name = "repetitions",
     .letter = 'r',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, repetitions),
     .min = 1,
     .max = GEM_CLI_BENCH_MAX,
     .value = "N",
     .fallback = "5",
     .help = "how often it is measured"},
    {.name = "sessions",
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, n_sessions),
     .min = 1,
     .max = GEM_CLI_BENCH_SESSIONS,
     .value = "N",
     .fallback = "1",
     .help = "answers that are generated together, each to a prompt of its own; speeds are those of all together"},
    {.name = "no-warmup",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, no_warmup),
     .help = "do not run it once beforehand, so that the first measurement pays for cold caches"},
    {.name = "kernels",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, kernels),
     .help = "instead of a model, time each kernel beside what limits it on this machine; with --threads, --cpu, "
             "--json"},
    {.name = "json",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, json),
     .help = "the result as a JSON object"},
};

/* Knuth's MMIX generator: good enough to be arbitrary, and the same everywhere. */
static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Another prompt each time, different from its first token on, so that the session can keep nothing. */
static void fill_prompt(int32_t *tokens, uint32_t n, uint32_t vocab, uint32_t round)
{
    uint64_t state = round;

    for (uint32_t i = 0; i < n; i++) tokens[i] = (int32_t)(next_random(&state) % vocab);
    tokens[0] = (int32_t)(round % vocab);
}

/* Notes what the engine had done when the first token came: the rest is generating. */
struct watch {
    const gem_engine *engine;
    gem_engine_stats at_first;
    bool seen;
};

static bool on_token(void *user, int32_t token)
{
    struct watch *watch = user;

    (void)token;
    if (!watch->seen) gem_engine_get_stats(watch->engine, &watch->at_first);
    watch->seen = true;
    return !gem_cli_interrupted();
}

/* One round of prompt and generation; its speed goes to *sample. */
static int measure(const struct args *args, struct gem_cli_engine *engine, int32_t *tokens, uint32_t round,
                   struct gem_cli_sample *sample)
{
    const gem_sampling greedy = {0};
    const gem_generate_options how = {
        .sampling = &greedy,
        .max_tokens = (size_t)args->n_gen + 1,
        .ignore_stop = true,
        .progress = gem_cli_progress,
    };
    struct watch watch = {.engine = engine->engine};
    gem_generate_stats stats;
    gem_engine_stats after;
    gem_error err;

    fill_prompt(tokens, args->n_prompt, gem_model_get_info(engine->model)->vocab, round);
    if (gem_generate(engine->session, tokens, args->n_prompt, &how, on_token, &watch, &stats, &err))
        return gem_cli_fail(&err);
    if (gem_cli_interrupted()) return gem_cli_interrupt_code();
    if (stats.n_kept || stats.n_generated != how.max_tokens) {
        gem_cli_error("internal error: %zu tokens were kept and %zu generated", stats.n_kept, stats.n_generated);
        return GEM_CLI_EXIT_FAILED;
    }
    sample->first_token_seconds = stats.prompt_seconds;
    sample->prompt_rate = args->n_prompt / stats.prompt_seconds;
    gem_engine_get_stats(engine->engine, &after);
    if (args->n_gen) sample->ple_share = (after.ple_seconds - watch.at_first.ple_seconds) / stats.generate_seconds;
    sample->generate_rate = args->n_gen ? args->n_gen / stats.generate_seconds : 0;
    return 0;
}

/* ---- several sessions ------------------------------------------------------------------------------------------ */

struct many {
    const struct args *args;
    gem_engine *engine;
    gem_session *sessions[GEM_CLI_BENCH_SESSIONS];
    gem_generation *answers[GEM_CLI_BENCH_SESSIONS];
};

static void close_many(struct many *m)
{
    for (uint32_t i = 0; i < m->args->n_sessions; i++) {
        gem_generation_close(m->answers[i]);
        gem_session_close(m->sessions[i]);
    }
}

static int open_many(struct many *m, int32_t *tokens, uint32_t vocab, uint32_t round)
{
    static const gem_sampling greedy;
    const struct args *args = m->args;
    const gem_session_options room = {.context = args->n_prompt + args->n_gen + 1,
                                      .int8_cache = args->engine.int8_cache};
    const gem_generate_options how = {.sampling = &greedy, .max_tokens = (size_t)args->n_gen + 1, .ignore_stop = true};
    gem_error err;

    for (uint32_t i = 0; i < args->n_sessions; i++) {
        fill_prompt(tokens, args->n_prompt, vocab, round * args->n_sessions + i);
        if (gem_session_open(&m->sessions[i], m->engine, &room, &err)) return gem_cli_fail(&err);
        if (gem_generation_open(&m->answers[i], m->sessions[i], tokens, args->n_prompt, &how, NULL, NULL, &err))
            return gem_cli_fail(&err);
    }
    return 0;
}

/* The first step computes all prompts, each further one a token of each answer. */
static int measure_many(const struct args *args, struct gem_cli_engine *engine, int32_t *tokens, uint32_t round,
                        struct gem_cli_sample *sample)
{
    struct many m = {.args = args, .engine = engine->engine};
    int code = open_many(&m, tokens, gem_model_get_info(engine->model)->vocab, round);
    double start = gem_cli_seconds();
    size_t left = args->n_sessions;
    gem_error err;

    for (uint32_t step = 0; !code && left; step++) {
        if (gem_engine_generate(engine->engine, m.answers, args->n_sessions, &left, &err)) code = gem_cli_fail(&err);
        if (!code && gem_cli_interrupted()) code = gem_cli_interrupt_code();
        if (step) continue;
        sample->first_token_seconds = gem_cli_seconds() - start;
        start += sample->first_token_seconds;
    }
    sample->prompt_rate = args->n_sessions * (double)args->n_prompt / sample->first_token_seconds;
    if (args->n_gen) sample->generate_rate = args->n_sessions * (double)args->n_gen / (gem_cli_seconds() - start);
    close_many(&m);
    return code;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static uint64_t peak_resident_bytes(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_maxrss * 1024; /* Linux counts KiB */
}

static int measure_all(const struct args *args, struct gem_cli_engine *engine, struct gem_cli_bench *bench)
{
    int (*const one)(const struct args *, struct gem_cli_engine *, int32_t *, uint32_t, struct gem_cli_sample *) =
        args->n_sessions > 1 ? measure_many : measure;
    int32_t *tokens = malloc(args->n_prompt * sizeof *tokens);
    int code = 0;

    if (!tokens) return gem_cli_out_of_memory();
    if (!args->no_warmup) code = one(args, engine, tokens, 0, &bench->samples[0]);
    for (uint32_t i = 0; i < args->repetitions && !code; i++) {
        gem_cli_progress_line("repetition %u of %u", i + 1, args->repetitions);
        code = one(args, engine, tokens, i + 1, &bench->samples[i]);
    }
    gem_cli_progress_end();
    bench->peak_bytes = peak_resident_bytes();
    free(tokens);
    return code;
}

/* What as many threads read from memory in a second; 0: could not be measured. */
static double read_bandwidth(const char *cpu, uint32_t n_threads)
{
    const gem_speed_options here = {.cpu = cpu, .n_threads = n_threads};
    gem_machine_speed machine;

    return gem_measure_speed(&here, &machine, NULL) ? 0 : machine.all[GEM_LIMIT_MEMORY];
}

/* Without a model; options that speak of one say nothing here. */
static int run_kernels(const struct args *args)
{
    static const char *const known[] = {"kernels", "json", "threads", "cpu", "quiet"};

    if (args->model) return gem_cli_usage("bench", "--kernels takes no MODEL");
    for (size_t i = 0, k; i < args->common.n_given; i++) {
        for (k = 0; k < GEM_CLI_COUNT(known) && strcmp(args->common.given[i], known[k]); k++) {}
        if (k == GEM_CLI_COUNT(known))
            return gem_cli_usage("bench", "--kernels and --%s contradict each other", args->common.given[i]);
    }
    gem_cli_interrupts_catch();
    return gem_cli_bench_kernels(args->engine.cpu, args->engine.threads, args->json);
}

static int run_model(const struct args *args)
{
    struct gem_cli_engine engine = {0};
    struct gem_cli_bench bench = {
        .path = args->model,
        .n_prompt = args->n_prompt,
        .n_gen = args->n_gen,
        .n_samples = args->repetitions,
        .n_sessions = args->n_sessions,
    };
    int code = gem_cli_model_open(&engine, args->model, &args->engine);

    if (code) goto done;
    bench.info = gem_model_get_info(engine.model);
    bench.open_seconds = engine.open_seconds;
    if ((code = gem_cli_session_open(&engine, &args->engine, args->n_prompt + args->n_gen + 1))) goto done;
    bench.threads = gem_engine_threads(engine.engine);
    if ((code = measure_all(args, &engine, &bench))) goto done;
    gem_engine_get_stats(engine.engine, &bench.engine);
    bench.bandwidth = read_bandwidth(args->engine.cpu, bench.threads);
    code = args->json ? gem_cli_bench_json(&bench) : gem_cli_bench_text(&bench);
done:
    gem_cli_engine_close(&engine);
    return code;
}

static int run(const void *arguments)
{
    const struct args *args = arguments;

    if (args->kernels) return run_kernels(args);
    return args->model ? run_model(args) : gem_cli_usage("bench", "MODEL is missing");
}

static const char *const examples[] = {"gemmule bench -p 512 -n 64 -r 5 --json MODEL", "gemmule bench --kernels", NULL};

const struct gem_cli_command gem_cli_bench = {
    .name = "bench",
    .summary = "how fast a model, or each kernel, runs on this machine",
    .details =
        "Each repetition computes a new prompt of random but always the same token ids, and then generates; stop "
        "tokens do not end it. Shown are the median and the range of tokens per second, the time to the first "
        "token, the time to open the model and the peak of resident memory; and of what this machine's memory can "
        "be read at, how much of the time of one token the weights alone take. JSON has every sample.\n"
        "With --kernels and no model, each kernel of the instruction set is timed, on one thread and on all, and shown "
        "beside the nearest of its limits: the bytes it needs from memory or from the first-level cache, by how fast "
        "they are read here, and its multiplications and additions, by a loop of nothing else. It takes about 5 "
        "seconds, and the machine should be idle.",
    .examples = examples,
    .operands = {{"MODEL", true, GEM_CLI_FILE, offsetof(struct args, model),
                  "a native or GGUF file, or a Hugging Face folder"}},
    .n_operands = 1,
    .groups = {GEM_CLI_GROUP("Options", options, 0),
               GEM_CLI_GROUP("Computing", gem_cli_fast_options, offsetof(struct args, engine)), GEM_CLI_COMMON_GROUP},
    .n_groups = 3,
    .args_size = sizeof(struct args),
    .run = run,
};
