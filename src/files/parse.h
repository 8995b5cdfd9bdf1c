/* SPDX-License-Identifier: Apache-2.0
 * src/files/parse.h - what the parsers of this folder share: building an archive file by file. An archive is begun,
 * files are added, each parser appends the tensors and keys it finds, tensors are placed in their file, and the
 * finished archive can be searched. A failure anywhere leaves something that gem_archive_close takes down. */
#ifndef GEM_FILES_PARSE_H
#define GEM_FILES_PARSE_H

#include "files/archive.h"

/* Messages hold 256 bytes: of a file's and a tensor's name so much that the numbers after them still fit. */
#define GEM_NAME "%.80s"

enum { GEM_MAX_NAME = 65535 }; /* bytes of a key (GGUF's own ceiling) and, here, of a tensor's name */

gem_status gem_archive_begin(struct gem_archive *a, bool is_gguf, gem_error *err);
/* Both add file a->n_files - 1. Memory stays the caller's. */
gem_status gem_archive_add_file(struct gem_archive *a, const char *path, gem_error *err);
gem_status gem_archive_add_memory(struct gem_archive *a, const char *name, const uint8_t *data, uint64_t n_bytes,
                                  gem_error *err);
/* The last part of a file's path. */
const char *gem_archive_file_name(const struct gem_archive *a, uint32_t file);
/* GEM_E_FORMAT for a file that does not begin as it should: names what is often found under the name of a checkpoint
 * (nothing, a Git LFS pointer, a web page, another format) and what to do, or else says `otherwise`. */
gem_status gem_archive_fail_kind(const struct gem_archive *a, uint32_t file, const char *otherwise, gem_error *err);

/* A zero-terminated copy that lives as long as the archive; NULL: no memory. */
const char *gem_archive_add_name(struct gem_archive *a, const char *s, size_t n, gem_error *err);
/* The next entry, zeroed; NULL: no memory. Earlier pointers into the array become invalid. */
struct gem_tensor *gem_archive_add_tensor(struct gem_archive *a, gem_error *err);
struct gem_kv *gem_archive_add_kv(struct gem_archive *a, gem_error *err);

/* Elements of shape [4], a dimension of 0 counted as 1 so that no product of some of them can overflow either;
 * false: more than INT64_MAX. */
bool gem_shape_elements(const uint64_t *shape, uint64_t *n);

/* Tensors from `first` on belong to `file` and have offsets relative to `base`: makes these absolute, sets data, and
 * refuses tensors that overlap or do not lie in the file. dense: also gaps, and bytes after the last one. */
gem_status gem_archive_place(struct gem_archive *a, uint32_t file, size_t first, uint64_t base, bool dense,
                             gem_error *err);
/* Sorts names and keys, and refuses duplicates. A key that a later file repeats with the same value is dropped, with
 * another value refused; only split.no may differ. */
gem_status gem_archive_finish(struct gem_archive *a, gem_error *err);

/* By enum gem_kv_type. */
struct gem_kv_type_info {
    const char *name;
    uint8_t bytes; /* of one value; 0: string or array */
};
enum { GEM_KV_N_TYPES = GEM_KV_F64 + 1 };
extern const struct gem_kv_type_info gem_kv_types[GEM_KV_N_TYPES];
/* The value of an entry in hand as an unsigned number, or GEM_E_FORMAT. */
gem_status gem_kv_to_u32(const struct gem_archive *a, const struct gem_kv *kv, uint32_t *out, gem_error *err);

/* Byte by byte: compilers make one load of it, and it has no alignment or byte order to get wrong. */
static inline uint32_t gem_load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t gem_load_u64(const uint8_t *p) { return gem_load_u32(p) | (uint64_t)gem_load_u32(p + 4) << 32; }

#endif
