/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/engine.h - the options about computing, and the model, engine and session made from them. */
#ifndef GEM_CLI_ENGINE_H
#define GEM_CLI_ENGINE_H

#include "options.h"

#include <gemmule.h>

struct gem_cli_engine_args {
    const char *precision; /* "exact" or "fast" */
    const char *cpu;       /* NULL: the best this machine has */
    const char *mmproj;    /* NULL: none */
    uint32_t threads, chunk;
    bool packed_copy, int8_cache, two_stage_head;
    uint32_t ram, ple_ram; /* MiB; 0: the library's default */
};

/* The same options with "fast", or with "exact", as default. */
extern const struct gem_cli_option gem_cli_fast_options[10], gem_cli_exact_options[10];

/* Zero-initialised is closed. */
struct gem_cli_engine {
    gem_model *model;
    gem_engine *engine;
    gem_session *session;
    double open_seconds; /* for the model */
};

/* These say themselves what went wrong and return 0 or an exit code. */
int gem_cli_model_open(struct gem_cli_engine *e, const char *path, const struct gem_cli_engine_args *args);
/* Headers and tokenizer only. precision may be NULL. */
int gem_cli_metadata_open(gem_model **model, const char *path, const char *precision);
/* Engine and session. context 0: the library's default. */
int gem_cli_session_open(struct gem_cli_engine *e, const struct gem_cli_engine_args *args, uint32_t context);
void gem_cli_engine_close(struct gem_cli_engine *e);

gem_precision gem_cli_precision(const char *name);
const char *gem_cli_precision_name(gem_precision precision);

#endif
