/* SPDX-License-Identifier: Apache-2.0
 * src/files/gguf_open.c - GGUF files by path, and split ones put together. llama.cpp's splitter names the parts
 * PREFIX-00001-of-00003.gguf and gives each the keys split.no (from 0), split.count and split.tensors.count (of all
 * parts); the first part has all other metadata. */
#include "files/gguf.h"

#include "base/memory.h"

#include <stdio.h>

struct split {
    uint32_t no, count, n_tensors; /* count 0: not a part of a split file */
};

static const char suffix[] = "-00000-of-00000.gguf"; /* digits stand for any digit */
enum { SUFFIX = sizeof suffix - 1 };

/* Where the numbers of a part's path begin, or NULL for another kind of name. */
static const char *find_suffix(const char *path)
{
    const size_t n = strlen(path);
    const char *s = path + n - SUFFIX;

    if (n < SUFFIX) return NULL;
    for (int i = 0; i < SUFFIX; i++)
        if (suffix[i] == '0' ? s[i] < '0' || s[i] > '9' : s[i] != suffix[i]) return NULL;
    return s;
}

/* The path of part `no` of `count`, beside one part's path; gem_free it. */
static char *part_path(const char *path, uint32_t no, uint32_t count, gem_error *err)
{
    const char *s = find_suffix(path);
    char *copy = gem_strndup(path, strlen(path), err);

    /* both have five digits at most, as in the path; the remainders tell the compiler so */
    if (copy) snprintf(copy + (s - path), SUFFIX + 1, "-%05u-of-%05u.gguf", (no + 1) % 100000, count % 100000);
    return copy;
}

/* The split keys among those from first_kv on. */
static gem_status read_split(const struct gem_archive *a, size_t first_kv, struct split *split, gem_error *err)
{
    const struct {
        const char *key;
        uint32_t *out;
    } keys[] = {{"split.no", &split->no}, {"split.count", &split->count}, {"split.tensors.count", &split->n_tensors}};
    gem_status st = GEM_OK;

    *split = (struct split){0};
    for (size_t i = first_kv; i < a->n_kv; i++)
        for (size_t k = 0; k < sizeof keys / sizeof *keys && !st; k++)
            if (!strcmp(a->kv[i].key, keys[k].key)) st = gem_kv_to_u32(a, &a->kv[i], keys[k].out, err);
    return st;
}

static gem_status open_part(struct gem_archive *a, const char *path, struct split *split, gem_error *err)
{
    const size_t first_kv = a->n_kv;
    gem_status st;

    if ((st = gem_archive_add_file(a, path, err))) return st;
    if ((st = gem_gguf_append(a, err))) return st;
    return read_split(a, first_kv, split, err);
}

/* Opens the part that comes next. */
static gem_status open_next(struct gem_archive *a, const char *path, const struct split *whole, gem_error *err)
{
    const uint32_t no = a->n_files;
    char *part = part_path(path, no, whole->count, err);
    const char *name;
    struct split split;
    size_t n;
    gem_status st = GEM_E_NOMEM;

    if (!part) return st;
    name = gem_path_base(part, &n);
    if (!gem_path_exists(part)) {
        st = gem_fail(err, GEM_E_IO, 0, "%s: part %u of %u is missing", name, no + 1, whole->count);
    } else if (!(st = open_part(a, part, &split, err)) &&
               (split.no != no || split.count != whole->count || split.n_tensors != whole->n_tensors)) {
        st = gem_fail(err, GEM_E_FORMAT, 0,
                      GEM_NAME ": says it is part %llu of %u with %u tensors in all; %u of %u with %u expected", name,
                      split.no + 1ull, split.count, split.n_tensors, no + 1, whole->count, whole->n_tensors);
    }
    gem_free(part);
    return st;
}

/* The archive holds the part at path; afterwards all of them. */
static gem_status open_others(struct gem_archive *a, const char *path, const struct split *whole, gem_error *err)
{
    const char *s = find_suffix(path), *name = gem_archive_file_name(a, 0);
    unsigned no = 0, count = 0;
    gem_status st = GEM_OK;

    if (s) sscanf(s, "-%5u-of-%5u", &no, &count);
    if (!s || no != whole->no + 1ull || count != whole->count)
        return gem_fail(err, GEM_E_FORMAT, 0,
                        "%.120s: is part %llu of %u, but its name does not end in -%05llu-of-%05u.gguf: the others are "
                        "found by name",
                        name, whole->no + 1ull, whole->count, whole->no + 1ull, whole->count);
    if (whole->no) { /* parts are kept in order, and the first one's metadata goes first: start again */
        gem_archive_close(a);
        if ((st = gem_archive_begin(a, true, err))) return st;
    }
    while (a->n_files < whole->count && !st) st = open_next(a, path, whole, err);
    if (!st && a->n_tensors != whole->n_tensors)
        st = gem_fail(err, GEM_E_FORMAT, 0,
                      "%.120s: its %u parts hold %zu tensors, but metadata key 'split.tensors.count' says %u",
                      gem_archive_file_name(a, 0), whole->count, a->n_tensors, whole->n_tensors);
    return st;
}

gem_status gem_gguf_open(struct gem_archive *a, const char *path, gem_error *err)
{
    struct split split;
    gem_status st;

    if ((st = gem_archive_begin(a, true, err))) goto fail;
    if ((st = open_part(a, path, &split, err))) goto fail;
    if (split.count > 1 && (st = open_others(a, path, &split, err))) goto fail;
    if ((st = gem_archive_finish(a, err))) goto fail;
    return GEM_OK;
fail:
    gem_archive_close(a);
    return st;
}
