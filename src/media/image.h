/* SPDX-License-Identifier: Apache-2.0
 * src/media/image.h - image files become pixels: PNG and JPEG through stb_image, others where FFmpeg is built in.
 *
 * As the reference loads files (spec/multimodal.md 1.2): EXIF orientation is applied, alpha is dropped, 16-bit samples
 * keep their high byte. Everything is untrusted: sizes are checked against the ceilings before any pixel is allocated,
 * and structure and checksums before stb_image, which forgives a cut or damaged file, sees it. */
#ifndef GEM_MEDIA_IMAGE_H
#define GEM_MEDIA_IMAGE_H

#include "base/status.h"

/* Ceilings. A progressive JPEG is decoded scan by scan, each over the whole image, so their product is what costs. */
#define GEM_IMAGE_MAX_BYTES       ((uint64_t)256 << 20) /* of a file */
#define GEM_IMAGE_MAX_PIXELS      ((uint64_t)100 * 1000 * 1000)
#define GEM_IMAGE_MAX_SIDE        (1u << 20)
#define GEM_IMAGE_MAX_SCAN_PIXELS ((uint64_t)2 * 1000 * 1000 * 1000)

/* Zero-initialised is the empty state. */
struct gem_image {
    uint8_t *rgb; /* [height, width, 3] */
    uint32_t width, height;
};

/* name: for messages. */
gem_status gem_image_decode(struct gem_image *image, const char *name, const void *bytes, size_t n_bytes,
                            gem_error *err);
gem_status gem_image_load(struct gem_image *image, const char *path, gem_error *err);
/* Memory for a size, uninitialised; GEM_E_LIMIT above the ceilings, GEM_E_FORMAT for an empty one. */
gem_status gem_image_make(struct gem_image *image, const char *name, uint64_t width, uint64_t height, gem_error *err);
void gem_image_close(struct gem_image *image);

/* ---- parts, each with a fuzz target -------------------------------------------------------------------------- */

/* What a look at the structure tells. orientation: EXIF's, 1 to 8; 1 when there is none or it makes no sense. */
struct gem_image_header {
    uint32_t width, height, orientation, n_scans;
};

bool gem_png_is(const uint8_t *data, size_t n);
bool gem_jpeg_is(const uint8_t *data, size_t n);
/* Walk the file to its end: signature, order, lengths, and checksums of PNG. */
gem_status gem_png_check(struct gem_image_header *h, const char *name, const uint8_t *data, size_t n, gem_error *err);
gem_status gem_jpeg_check(struct gem_image_header *h, const char *name, const uint8_t *data, size_t n, gem_error *err);
/* A TIFF header and its first directory, as in EXIF. */
uint32_t gem_exif_orientation(const uint8_t *data, size_t n);
/* Pixels without orientation. `h` bounds what is allocated. */
gem_status gem_stb_decode(struct gem_image *image, const struct gem_image_header *h, const char *name,
                          const uint8_t *data, size_t n, gem_error *err);
/* Turns and mirrors so that the image stands upright. */
gem_status gem_image_orient(struct gem_image *image, uint32_t orientation, const char *name, gem_error *err);

#endif
