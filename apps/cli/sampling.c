/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/sampling.c - sampling as the options say. */
#include "sampling.h"
#include "terminal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define FIELD(member) offsetof(struct gem_cli_sampling_args, member)
#define FROM_MODEL    .fallback_shown = "the model's"

const struct gem_cli_option gem_cli_sampling_options[16] = {
    {.name = "greedy", .kind = GEM_CLI_FLAG, .offset = FIELD(greedy), .help = "always the most likely token"},
    {.name = "temperature",
     .kind = GEM_CLI_F32,
     .offset = FIELD(temperature),
     .max = 100,
     .value = "X",
     FROM_MODEL,
     .help = "0: the most likely token; higher: more varied"},
    {.name = "top-k",
     .kind = GEM_CLI_U32,
     .offset = FIELD(top_k),
     .value = "N",
     FROM_MODEL,
     .help = "draw from the N most likely tokens; 0: off"},
    {.name = "top-p",
     .kind = GEM_CLI_F32,
     .offset = FIELD(top_p),
     .max = 1,
     .value = "X",
     FROM_MODEL,
     .help = "draw from the fewest tokens whose probabilities reach X; 1: off"},
    {.name = "min-p",
     .kind = GEM_CLI_F32,
     .offset = FIELD(min_p),
     .max = 1,
     .value = "X",
     FROM_MODEL,
     .help = "leave out tokens less likely than X times the most likely; 0: off"},
    {.name = "typical-p",
     .kind = GEM_CLI_F32,
     .offset = FIELD(typical_p),
     .max = 1,
     .value = "X",
     FROM_MODEL,
     .help = "draw from the tokens whose surprise is nearest the expected, until their probabilities reach X; 1: off"},
    {.name = "xtc-probability",
     .kind = GEM_CLI_F32,
     .offset = FIELD(xtc_probability),
     .max = 1,
     .value = "X",
     FROM_MODEL,
     .help = "how often all but the least likely of the tokens above the threshold are left out; 0: never"},
    {.name = "xtc-threshold",
     .kind = GEM_CLI_F32,
     .offset = FIELD(xtc_threshold),
     .max = 1,
     .value = "X",
     FROM_MODEL,
     .help = "the probability from which on --xtc-probability leaves tokens out"},
    {.name = "dry",
     .kind = GEM_CLI_F32,
     .offset = FIELD(dry),
     .max = 100,
     .value = "X",
     FROM_MODEL,
     .help = "how strongly a token is punished that goes on repeating a sequence of tokens; 0: off"},
    {.name = "dry-base",
     .kind = GEM_CLI_F32,
     .offset = FIELD(dry_base),
     .min = 1,
     .max = 100,
     .value = "X",
     .fallback_shown = "1.75",
     .help = "by how much more for each token that the sequence is longer"},
    {.name = "dry-allowed",
     .kind = GEM_CLI_U32,
     .offset = FIELD(dry_allowed),
     .min = 1,
     .max = UINT32_MAX,
     .value = "N",
     .fallback_shown = "2",
     .help = "sequences of N tokens may be repeated"},
    {.name = "repeat-penalty",
     .kind = GEM_CLI_F32,
     .offset = FIELD(repeat_penalty),
     .max = 100,
     .value = "X",
     FROM_MODEL,
     .help = "divides positive and multiplies negative logits of tokens seen before; 1: off"},
    {.name = "presence-penalty",
     .kind = GEM_CLI_F32,
     .offset = FIELD(presence_penalty),
     .min = -100,
     .max = 100,
     .value = "X",
     FROM_MODEL,
     .help = "taken from the logit of a token seen before"},
    {.name = "frequency-penalty",
     .kind = GEM_CLI_F32,
     .offset = FIELD(frequency_penalty),
     .min = -100,
     .max = 100,
     .value = "X",
     FROM_MODEL,
     .help = "taken from the logit of a token for each time it was seen"},
    {.name = "logit-bias",
     .kind = GEM_CLI_LIST,
     .offset = FIELD(logit_bias),
     .value = "ID=X",
     .help = "adds X to the logit of token ID; -inf forbids it; may be repeated"},
    {.name = "seed",
     .kind = GEM_CLI_U64,
     .offset = FIELD(seed),
     .value = "N",
     .fallback_shown = "a new one each time",
     .help = "the same seed, prompt and instruction set give the same answer"},
};

