/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/pack.c - gemmule pack: a checkpoint as one native file. */
#include "commands.h"
#include "terminal.h"

#include <gemmule.h>
#include <string.h>
#include <sys/stat.h>

struct args {
    struct gem_cli_common common;
    const char *model, *output, *type, *mmproj;
    uint32_t threads;
};

static const char *const types[] = {"keep", "bf16", "q8_0", "q4_0", NULL};

static const struct gem_cli_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = GEM_CLI_FILE,
     .offset = offsetof(struct args, output),
     .value = "FILE",
     .help = "the file to write, NAME.gem"},
    {.name = "type",
     .kind = GEM_CLI_CHOICE,
     .offset = offsetof(struct args, type),
     .value = "TYPE",
     .choices = types,
     .fallback = "keep",
     .help = "number format of weights that are floating-point in MODEL"},
    {.name = "mmproj",
     .kind = GEM_CLI_FILE,
     .offset = offsetof(struct args, mmproj),
     .value = "FILE",
     .help = "a GGUF file with towers for images and sound, which are stored with MODEL, a GGUF file too"},
    {.name = "threads",
     .letter = 't',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, threads),
     .min = 1,
     .max = 256,
     .value = "N",
     .fallback_shown = "one per physical core",
     .help = "threads that pack; the file does not depend on it"},
};

static int run(const void *arguments)
{
    const struct args *args = arguments;
    const gem_pack_options how = {
        .type = args->type, .n_threads = args->threads, .mmproj = args->mmproj, .progress = gem_cli_progress};
    struct stat info;
    gem_error err;

    if (!args->output) return gem_cli_usage("pack", "-o FILE is missing");
    if (!strcmp(args->output, "-")) return gem_cli_usage("pack", "-o needs a file; standard output will not do");
    gem_cli_interrupts_catch();
    if (gem_pack(args->model, args->output, &how, &err)) return gem_cli_fail(&err);
    gem_cli_progress_end();
    if (stat(args->output, &info) == 0) gem_cli_note("%s: %.2f GiB", args->output, (double)info.st_size / (1 << 30));
    return 0;
}

static const char *const examples[] = {
    "gemmule pack gemma-4-E2B-it.gguf -o gemma-4-E2B-it.gem",
    "gemmule pack gemma-4-E2B-it --type q4_0 -o gemma-4-E2B-it.gem",
    "gemmule pack gemma-4-E2B-it.gguf --mmproj mmproj.gguf -o gemma-4-E2B-it.gem",
    NULL,
};

const struct gem_cli_command gem_cli_pack = {
    .name = "pack",
    .summary = "write a model as one native file, which opens at once",
    .details =
        "Writes weights, metadata and tokenizer of MODEL as one file (.gem). Weights lie in it as the kernels want "
        "them: "
        "it is mapped instead of read, and needs no copy in memory. Every tensor has a checksum: 'gemmule inspect "
        "--verify' checks them.\n"
        "keep leaves all number formats as they are. q4_0, q8_0 and bf16 are for weights that are floating-point; "
        "quantised ones stay as they are, since a second rounding only loses. q4_0 takes Q8_0 where quality needs it: "
        "the token table, the output head and per-layer embeddings. Norms, routers and towers are never changed.\n"
        "The file appears whole or not at all: a full disk or an interrupt leaves nothing behind.",
    .examples = examples,
    .operands = {{"MODEL", false, GEM_CLI_FILE, offsetof(struct args, model),
                  "a native or GGUF file, or a Hugging Face folder"}},
    .n_operands = 1,
    .groups = {GEM_CLI_GROUP("Options", options, 0), GEM_CLI_COMMON_GROUP},
    .n_groups = 2,
    .args_size = sizeof(struct args),
    .run = run,
};
