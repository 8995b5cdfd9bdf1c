/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/replay.c - feeds files to a fuzz target without a fuzzer, so that seeds and inputs that once crashed
 * run as ordinary tests with any compiler.
 *
 *   fuzz_NAME_replay [-m N] FILE|FOLDER ...
 *
 * With -m each file is followed by N mutations of it. They are the same in every run: a failure can be repeated. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct replay {
    unsigned mutations;
    size_t n_files, n_runs;
};

/* xorshift64*, Vigna 2016. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

/* The target sees a block of exactly n bytes, so that reading past the end is seen by AddressSanitizer. */
static void feed(struct replay *r, const uint8_t *data, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);

    if (!exact) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    memcpy(exact, data, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    r->n_runs++;
}

/* Changes `data` in place and returns its new length. Numbers at the edges of their types are what parsers of sizes
 * and counts get wrong. */
static size_t mutate(uint8_t *data, size_t n, uint64_t *random)
{
    static const uint64_t edges[] = {0,          1,           0x7f,       0xff,       0xffff,
                                     0x7fffffff, 0xffffffffu, 1ULL << 62, INT64_MAX,  UINT64_MAX,
                                     1ULL << 32, 1ULL << 31,  0x80000001, 0xfffffff0, UINT64_MAX - 63};
    const size_t at = n ? (size_t)(next_random(random) % n) : 0;
    size_t width;

    if (n == 0) return 0;
    switch (next_random(random) % 4) {
    case 0: return at; /* truncated */
    case 1: data[at] ^= (uint8_t)(1u << (next_random(random) % 8)); return n;
    case 2: data[at] = (uint8_t)next_random(random); return n;
    default:
        width = (size_t)1 << (next_random(random) % 4);
        if (width > n - at) width = n - at;
        memcpy(data + at, &edges[next_random(random) % (sizeof edges / sizeof *edges)], width);
        return n;
    }
}

static void feed_mutations(struct replay *r, const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    uint64_t random = 0x9e3779b97f4a7c15ULL;

    if (!copy) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    for (unsigned i = 0; i < r->mutations; i++) {
        size_t m = n;

        memcpy(copy, data, n);
        for (uint64_t changes = 1 + next_random(&random) % 4; changes > 0; changes--) m = mutate(copy, m, &random);
        feed(r, copy, m);
    }
    free(copy);
}

static int replay_file(struct replay *r, const char *path, size_t n)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(n ? n : 1);
    int rc = 0;

    if (!f || !data || fread(data, 1, n, f) != n) {
        fprintf(stderr, "%s: cannot read: %s\n", path, strerror(errno));
        rc = 2;
    } else {
        r->n_files++;
        feed(r, data, n);
        feed_mutations(r, data, n);
    }
    if (f) fclose(f);
    free(data);
    return rc;
}

static int replay_path(struct replay *r, const char *path)
{
    struct dirent **names = NULL;
    struct stat info;
    int n, rc = 0;

    if (stat(path, &info)) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 2;
    }
    if (!S_ISDIR(info.st_mode)) return replay_file(r, path, (size_t)info.st_size);
    n = scandir(path, &names, NULL, alphasort); /* sorted: the same order everywhere */
    for (int i = 0; i < n; i++) {
        char child[4096];

        snprintf(child, sizeof child, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.') rc |= replay_path(r, child);
        free(names[i]);
    }
    free(names);
    return rc;
}

int main(int argc, char **argv)
{
    struct replay r = {0};
    int rc = 0, i = 1;

    if (argc > 2 && !strcmp(argv[1], "-m")) {
        r.mutations = (unsigned)strtoul(argv[2], NULL, 10);
        i = 3;
    }
    for (; i < argc; i++) rc |= replay_path(&r, argv[i]);
    printf("%zu files, %zu inputs\n", r.n_files, r.n_runs);
    if (r.n_files == 0) {
        fprintf(stderr, "nothing to replay: give files or folders of seeds\n");
        rc = 2;
    }
    return rc;
}