/* "ID=X" */
static int parse_bias(gem_logit_bias *out, const char *text, const char *command, uint32_t vocab)
{
    const char *equals = strchr(text, '=');
    char id[24] = "";
    uint64_t token = 0;
    double bias;

    if (equals && (size_t)(equals - text) < sizeof id) memcpy(id, text, (size_t)(equals - text));
    if (!equals || !gem_cli_parse_u64(id, &token))
        return gem_cli_usage(command, "--logit-bias needs ID=X with a token id, not '%s'", text);
    if (token >= vocab)
        return gem_cli_usage(command, "--logit-bias %s: the model's token ids end at %u", text, vocab - 1);
    if (!strcmp(equals + 1, "-inf"))
        bias = (double)-INFINITY;
    else if (!gem_cli_parse_f64(equals + 1, &bias) || !isfinite((float)bias))
        return gem_cli_usage(command, "--logit-bias %s: '%s' is not a number", text, equals + 1);
    *out = (gem_logit_bias){.token = (int32_t)token, .bias = (float)bias};
    return 0;
}

static int add_bias(struct gem_cli_sampling *out, const gem_model *model, const char *command,
                    const struct gem_cli_list *list)
{
    const uint32_t vocab = gem_model_get_info(model)->vocab;
    gem_sampling *sampling = &out->sampling;
    const size_t before = sampling->n_bias;

    if (!list->n) return 0;
    if (!(out->bias = calloc(before + list->n, sizeof *out->bias))) return gem_cli_out_of_memory();
    if (before) memcpy(out->bias, sampling->bias, before * sizeof *out->bias);
    for (size_t i = 0; i < list->n; i++) {
        const int code = parse_bias(&out->bias[before + i], list->items[i], command, vocab);
        if (code) return code;
    }
    sampling->bias = out->bias;
    sampling->n_bias = before + list->n;
    return 0;
}

static uint64_t new_seed(void)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) seed = (uint64_t)time(NULL);
    return seed >> 11; /* 53 bits: JSON and people can copy it */
}

int gem_cli_sampling_make(struct gem_cli_sampling *out, const gem_model *model, const char *command,
                          const struct gem_cli_common *common, const struct gem_cli_sampling_args *args)
{
    gem_sampling *sampling = &out->sampling;
    const struct {
        const char *name;
        float value, *field;
    } numbers[] = {
        {"temperature", args->temperature, &sampling->temperature},
        {"top-p", args->top_p, &sampling->top_p},
        {"min-p", args->min_p, &sampling->min_p},
        {"typical-p", args->typical_p, &sampling->typical_p},
        {"xtc-probability", args->xtc_probability, &sampling->xtc_probability},
        {"xtc-threshold", args->xtc_threshold, &sampling->xtc_threshold},
        {"dry", args->dry, &sampling->dry_multiplier},
        {"dry-base", args->dry_base, &sampling->dry_base},
        {"repeat-penalty", args->repeat_penalty, &sampling->repetition_penalty},
        {"presence-penalty", args->presence_penalty, &sampling->presence_penalty},
        {"frequency-penalty", args->frequency_penalty, &sampling->frequency_penalty},
    };

    *out = (struct gem_cli_sampling){0};
    if (args->greedy && gem_cli_given(common, "temperature"))
        return gem_cli_usage(command, "--greedy and --temperature contradict each other");
    gem_sampling_default(model, sampling);
    for (size_t i = 0; i < GEM_CLI_COUNT(numbers); i++) {
        if (gem_cli_given(common, numbers[i].name)) *numbers[i].field = numbers[i].value;
    }
    if (gem_cli_given(common, "top-k")) sampling->top_k = args->top_k;
    if (gem_cli_given(common, "dry-allowed")) sampling->dry_allowed = args->dry_allowed;
    if (args->greedy) sampling->temperature = 0;
    sampling->seed = gem_cli_given(common, "seed") ? args->seed : new_seed();
    return add_bias(out, model, command, &args->logit_bias);
}

void gem_cli_sampling_free(struct gem_cli_sampling *sampling)
{
    free(sampling->bias);
    *sampling = (struct gem_cli_sampling){0};
}
