/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/json_out.c - JSON on standard output. */
#include "json_out.h"
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the valid UTF-8 character at s [n], or 0 (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    static const struct {
        unsigned char first, last, low, high; /* range of the first byte, and of the second */
        size_t size;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const size_t size = forms[i].size;

        if (s[0] < forms[i].first || s[0] > forms[i].last) continue;
        if (size > n || (size > 1 && (s[1] < forms[i].low || s[1] > forms[i].high))) return 0;
        for (size_t k = 2; k < size; k++) {
            if ((s[k] & 0xc0) != 0x80) return 0;
        }
        return size;
    }
    return 0;
}

size_t gem_cli_utf8_error(const char *text, size_t n)
{
    size_t at = 0, size;

    while (at < n && (size = utf8_length((const unsigned char *)text + at, n - at))) at += size;
    return at;
}

yyjson_mut_val *gem_cli_json_text(yyjson_mut_doc *doc, const char *text, size_t n)
{
    char *copy = malloc(n + 1);
    yyjson_mut_val *value;

    if (!copy) return NULL;
    if (n) memcpy(copy, text, n);
    for (size_t i = 0; i < n;) {
        const size_t size = utf8_length((const unsigned char *)copy + i, n - i);

        if (!size) copy[i] = '?';
        i += size ? size : 1;
    }
    value = yyjson_mut_strncpy(doc, copy, n);
    free(copy);
    return value;
}

bool gem_cli_json_add_text(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, const char *text)
{
    return yyjson_mut_obj_add_val(doc, object, key, gem_cli_json_text(doc, text, strlen(text)));
}

int gem_cli_json_print(yyjson_mut_doc *doc, bool ok, bool pretty)
{
    const yyjson_write_flag flags = pretty ? YYJSON_WRITE_PRETTY_TWO_SPACES : YYJSON_WRITE_NOFLAG;
    size_t n = 0;
    char *text = doc && ok ? yyjson_mut_write(doc, flags, &n) : NULL;

    yyjson_mut_doc_free(doc);
    if (!text) return gem_cli_out_of_memory();
    fwrite(text, 1, n, stdout);
    fputc('\n', stdout);
    free(text);
    return 0; /* a failed write shows when the program closes its output */
}
