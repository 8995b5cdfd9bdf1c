/* SPDX-License-Identifier: Apache-2.0
 * src/base/output.h - a file that appears whole or not at all. Until it is committed it has no name where the file
 * system knows files without one (O_TMPFILE), so that not even a kill leaves anything behind; elsewhere it has a hidden
 * name in the same folder. */
#ifndef GEM_BASE_OUTPUT_H
#define GEM_BASE_OUTPUT_H

#include "base/status.h"

/* Zero-initialised is closed. */
struct gem_output {
    char *path;      /* where it goes: links followed */
    char *temporary; /* its name until then; NULL: none yet */
    int fd;          /* + 1 */
};

/* The file has n_bytes from the beginning. Room for them is taken at once where the file system can do that: a full
 * disk is said before the work, not after it. GEM_E_IO names path and reason. */
gem_status gem_output_open(struct gem_output *o, const char *path, uint64_t n_bytes, gem_error *err);
gem_status gem_output_write(struct gem_output *o, const void *data, uint64_t n, uint64_t offset, gem_error *err);
/* Waits until the data is on the disk, gives the file its name (in place of any other file of that name), closes. */
gem_status gem_output_commit(struct gem_output *o, gem_error *err);
/* Leaves nothing behind unless it was committed. */
void gem_output_close(struct gem_output *o);

#endif
