/* SPDX-License-Identifier: Apache-2.0
 * src/files/safetensors_open.c - safetensors by path: one file, or a folder as Hugging Face lays them out, with one
 * file or with shards and an index. The index and the shards must say the same: every tensor of the one is in the
 * other, and in the shard that the index names. */
#include "files/safetensors.h"

#include "base/json.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define INDEX_NAME "model.safetensors.index.json"
enum { MAX_INDEX = 100 * 1000 * 1000 };

static gem_status open_one(struct gem_archive *a, const char *path, gem_error *err)
{
    gem_status st = gem_archive_add_file(a, path, err);

    return st ? st : gem_safetensors_append(a, err);
}

static gem_status open_in(struct gem_archive *a, const char *folder, const char *name, gem_error *err)
{
    char *path = gem_path_join(folder, name, err);
    gem_status st = path ? open_one(a, path, err) : GEM_E_NOMEM;

    gem_free(path);
    return st;
}

static int by_string(const void *p, const void *q) { return strcmp(*(const char *const *)p, *(const char *const *)q); }

/* ---- a folder with an index --------------------------------------------------------------------------------- */

/* A shard lies beside the index: a name that leads elsewhere is an attack or a mistake. */
static bool is_plain_name(yyjson_val *value)
{
    const char *s = yyjson_get_str(value);
    const size_t n = yyjson_get_len(value);

    return s && n && n < 256 && strlen(s) == n && !strchr(s, '/') && !strchr(s, '\\') && !strstr(s, "..");
}

/* The shards that the map names, sorted, each once; gem_free the list, the names are the document's. */
static gem_status list_shards(yyjson_val *map, const char ***out, size_t *n_out, gem_error *err)
{
    yyjson_obj_iter iter = yyjson_obj_iter_with(map);
    const char **names = gem_calloc(yyjson_obj_size(map), sizeof *names, "the list of shards", err);
    yyjson_val *key;
    size_t n = 0, kept = 0;

    if (!names) return GEM_E_NOMEM;
    while ((key = yyjson_obj_iter_next(&iter))) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if (!is_plain_name(value)) {
            gem_free(names);
            return gem_fail(err, GEM_E_FORMAT, 0,
                            INDEX_NAME ": tensor '" GEM_NAME "': its shard '%.80s' is not the plain name of a file",
                            yyjson_get_str(key), yyjson_is_str(value) ? yyjson_get_str(value) : "(no string)");
        }
        names[n++] = yyjson_get_str(value);
    }
    qsort(names, n, sizeof *names, by_string);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(names[i], names[kept - 1])) names[kept++] = names[i];
    *out = names;
    *n_out = kept;
    return GEM_OK;
}

static gem_status open_shards(struct gem_archive *a, const char *folder, yyjson_val *map, gem_error *err)
{
    const char **names = NULL;
    size_t n = 0;
    gem_status st = list_shards(map, &names, &n, err);

    for (size_t i = 0; i < n && !st; i++) {
        char *path = gem_path_join(folder, names[i], err);
        if (!path)
            st = GEM_E_NOMEM;
        else if (!gem_path_exists(path))
            st = gem_fail(err, GEM_E_IO, 0, INDEX_NAME ": shard %zu of %zu is missing: %s", i + 1, n, names[i]);
        else
            st = open_one(a, path, err);
        gem_free(path);
    }
    gem_free(names);
    return st;
}

/* The finished archive holds what the map says, and nothing else. */
static gem_status match_index(const struct gem_archive *a, yyjson_val *map, gem_error *err)
{
    bool *seen = gem_calloc(a->n_tensors, sizeof *seen, "a list of tensors", err);
    yyjson_obj_iter iter = yyjson_obj_iter_with(map);
    yyjson_val *key;
    gem_status st = GEM_OK;

    if (!seen) return GEM_E_NOMEM;
    while (!st && (key = yyjson_obj_iter_next(&iter))) {
        const char *name = yyjson_get_str(key), *shard = yyjson_get_str(yyjson_obj_iter_get_val(key));
        const struct gem_tensor *t = strlen(name) == yyjson_get_len(key) ? gem_archive_tensor(a, name) : NULL;
        if (!t || strcmp(gem_archive_file_name(a, t->file), shard))
            st = gem_fail(err, GEM_E_FORMAT, 0, INDEX_NAME ": tensor '" GEM_NAME "' is not in shard '%.80s'", name,
                          shard);
        else if (seen[t - a->tensors])
            st = gem_fail(err, GEM_E_FORMAT, 0, INDEX_NAME ": tensor '" GEM_NAME "' is listed twice", name);
        else
            seen[t - a->tensors] = true;
    }
    for (size_t i = 0; i < a->n_tensors && !st; i++)
        if (!seen[i])
            st = gem_fail(err, GEM_E_FORMAT, a->tensors[i].offset,
                          GEM_NAME ": tensor '" GEM_NAME "' is not in " INDEX_NAME,
                          gem_archive_file_name(a, a->tensors[i].file), a->tensors[i].name);
    gem_free(seen);
    return st;
}

