/* SPDX-License-Identifier: Apache-2.0
 * src/files/gem_read.c - native files (gem.h) as archives. Nothing is believed: header and directory prove themselves
 * by checksum first, and are then checked as if they had not. */
#include "files/gem.h"
#include "files/gguf.h"

#include "base/memory.h"
#include "kernels/kernels.h"

#include <stdio.h>

/* Numbers of layouts are part of the format. */
_Static_assert(GEM_PK_NONE == 0 && GEM_PK_Q4 == 1 && GEM_PK_Q8 == 2 && GEM_PK_Q4M == 3 && GEM_PK_Q5 == 4 &&
                   GEM_PK_Q5M == 5 && GEM_PK_Q4K == 6 && GEM_PK_Q4K16 == 7 && GEM_PK_Q5K == 8 && GEM_PK_Q6K == 9 &&
                   GEM_PK_Q8K == 10 && GEM_N_PK == 11 && GEM_PANEL == 16,
               "numbers in files do not change");

uint32_t gem_native_layout_version(uint32_t layout) { return layout < GEM_N_PK ? 1 : 0; }

bool gem_native_bytes(const struct gem_tensor *t, uint64_t *n_bytes)
{
    const struct gem_type_info *info = gem_type_info(t->type);
    const uint64_t cols = t->n_dims ? t->shape[t->n_dims - 1] : 1, rows = t->n_dims > 1 ? t->shape[t->n_dims - 2] : 1;
    uint64_t n, panels;

    if (!gem_shape_elements(t->shape, &n)) return false;
    if (t->type == GEM_TYPE_OTHER) return t->layout == 0; /* of unknown size: as many as the file says */
    if (!info->name || cols % info->block) return false;
    if (t->layout == 0) return !__builtin_mul_overflow(n / info->block, (uint64_t)info->bytes, n_bytes);
    if (t->layout != (uint32_t)gem_pack_kind_of(t->type) || n == 0 || t->n_dims < 2 || t->n_dims > 3 || cols % 32)
        return false;
    panels = (t->n_dims == 3 ? t->shape[0] : 1) * ((rows - 1) / GEM_PANEL + 1); /* not above n */
    return !__builtin_mul_overflow(panels, gem_panel_bytes((enum gem_pack_kind)t->layout, cols), n_bytes);
}

bool gem_native_is(const char *path)
{
    char magic[8] = "";
    FILE *f = fopen(path, "rb");
    const bool yes = f && fread(magic, 1, 8, f) == 8 && !memcmp(magic, GEM_NATIVE_MAGIC, 8);

    if (f) fclose(f);
    return yes;
}

/* ---- header ------------------------------------------------------------------------------------------------ */

struct reader {
    struct gem_archive *a;
    const char *file;
    const uint8_t *data, *names; /* names: the next one */
    uint64_t end, names_left;    /* of the file; bytes of names that were not taken yet */
    uint64_t data_begin;         /* behind the directory */
    uint32_t n_blobs, n_tensors, source;
    gem_error *err;
};

static gem_status fail_at(const struct reader *r, uint64_t offset, const char *problem)
{
    return gem_fail(r->err, GEM_E_FORMAT, offset, GEM_NAME ": damaged at byte %llu: %s", r->file,
                    (unsigned long long)offset, problem);
}

