/* SPDX-License-Identifier: Apache-2.0
 * src/base/sha256.h - SHA-256 (FIPS 180-4), to compare data with published digests. */
#ifndef GEM_BASE_SHA256_H
#define GEM_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct gem_sha256 {
    uint32_t state[8];
    uint8_t block[64];
    uint64_t n_bytes;
};

void gem_sha256_begin(struct gem_sha256 *s);
void gem_sha256_add(struct gem_sha256 *s, const void *data, size_t n);
/* hex [65] receives 64 lower-case digits and a zero. */
void gem_sha256_end(struct gem_sha256 *s, char *hex);

#endif
