/* SPDX-License-Identifier: Apache-2.0
 * src/files/gem.h - the native file, `.gem`: one file is the whole model, and its weights lie as the kernels want them,
 * so that opening it is mapping it. This comment is the definition of version 1. All numbers are little-endian.
 *
 *   header, 64 bytes
 *      0  u8[8]  89 47 45 4d 0d 0a 1a 0a ("\x89GEM\r\n\x1a\n": a transfer that took it for text shows)
 *      8  u32    01020304 in hexadecimal: the byte order
 *     12  u32    version of the format, 1
 *     16  u64    bytes of the file
 *     24  u64    bytes of the directory, which follows the header
 *     32  u32    number of blobs
 *     36  u32    number of tensors
 *     40  u32    what it was made from, and whose names and metadata it has: 1 GGUF, 2 a Hugging Face folder
 *     44  u32    0
 *     48  u64    checksum of the directory
 *     56  u64    checksum of the 56 bytes before
 *   directory
 *     for each blob, 32 bytes:    u64 offset, u64 bytes, u64 checksum, u32 bytes of its name, u32 0
 *     for each tensor, 80 bytes:  u64 offset, u64 bytes, u64 checksum, u64[4] shape (outermost first, 1 where unused),
 *                                 u32 number of dimensions, u32 number format (enum gem_type, GGUF's numbers),
 *                                 u32 layout, u32 version of the layout, u32 bytes of its name,
 *                                 u32 bytes of the name of its number format: 0 unless the number is GEM_TYPE_OTHER
 *     the names, one after the other without separators: of each blob; of each tensor, then of its number format
 *   data: blobs and tensors anywhere behind the directory, at multiples of 64, none inside another
 *
 * CHECKSUMS are XXH64 (base/hash.h). Those of header, directory and blobs are checked when the file is opened; those of
 * tensors when asked for (`gemmule inspect --verify`), for it means reading everything.
 *
 * BLOBS carry the metadata in the form that the readers of other checkpoints already understand. From a GGUF: one,
 * "metadata.gguf", a GGUF file without tensors that has all key/values (of a split file, those of its parts; with an
 * mmproj file, whose tensors are then there too, also its clip.*). From a
 * folder: config.json, tokenizer.json and what else belongs to a model, as they were.
 *
 * LAYOUTS. 0: rows, as the number format defines them; for vectors, tables that are read row by row, and all that is
 * not multiplied by packed kernels (float weights, towers). Else the enum gem_pack_kind of kernels.h: one or (3
 * dimensions) several matrices, each as panels; the number format says what it was packed from, so that rows can be
 * had back bit by bit (gem_unpack_row), which is how embeddings are looked up and how the exact tier computes. A
 * change of a panel's definition raises the version of its layout, not that of the file: other tensors stay readable.
 *
 * The order of tensors does not matter to a reader. Writers put them in order of use, so that a model larger than
 * memory is read from front to back. */
#ifndef GEM_FILES_GEM_H
#define GEM_FILES_GEM_H

#include "base/hash.h"
#include "base/output.h"
#include "files/archive.h"

#define GEM_NATIVE_MAGIC    "\x89GEM\r\n\x1a\n"
#define GEM_NATIVE_METADATA "metadata.gguf"

enum {
    GEM_NATIVE_VERSION = 1,
    GEM_NATIVE_ALIGN = 64,
    GEM_NATIVE_HEADER = 64,
    GEM_NATIVE_BLOB = 32,
    GEM_NATIVE_TENSOR = 80,
    GEM_NATIVE_FROM_GGUF = 1,
    GEM_NATIVE_FROM_FOLDER = 2,
};

/* The archive has the tensors under their names in the source, its key/values, and the blobs. */
gem_status gem_native_open(struct gem_archive *a, const char *path, gem_error *err);
/* The same on memory, borrowed until gem_archive_close. */
gem_status gem_native_parse(struct gem_archive *a, const char *name, const uint8_t *data, uint64_t n_bytes,
                            gem_error *err);
/* Whether the file at path begins as a native one. */
bool gem_native_is(const char *path);

/* Version of a layout in this build, or 0 for a number that is none. */
uint32_t gem_native_layout_version(uint32_t layout);
/* Bytes of a tensor by type, shape and layout; false when these do not fit each other. */
bool gem_native_bytes(const struct gem_tensor *t, uint64_t *n_bytes);

/* ---- writing ------------------------------------------------------------------------------------------------- */

/* Everything is announced at the beginning; then the data of the tensors comes in the same order, in pieces. */
struct gem_native_plan {
    uint32_t source;              /* GEM_NATIVE_FROM_GGUF or _FOLDER */
    const struct gem_blob *blobs; /* borrowed until gem_native_begin returns */
    size_t n_blobs;
    const struct gem_tensor *tensors; /* name, type, type_name, n_dims, shape, n_bytes, layout; the same */
    size_t n_tensors;
};

/* Zero-initialised is closed. */
struct gem_native_writer {
    struct gem_output out;
    uint8_t *head; /* header and directory */
    uint64_t head_bytes, file_bytes;
    size_t n_blobs, n_tensors, current; /* current: the tensor whose data comes next */
    uint64_t done;                      /* bytes of it that have come */
    struct gem_hash hash;
};

gem_status gem_native_begin(struct gem_native_writer *w, const char *path, const struct gem_native_plan *plan,
                            gem_error *err);
/* n bytes more of the current tensor, which they must not exceed (assert). */
gem_status gem_native_write(struct gem_native_writer *w, const void *data, uint64_t n, gem_error *err);
/* All data has come (assert): the file appears. */
gem_status gem_native_commit(struct gem_native_writer *w, gem_error *err);
/* Leaves nothing behind unless it was committed. */
void gem_native_close(struct gem_native_writer *w);

/* The key/values of an archive as a GGUF file without tensors, split.* left out; gem_free it. towers: NULL, or an
 * mmproj file, whose clip.* take the place of those of `a`. */
gem_status gem_native_metadata(const struct gem_archive *a, const struct gem_archive *towers, uint8_t **out,
                               uint64_t *n_bytes, gem_error *err);

#endif
