/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/tokenizer_stdin.c - what tools/check_tokenizer.py drives. Not a test by itself.
 *   tokenizer_stdin TOKENIZER < requests
 * A request is a line "0 HEX" or "1 HEX": text in hexadecimal, control tokens recognised or not; the answer is two
 * lines: the ids, and their text (control tokens written) in hexadecimal. Or "d ID ID ...": the answer is two lines:
 * the text without and with control tokens in hexadecimal. */
#include <stdio.h>
#include <stdlib.h>

#include "unit/tokenizer_open.h"

static size_t unhex(char *s)
{
    size_t n = 0;

    for (const char *p = s; p[0] > ' ' && p[1] > ' '; p += 2) {
        unsigned byte = 0;
        sscanf(p, "%2x", &byte);
        s[n++] = (char)byte;
    }
    return n;
}

static bool print_text(const struct gem_tokenizer *t, const int32_t *ids, size_t n_ids, bool control)
{
    size_t n = 0;
    char *text = NULL;
    bool ok = !gem_tokenizer_decode(t, ids, n_ids, control, NULL, 0, &n, NULL) && (text = malloc(n + 1)) &&
              !gem_tokenizer_decode(t, ids, n_ids, control, text, n, &n, NULL);

    for (size_t i = 0; ok && i < n; i++) printf("%02x", (unsigned char)text[i]);
    putchar('\n');
    free(text);
    return ok;
}

static bool encode(const struct gem_tokenizer *t, char *hex, bool control)
{
    const size_t n = unhex(hex);
    size_t n_ids = 0;
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    bool ok = ids && !gem_tokenizer_encode(t, hex, n, control, ids, n + 1, &n_ids, NULL);

    for (size_t i = 0; ok && i < n_ids; i++) printf("%d ", (int)ids[i]);
    putchar('\n');
    ok = ok && print_text(t, ids, n_ids, true);
    free(ids);
    return ok;
}

static bool decode(const struct gem_tokenizer *t, const char *list)
{
    int32_t *ids = malloc((strlen(list) + 1) * sizeof *ids);
    size_t n = 0;
    char *end;
    bool ok;

    if (!ids) return false;
    for (const char *p = list;; p = end) {
        const long id = strtol(p, &end, 10);
        if (end == p) break;
        ids[n++] = (int32_t)id;
    }
    ok = print_text(t, ids, n, false) && print_text(t, ids, n, true);
    free(ids);
    return ok;
}

int main(int argc, char **argv)
{
    struct gem_tokenizer *t = NULL;
    char *line = NULL;
    size_t cap = 0;
    gem_error err;
    bool ok = true;

    if (argc != 2 || tokenizer_open(&t, argv[1], &err)) {
        fprintf(stderr, "%s\n", argc == 2 ? err.message : "usage: tokenizer_stdin TOKENIZER");
        return EXIT_FAILURE;
    }
    if (!t) {
        fprintf(stderr, "%s: no tokenizer\n", argv[1]);
        return EXIT_FAILURE;
    }
    while (ok && getline(&line, &cap, stdin) > 2) {
        if (line[0] == 'd')
            ok = decode(t, line + 2);
        else
            ok = encode(t, line + 2, line[0] == '1');
    }
    free(line);
    gem_tokenizer_close(t);
    return ok && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
