/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/probe.c - gemmule probe: logits and hidden states of a case, to be checked against another engine. Rows go
 * to the file as they are computed, so a long case takes no more memory than a short one. */
#include "case.h"
#include "commands.h"
#include "engine.h"
#include "media.h"
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

enum { N_BANDS = 128 }; /* of log-mel features */

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

enum { ROWS, LOGITS, HIDDEN, SOFT, FEATURES, GREEDY, N_TENSORS };

struct probe {
    const struct args *args;
    struct gem_cli_engine engine;
    struct gem_cli_case test_case;
    struct gem_cli_media media;
    struct gem_cli_tokens tokens, rows; /* tokens: the case's, and those that follow */
    uint64_t n_soft, n_frames;          /* frames: of sounds, as their encoder takes them */
    int32_t *row_of;                    /* [n_tokens] index in rows of each position, or -1 */
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
    probe->tensors[FEATURES] =
        (struct gem_cli_tensor){.name = "features", .dtype = "F32", .n_dims = 2, .shape = {probe->n_frames, N_BANDS}};
    probe->tensors[SOFT] =
        (struct gem_cli_tensor){.name = "soft", .dtype = "F32", .n_dims = 2, .shape = {probe->n_soft, info->hidden}};
    probe->tensors[GREEDY] =
        (struct gem_cli_tensor){.name = "greedy", .dtype = "I32", .n_dims = 1, .shape = {probe->args->greedy}};
    wanted[n++] = &probe->tensors[ROWS];
    wanted[n++] = &probe->tensors[LOGITS];
    if (probe->args->hidden) wanted[n++] = &probe->tensors[HIDDEN];
    if (probe->media.n) wanted[n++] = &probe->tensors[SOFT];
    if (probe->n_frames) wanted[n++] = &probe->tensors[FEATURES];
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
        .media = probe->media.at,
        .n_media = probe->media.n_at,
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
        item.media = probe->media.at;
        item.n_media = probe->media.n_at;
        if ((code = advance(probe, &item))) return code;
        logits = item.logits;
    }
    return gem_cli_safetensors_write(&probe->output, &probe->tensors[GREEDY], 0, probe->tokens.ids + probe->n_prompt,
                                     probe->args->greedy);
}

/* Soft tokens as the towers give them: of images, then of videos, then of sounds. */
static int compute_soft(struct probe *probe)
{
    uint64_t row = 0;
    int code = 0;

    for (int kind = GEM_MEDIA_IMAGE; kind <= GEM_MEDIA_AUDIO; kind++)
        for (size_t i = 0; i < probe->media.n && !code; i++) {
            const uint64_t hidden = gem_model_get_info(probe->engine.model)->hidden;
            gem_media_info info;
            const float *soft;
            gem_error err;

            gem_media_get_info(probe->media.items[i].media, &info);
            if ((int)info.kind != kind) continue;
            if (gem_engine_encode(probe->engine.engine, probe->media.items[i].media, &soft, &err))
                return gem_cli_fail(&err);
            code = gem_cli_safetensors_write(&probe->output, &probe->tensors[SOFT], row * hidden, soft,
                                             info.n_tokens * hidden);
            row += info.n_tokens;
        }
    return code;
}

/* Log-mel features of all sounds, one behind the other. */
static int compute_features(struct probe *probe)
{
    uint64_t at = 0;
    int code = 0;

    for (size_t i = 0; i < probe->media.n && !code && probe->n_frames; i++) {
        const gem_media *media = probe->media.items[i].media;
        float *features;
        size_t n = 0;
        gem_media_info info;
        gem_error err;

        gem_media_get_info(media, &info);
        if (info.kind != GEM_MEDIA_AUDIO) continue;
        if (gem_media_features(media, NULL, 0, &n, &err)) return gem_cli_fail(&err);
        if (!(features = malloc((n ? n : 1) * N_BANDS * sizeof *features))) return gem_cli_out_of_memory();
        if (gem_media_features(media, features, n, &n, &err))
            code = gem_cli_fail(&err);
        else
            code = gem_cli_safetensors_write(&probe->output, &probe->tensors[FEATURES], at * N_BANDS, features,
                                             n * N_BANDS);
        free(features);
        at += n;
    }
    return code;
}

