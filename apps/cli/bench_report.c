/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/bench_report.c - the results of gemmule bench, for people and for programs. */
#include "bench.h"
#include "engine.h"
#include "json_out.h"
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct quantity {
    const char *key, *label, *unit;
    size_t offset; /* double, in struct gem_cli_sample */
};

static const struct quantity quantities[] = {
    {"prompt_tokens_per_second", "prompt", "tokens/s", offsetof(struct gem_cli_sample, prompt_rate)},
    {"generate_tokens_per_second", "generate", "tokens/s", offsetof(struct gem_cli_sample, generate_rate)},
    {"first_token_seconds", "first token", "s", offsetof(struct gem_cli_sample, first_token_seconds)},
    {"ple_share_of_generating", "embeddings", "of generating", offsetof(struct gem_cli_sample, ple_share)},
};

struct spread {
    double min, median, max;
};

static double value_of(const struct gem_cli_bench *bench, const struct quantity *quantity, uint32_t i)
{
    return *(const double *)((const char *)&bench->samples[i] + quantity->offset);
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static struct spread spread_of(const struct gem_cli_bench *bench, const struct quantity *quantity)
{
    const uint32_t n = bench->n_samples;
    double sorted[GEM_CLI_BENCH_MAX];

    for (uint32_t i = 0; i < n; i++) sorted[i] = value_of(bench, quantity, i);
    qsort(sorted, n, sizeof *sorted, compare_doubles);
    return (struct spread){sorted[0], (sorted[(n - 1) / 2] + sorted[n / 2]) / 2, sorted[n - 1]};
}

/* Reading the weights of one token, as part of the time that a step of generating takes; 0: not known. */
static double floor_reached(const struct gem_cli_bench *bench)
{
    const double rate = spread_of(bench, &quantities[1]).median / bench->n_sessions;

    return bench->bandwidth > 0 ? rate * (double)bench->info->token_bytes / bench->bandwidth : 0;
}

int gem_cli_bench_text(const struct gem_cli_bench *bench)
{
    const gem_model_info *info = bench->info;

    fputs("model        ", stdout);
    gem_cli_put_name(bench->path);
    printf("\nsize         %s\ncpu          %s\nprecision    %s\nthreads      %u\nwork         %u tokens of prompt, %u "
           "generated, %u times\n\n",
           *info->size_label ? info->size_label : "-", info->cpu, gem_cli_precision_name(info->precision),
           bench->threads, bench->n_prompt, bench->n_gen, bench->n_samples);
    printf("%-12s %10s %10s %10s\n", "", "median", "least", "most");
    for (size_t i = 0; i < GEM_CLI_COUNT(quantities); i++) {
        const struct spread spread = spread_of(bench, &quantities[i]);

        if (spread.max > 0)
            printf("%-12s %10.4g %10.4g %10.4g %s\n", quantities[i].label, spread.median, spread.min, spread.max,
                   quantities[i].unit);
    }
    if (floor_reached(bench) > 0)
        printf("%-12s %10.3g %% of the time that reading weights takes, %.4g MB a token at %.3g GB/s\n", "floor",
               100 * floor_reached(bench), (double)info->token_bytes / 1e6, bench->bandwidth / 1e9);
    printf("%-12s %10.3f s\n%-12s %10.1f MiB\n", "open", bench->open_seconds, "peak memory",
           (double)bench->peak_bytes / (1 << 20));
    return gem_cli_flush();
}

static bool add_quantity(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct gem_cli_bench *bench,
                         const struct quantity *quantity)
{
    const struct spread spread = spread_of(bench, quantity);
    yyjson_mut_val *one = yyjson_mut_obj_add_obj(doc, root, quantity->key);
    yyjson_mut_val *samples = yyjson_mut_obj_add_arr(doc, one, "samples");
    bool ok = samples && yyjson_mut_obj_add_real(doc, one, "median", spread.median) &&
              yyjson_mut_obj_add_real(doc, one, "min", spread.min) &&
              yyjson_mut_obj_add_real(doc, one, "max", spread.max);

    for (uint32_t i = 0; i < bench->n_samples && ok; i++)
        ok = yyjson_mut_arr_add_real(doc, samples, value_of(bench, quantity, i));
    return ok;
}

int gem_cli_bench_json(const struct gem_cli_bench *bench)
{
    const gem_model_info *info = bench->info;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    bool ok = root && gem_cli_json_add_text(doc, root, "model", bench->path) &&
              gem_cli_json_add_text(doc, root, "architecture", info->architecture) &&
              gem_cli_json_add_text(doc, root, "size", info->size_label) &&
              gem_cli_json_add_text(doc, root, "cpu", info->cpu) &&
              yyjson_mut_obj_add_str(doc, root, "precision", gem_cli_precision_name(info->precision)) &&
              yyjson_mut_obj_add_str(doc, root, "version", gem_version()) &&
              yyjson_mut_obj_add_uint(doc, root, "threads", bench->threads) &&
              yyjson_mut_obj_add_uint(doc, root, "n_prompt", bench->n_prompt) &&
              yyjson_mut_obj_add_uint(doc, root, "n_gen", bench->n_gen) &&
              yyjson_mut_obj_add_uint(doc, root, "repetitions", bench->n_samples) &&
              yyjson_mut_obj_add_uint(doc, root, "sessions", bench->n_sessions) &&
              yyjson_mut_obj_add_uint(doc, root, "bytes_per_token", info->token_bytes) &&
              yyjson_mut_obj_add_real(doc, root, "read_bytes_per_second", bench->bandwidth) &&
              yyjson_mut_obj_add_real(doc, root, "generate_floor_fraction", floor_reached(bench)) &&
              yyjson_mut_obj_add_uint(doc, root, "head_rows", bench->engine.head_rows) &&
              yyjson_mut_obj_add_uint(doc, root, "head_whole", bench->engine.head_whole) &&
              yyjson_mut_obj_add_uint(doc, root, "head_computed", bench->engine.head_computed) &&
              yyjson_mut_obj_add_uint(doc, root, "file_bytes", info->file_bytes) &&
              yyjson_mut_obj_add_real(doc, root, "open_seconds", bench->open_seconds) &&
              yyjson_mut_obj_add_uint(doc, root, "peak_resident_bytes", bench->peak_bytes);

    yyjson_mut_doc_set_root(doc, root);
    for (size_t i = 0; i < GEM_CLI_COUNT(quantities) && ok; i++) {
        if (value_of(bench, &quantities[i], 0) > 0) ok = add_quantity(doc, root, bench, &quantities[i]);
    }
    return gem_cli_json_print(doc, ok, true);
}
