/* SPDX-License-Identifier: Apache-2.0
 * src/files/gguf.c - one GGUF file, version 2 or 3, little-endian. The format: docs/gguf.md of ggml-org/ggml.
 *   "GGUF", u32 version, u64 number of tensors, u64 number of metadata entries
 *   metadata: string key, u32 type, value; an array is u32 type, u64 length, values; a string u64 length, bytes
 *   tensors: string name, u32 number of dimensions, u64 dimensions (innermost first), u32 type, u64 offset
 *   padding to general.alignment; data, where offsets count from
 * Nothing is aligned, and nothing is believed: a count is checked against what the rest of the file can hold. */
#include "files/gguf.h"

enum {
    MIN_KV = 8 + 1 + 4 + 1,     /* bytes of the smallest metadata entry: a key of one byte, a u8 */
    MIN_TENSOR = 8 + 4 + 4 + 8, /* of the smallest tensor: no name, no dimensions */
    DEFAULT_ALIGNMENT = 32,
    MAX_ALIGNMENT = 64 * 1024,
};

struct reader {
    struct gem_archive *a;
    const char *file;
    const uint8_t *data;
    uint64_t pos, end;
    uint64_t n_tensors, n_kv;
    const char *kind, *subject; /* what is being read, for messages: "tensor" and its name, "after" and the last name */
    gem_error *err;
};

static uint64_t left(const struct reader *r) { return r->end - r->pos; }

static gem_status fail_short(const struct reader *r, const char *what, uint64_t n)
{
    return gem_fail(r->err, GEM_E_FORMAT, r->pos,
                    GEM_NAME
                    ": truncated or damaged: %s '%.60s': the %s at byte %llu needs %llu bytes but the file has %llu",
                    r->file, r->kind, r->subject, what, (unsigned long long)r->pos, (unsigned long long)n,
                    (unsigned long long)r->end);
}

static gem_status read_u32(struct reader *r, const char *what, uint32_t *out)
{
    *out = 0; /* also after a failure: compilers do not know that gem_fail never gives GEM_OK */
    if (left(r) < 4) return fail_short(r, what, 4);
    *out = gem_load_u32(r->data + r->pos);
    r->pos += 4;
    return GEM_OK;
}

static gem_status read_u64(struct reader *r, const char *what, uint64_t *out)
{
    *out = 0;
    if (left(r) < 8) return fail_short(r, what, 8);
    *out = gem_load_u64(r->data + r->pos);
    r->pos += 8;
    return GEM_OK;
}

static gem_status read_string(struct reader *r, const char *what, const char **s, uint64_t *n)
{
    gem_status st = read_u64(r, what, n);

    *s = "";
    if (st) return st;
    if (left(r) < *n) return fail_short(r, what, *n);
    *s = (const char *)r->data + r->pos;
    r->pos += *n;
    return GEM_OK;
}

/* ---- header ------------------------------------------------------------------------------------------------ */

static gem_status check_version(const struct reader *r, uint32_t version)
{
    const uint32_t swapped = __builtin_bswap32(version);

    if (version == 2 || version == 3) return GEM_OK;
    if (version == 1)
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 4,
                        GEM_NAME ": GGUF version 1, which nobody writes any more: convert the model again with a "
                                 "current llama.cpp (versions 2 and 3 are read)",
                        r->file);
    if ((version & 0xffff) == 0 && swapped > 0 && swapped < 0x10000)
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 4,
                        GEM_NAME ": big-endian GGUF (version %u): only little-endian is read; convert it with "
                                 "gguf-py's gguf-convert-endian",
                        r->file, (unsigned)swapped);
    return gem_fail(r->err, GEM_E_UNSUPPORTED, 4, GEM_NAME ": GGUF version %u at byte 4: versions 2 and 3 are read",
                    r->file, (unsigned)version);
}

static gem_status check_count(const struct reader *r, const char *what, uint64_t at, uint64_t n, uint64_t smallest)
{
    if (n <= left(r) / smallest) return GEM_OK;
    return gem_fail(r->err, GEM_E_FORMAT, at,
                    GEM_NAME ": truncated or damaged: %llu %s at byte %llu, but the file's %llu bytes cannot hold them",
                    r->file, (unsigned long long)n, what, (unsigned long long)at, (unsigned long long)r->end);
}