static gem_status open_index(struct gem_archive *a, const char *folder, const char *path, gem_error *err)
{
    yyjson_doc *doc;
    yyjson_val *map;
    gem_status st;

    if ((st = gem_json_load(&doc, path, MAX_INDEX, err))) return st;
    map = yyjson_obj_get(yyjson_doc_get_root(doc), "weight_map");
    if (yyjson_obj_size(map) == 0)
        st = gem_fail(err, GEM_E_FORMAT, 0, INDEX_NAME ": key 'weight_map' is not an object with tensors");
    if (!st) st = open_shards(a, folder, map, err);
    if (!st) st = gem_archive_finish(a, err);
    if (!st) st = match_index(a, map, err);
    yyjson_doc_free(doc);
    return st;
}

/* ---- a folder with a file of any name ----------------------------------------------------------------------- */

static bool is_safetensors_name(const char *name)
{
    static const char end[] = ".safetensors";
    const size_t n = strlen(name), m = sizeof end - 1;

    return name[0] != '.' && n > m && !strcmp(name + n - m, end);
}

/* Names of a folder's *.safetensors files, sorted; release with free_names even after a failure. */
static gem_status list_folder(const char *folder, char ***names, size_t *n, gem_error *err)
{
    DIR *dir = opendir(folder);
    gem_status st = GEM_OK;
    struct dirent *entry;

    if (!dir) return gem_fail(err, GEM_E_IO, 0, "%s: %s", folder, strerror(errno));
    while (!st && (entry = readdir(dir))) {
        char **more;
        if (!is_safetensors_name(entry->d_name)) continue;
        more = gem_realloc(*names, *n + 1, sizeof *more, "a list of files", err);
        if (more) *names = more;
        if (more && (more[*n] = gem_strndup(entry->d_name, strlen(entry->d_name), err)))
            (*n)++;
        else
            st = GEM_E_NOMEM;
    }
    closedir(dir);
    if (*n) qsort(*names, *n, sizeof **names, by_string);
    return st;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) gem_free(names[i]);
    gem_free(names);
}

static gem_status fail_ambiguous(const char *folder, char **names, size_t n, gem_error *err)
{
    char list[160] = "";
    size_t used = 0;

    for (size_t i = 0; i < n && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    return gem_fail(err, GEM_E_FORMAT, 0, "%.60s: %zu safetensors files and no " INDEX_NAME ": %s", folder, n, list);
}

static gem_status open_only(struct gem_archive *a, const char *folder, gem_error *err)
{
    char **names = NULL;
    size_t n = 0;
    gem_status st = list_folder(folder, &names, &n, err);

    if (!st && n == 0)
        st = gem_fail(err, GEM_E_IO, 0,
                      "%.100s: no model.safetensors, " INDEX_NAME " or other *.safetensors file in it", folder);
    if (!st && n > 1) st = fail_ambiguous(folder, names, n, err);
    if (!st) st = open_in(a, folder, names[0], err);
    if (!st) st = gem_archive_finish(a, err);
    free_names(names, n);
    return st;
}

static gem_status open_folder(struct gem_archive *a, const char *folder, gem_error *err)
{
    char *single = gem_path_join(folder, "model.safetensors", err);
    char *index = gem_path_join(folder, INDEX_NAME, err);
    gem_status st = GEM_E_NOMEM;

    if (!single || !index) goto done;
    if (gem_path_exists(single)) {
        if (!(st = open_one(a, single, err))) st = gem_archive_finish(a, err);
    } else {
        st = gem_path_exists(index) ? open_index(a, folder, index, err) : open_only(a, folder, err);
    }
done:
    gem_free(single);
    gem_free(index);
    return st;
}

gem_status gem_safetensors_open(struct gem_archive *a, const char *path, gem_error *err)
{
    gem_status st;

    if ((st = gem_archive_begin(a, false, err))) goto fail;
    if (gem_path_is_directory(path))
        st = open_folder(a, path, err);
    else if (!(st = open_one(a, path, err)))
        st = gem_archive_finish(a, err);
    if (!st) return GEM_OK;
fail:
    gem_archive_close(a);
    return st;
}