/* Appends an item, or the pieces of a sound. */
static int open_one(struct probe *probe, const struct gem_cli_case_media *m)
{
    const gem_image_source image = {.path = m->path, .kind = m->kind, .budget = m->budget};
    const gem_audio_source audio = {.path = m->path};

    if (m->kind == GEM_MEDIA_AUDIO) return gem_cli_media_add_audio(&probe->media, probe->engine.model, &audio, NULL);
    return gem_cli_media_add(&probe->media, probe->engine.model, &image, NULL);
}

static int place(struct probe *probe, size_t i, size_t at)
{
    const gem_media *media = probe->media.items[i].media;
    gem_media_info info;
    size_t n_frames = 0;

    gem_media_get_info(media, &info);
    if (info.kind == GEM_MEDIA_AUDIO) (void)gem_media_features(media, NULL, 0, &n_frames, NULL);
    probe->n_soft += info.n_tokens;
    probe->n_frames += n_frames;
    return gem_cli_media_place(&probe->media, i, at);
}

static int open_media(struct probe *probe)
{
    int code = 0;

    for (size_t i = 0; i < probe->test_case.n_media && !code; i++) {
        const struct gem_cli_case_media *m = &probe->test_case.media[i];
        const size_t first = probe->media.n;

        if ((code = open_one(probe, m))) break;
        if (probe->media.n - first != m->n_at) {
            gem_cli_error("%s: it becomes %zu items, but 'at' names %zu places", m->path, probe->media.n - first,
                          m->n_at);
            return GEM_CLI_EXIT_FILE;
        }
        for (size_t k = 0; k < m->n_at && !code; k++) code = place(probe, first + k, m->at[k]);
    }
    return code;
}

static int prepare(struct probe *probe)
{
    const struct args *args = probe->args;
    int code = gem_cli_case_read(&probe->test_case, args->test_case);

    if (code) return code;
    if ((code = gem_cli_tokens_append(&probe->tokens, probe->test_case.tokens.ids, probe->test_case.tokens.n)))
        return code;
    probe->n_prompt = probe->tokens.n;
    if ((code = gem_cli_case_rows(&probe->rows, probe->n_prompt, args->rows)) || (code = map_rows(probe))) return code;
    if ((code = gem_cli_model_open(&probe->engine, args->model, &args->engine))) return code;
    if ((code = open_media(probe))) return code;
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
    if ((code = compute_soft(&probe)) || (code = compute_features(&probe)) || (code = compute_rows(&probe, &logits)))
        goto done;
    if (args->greedy && (code = compute_greedy(&probe, logits))) goto done;
    code = gem_cli_output_commit(&probe.output);
    gem_cli_progress_end();
done:
    gem_cli_output_close(&probe.output);
    gem_cli_media_free(&probe.media);
    gem_cli_engine_close(&probe.engine);
    gem_cli_case_free(&probe.test_case);
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
    .details =
        "CASE is JSON: {\"tokens\": [2, ...], \"media\": [{\"kind\": \"image\", \"file\": \"a.png\", \"budget\": 70, "
        "\"at\": 7}]}, \"at\" being the index of the first placeholder, a video having \"frames\", a list of files, "
        "and a "
        "list as \"at\", and \"audio\" a list if it is longer than 30 s; other keys are not looked at. FILE receives "
        "\"rows\" I32 [R], \"logits\" F32 [R,V] after the soft-cap, with --hidden \"hidden\" F32 [L+1,R,H], with "
        "media \"soft\" F32 [N,H], with sound \"features\" F32 [T,128], and with --greedy \"greedy\" I32 [N]. The same "
        "input gives the same bytes, and the "
        "file appears whole or "
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
