/* SPDX-License-Identifier: Apache-2.0
 * src/base/hash.h - XXH64 with seed 0, the checksum of native files: it finds damage, not malice.
 * Method: doc/xxhash_spec.md of Cyan4973/xxHash, version 0.1.1. */
#ifndef GEM_BASE_HASH_H
#define GEM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Data that comes in pieces; how it is cut does not matter. */
struct gem_hash {
    uint64_t lane[4], n; /* n: bytes so far */
    uint8_t rest[32];    /* n % 32 bytes that fill no stripe yet */
};

void gem_hash_begin(struct gem_hash *h);
void gem_hash_add(struct gem_hash *h, const void *data, size_t n);
uint64_t gem_hash_end(const struct gem_hash *h);

/* The three in one. */
uint64_t gem_hash_of(const void *data, size_t n);

#endif
