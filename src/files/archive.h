/* SPDX-License-Identifier: Apache-2.0
 * src/files/archive.h - checkpoint files as named tensors and metadata: GGUF v2 and v3 (one file or split),
 * safetensors (one file or an index of shards) and native files (gem.h). Nothing is copied: tensors point into the
 * mapped files. All input is untrusted; every count, offset and size is checked before use. */
#ifndef GEM_FILES_ARCHIVE_H
#define GEM_FILES_ARCHIVE_H

#include "base/file.h"
#include "tensor/format.h"

/* The type of a tensor whose safetensors dtype enum gem_type does not have (BOOL, U8, F8_E4M3, ...). Opening
 * succeeds, since it may be a tensor that nobody reads: gem_type_info(GEM_TYPE_OTHER)->name is NULL, and who
 * does read it refuses it by its type_name. Of GGUF's tensors none has it. */
#define GEM_TYPE_OTHER GEM_N_TYPES

struct gem_tensor {
    const char *name; /* zero-terminated; the archive's */
    enum gem_type type;
    const char *type_name; /* "Q4_0"; of GEM_TYPE_OTHER as the file spells it; never NULL */
    uint32_t n_dims;       /* 0 to 4; 0 is a scalar with shape[0] = 1 */
    uint64_t shape[4];     /* row-major, outermost first; GGUF's `ne` reversed; unused entries are 1 */
    const uint8_t *data;   /* of any alignment: the file decides */
    uint64_t n_bytes;      /* 0 when a dimension is 0 */
    uint64_t offset;       /* of data in its file */
    uint32_t file;         /* index of its file */
    uint32_t layout;       /* 0: rows; else panels of this enum gem_pack_kind (kernels.h), native files only */
    uint64_t checksum;     /* XXH64 of data; native files only */
};

/* A file that came with the checkpoint and is carried in a native one: "config.json". */
struct gem_blob {
    const char *name; /* zero-terminated; the archive's */
    const uint8_t *data;
    uint64_t n_bytes;
};

/* GGUF metadata value types, as numbered in the specification. */
enum gem_kv_type {
    GEM_KV_U8,
    GEM_KV_I8,
    GEM_KV_U16,
    GEM_KV_I16,
    GEM_KV_U32,
    GEM_KV_I32,
    GEM_KV_F32,
    GEM_KV_BOOL,
    GEM_KV_STRING,
    GEM_KV_ARRAY,
    GEM_KV_U64,
    GEM_KV_I64,
    GEM_KV_F64
};

/* One metadata entry. Points into the mapping; nothing there is aligned. */
struct gem_kv {
    const char *key;          /* zero-terminated; the archive's */
    enum gem_kv_type type;    /* GEM_KV_ARRAY: elements of `element` */
    enum gem_kv_type element; /* of a single value its type; never GEM_KV_ARRAY: nested arrays are refused */
    uint64_t n;               /* 1, or the array's length */
    const uint8_t *data;      /* the value; of a string its length field (u64) */
    uint64_t n_bytes;         /* of all values, length fields included */
    uint64_t offset;          /* of data in its file */
    uint32_t file;
};

struct gem_archive_index; /* names and keys in order: searching has no worst case that a file could provoke */

/* Zero-initialised is the closed state. */
struct gem_archive {
    bool is_gguf;   /* names and metadata are GGUF's; else those of a Hugging Face folder */
    bool is_native; /* one file with checksums, blobs and perhaps panels */
    char **paths;   /* [n_files] as opened */
    struct gem_map *maps;
    uint32_t n_files;
    struct gem_tensor *tensors; /* in file order */
    size_t n_tensors;
    struct gem_kv *kv; /* GGUF only; of a split file, the first part's and then what others add */
    size_t n_kv;
    struct gem_blob *blobs; /* native files only */
    size_t n_blobs;
    struct gem_archive_index *index;
};

/* GGUF at path: one file, or any part of a split one ("name-00002-of-00005.gguf"; split.no, split.count and
 * split.tensors.count are checked; a missing part is named). */
gem_status gem_gguf_open(struct gem_archive *a, const char *path, gem_error *err);
/* A folder with model.safetensors, or model.safetensors.index.json and its shards, or a single other
 * *.safetensors file; or the path of one safetensors file itself. */
gem_status gem_safetensors_open(struct gem_archive *a, const char *path, gem_error *err);
/* The two parsers on memory, for fuzzing and tests: one file, borrowed until gem_archive_close. */
gem_status gem_gguf_parse(struct gem_archive *a, const char *name, const uint8_t *data, uint64_t n_bytes,
                          gem_error *err);
gem_status gem_safetensors_parse(struct gem_archive *a, const char *name, const uint8_t *data, uint64_t n_bytes,
                                 gem_error *err);
void gem_archive_close(struct gem_archive *a);

/* Both return NULL when there is none. */
const struct gem_tensor *gem_archive_tensor(const struct gem_archive *a, const char *name);
const struct gem_kv *gem_archive_kv(const struct gem_archive *a, const char *key);
const struct gem_blob *gem_archive_blob(const struct gem_archive *a, const char *name);
/* The file `name` that belongs to the checkpoint: the archive's blob, or the file in `folder`. *label names it in
 * messages; it is NULL, with GEM_OK, when there is none. Close map and gem_free label either way. */
gem_status gem_archive_companion(const struct gem_archive *a, const char *folder, const char *name, struct gem_map *map,
                                 char **label, gem_error *err);

/* GEM_E_IO when one of the files has shrunk since it was mapped. */
gem_status gem_archive_check(const struct gem_archive *a, gem_error *err);

/* Typed reading of metadata. A key that is absent leaves *out as it is and returns GEM_OK, unless `required`.
 * A value of another type is GEM_E_FORMAT and names key and offset; integers convert when they fit. */
gem_status gem_kv_get_u32(const struct gem_archive *a, const char *key, bool required, uint32_t *out, gem_error *err);
gem_status gem_kv_get_f32(const struct gem_archive *a, const char *key, bool required, float *out, gem_error *err);
gem_status gem_kv_get_bool(const struct gem_archive *a, const char *key, bool required, bool *out, gem_error *err);
gem_status gem_kv_get_string(const struct gem_archive *a, const char *key, bool required, const char **s, size_t *n,
                             gem_error *err);
/* One number for all, or an array of exactly n; bools read as 0 and 1. */
gem_status gem_kv_get_u32s(const struct gem_archive *a, const char *key, bool required, uint32_t *out, size_t n,
                           gem_error *err);
/* Element i of a numeric entry, i below kv->n (assert). gem_kv_int: integers and bools only (assert), a u64 above
 * INT64_MAX becomes INT64_MAX. gem_kv_float: all of them. */
int64_t gem_kv_int(const struct gem_kv *kv, uint64_t i);
double gem_kv_float(const struct gem_kv *kv, uint64_t i);
/* Walks a string array (or one string): *cursor starts at 0 and is advanced; false at the end. The parser has checked
 * lengths. */
bool gem_kv_next_string(const struct gem_kv *kv, uint64_t *cursor, const char **s, size_t *n);

#endif
