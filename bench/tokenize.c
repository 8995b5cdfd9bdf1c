/* SPDX-License-Identifier: Apache-2.0
 * bench/tokenize.c - how fast text becomes ids, on one thread, by its processor time.
 *   bench_tokenize TOKENIZER [TEXT-FILE...]     TOKENIZER: tokenizer.json or a GGUF file
 * Prints the time to open, then for each file and for the inputs that are worst for BPE: MB/s of the best of five
 * runs, and tokens. Files are repeated or cut to 4 MB, the others have 1 MB. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "unit/tokenizer_open.h"

enum { FILE_BYTES = 4 << 20, MADE_BYTES = 1 << 20, RUNS = 5 };

/* Of the processor, not of the wall: other work on the machine disturbs less. */
static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void measure(const struct gem_tokenizer *t, const char *name, const char *text, size_t n, bool control)
{
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    double best = 1e9;
    size_t n_ids = 0;

    for (int i = 0; ids && i < RUNS; i++) {
        const double begin = now();
        double seconds;
        if (gem_tokenizer_encode(t, text, n, control, ids, n + 1, &n_ids, NULL)) break;
        seconds = now() - begin;
        if (seconds < best) best = seconds;
    }
    printf("%-28s %8zu bytes %8zu tokens %8.1f MB/s\n", name, n, n_ids, (double)n / best * 1e-6);
    free(ids);
}

static void measure_file(const struct gem_tokenizer *t, const char *path, char *text)
{
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(text, 1, FILE_BYTES, f) : 0;

    if (f) fclose(f);
    if (n == 0) {
        printf("%s: cannot be read or is empty\n", path);
        return;
    }
    for (size_t i = n; i < FILE_BYTES; i++) text[i] = text[i - n];
    measure(t, path, text, FILE_BYTES, false);
    measure(t, "  the same, its first 512", text, 512, false);
}

static void measure_made(const struct gem_tokenizer *t, char *text)
{
    static const struct {
        const char *name, *unit;
    } made[] = {
        {"spaces", " "},
        {"newlines", "\n"},
        {"tabs", "\t"},
        {"letter a", "a"},
        {"letter w", "w"},
        {"hyphens", "-"},
        {"abc", "abc"},
        {"digits", "0123456789"},
        {"emoji", "\xf0\x9f\x98\x80"},
        {"emoji that merge", "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb\xe2\x9d\xa4\xef\xb8\x8f"},
        {"CJK", "\xe6\xbc\xa2\xe5\xad\x97"},
        {"<|turn", "<|turn"},
        {"<|turn>", "<|turn>"},
        {"<<", "<"},
    };
    uint32_t x = 1;

    for (size_t k = 0; k < sizeof made / sizeof *made; k++) {
        const size_t n = strlen(made[k].unit);
        for (size_t i = 0; i < MADE_BYTES; i++) text[i] = made[k].unit[i % n];
        measure(t, made[k].name, text, MADE_BYTES / n * n, true);
    }
    for (size_t i = 0; i < MADE_BYTES; i++) text[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
    measure(t, "random bytes", text, MADE_BYTES, true);
    for (size_t i = 0; i < MADE_BYTES; i++) text[i] = (char)('a' + ((x = x * 1664525 + 1013904223) >> 24) % 26);
    measure(t, "random letters", text, MADE_BYTES, true);
    for (size_t i = 0; i < MADE_BYTES; i++) text[i] = "ab"[(x = x * 1664525 + 1013904223) >> 31];
    measure(t, "random a and b", text, MADE_BYTES, true);
    for (size_t i = 0; i < MADE_BYTES; i++) text[i] = "<>|\n\t turn"[((x = x * 1664525 + 1013904223) >> 24) % 10];
    measure(t, "random brackets and space", text, MADE_BYTES, true);
}

int main(int argc, char **argv)
{
    struct gem_tokenizer *t = NULL;
    char *text = malloc(FILE_BYTES);
    const double begin = now();
    gem_error err = {.message = "usage: bench_tokenize TOKENIZER [TEXT-FILE...]"};

    if (!text || argc < 2 || tokenizer_open(&t, argv[1], &err)) {
        fprintf(stderr, "%s\n", err.message);
        free(text);
        return EXIT_FAILURE;
    }
    if (!t) {
        fprintf(stderr, "%s: no tokenizer\n", argv[1]);
        free(text);
        return EXIT_FAILURE;
    }
    printf("opened in %.0f ms\n", (now() - begin) * 1e3);
    for (int i = 2; i < argc; i++) measure_file(t, argv[i], text);
    measure_made(t, text);
    gem_tokenizer_close(t);
    free(text);
    return EXIT_SUCCESS;
}
