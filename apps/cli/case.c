/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/case.c - reading cases of golden/models. */
#include "case.h"
#include "terminal.h"

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

static int check_media(const char *path, yyjson_val *media)
{
    if (!media || yyjson_is_null(media)) return 0;
    if (!yyjson_is_arr(media)) return bad_case(path, "media", "not a list");
    if (!yyjson_arr_size(media)) return 0;
    return bad_case(path, "media", "media cases need vision/audio, which this version does not have");
}

int gem_cli_case_read(struct gem_cli_tokens *tokens, const char *path)
{
    struct gem_cli_text text = {0};
    yyjson_doc *doc = NULL;
    yyjson_read_err err;
    int code = gem_cli_read(&text, path);

    if (code) goto done;
    if (!(doc = yyjson_read_opts(text.data, text.n, YYJSON_READ_NOFLAG, NULL, &err))) {
        gem_cli_error("%s: %s (at byte %zu)", path, err.msg, err.pos);
        code = GEM_CLI_EXIT_FILE;
        goto done;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(root))
        code = bad_case(path, "case", "not an object");
    else if (!(code = check_media(path, yyjson_obj_get(root, "media"))))
        code = read_tokens(tokens, path, yyjson_obj_get(root, "tokens"));
done:
    yyjson_doc_free(doc);
    gem_cli_text_free(&text);
    return code;
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
