/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/inspect.h - what gemmule inspect found out, for its two ways of showing it. */
#ifndef GEM_CLI_INSPECT_H
#define GEM_CLI_INSPECT_H

#include <gemmule.h>

enum gem_cli_field_kind {
    GEM_CLI_FIELD_TEXT,
    GEM_CLI_FIELD_U32,
    GEM_CLI_FIELD_BOOL,
    GEM_CLI_FIELD_COUNT, /* uint64_t */
    GEM_CLI_FIELD_BYTES  /* uint64_t */
};

struct gem_cli_field {
    const char *key, *label; /* for JSON; for people */
    enum gem_cli_field_kind kind;
    size_t offset; /* in gem_model_info */
};
extern const struct gem_cli_field gem_cli_model_fields[];
extern const size_t gem_cli_n_model_fields;

struct gem_cli_format {
    const char *role, *type;
    uint64_t n_tensors, bytes;
};

struct gem_cli_memory {
    uint32_t context;
    uint64_t bytes;
};

/* How to talk with a model, by its gem_chat_format. */
struct gem_cli_chat_format {
    const char *key, *label;     /* for JSON; for people */
    const char *thoughts, *call; /* as the model writes them; NULL: it has none */
};
extern const struct gem_cli_chat_format gem_cli_chat_formats[4];

struct gem_cli_inspection {
    const char *path;
    const gem_model *model;
    struct gem_cli_format formats[160]; /* pairs of role and type that occur */
    size_t n_formats;
    struct gem_cli_memory memory[4];
    size_t n_memory;
    uint64_t engine_bytes;
};

/* Prints it as one JSON object; 0 or an exit code. */
int gem_cli_inspect_json(const struct gem_cli_inspection *in, bool tensors);

#endif
