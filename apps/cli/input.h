/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/input.h - text that comes in, and the tokens it becomes. Functions say themselves what went wrong and
 * return 0 or an exit code. */
#ifndef GEM_CLI_INPUT_H
#define GEM_CLI_INPUT_H

#include <gemmule.h>
#include <yyjson.h>

/* Zero-initialised is empty; each is freed by its function, which accepts the empty state. */
struct gem_cli_text {
    char *data; /* may hold zero bytes; no zero behind it */
    size_t n;
};

struct gem_cli_tokens {
    int32_t *ids;
    size_t n, cap;
};

void gem_cli_text_free(struct gem_cli_text *text);
void gem_cli_tokens_free(struct gem_cli_tokens *tokens);

/* Nothing but white space. */
bool gem_cli_is_blank(const struct gem_cli_text *text);

/* Reads a file whole; "-" is standard input. At most 1 GiB. */
int gem_cli_read(struct gem_cli_text *text, const char *path);
/* The JSON of a file; flags are yyjson's. What is wrong with it is said with its offset. */
int gem_cli_read_json(yyjson_doc **out, struct gem_cli_text *text, const char *path, yyjson_read_flag flags);
/* The text of an operand: the operand itself, or standard input when it is "-", or when it is NULL and standard input
 * is no terminal. */
int gem_cli_read_operand(struct gem_cli_text *text, const char *command, const char *name, const char *operand);

int gem_cli_tokens_push(struct gem_cli_tokens *tokens, int32_t id);
int gem_cli_tokens_append(struct gem_cli_tokens *tokens, const int32_t *ids, size_t n);
/* Encodes text and appends its ids. */
int gem_cli_tokens_encode(struct gem_cli_tokens *tokens, const gem_model *model, const char *text, size_t n,
                          bool control);

#endif