static gem_status read_header(struct reader *r)
{
    uint32_t version;
    gem_status st;

    if (r->end < 4 || memcmp(r->data, "GGUF", 4))
        return gem_archive_fail_kind(r->a, r->a->n_files - 1, "not a GGUF file: it does not begin with 'GGUF'", r->err);
    r->pos = 4;
    if ((st = read_u32(r, "version", &version))) return st;
    if ((st = check_version(r, version))) return st;
    if ((st = read_u64(r, "number of tensors", &r->n_tensors))) return st;
    if ((st = read_u64(r, "number of metadata keys", &r->n_kv))) return st;
    if ((st = check_count(r, "tensors", 8, r->n_tensors, MIN_TENSOR))) return st;
    return check_count(r, "metadata keys", 16, r->n_kv, MIN_KV);
}

/* ---- metadata ---------------------------------------------------------------------------------------------- */

static gem_status check_key(const struct reader *r, uint64_t at, const char *s, uint64_t n)
{
    if (n == 0 || n > GEM_MAX_NAME)
        return gem_fail(r->err, GEM_E_FORMAT, at, GEM_NAME ": metadata key at byte %llu has %llu bytes, not 1 to %d",
                        r->file, (unsigned long long)at, (unsigned long long)n, GEM_MAX_NAME);
    for (uint64_t i = 0; i < n; i++)
        if (s[i] < 0x20 || s[i] > 0x7e)
            return gem_fail(r->err, GEM_E_FORMAT, at,
                            GEM_NAME ": metadata key at byte %llu is not ASCII text: byte 0x%02x", r->file,
                            (unsigned long long)at, (unsigned)(uint8_t)s[i]);
    return GEM_OK;
}

static gem_status check_bools(const struct reader *r, const struct gem_kv *kv)
{
    for (uint64_t i = 0; i < kv->n; i++)
        if (kv->data[i] > 1)
            return gem_fail(r->err, GEM_E_FORMAT, kv->offset + i,
                            GEM_NAME ": metadata key '" GEM_NAME "' at byte %llu: a bool of 0x%02x, not 0 or 1",
                            r->file, kv->key, (unsigned long long)(kv->offset + i), (unsigned)kv->data[i]);
    return GEM_OK;
}

/* kv->n values of kv->element from r->pos on. */
static gem_status read_values(struct reader *r, struct gem_kv *kv)
{
    const uint64_t size = gem_kv_types[kv->element].bytes, least = size ? size : 8; /* strings: their length fields */
    gem_status st = GEM_OK;

    kv->data = r->data + r->pos;
    kv->offset = r->pos;
    if (kv->n > left(r) / least) return fail_short(r, "value", kv->n > UINT64_MAX / least ? UINT64_MAX : kv->n * least);
    r->pos += kv->n * size;
    for (uint64_t i = 0; i < kv->n && !size && !st; i++) {
        const char *s;
        uint64_t n;
        st = read_string(r, "string", &s, &n);
    }
    kv->n_bytes = r->pos - kv->offset;
    return st || kv->element != GEM_KV_BOOL ? st : check_bools(r, kv);
}

static gem_status check_type(const struct reader *r, uint64_t at, uint32_t type)
{
    if (type < GEM_KV_N_TYPES) return GEM_OK;
    return gem_fail(r->err, GEM_E_FORMAT, at,
                    GEM_NAME ": metadata key '" GEM_NAME "': value type %u at byte %llu is none of 0 to 12", r->file,
                    r->subject, (unsigned)type, (unsigned long long)at);
}

