/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/probe.c - gemmule probe: logits and hidden states of a case, to be checked against another engine. Rows go
 * to the file as they are computed, so a long case takes no more memory than a short one. */
#include "case.h"
#include "commands.h"
#include "engine.h"
#include "safetensors.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

struct args {
    struct gem_cli_common common;
    const char *model, *test_case, *output, *rows;
    bool hidden;
    uint32_t greedy;
    struct gem_cli_engine_args engine;
};

static const char *const row_choices[] = {"all", "16", NULL};

static const struct gem_cli_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = GEM_CLI_FILE,
     .offset = offsetof(struct args, output),
     .value = "FILE",
     .help = "the safetensors file to write; required"},
    {.name = "hidden",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, hidden),
     .help = "also the hidden states: input of the first layer, output of each, the last after the final norm"},
    {.name = "rows",
     .kind = GEM_CLI_CHOICE,
     .offset = offsetof(struct args, rows),
     .value = "WHICH",
     .choices = row_choices,
     .fallback_shown = "all up to 64 tokens, then every 16th part and the last 8",
     .help = "the rows that are kept: all, or the last 16"},
    {.name = "greedy",
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, greedy),
     .min = 1,
     .max = 1 << 20,
     .value = "N",
     .help = "also N tokens that follow, each the most likely (the lowest id of equals); no token stops it"},
};

enum { ROWS, LOGITS, HIDDEN, GREEDY, N_TENSORS };

struct probe {
    const struct args *args;
    struct gem_cli_engine engine;
    struct gem_cli_tokens tokens, rows;
    int32_t *row_of; /* [n_tokens] index in rows of each position, or -1 */
    size_t n_prompt;
    struct gem_cli_output output;
    struct gem_cli_tensor tensors[N_TENSORS];
    uint64_t n_logits, n_hidden; /* rows written */
    int code;
};

static bool on_logits(void *user, uint32_t position, const float *logits, size_t vocab)
{
    struct probe *probe = user;
    const int32_t row = position < probe->n_prompt ? probe->row_of[position] : -1;

    if (row < 0 || probe->code) return !probe->code;
    probe->code =
        gem_cli_safetensors_write(&probe->output, &probe->tensors[LOGITS], (uint64_t)row * vocab, logits, vocab);
    probe->n_logits++;
    return !probe->code;
}

static void on_hidden(void *user, uint32_t layer, uint32_t position, const float *x, size_t hidden)
{
    struct probe *probe = user;
    const int32_t row = position < probe->n_prompt ? probe->row_of[position] : -1;
    const uint64_t index = (uint64_t)layer * probe->rows.n + (uint64_t)row;

    if (row < 0 || probe->code) return;
    probe->code = gem_cli_safetensors_write(&probe->output, &probe->tensors[HIDDEN], index * hidden, x, hidden);
    probe->n_hidden++;
}

/* A write that failed in on_hidden, which cannot say so, ends the work here. */
static bool on_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    const struct probe *probe = user;

    return !probe->code && gem_cli_progress(NULL, what, done, total);
}

static int map_rows(struct probe *probe)
{
    if (!(probe->row_of = malloc(probe->n_prompt * sizeof *probe->row_of))) return gem_cli_out_of_memory();
    for (size_t i = 0; i < probe->n_prompt; i++) probe->row_of[i] = -1;
    for (size_t i = 0; i < probe->rows.n; i++) probe->row_of[probe->rows.ids[i]] = (int32_t)i;
    return 0;
}

/* The tensors that were asked for, packed to the front of the file; returns how many. */
static size_t describe_tensors(struct probe *probe, struct gem_cli_tensor *wanted[N_TENSORS])
{
    const gem_model_info *info = gem_model_get_info(probe->engine.model);
    const uint64_t n_rows = probe->rows.n;
    size_t n = 0;

    probe->tensors[ROWS] = (struct gem_cli_tensor){.name = "rows", .dtype = "I32", .n_dims = 1, .shape = {n_rows}};
    probe->tensors[LOGITS] =
        (struct gem_cli_tensor){.name = "logits", .dtype = "F32", .n_dims = 2, .shape = {n_rows, info->vocab}};
    probe->tensors[HIDDEN] = (struct gem_cli_tensor){
        .name = "hidden", .dtype = "F32", .n_dims = 3, .shape = {info->n_layers + 1, n_rows, info->hidden}};
    probe->tensors[GREEDY] =
        (struct gem_cli_tensor){.name = "greedy", .dtype = "I32", .n_dims = 1, .shape = {probe->args->greedy}};
    wanted[n++] = &probe->tensors[ROWS];
    wanted[n++] = &probe->tensors[LOGITS];
    if (probe->args->hidden) wanted[n++] = &probe->tensors[HIDDEN];
    if (probe->args->greedy) wanted[n++] = &probe->tensors[GREEDY];
    return n;
}

static int begin_output(struct probe *probe)
{
    struct gem_cli_tensor *wanted[N_TENSORS], list[N_TENSORS];
    const size_t n = describe_tensors(probe, wanted);
    int code = gem_cli_output_open(&probe->output, probe->args->output);

    if (code) return code;
    for (size_t i = 0; i < n; i++) list[i] = *wanted[i];
    if ((code = gem_cli_safetensors_begin(&probe->output, list, n))) return code;
    for (size_t i = 0; i < n; i++) wanted[i]->offset = list[i].offset;
    return gem_cli_safetensors_write(&probe->output, &probe->tensors[ROWS], 0, probe->rows.ids, probe->rows.n);
}