static gem_status check_begin(const struct reader *r)
{
    const uint8_t *p = r->data;
    uint32_t order, version;

    if (r->end < 8 || memcmp(p, GEM_NATIVE_MAGIC, 8))
        return gem_archive_fail_kind(r->a, 0, "not a native file: it does not begin with '\\x89GEM'", r->err);
    if (r->end < GEM_NATIVE_HEADER)
        return gem_fail(r->err, GEM_E_FORMAT, r->end, GEM_NAME ": truncated: %llu bytes, not even the header of %d",
                        r->file, (unsigned long long)r->end, GEM_NATIVE_HEADER);
    order = gem_load_u32(p + 8);
    version = gem_load_u32(p + 12);
    if (order == 0x04030201)
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 8,
                        GEM_NAME ": a native file of the other byte order (big-endian): pack the model again for this "
                                 "machine with 'gemmule pack'",
                        r->file);
    if (order != 0x01020304) return fail_at(r, 8, "the byte-order mark");
    if (version != GEM_NATIVE_VERSION && gem_hash_of(p, 56) == gem_load_u64(p + 56))
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 12,
                        GEM_NAME ": native file of version %u, this program reads %d: %s", r->file, (unsigned)version,
                        GEM_NATIVE_VERSION,
                        version > GEM_NATIVE_VERSION ? "use a newer one, or pack the model again with 'gemmule pack'"
                                                     : "pack the model again with 'gemmule pack'");
    return GEM_OK;
}

static gem_status read_header(struct reader *r)
{
    const uint8_t *p = r->data;
    uint64_t dir, n_bytes;
    gem_status st = check_begin(r);

    if (st) return st;
    if (gem_hash_of(p, 56) != gem_load_u64(p + 56)) return fail_at(r, 0, "the header's checksum does not match");
    n_bytes = gem_load_u64(p + 16);
    dir = gem_load_u64(p + 24);
    r->n_blobs = gem_load_u32(p + 32);
    r->n_tensors = gem_load_u32(p + 36);
    r->source = gem_load_u32(p + 40);
    if (n_bytes != r->end)
        return gem_fail(r->err, GEM_E_FORMAT, r->end < n_bytes ? r->end : n_bytes,
                        GEM_NAME ": %s: the file has %llu bytes, its header says %llu", r->file,
                        r->end < n_bytes ? "truncated" : "damaged", (unsigned long long)r->end,
                        (unsigned long long)n_bytes);
    if (dir > r->end - GEM_NATIVE_HEADER) return fail_at(r, 24, "the size of the directory");
    r->data_begin = GEM_NATIVE_HEADER + dir;
    if (r->n_blobs > dir / GEM_NATIVE_BLOB) return fail_at(r, 32, "the number of blobs");
    if (r->n_tensors > (dir - (uint64_t)r->n_blobs * GEM_NATIVE_BLOB) / GEM_NATIVE_TENSOR)
        return fail_at(r, 36, "the number of tensors");
    if (r->source != GEM_NATIVE_FROM_GGUF && r->source != GEM_NATIVE_FROM_FOLDER)
        return fail_at(r, 40, "the kind of source");
    if (gem_hash_of(p + GEM_NATIVE_HEADER, (size_t)dir) != gem_load_u64(p + 48))
        return fail_at(r, GEM_NATIVE_HEADER, "the directory's checksum does not match");
    r->names_left = dir - (uint64_t)r->n_blobs * GEM_NATIVE_BLOB - (uint64_t)r->n_tensors * GEM_NATIVE_TENSOR;
    r->names = p + r->data_begin - r->names_left;
    return GEM_OK;
}

/* ---- directory --------------------------------------------------------------------------------------------- */

/* The next n bytes of names as a string of the archive's. */
static gem_status take_name(struct reader *r, uint64_t entry, uint32_t n, const char **out)
{
    if (n > r->names_left || n > GEM_MAX_NAME || n == 0 || memchr(r->names, 0, n))
        return fail_at(r, entry, "the name of an entry of the directory");
    if (!(*out = gem_archive_add_name(r->a, (const char *)r->names, n, r->err))) return GEM_E_NOMEM;
    r->names += n;
    r->names_left -= n;
    return GEM_OK;
}