static gem_status read_kv(struct reader *r)
{
    struct gem_kv *kv = gem_archive_add_kv(r->a, r->err);
    uint64_t at = r->pos, n;
    uint32_t type;
    const char *s;
    gem_status st;

    if (!kv) return GEM_E_NOMEM;
    r->kind = "after";
    if ((st = read_string(r, "key", &s, &n)) || (st = check_key(r, at, s, n))) return st;
    if (!(kv->key = gem_archive_add_name(r->a, s, (size_t)n, r->err))) return GEM_E_NOMEM;
    r->kind = "metadata key";
    r->subject = kv->key;
    at = r->pos;
    if ((st = read_u32(r, "value type", &type)) || (st = check_type(r, at, type))) return st;
    kv->type = kv->element = (enum gem_kv_type)type;
    kv->n = 1;
    if (kv->type != GEM_KV_ARRAY) return read_values(r, kv);
    at = r->pos;
    if ((st = read_u32(r, "array's type", &type)) || (st = check_type(r, at, type))) return st;
    if (type == GEM_KV_ARRAY)
        return gem_fail(r->err, GEM_E_UNSUPPORTED, at,
                        GEM_NAME ": metadata key '" GEM_NAME "' at byte %llu is an array of arrays, which is not read",
                        r->file, kv->key, (unsigned long long)at);
    kv->element = (enum gem_kv_type)type;
    return (st = read_u64(r, "array's length", &kv->n)) ? st : read_values(r, kv);
}

static gem_status read_alignment(const struct reader *r, size_t first_kv, uint32_t *alignment)
{
    gem_status st;

    *alignment = DEFAULT_ALIGNMENT;
    for (size_t i = first_kv; i < r->a->n_kv; i++) {
        const struct gem_kv *kv = &r->a->kv[i];
        if (strcmp(kv->key, "general.alignment")) continue;
        if ((st = gem_kv_to_u32(r->a, kv, alignment, r->err))) return st;
        if (*alignment == 0 || *alignment > MAX_ALIGNMENT || (*alignment & (*alignment - 1)))
            return gem_fail(r->err, GEM_E_FORMAT, kv->offset,
                            GEM_NAME
                            ": metadata key 'general.alignment' at byte %llu is %u, not a power of two up to %d",
                            r->file, (unsigned long long)kv->offset, (unsigned)*alignment, MAX_ALIGNMENT);
    }
    return GEM_OK;
}

/* ---- tensors ----------------------------------------------------------------------------------------------- */

static gem_status read_name(struct reader *r, struct gem_tensor *t)
{
    const uint64_t at = r->pos;
    const char *s;
    uint64_t n;
    gem_status st;

    r->kind = "after";
    if ((st = read_string(r, "name", &s, &n))) return st;
    if (n > GEM_MAX_NAME || memchr(s, 0, n))
        return gem_fail(r->err, GEM_E_FORMAT, at,
                        GEM_NAME ": tensor name at byte %llu: %llu bytes (at most %d), none of them zero, expected",
                        r->file, (unsigned long long)at, (unsigned long long)n, GEM_MAX_NAME);
    t->name = gem_archive_add_name(r->a, s, (size_t)n, r->err);
    if (!t->name) return GEM_E_NOMEM;
    r->kind = "tensor";
    r->subject = t->name;
    return GEM_OK;
}

static gem_status read_shape(struct reader *r, struct gem_tensor *t)
{
    const uint64_t at = r->pos;
    uint64_t n;
    gem_status st;

    for (int i = 0; i < 4; i++) t->shape[i] = 1;
    if ((st = read_u32(r, "number of dimensions", &t->n_dims))) return st;
    if (t->n_dims > 4)
        return gem_fail(r->err, GEM_E_FORMAT, at,
                        GEM_NAME ": tensor '" GEM_NAME "' at byte %llu has %u dimensions, at most 4 expected", r->file,
                        t->name, (unsigned long long)at, (unsigned)t->n_dims);
    for (uint32_t i = t->n_dims; i-- > 0;) /* innermost first */
        if ((st = read_u64(r, "dimension", &t->shape[i]))) return st;
    if (!gem_shape_elements(t->shape, &n))
        return gem_fail(r->err, GEM_E_FORMAT, at,
                        GEM_NAME ": tensor '" GEM_NAME "' at byte %llu: its dimensions multiply to more than 2^63",
                        r->file, t->name, (unsigned long long)at);
    return GEM_OK;
}

