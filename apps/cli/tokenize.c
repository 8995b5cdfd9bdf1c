/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/tokenize.c - gemmule tokenize: text to token ids and back. */
#include "commands.h"
#include "engine.h"
#include "input.h"
#include "json_out.h"
#include "terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct args {
    struct gem_cli_common common;
    const char *model, *text;
    bool control, ids, pieces, json, decode;
};

static const struct gem_cli_option options[] = {
    {.name = "control",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, control),
     .help = "control tokens spelled in the text become control tokens; with --decode, they are written by name"},
    {.name = "ids", .kind = GEM_CLI_FLAG, .offset = offsetof(struct args, ids), .help = "only the ids, on one line"},
    {.name = "pieces",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, pieces),
     .help = "only the pieces, each a JSON string on a line of its own"},
    {.name = "json",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, json),
     .help = "an object with \"ids\" and \"pieces\""},
    {.name = "decode",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, decode),
     .help = "TEXT is a list of ids, apart by blanks, newlines or commas; write their text"},
};

/* ---- encoding ----------------------------------------------------------------------------------------------- */

static int print_ids(const struct gem_cli_tokens *tokens)
{
    for (size_t i = 0; i < tokens->n; i++) printf("%s%" PRId32, i ? " " : "", tokens->ids[i]);
    putchar('\n');
    return gem_cli_flush();
}

/* The piece as a JSON string: newlines, quotes and what is not text stay on one line and can be read back. */
static int print_piece(const gem_model *model, int32_t id)
{
    size_t n = 0;
    const char *piece = gem_model_piece(model, id, &n);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);

    if (doc) yyjson_mut_doc_set_root(doc, gem_cli_json_text(doc, piece ? piece : "", n));
    return gem_cli_json_print(doc, true, false);
}

static int print_lines(const gem_model *model, const struct gem_cli_tokens *tokens, bool with_ids)
{
    int code = 0;

    for (size_t i = 0; i < tokens->n && !code; i++) {
        if (with_ids) printf("%" PRId32 "\t", tokens->ids[i]);
        code = print_piece(model, tokens->ids[i]);
    }
    return code;
}

static int print_json(const gem_model *model, const struct gem_cli_tokens *tokens)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *ids = yyjson_mut_obj_add_arr(doc, root, "ids");
    yyjson_mut_val *pieces = yyjson_mut_obj_add_arr(doc, root, "pieces");
    bool ok = ids && pieces;

    yyjson_mut_doc_set_root(doc, root);
    for (size_t i = 0; i < tokens->n && ok; i++) {
        size_t n = 0;
        const char *piece = gem_model_piece(model, tokens->ids[i], &n);

        ok = yyjson_mut_arr_add_sint(doc, ids, tokens->ids[i]) &&
             yyjson_mut_arr_append(pieces, gem_cli_json_text(doc, piece ? piece : "", n));
    }
    return gem_cli_json_print(doc, ok, false);
}

static int encode(const struct args *args, const gem_model *model, const struct gem_cli_text *text)
{
    struct gem_cli_tokens tokens = {0};
    int code = gem_cli_tokens_encode(&tokens, model, text->data, text->n, args->control);

    if (code) goto done;
    if (args->json)
        code = print_json(model, &tokens);
    else if (args->ids)
        code = print_ids(&tokens);
    else
        code = print_lines(model, &tokens, !args->pieces);
done:
    gem_cli_tokens_free(&tokens);
    return code;
}

/* ---- decoding ----------------------------------------------------------------------------------------------- */

static bool is_gap(char c) { return c && strchr(" \t\r\n,[]", c); }

static int parse_ids(struct gem_cli_tokens *tokens, const struct gem_cli_text *text)
{
    size_t i = 0;
    int code = 0;

    while (!code) {
        char word[16] = "";
        size_t n = 0;
        uint64_t id;

        while (i < text->n && is_gap(text->data[i])) i++;
        if (i == text->n) break;
        for (; i + n < text->n && !is_gap(text->data[i + n]); n++) {
            if (n < sizeof word - 1) word[n] = text->data[i + n];
        }
        if (n >= sizeof word || strlen(word) != n || !gem_cli_parse_u64(word, &id) || id > INT32_MAX)
            return gem_cli_usage("tokenize", "'%s' at byte %zu is not a token id", word, i);
        code = gem_cli_tokens_push(tokens, (int32_t)id);
        i += n;
    }
    return code;
}

static int decode(const struct args *args, const gem_model *model, const struct gem_cli_text *text)
{
    struct gem_cli_tokens tokens = {0};
    char *out = NULL;
    size_t n = 0;
    gem_error err;
    int code = parse_ids(&tokens, text);

    if (code) goto done;
    if (gem_detokenize(model, tokens.ids, tokens.n, args->control, NULL, 0, &n, &err)) goto fail;
    if (!(out = malloc(n + 1))) {
        code = gem_cli_out_of_memory();
        goto done;
    }
    if (gem_detokenize(model, tokens.ids, tokens.n, args->control, out, n, &n, &err)) goto fail;
    gem_cli_put_text(out, n);
    code = gem_cli_flush();
    goto done;
fail:
    code = gem_cli_fail(&err);
done:
    free(out);
    gem_cli_tokens_free(&tokens);
    return code;
}

static int run(const void *arguments)
{
    const struct args *args = arguments;
    struct gem_cli_text text = {0};
    gem_model *model = NULL;
    int code;

    if (args->ids + args->pieces + args->json + args->decode > 1)
        return gem_cli_usage("tokenize", "only one of --ids, --pieces, --json and --decode can be given");
    if ((code = gem_cli_read_operand(&text, "tokenize", "TEXT", args->text))) goto done;
    if ((code = gem_cli_metadata_open(&model, args->model, NULL))) goto done;
    code = args->decode ? decode(args, model, &text) : encode(args, model, &text);
done:
    gem_model_close(model);
    gem_cli_text_free(&text);
    return code;
}

static const char *const examples[] = {
    "gemmule tokenize MODEL \"Hello, world\"",
    "gemmule tokenize --ids MODEL - < text.txt",
    "gemmule tokenize --decode MODEL \"9259 236764 1902\"",
    NULL,
};

const struct gem_cli_command gem_cli_tokenize = {
    .name = "tokenize",
    .summary = "text to tokens, and tokens to text",
    .details = "Writes each token on a line: its id, a tab, and its piece of the vocabulary as a JSON string. No <bos> "
               "is added, and nothing is stripped from the text.\n"
               "Reads only the tokenizer and the headers of the model.",
    .examples = examples,
    .operands = {{"MODEL", false, GEM_CLI_FILE, offsetof(struct args, model),
                  "a native or GGUF file, or a Hugging Face folder"},
                 {"TEXT", true, GEM_CLI_STRING, offsetof(struct args, text),
                  "the text; standard input when it is \"-\" or missing"}},
    .n_operands = 2,
    .groups = {GEM_CLI_GROUP("Options", options, 0), GEM_CLI_COMMON_GROUP},
    .n_groups = 2,
    .args_size = sizeof(struct args),
    .run = run,
};