/* Where an entry's data lies: offset and bytes at p. That nothing overlaps is checked for tensors only. */
static gem_status check_place(const struct reader *r, const uint8_t *p, const char *kind, const char *name)
{
    const uint64_t offset = gem_load_u64(p), n = gem_load_u64(p + 8);

    if (offset % GEM_NATIVE_ALIGN == 0 && offset >= r->data_begin && offset <= r->end && n <= r->end - offset)
        return GEM_OK;
    return gem_fail(r->err, GEM_E_FORMAT, (uint64_t)(p - r->data),
                    GEM_NAME ": damaged: %s '%.60s' is said to lie at byte %llu with %llu bytes; the file has %llu",
                    r->file, kind, name, (unsigned long long)offset, (unsigned long long)n, (unsigned long long)r->end);
}

static gem_status read_blob(struct reader *r, const uint8_t *p, struct gem_blob *blob)
{
    gem_status st = take_name(r, (uint64_t)(p - r->data), gem_load_u32(p + 24), &blob->name);

    if (st) return st;
    if ((st = check_place(r, p, "metadata", blob->name))) return st;
    blob->data = r->data + gem_load_u64(p);
    blob->n_bytes = gem_load_u64(p + 8);
    if (gem_hash_of(blob->data, (size_t)blob->n_bytes) == gem_load_u64(p + 16)) return GEM_OK;
    return gem_fail(r->err, GEM_E_FORMAT, gem_load_u64(p),
                    GEM_NAME ": damaged: the checksum of '" GEM_NAME "' at byte %llu does not match", r->file,
                    blob->name, (unsigned long long)gem_load_u64(p));
}

/* The number format and the layout, with the size that follows from them. */
static gem_status check_format(const struct reader *r, const uint8_t *p, const struct gem_tensor *t)
{
    const uint32_t version = gem_load_u32(p + 68), known = gem_native_layout_version(t->layout);
    const uint64_t entry = (uint64_t)(p - r->data);
    uint64_t n_bytes = t->n_bytes;

    if (!known || version != known)
        return gem_fail(r->err, GEM_E_UNSUPPORTED, entry,
                        GEM_NAME ": tensor '%.60s' has layout %u of version %u, which this program does not know: "
                                 "pack the model again with 'gemmule pack'",
                        r->file, t->name, (unsigned)t->layout, (unsigned)version);
    if (t->n_dims <= 4 && gem_native_bytes(t, &n_bytes) && n_bytes == t->n_bytes) return GEM_OK;
    return gem_fail(r->err, GEM_E_FORMAT, entry,
                    GEM_NAME ": damaged: tensor '%.60s': shape, type %.20s, layout %u and %llu bytes do not agree",
                    r->file, t->name, t->type_name, (unsigned)t->layout, (unsigned long long)t->n_bytes);
}

static gem_status read_tensor(struct reader *r, const uint8_t *p)
{
    struct gem_tensor *t = gem_archive_add_tensor(r->a, r->err);
    const uint64_t entry = (uint64_t)(p - r->data);
    const uint32_t type = gem_load_u32(p + 60);
    gem_status st;

    if (!t) return GEM_E_NOMEM;
    if ((st = take_name(r, entry, gem_load_u32(p + 72), &t->name))) return st;
    t->file = 0;
    t->offset = gem_load_u64(p);
    t->n_bytes = gem_load_u64(p + 8);
    t->checksum = gem_load_u64(p + 16);
    for (int i = 0; i < 4; i++) t->shape[i] = gem_load_u64(p + 24 + 8 * i);
    t->n_dims = gem_load_u32(p + 56);
    t->layout = gem_load_u32(p + 64);
    if (type > GEM_TYPE_OTHER || (type < GEM_TYPE_OTHER && !gem_type_info(type)->name))
        return fail_at(r, entry + 60, "the number format of a tensor");
    t->type = (enum gem_type)type;
    t->type_name = gem_type_info(type)->name;
    if (type == GEM_TYPE_OTHER && (st = take_name(r, entry, gem_load_u32(p + 76), &t->type_name))) return st;
    for (uint32_t i = t->n_dims; i < 4; i++)
        if (t->shape[i] != 1) return fail_at(r, entry + 24 + 8 * i, "the shape of a tensor");
    if ((st = check_place(r, p, "tensor", t->name))) return st;
    return check_format(r, p, t);
}