static int advance(struct probe *probe, gem_advance *item)
{
    gem_error err;
    const gem_status status = gem_engine_advance(probe->engine.engine, item, 1, on_progress, probe, &err);

    if (probe->code) return probe->code; /* what went wrong has been said */
    return status ? gem_cli_fail(&err) : 0;
}

static int32_t most_likely(const float *logits, size_t vocab)
{
    size_t best = 0;

    for (size_t i = 1; i < vocab; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return (int32_t)best;
}

static int compute_rows(struct probe *probe, const float **logits)
{
    const uint64_t n_layers = gem_model_get_info(probe->engine.model)->n_layers;
    gem_advance item = {
        .session = probe->engine.session,
        .tokens = probe->tokens.ids,
        .n_tokens = probe->n_prompt,
        .on_logits = on_logits,
        .logits_from = (uint32_t)probe->rows.ids[0],
        .on_hidden = probe->args->hidden ? on_hidden : NULL,
        .user = probe,
    };
    const int code = advance(probe, &item);

    if (code) return code;
    if (probe->n_logits != probe->rows.n ||
        (probe->args->hidden && probe->n_hidden != probe->rows.n * (n_layers + 1))) {
        gem_cli_error("internal error: the engine gave %llu rows of logits and %llu of hidden states",
                      (unsigned long long)probe->n_logits, (unsigned long long)probe->n_hidden);
        return GEM_CLI_EXIT_FAILED;
    }
    *logits = item.logits;
    return 0;
}

static int compute_greedy(struct probe *probe, const float *logits)
{
    const size_t vocab = gem_model_get_info(probe->engine.model)->vocab;

    for (uint32_t i = 0; i < probe->args->greedy; i++) {
        gem_advance item = {.session = probe->engine.session};
        int code = gem_cli_tokens_push(&probe->tokens, most_likely(logits, vocab));

        if (code) return code;
        if (i + 1 == probe->args->greedy) break;
        item.tokens = probe->tokens.ids;
        item.n_tokens = probe->tokens.n;
        if ((code = advance(probe, &item))) return code;
        logits = item.logits;
    }
    return gem_cli_safetensors_write(&probe->output, &probe->tensors[GREEDY], 0, probe->tokens.ids + probe->n_prompt,
                                     probe->args->greedy);
}

static int prepare(struct probe *probe)
{
    const struct args *args = probe->args;
    int code = gem_cli_case_read(&probe->tokens, args->test_case);

    if (code) return code;
    probe->n_prompt = probe->tokens.n;
    if ((code = gem_cli_case_rows(&probe->rows, probe->n_prompt, args->rows)) || (code = map_rows(probe))) return code;
    if ((code = gem_cli_model_open(&probe->engine, args->model, &args->engine))) return code;
    return gem_cli_session_open(&probe->engine, &args->engine, (uint32_t)probe->n_prompt + args->greedy);
}

static int run(const void *arguments)
{
    const struct args *args = arguments;
    struct probe probe = {.args = args};
    const float *logits = NULL;
    int code;

    if (!args->output) return gem_cli_usage("probe", "-o FILE is missing");
    if (!strcmp(args->output, "-")) return gem_cli_usage("probe", "-o needs a file; standard output will not do");
    if ((code = prepare(&probe)) || (code = begin_output(&probe))) goto done;
    if ((code = compute_rows(&probe, &logits))) goto done;
    if (args->greedy && (code = compute_greedy(&probe, logits))) goto done;
    code = gem_cli_output_commit(&probe.output);
    gem_cli_progress_end();
done:
    gem_cli_output_close(&probe.output);
    gem_cli_engine_close(&probe.engine);
    gem_cli_tokens_free(&probe.tokens);
    gem_cli_tokens_free(&probe.rows);
    free(probe.row_of);
    return code;
}

static const char *const examples[] = {
    "gemmule probe --hidden --greedy 16 -o out.safetensors MODEL case.json",
    NULL,
};

const struct gem_cli_command gem_cli_probe = {
    .name = "probe",
    .summary = "logits and hidden states of a case, as a file",
    .details = "CASE is JSON: {\"tokens\": [2, ...], \"media\": []}; other keys are not looked at. FILE receives "
               "\"rows\" I32 [R], \"logits\" F32 [R,V] after the soft-cap, with --hidden \"hidden\" F32 [L+1,R,H], and "
               "with --greedy \"greedy\" I32 [N]. The same input gives the same bytes, and the file appears whole or "
               "not at all.",
    .examples = examples,
    .operands = {{"MODEL", false, GEM_CLI_FILE, offsetof(struct args, model),
                  "a native or GGUF file, or a Hugging Face folder"},
                 {"CASE", false, GEM_CLI_FILE, offsetof(struct args, test_case), "the tokens, as JSON"}},
    .n_operands = 2,
    .groups = {GEM_CLI_GROUP("Options", options, 0),
               GEM_CLI_GROUP("Computing", gem_cli_exact_options, offsetof(struct args, engine)), GEM_CLI_COMMON_GROUP},
    .n_groups = 3,
    .args_size = sizeof(struct args),
    .run = run,
};
