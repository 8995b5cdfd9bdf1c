/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/input.c - reading text and growing lists of tokens. */
#include "input.h"
#include "options.h"
#include "terminal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 30 }; /* bytes; more is a mistake, and its tokens would not fit anything */

void gem_cli_text_free(struct gem_cli_text *text)
{
    free(text->data);
    *text = (struct gem_cli_text){0};
}

void gem_cli_tokens_free(struct gem_cli_tokens *tokens)
{
    free(tokens->ids);
    *tokens = (struct gem_cli_tokens){0};
}

/* Doubles, so that reading a stream of unknown length stays linear. */
static int grow_text(struct gem_cli_text *text, size_t *cap)
{
    const size_t wanted = *cap ? *cap * 2 : 65536;
    char *data = realloc(text->data, wanted);

    if (!data) return gem_cli_out_of_memory();
    text->data = data;
    *cap = wanted;
    return 0;
}

static int read_stream(struct gem_cli_text *text, FILE *file, const char *name)
{
    size_t cap = 0;
    int code = 0;

    do {
        if (text->n == cap && (code = grow_text(text, &cap))) return code;
        errno = 0;
        text->n += fread(text->data + text->n, 1, cap - text->n, file);
        if (ferror(file)) return gem_cli_interrupted() ? gem_cli_interrupt_code() : gem_cli_fail_errno(name, errno);
        if (text->n > INPUT_MAX) {
            gem_cli_error("%s: more than %d bytes of text", name, INPUT_MAX);
            return GEM_CLI_EXIT_LIMIT;
        }
    } while (!feof(file));
    return 0;
}

int gem_cli_read(struct gem_cli_text *text, const char *path)
{
    FILE *file;
    int code;

    if (!strcmp(path, "-")) return read_stream(text, stdin, "standard input");
    if (!(file = fopen(path, "rb"))) return gem_cli_fail_errno(path, errno);
    code = read_stream(text, file, path);
    fclose(file);
    return code;
}

int gem_cli_read_json(yyjson_doc **out, struct gem_cli_text *text, const char *path, yyjson_read_flag flags)
{
    yyjson_read_err why = {0};
    const int code = gem_cli_read(text, path);

    *out = NULL;
    if (code) return code;
    if (text->n > 0) *out = yyjson_read_opts(text->data, text->n, flags, NULL, &why);
    if (*out) return 0;
    gem_cli_error("%s: not JSON at byte %zu: %s", path, why.pos, text->n > 0 ? why.msg : "the file is empty");
    return GEM_CLI_EXIT_FILE;
}

int gem_cli_read_operand(struct gem_cli_text *text, const char *command, const char *name, const char *operand)
{
    if (!operand && isatty(STDIN_FILENO)) return gem_cli_usage(command, "%s is missing", name);
    if (!operand || !strcmp(operand, "-")) return gem_cli_read(text, "-");
    text->n = strlen(operand);
    if (!(text->data = malloc(text->n + 1))) return gem_cli_out_of_memory();
    memcpy(text->data, operand, text->n);
    return 0;
}

static int reserve(struct gem_cli_tokens *tokens, size_t more)
{
    size_t cap = tokens->cap ? tokens->cap : 256;
    int32_t *ids;

    if (more > SIZE_MAX / sizeof *ids / 2 - tokens->n) return gem_cli_out_of_memory();
    while (cap < tokens->n + more) cap *= 2;
    if (cap == tokens->cap) return 0;
    if (!(ids = realloc(tokens->ids, cap * sizeof *ids))) return gem_cli_out_of_memory();
    tokens->ids = ids;
    tokens->cap = cap;
    return 0;
}

int gem_cli_tokens_append(struct gem_cli_tokens *tokens, const int32_t *ids, size_t n)
{
    const int code = reserve(tokens, n);

    if (code || !n) return code;
    memcpy(tokens->ids + tokens->n, ids, n * sizeof *ids);
    tokens->n += n;
    return 0;
}

int gem_cli_tokens_push(struct gem_cli_tokens *tokens, int32_t id) { return gem_cli_tokens_append(tokens, &id, 1); }

int gem_cli_tokens_encode(struct gem_cli_tokens *tokens, const gem_model *model, const char *text, size_t n,
                          bool control)
{
    size_t count = 0;
    gem_error err;
    int code;

    /* a first guess that is nearly always enough; else the exact number is known */
    if ((code = reserve(tokens, n / 2 + 16))) return code;
    for (int round = 0; round < 2; round++) {
        const size_t room = tokens->cap - tokens->n;

        if (gem_tokenize(model, text, n, control, tokens->ids + tokens->n, room, &count, &err))
            return gem_cli_fail(&err);
        if (count <= room) break;
        if ((code = reserve(tokens, count))) return code;
    }
    tokens->n += count;
    return 0;
}

bool gem_cli_is_blank(const struct gem_cli_text *text)
{
    for (size_t i = 0; i < text->n; i++)
        if (!memchr(" \t\r\n\v\f", text->data[i], 6)) return false;
    return true;
}