static gem_status read_directory(struct reader *r)
{
    const uint8_t *p = r->data + GEM_NATIVE_HEADER;
    gem_status st = GEM_OK;

    if (!(r->a->blobs = gem_calloc(r->n_blobs, sizeof *r->a->blobs, "a list of metadata", r->err))) return GEM_E_NOMEM;
    for (uint32_t i = 0; i < r->n_blobs && !st; i++, p += GEM_NATIVE_BLOB) {
        st = read_blob(r, p, &r->a->blobs[i]);
        if (!st && gem_archive_blob(r->a, r->a->blobs[i].name))
            st = fail_at(r, (uint64_t)(p - r->data), "a name that another entry has");
        r->a->n_blobs = i + 1;
    }
    for (uint32_t i = 0; i < r->n_tensors && !st; i++, p += GEM_NATIVE_TENSOR) st = read_tensor(r, p);
    if (!st && r->names_left) st = fail_at(r, (uint64_t)(r->names - r->data), "names that nothing has");
    return st ? st : gem_archive_place(r->a, 0, 0, 0, false, r->err);
}

/* The key/values of a GGUF: a file of its own inside ours, and another parser's. */
static gem_status read_metadata(const struct reader *r)
{
    const struct gem_blob *blob = gem_archive_blob(r->a, GEM_NATIVE_METADATA);
    const size_t n_tensors = r->a->n_tensors;
    char *path;
    gem_status st;

    if (r->source == GEM_NATIVE_FROM_FOLDER) return GEM_OK;
    if (!blob)
        return gem_fail(r->err, GEM_E_FORMAT, 0, GEM_NAME ": damaged: no '" GEM_NATIVE_METADATA "' in it", r->file);
    if (!(path = gem_path_join(r->a->paths[0], GEM_NATIVE_METADATA, r->err))) return GEM_E_NOMEM;
    st = gem_archive_add_memory(r->a, path, blob->data, blob->n_bytes, r->err);
    gem_free(path);
    if (st || (st = gem_gguf_append(r->a, r->err))) return st;
    if (r->a->n_tensors == n_tensors) return GEM_OK;
    return gem_fail(r->err, GEM_E_FORMAT, (uint64_t)(blob->data - r->data),
                    GEM_NAME ": damaged: '" GEM_NATIVE_METADATA "' has tensors", r->file);
}

/* ---- an archive -------------------------------------------------------------------------------------------- */

/* The archive has file 0. */
static gem_status read_file(struct gem_archive *a, gem_error *err)
{
    struct reader r = {.a = a, .err = err};
    gem_status st;

    r.file = gem_archive_file_name(a, 0);
    r.data = a->maps[0].data;
    r.end = a->maps[0].n_bytes;
    if ((st = read_header(&r))) return st;
    a->is_native = true;
    a->is_gguf = r.source == GEM_NATIVE_FROM_GGUF;
    if ((st = read_directory(&r))) return st;
    if ((st = read_metadata(&r))) return st;
    return gem_archive_finish(a, err);
}

gem_status gem_native_open(struct gem_archive *a, const char *path, gem_error *err)
{
    gem_status st;

    if ((st = gem_archive_begin(a, false, err))) goto fail;
    if ((st = gem_archive_add_file(a, path, err))) goto fail;
    if ((st = read_file(a, err))) goto fail;
    return GEM_OK;
fail:
    gem_archive_close(a);
    return st;
}

gem_status gem_native_parse(struct gem_archive *a, const char *name, const uint8_t *data, uint64_t n_bytes,
                            gem_error *err)
{
    gem_status st;

    if ((st = gem_archive_begin(a, false, err))) goto fail;
    if ((st = gem_archive_add_memory(a, name, data, n_bytes, err))) goto fail;
    if ((st = read_file(a, err))) goto fail;
    return GEM_OK;
fail:
    gem_archive_close(a);
    return st;
}
