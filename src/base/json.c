/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "base/file.h"

/* yyjson itself does not recurse, but what walks its values may. Strings are skipped; the text is not yet known
 * to be valid, which is harmless: a wrong count only refuses. */
static bool too_deep(const uint8_t *s, size_t n, size_t limit, size_t *where)
{
    size_t depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < n; i++) {
        const uint8_t c = s[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            *where = i;
            if (++depth > limit) return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static gem_status parse(yyjson_doc **doc, const char *name, const void *json, size_t n_bytes, size_t ceiling,
                        yyjson_read_flag flags, gem_error *err)
{
    enum { MAX_DEPTH = 64 };
    yyjson_read_err e = {0};
    size_t where = 0;

    *doc = NULL;
    if (n_bytes > ceiling)
        return gem_fail(err, GEM_E_LIMIT, 0, "%s: %zu bytes of JSON, more than the ceiling of %zu", name, n_bytes,
                        ceiling);
    if (n_bytes == 0) return gem_fail(err, GEM_E_FORMAT, 0, "%s: empty, not JSON", name);
    if (too_deep(json, n_bytes, MAX_DEPTH, &where))
        return gem_fail(err, GEM_E_FORMAT, where, "%s: JSON nested deeper than %d at byte %zu", name, MAX_DEPTH, where);
    *doc = yyjson_read_opts((char *)(uintptr_t)json, n_bytes, flags, NULL, &e);
    if (*doc) return GEM_OK;
    if (e.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) return gem_fail_nomem(err, n_bytes, name);
    return gem_fail(err, GEM_E_FORMAT, e.pos, "%s: not JSON at byte %zu: %s", name, e.pos, e.msg);
}

gem_status gem_json_parse(yyjson_doc **doc, const char *name, const void *json, size_t n_bytes, size_t ceiling,
                          gem_error *err)
{
    return parse(doc, name, json, n_bytes, ceiling, YYJSON_READ_NOFLAG, err);
}

gem_status gem_json_parse_raw(yyjson_doc **doc, const char *name, const void *json, size_t n_bytes, size_t ceiling,
                              gem_error *err)
{
    return parse(doc, name, json, n_bytes, ceiling, YYJSON_READ_NUMBER_AS_RAW, err);
}

gem_status gem_json_load(yyjson_doc **doc, const char *path, size_t ceiling, gem_error *err)
{
    struct gem_map map;
    gem_status st;

    *doc = NULL;
    if ((st = gem_map_open(&map, path, err))) return st;
    st = gem_json_parse(doc, path, map.data, (size_t)map.n_bytes, ceiling, err);
    gem_map_close(&map);
    return st;
}
