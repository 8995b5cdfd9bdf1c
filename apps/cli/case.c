/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/case.c - reading cases of golden/models. */
#include "case.h"
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

static int bad_case(const char *path, const char *key, const char *what)
{
    gem_cli_error("%s: %s: %s", path, key, what);
    return GEM_CLI_EXIT_FILE;
}

static int read_tokens(struct gem_cli_tokens *tokens, const char *path, yyjson_val *list)
{
    yyjson_arr_iter iter;
    yyjson_val *item;

    if (!yyjson_is_arr(list) || !yyjson_arr_size(list)) return bad_case(path, "tokens", "not a list of token ids");
    yyjson_arr_iter_init(list, &iter);
    while ((item = yyjson_arr_iter_next(&iter))) {
        int code;

        if (!yyjson_is_uint(item) || yyjson_get_uint(item) > INT32_MAX)
            return bad_case(path, "tokens", "an element is not a token id");
        if ((code = gem_cli_tokens_push(tokens, (int32_t)yyjson_get_uint(item)))) return code;
    }
    return 0;
}

/* "dir/case.json" and "a.png" to "dir/a.png". */
static char *beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) + 1 : 0, size = n + strlen(name) + 1;
    char *joined = malloc(size);

    if (joined) snprintf(joined, size, "%.*s%s", (int)n, path, name);
    return joined;
}

static int add_media(struct gem_cli_case *c, const char *path, yyjson_val *file, yyjson_val *at, yyjson_val *budget,
                     gem_media_kind kind)
{
    struct gem_cli_case_media *more;

    const size_t n_at = yyjson_is_arr(at) ? yyjson_arr_size(at) : 1;

    if (!yyjson_is_str(file)) return bad_case(path, "media", "a file is not a string");
    if (budget && (!yyjson_is_uint(budget) || yyjson_get_uint(budget) > UINT32_MAX))
        return bad_case(path, "media", "'budget' is not a number");
    if (!(more = realloc(c->media, (c->n_media + 1) * sizeof *more))) return gem_cli_out_of_memory();
    c->media = more;
    more += c->n_media;
    *more = (struct gem_cli_case_media){.path = beside(path, yyjson_get_str(file)),
                                        .kind = kind,
                                        .budget = (uint32_t)yyjson_get_uint(budget),
                                        .at = calloc(n_at ? n_at : 1, sizeof *more->at),
                                        .n_at = n_at};
    c->n_media++;
    if (!more->path || !more->at) return gem_cli_out_of_memory();
    for (size_t i = 0; i < n_at; i++) {
        yyjson_val *one = yyjson_is_arr(at) ? yyjson_arr_get(at, i) : at;

        if (!yyjson_is_uint(one)) return bad_case(path, "media", "'at' is not an index of tokens");
        more->at[i] = (size_t)yyjson_get_uint(one);
    }
    return 0;
}

static int read_item(struct gem_cli_case *c, const char *path, yyjson_val *item)
{
    yyjson_val *kind = yyjson_obj_get(item, "kind"), *budget = yyjson_obj_get(item, "budget");
    yyjson_val *at = yyjson_obj_get(item, "at"), *frames = yyjson_obj_get(item, "frames");
    int code = 0;

    if (yyjson_equals_str(kind, "image"))
        return add_media(c, path, yyjson_obj_get(item, "file"), at, budget, GEM_MEDIA_IMAGE);
    if (yyjson_equals_str(kind, "audio"))
        return add_media(c, path, yyjson_obj_get(item, "file"), at, NULL, GEM_MEDIA_AUDIO);
    if (!yyjson_equals_str(kind, "video"))
        return bad_case(path, "media", "a kind that is neither image nor video nor audio");
    if (yyjson_arr_size(frames) == 0 || yyjson_arr_size(frames) != yyjson_arr_size(at))
        return bad_case(path, "media", "a video needs frames, and 'at' of each");
    for (size_t i = 0; i < yyjson_arr_size(frames) && !code; i++)
        code = add_media(c, path, yyjson_arr_get(frames, i), yyjson_arr_get(at, i), budget, GEM_MEDIA_FRAME);
    return code;
}

static int read_media(struct gem_cli_case *c, const char *path, yyjson_val *media)
{
    yyjson_arr_iter iter;
    yyjson_val *item;
    int code = 0;

    if (!media || yyjson_is_null(media)) return 0;
    if (!yyjson_is_arr(media)) return bad_case(path, "media", "not a list");
    yyjson_arr_iter_init(media, &iter);
    while (!code && (item = yyjson_arr_iter_next(&iter))) code = read_item(c, path, item);
    return code;
}

int gem_cli_case_read(struct gem_cli_case *c, const char *path)
{
    struct gem_cli_text text = {0};
    yyjson_doc *doc = NULL;
    int code = gem_cli_read_json(&doc, &text, path, YYJSON_READ_NOFLAG);

    if (code) goto done;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(root))
        code = bad_case(path, "case", "not an object");
    else if (!(code = read_media(c, path, yyjson_obj_get(root, "media"))))
        code = read_tokens(&c->tokens, path, yyjson_obj_get(root, "tokens"));
done:
    yyjson_doc_free(doc);
    gem_cli_text_free(&text);
    return code;
}

void gem_cli_case_free(struct gem_cli_case *c)
{
    for (size_t i = 0; i < c->n_media; i++) {
        free(c->media[i].path);
        free(c->media[i].at);
    }
    free(c->media);
    gem_cli_tokens_free(&c->tokens);
    *c = (struct gem_cli_case){0};
}

/* The reference cases were made with sorted(set(range(0, T, T // 16)) | set(range(T - 8, T))) for T > 64. */
static bool keeps_row(size_t row, size_t n_tokens, const char *which)
{
    if (which && !strcmp(which, "16")) return row + 16 >= n_tokens;
    return which || n_tokens <= 64 || row % (n_tokens / 16) == 0 || row + 8 >= n_tokens;
}

int gem_cli_case_rows(struct gem_cli_tokens *rows, size_t n_tokens, const char *which)
{
    int code = 0;

    for (size_t row = 0; row < n_tokens && !code; row++) {
        if (keeps_row(row, n_tokens, which)) code = gem_cli_tokens_push(rows, (int32_t)row);
    }
    return code;
}
