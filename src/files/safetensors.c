/* SPDX-License-Identifier: Apache-2.0
 * src/files/safetensors.c - one safetensors file. The format: README of huggingface/safetensors.
 *   u64 n, n bytes of JSON, data:  {"NAME": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, ...,
 *                                   "__metadata__": {...}}
 * Offsets count from the data's beginning; tensors cover the data without holes or overlaps, to the last byte.
 * "__metadata__" is free text and is ignored. */
#include "files/safetensors.h"

#include "base/json.h"

#include <stdio.h>

enum { MAX_HEADER = 100 * 1000 * 1000 }; /* the reference implementation's */

/* Types without a gem_type are recognised so that their sizes can be checked. */
static const struct dtype {
    const char *name;
    enum gem_type type;
    uint32_t bits;
} dtypes[] = {
    {"F32", GEM_F32, 32},
    {"F16", GEM_F16, 16},
    {"BF16", GEM_BF16, 16},
    {"F64", GEM_F64, 64},
    {"I8", GEM_I8, 8},
    {"I16", GEM_I16, 16},
    {"I32", GEM_I32, 32},
    {"I64", GEM_I64, 64},
    {"BOOL", GEM_TYPE_OTHER, 8},
    {"U8", GEM_TYPE_OTHER, 8},
    {"U16", GEM_TYPE_OTHER, 16},
    {"U32", GEM_TYPE_OTHER, 32},
    {"U64", GEM_TYPE_OTHER, 64},
    {"C64", GEM_TYPE_OTHER, 64},
    {"F8_E4M3", GEM_TYPE_OTHER, 8},
    {"F8_E5M2", GEM_TYPE_OTHER, 8},
    {"F8_E8M0", GEM_TYPE_OTHER, 8},
    {"F8_E4M3FNUZ", GEM_TYPE_OTHER, 8},
    {"F8_E5M2FNUZ", GEM_TYPE_OTHER, 8},
    {"F6_E2M3", GEM_TYPE_OTHER, 6},
    {"F6_E3M2", GEM_TYPE_OTHER, 6},
    {"F4", GEM_TYPE_OTHER, 4},
};

struct reader {
    struct gem_archive *a;
    const char *file;
    uint64_t base; /* where data begins */
    gem_error *err;
};

/* The three members of a tensor; NULL: absent. */
struct entry {
    yyjson_val *dtype, *shape, *offsets;
};

static gem_status fail_tensor(const struct reader *r, const char *name, const char *problem)
{
    return gem_fail(r->err, GEM_E_FORMAT, 8, GEM_NAME ": header at byte 8: tensor '" GEM_NAME "': %s", r->file, name,
                    problem);
}

/* Members that are not known are left alone, as the reference implementation does. */
static gem_status find_members(const struct reader *r, const char *name, yyjson_val *value, struct entry *e)
{
    yyjson_obj_iter iter = yyjson_obj_iter_with(value); /* empty for what is no object */
    yyjson_val *key;

    *e = (struct entry){0};
    while ((key = yyjson_obj_iter_next(&iter))) {
        yyjson_val **slot = yyjson_equals_str(key, "dtype")          ? &e->dtype
                            : yyjson_equals_str(key, "shape")        ? &e->shape
                            : yyjson_equals_str(key, "data_offsets") ? &e->offsets
                                                                     : NULL;
        if (slot && *slot) return fail_tensor(r, name, "dtype, shape or data_offsets twice");
        if (slot) *slot = yyjson_obj_iter_get_val(key);
    }
    if (!yyjson_is_str(e->dtype)) return fail_tensor(r, name, "no dtype that is a string");
    if (!yyjson_is_arr(e->shape)) return fail_tensor(r, name, "no shape that is an array");
    if (yyjson_arr_size(e->offsets) != 2) return fail_tensor(r, name, "no data_offsets that is an array of two");
    return GEM_OK;
}

static gem_status read_shape(const struct reader *r, yyjson_val *shape, struct gem_tensor *t, uint64_t *n)
{
    for (int i = 0; i < 4; i++) t->shape[i] = 1;
    if (yyjson_arr_size(shape) > 4)
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 8,
                        GEM_NAME ": header at byte 8: tensor '" GEM_NAME "' has %zu dimensions, at most 4 are read",
                        r->file, t->name, yyjson_arr_size(shape));
    t->n_dims = (uint32_t)yyjson_arr_size(shape);
    for (uint32_t i = 0; i < t->n_dims; i++) {
        yyjson_val *dim = yyjson_arr_get(shape, i);
        if (!yyjson_is_uint(dim)) return fail_tensor(r, t->name, "a dimension that is no whole number");
        t->shape[i] = yyjson_get_uint(dim);
    }
    return gem_shape_elements(t->shape, n) ? GEM_OK : fail_tensor(r, t->name, "dimensions multiply to more than 2^63");
}

static gem_status read_offsets(const struct reader *r, yyjson_val *offsets, struct gem_tensor *t)
{
    yyjson_val *begin = yyjson_arr_get_first(offsets), *end = yyjson_arr_get_last(offsets);

    if (!yyjson_is_uint(begin) || !yyjson_is_uint(end) || yyjson_get_uint(end) < yyjson_get_uint(begin))
        return fail_tensor(r, t->name, "data_offsets are not two ascending whole numbers");
    t->offset = yyjson_get_uint(begin);
    t->n_bytes = yyjson_get_uint(end) - t->offset;
    return GEM_OK;
}

