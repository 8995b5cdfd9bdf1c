/* SPDX-License-Identifier: Apache-2.0
 * src/base/file.h - read-only file mappings. */
#ifndef GEM_BASE_FILE_H
#define GEM_BASE_FILE_H

#include "base/status.h"

/* Zero-initialised is the closed state. data is NULL for an empty file. */
struct gem_map {
    const uint8_t *data;
    uint64_t n_bytes;
    int fd; /* kept open to notice a file that shrinks; 0 in the closed state, else fd + 1 */
};

gem_status gem_map_open(struct gem_map *map, const char *path, gem_error *err);
void gem_map_close(struct gem_map *map);
/* GEM_E_IO when the file has become shorter than the mapping: touching it would raise SIGBUS. */
gem_status gem_map_check(const struct gem_map *map, const char *path, gem_error *err);
/* Tell the kernel that the pages of [p, p + n) will not be needed soon (they stay in the page cache). */
void gem_map_release(const void *p, uint64_t n);
/* The same for all that touching [p, p + n) may have brought along: a huge page at each end, as far as the file goes.
 */
void gem_map_release_around(const struct gem_map *map, const void *p, uint64_t n);
/* Ask the kernel to read [p, p + n) ahead. */
void gem_map_prefetch(const void *p, uint64_t n);

/* The mapping takes huge pages where the file system has them: for weights, which are streamed. */
void gem_map_advise_huge(const void *p, uint64_t n);

/* Reads n bytes at `offset`, which lie in the file as it was mapped, without touching the mapping: they count in no
 * process's memory, and a file that shrank or a failing disk is GEM_E_IO and no signal. */
gem_status gem_map_read(const struct gem_map *map, const char *path, uint64_t offset, void *out, size_t n,
                        gem_error *err);
/* The whole file in memory of its own, gem_free it, for decoders that must not meet a file that changes. GEM_E_LIMIT
 * above `ceiling` bytes. */
gem_status gem_map_read_all(const struct gem_map *map, const char *path, uint64_t ceiling, uint8_t **out,
                            gem_error *err);
/* Says that gem_map_read will want these bytes soon. */
void gem_map_will_read(const struct gem_map *map, uint64_t offset, uint64_t n);

bool gem_path_is_directory(const char *path);
bool gem_path_exists(const char *path);
/* "dir/name", to be freed with gem_free. */
char *gem_path_join(const char *dir, const char *name, gem_error *err);
/* The part after the last '/', ignoring slashes at the end; points into path. */
const char *gem_path_base(const char *path, size_t *n);

#endif