/* Type and size in bytes. */
static gem_status read_type(struct reader *r, struct gem_tensor *t)
{
    const uint64_t at = r->pos, row = t->n_dims ? t->shape[t->n_dims - 1] : 1;
    const struct gem_type_info *info;
    uint64_t n;
    uint32_t type;
    gem_status st;

    if ((st = read_u32(r, "type", &type))) return st;
    info = gem_type_info(type);
    if (!info->name)
        return gem_fail(r->err, GEM_E_UNSUPPORTED, at,
                        GEM_NAME ": tensor '" GEM_NAME "': type number %u at byte %llu is not one that is read",
                        r->file, t->name, (unsigned)type, (unsigned long long)at);
    t->type = (enum gem_type)type;
    t->type_name = info->name;
    if (row % info->block)
        return gem_fail(r->err, GEM_E_FORMAT, at,
                        GEM_NAME ": tensor '" GEM_NAME "' at byte %llu: rows of %llu elements, but %s has blocks of %u",
                        r->file, t->name, (unsigned long long)at, (unsigned long long)row, info->name,
                        (unsigned)info->block);
    gem_shape_elements(t->shape, &n);
    if (__builtin_mul_overflow(n / info->block, (uint64_t)info->bytes, &t->n_bytes))
        return gem_fail(r->err, GEM_E_FORMAT, at,
                        GEM_NAME ": tensor '" GEM_NAME "' at byte %llu: %llu elements of %s are too many", r->file,
                        t->name, (unsigned long long)at, (unsigned long long)n, info->name);
    return GEM_OK;
}

static gem_status read_tensor(struct reader *r, uint32_t alignment)
{
    struct gem_tensor *t = gem_archive_add_tensor(r->a, r->err);
    gem_status st;
    uint64_t at;

    if (!t) return GEM_E_NOMEM;
    if ((st = read_name(r, t)) || (st = read_shape(r, t)) || (st = read_type(r, t))) return st;
    at = r->pos;
    if ((st = read_u64(r, "offset", &t->offset))) return st;
    if (t->offset % alignment)
        return gem_fail(r->err, GEM_E_FORMAT, at,
                        GEM_NAME ": tensor '" GEM_NAME "': offset %llu at byte %llu is not a multiple of %u", r->file,
                        t->name, (unsigned long long)t->offset, (unsigned long long)at, (unsigned)alignment);
    return GEM_OK;
}

/* ---- the file ---------------------------------------------------------------------------------------------- */

gem_status gem_gguf_append(struct gem_archive *a, gem_error *err)
{
    const uint32_t file = a->n_files - 1;
    const size_t first_kv = a->n_kv, first_tensor = a->n_tensors;
    struct reader r = {.a = a,
                       .err = err,
                       .file = gem_archive_file_name(a, file),
                       .kind = "in the",
                       .subject = "header",
                       .data = a->maps[file].data,
                       .end = a->maps[file].n_bytes};
    uint32_t alignment;
    gem_status st;

    if ((st = read_header(&r))) return st;
    for (uint64_t i = 0; i < r.n_kv && !st; i++) st = read_kv(&r);
    if (st || (st = read_alignment(&r, first_kv, &alignment))) return st;
    for (uint64_t i = 0; i < r.n_tensors && !st; i++) st = read_tensor(&r, alignment);
    if (st) return st;
    /* the file may end here, unpadded, when it has no tensors: the sum cannot overflow for any file that exists */
    return gem_archive_place(a, file, first_tensor, (r.pos + alignment - 1) & ~(uint64_t)(alignment - 1), false, err);
}

gem_status gem_gguf_parse(struct gem_archive *a, const char *name, const uint8_t *data, uint64_t n_bytes,
                          gem_error *err)
{
    gem_status st;

    if ((st = gem_archive_begin(a, true, err))) goto fail;
    if ((st = gem_archive_add_memory(a, name, data, n_bytes, err))) goto fail;
    if ((st = gem_gguf_append(a, err))) goto fail;
    if ((st = gem_archive_finish(a, err))) goto fail;
    return GEM_OK;
fail:
    gem_archive_close(a);
    return st;
}