/* The type, and that n elements of it take as many bytes as the offsets give. */
static gem_status read_dtype(const struct reader *r, yyjson_val *value, struct gem_tensor *t, uint64_t n)
{
    const struct dtype *d = NULL;
    uint64_t bits;

    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes && !d; i++)
        if (yyjson_equals_str(value, dtypes[i].name)) d = &dtypes[i];
    t->type = d ? d->type : GEM_TYPE_OTHER;
    t->type_name = d ? d->name : gem_archive_add_name(r->a, yyjson_get_str(value), yyjson_get_len(value), r->err);
    if (!t->type_name) return GEM_E_NOMEM;
    if (!d) return GEM_OK; /* of unknown size */
    if (__builtin_mul_overflow(n, (uint64_t)d->bits, &bits) || bits % 8 || bits / 8 != t->n_bytes)
        return gem_fail(r->err, GEM_E_FORMAT, r->base + t->offset,
                        GEM_NAME ": tensor '" GEM_NAME "': %llu elements of %s do not take the %llu bytes of its "
                                 "data_offsets",
                        r->file, t->name, (unsigned long long)n, d->name, (unsigned long long)t->n_bytes);
    return GEM_OK;
}

static gem_status read_tensor(const struct reader *r, yyjson_val *key, yyjson_val *value)
{
    struct gem_tensor *t = gem_archive_add_tensor(r->a, r->err);
    struct entry e;
    uint64_t n = 0;
    gem_status st;

    if (!t) return GEM_E_NOMEM;
    t->name = gem_archive_add_name(r->a, yyjson_get_str(key), yyjson_get_len(key), r->err);
    if (!t->name) return GEM_E_NOMEM;
    if (strlen(t->name) != yyjson_get_len(key)) return fail_tensor(r, t->name, "a zero byte in its name");
    if (yyjson_get_len(key) > GEM_MAX_NAME) return fail_tensor(r, t->name, "its name has more than 65535 bytes");
    if ((st = find_members(r, t->name, value, &e))) return st;
    if ((st = read_shape(r, e.shape, t, &n))) return st;
    if ((st = read_offsets(r, e.offsets, t))) return st;
    return read_dtype(r, e.dtype, t, n);
}

/* The length of the JSON text, which lies in the file. */
static gem_status read_length(const struct reader *r, const struct gem_map *map, uint64_t *n)
{
    const uint32_t file = r->a->n_files - 1;

    if (map->n_bytes < 8)
        return gem_archive_fail_kind(r->a, file, "truncated: not even the 8 bytes of the header's length", r->err);
    *n = gem_load_u64(map->data);
    if (*n > MAX_HEADER)
        return gem_archive_fail_kind(r->a, file,
                                     "not a safetensors file: the header's length at byte 0 is above 100 MB", r->err);
    if (*n > map->n_bytes - 8)
        return gem_fail(r->err, GEM_E_FORMAT, map->n_bytes,
                        GEM_NAME ": truncated: the header ends at byte %llu but the file has %llu", r->file,
                        (unsigned long long)*n + 8, (unsigned long long)map->n_bytes);
    return GEM_OK;
}

static gem_status read_header(const struct reader *r, const uint8_t *json, size_t n)
{
    yyjson_doc *doc;
    yyjson_obj_iter iter;
    yyjson_val *key;
    char label[112];
    gem_status st;

    snprintf(label, sizeof label, GEM_NAME ": header at byte 8", r->file); /* the parser counts from there */
    if ((st = gem_json_parse(&doc, label, json, n, MAX_HEADER, r->err))) {
        if (r->err && st == GEM_E_FORMAT) r->err->offset += 8;
        return st;
    }
    if (!yyjson_is_obj(yyjson_doc_get_root(doc)))
        st = gem_fail(r->err, GEM_E_FORMAT, 8, GEM_NAME ": the header at byte 8 is no JSON object", r->file);
    iter = yyjson_obj_iter_with(yyjson_doc_get_root(doc));
    while (!st && (key = yyjson_obj_iter_next(&iter)))
        if (!yyjson_equals_str(key, "__metadata__")) st = read_tensor(r, key, yyjson_obj_iter_get_val(key));
    yyjson_doc_free(doc);
    return st;
}

gem_status gem_safetensors_append(struct gem_archive *a, gem_error *err)
{
    const uint32_t file = a->n_files - 1;
    const size_t first = a->n_tensors;
    const struct gem_map *map = &a->maps[file];
    struct reader r = {.a = a, .file = gem_archive_file_name(a, file), .err = err};
    uint64_t n = 0;
    gem_status st;

    if ((st = read_length(&r, map, &n))) return st;
    r.base = 8 + n;
    if ((st = read_header(&r, map->data + 8, (size_t)n))) return st;
    return gem_archive_place(a, file, first, r.base, true, err);
}

gem_status gem_safetensors_parse(struct gem_archive *a, const char *name, const uint8_t *data, uint64_t n_bytes,
                                 gem_error *err)
{
    gem_status st;

    if ((st = gem_archive_begin(a, false, err))) goto fail;
    if ((st = gem_archive_add_memory(a, name, data, n_bytes, err))) goto fail;
    if ((st = gem_safetensors_append(a, err))) goto fail;
    if ((st = gem_archive_finish(a, err))) goto fail;
    return GEM_OK;
fail:
    gem_archive_close(a);
    return st;
}
