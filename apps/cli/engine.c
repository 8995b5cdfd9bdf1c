/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/engine.c - opening models and sessions as the options say. */
#include "engine.h"
#include "terminal.h"

#include <string.h>

static const char *const precisions[] = {"exact", "fast", NULL};
static const char *const cpus[] = {"c", "avx2", "avxvnni", "avx512", "avx512bf16", NULL};

#define ENGINE_OPTIONS(default_precision)                                                                              \
    {.name = "precision",                                                                                              \
     .kind = GEM_CLI_CHOICE,                                                                                           \
     .offset = offsetof(struct gem_cli_engine_args, precision),                                                        \
     .value = "TIER",                                                                                                  \
     .choices = precisions,                                                                                            \
     .fallback = (default_precision),                                                                                  \
     .help = "exact: float32, the definition; fast: 8-bit activations where weights are quantised"},                   \
        {.name = "threads",                                                                                            \
         .letter = 't',                                                                                                \
         .kind = GEM_CLI_U32,                                                                                          \
         .offset = offsetof(struct gem_cli_engine_args, threads),                                                      \
         .min = 1,                                                                                                     \
         .max = 1024,                                                                                                  \
         .value = "N",                                                                                                 \
         .fallback_shown = "one per physical core",                                                                    \
         .help = "threads that compute; results do not depend on it"},                                                 \
        {.name = "chunk",                                                                                              \
         .kind = GEM_CLI_U32,                                                                                          \
         .offset = offsetof(struct gem_cli_engine_args, chunk),                                                        \
         .min = 1,                                                                                                     \
         .max = 4096,                                                                                                  \
         .value = "N",                                                                                                 \
         .fallback_shown = "256",                                                                                      \
         .help = "most tokens of a prompt computed at once; results do not depend on it"},                             \
        {.name = "cpu",                                                                                                \
         .kind = GEM_CLI_CHOICE,                                                                                       \
         .offset = offsetof(struct gem_cli_engine_args, cpu),                                                          \
         .value = "TIER",                                                                                              \
         .choices = cpus,                                                                                              \
         .environment = "GEMMULE_CPU",                                                                                 \
         .fallback_shown = "GEMMULE_CPU of the environment, else the best this machine has",                           \
         .help = "instruction set"},                                                                                   \
        {.name = "ram",                                                                                                \
         .kind = GEM_CLI_U32,                                                                                          \
         .offset = offsetof(struct gem_cli_engine_args, ram),                                                          \
         .min = 1,                                                                                                     \
         .max = 1 << 30,                                                                                               \
         .value = "MIB",                                                                                               \
         .fallback_shown = "no ceiling",                                                                               \
         .help = "ceiling for all memory; mapped weights beyond it are streamed"},                                     \
        {.name = "ple-ram",                                                                                            \
         .kind = GEM_CLI_U32,                                                                                          \
         .offset = offsetof(struct gem_cli_engine_args, ple_ram),                                                      \
         .min = 1,                                                                                                     \
         .max = 1 << 30,                                                                                               \
         .value = "MIB",                                                                                               \
         .fallback_shown = "16",                                                                                       \
         .help = "memory for per-layer embeddings, which else stay in the file"},                                      \
        {.name = "int8-cache",                                                                                         \
         .kind = GEM_CLI_FLAG,                                                                                         \
         .offset = offsetof(struct gem_cli_engine_args, int8_cache),                                                   \
         .help = "keys and values in 8 bits instead of 16: long contexts in half the memory"},                         \
        {.name = "two-stage-head",                                                                                     \
         .kind = GEM_CLI_FLAG,                                                                                         \
         .offset = offsetof(struct gem_cli_engine_args, two_stage_head),                                               \
         .help = "a copy of a float output head in 8 bits: the same answers faster, for more memory"},                 \
        {.name = "packed-copy",                                                                                        \
         .kind = GEM_CLI_FLAG,                                                                                         \
         .offset = offsetof(struct gem_cli_engine_args, packed_copy),                                                  \
         .help = "use the native copy beside MODEL, and write it first where there is none"},                          \
        {.name = "mmproj",                                                                                             \
         .kind = GEM_CLI_FILE,                                                                                         \
         .offset = offsetof(struct gem_cli_engine_args, mmproj),                                                       \
         .value = "FILE",                                                                                              \
         .help = "a GGUF file with the towers for images and sound that the model's own file lacks"},

const struct gem_cli_option gem_cli_fast_options[10] = {ENGINE_OPTIONS("fast")};
const struct gem_cli_option gem_cli_exact_options[10] = {ENGINE_OPTIONS("exact")};

gem_precision gem_cli_precision(const char *name)
{
    return strcmp(name, "exact") ? GEM_PRECISION_FAST : GEM_PRECISION_EXACT;
}

const char *gem_cli_precision_name(gem_precision precision)
{
    return precision == GEM_PRECISION_EXACT ? "exact" : "fast";
}

int gem_cli_model_open(struct gem_cli_engine *e, const char *path, const struct gem_cli_engine_args *args)
{
    const gem_model_options options = {
        .precision = gem_cli_precision(args->precision),
        .n_threads = args->threads,
        .cpu = args->cpu,
        .progress = gem_cli_progress,
        .ram = (uint64_t)args->ram << 20,
        .packed_copy = args->packed_copy,
        .two_stage_head = args->two_stage_head,
        .mmproj = args->mmproj,
    };
    const double start = gem_cli_seconds();
    gem_error err;

    gem_cli_interrupts_catch();
    if (gem_model_open(&e->model, path, &options, &err)) return gem_cli_fail(&err);
    e->open_seconds = gem_cli_seconds() - start;
    gem_cli_progress_end();
    return 0;
}

int gem_cli_metadata_open(gem_model **model, const char *path, const char *precision)
{
    const gem_model_options options = {
        .metadata_only = true,
        .precision = precision ? gem_cli_precision(precision) : GEM_PRECISION_FAST,
        .progress = gem_cli_progress,
    };
    gem_error err;

    if (gem_model_open(model, path, &options, &err)) return gem_cli_fail(&err);
    gem_cli_progress_end();
    return 0;
}

int gem_cli_session_open(struct gem_cli_engine *e, const struct gem_cli_engine_args *args, uint32_t context)
{
    const gem_engine_options engine = {
        .n_threads = args->threads, .chunk = args->chunk, .ple_ram = (uint64_t)args->ple_ram << 20};
    const gem_session_options session = {.context = context, .int8_cache = args->int8_cache};
    gem_error err;

    if (gem_engine_open(&e->engine, e->model, &engine, &err)) return gem_cli_fail(&err);
    if (gem_session_open(&e->session, e->engine, &session, &err)) return gem_cli_fail(&err);
    return 0;
}

void gem_cli_engine_close(struct gem_cli_engine *e)
{
    if (e->session) gem_session_close(e->session);
    gem_engine_close(e->engine);
    gem_model_close(e->model);
    *e = (struct gem_cli_engine){0};
}
