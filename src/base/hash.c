/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <string.h>

static const uint64_t prime[5] = {0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9, 0x85ebca77c2b2ae63,
                                  0x27d4eb2f165667c5};

static uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

/* Little-endian by definition; compilers make one load of it. */
static uint64_t load(const uint8_t *p, int n)
{
    uint64_t x = 0;

    for (int i = 0; i < n; i++) x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static uint64_t round_of(uint64_t lane, uint64_t input) { return rotate(lane + input * prime[1], 31) * prime[0]; }

/* n whole stripes of 32 bytes. */
static void add_stripes(uint64_t *lane, const uint8_t *p, size_t n)
{
    uint64_t a = lane[0], b = lane[1], c = lane[2], d = lane[3];

    for (; n; n--, p += 32) {
        a = round_of(a, load(p, 8));
        b = round_of(b, load(p + 8, 8));
        c = round_of(c, load(p + 16, 8));
        d = round_of(d, load(p + 24, 8));
    }
    lane[0] = a, lane[1] = b, lane[2] = c, lane[3] = d;
}

void gem_hash_begin(struct gem_hash *h)
{
    *h = (struct gem_hash){.lane = {prime[0] + prime[1], prime[1], 0, 0 - prime[0]}};
}

void gem_hash_add(struct gem_hash *h, const void *data, size_t n)
{
    const uint8_t *p = data;
    const size_t waiting = h->n % 32;

    if (n == 0) return; /* data may be NULL */
    h->n += n;
    if (waiting + n < 32) {
        memcpy(h->rest + waiting, p, n);
        return;
    }
    if (waiting) {
        memcpy(h->rest + waiting, p, 32 - waiting);
        add_stripes(h->lane, h->rest, 1);
        p += 32 - waiting;
        n -= 32 - waiting;
    }
    add_stripes(h->lane, p, n / 32);
    memcpy(h->rest, p + n / 32 * 32, n % 32);
}

uint64_t gem_hash_end(const struct gem_hash *h)
{
    const uint64_t *l = h->lane;
    const uint8_t *p = h->rest, *end = p + h->n % 32;
    uint64_t x = prime[4]; /* the seed, 0, plus this */

    if (h->n >= 32) {
        x = rotate(l[0], 1) + rotate(l[1], 7) + rotate(l[2], 12) + rotate(l[3], 18);
        for (int i = 0; i < 4; i++) x = (x ^ round_of(0, l[i])) * prime[0] + prime[3];
    }
    x += h->n;
    for (; end - p >= 8; p += 8) x = rotate(x ^ round_of(0, load(p, 8)), 27) * prime[0] + prime[3];
    for (; end - p >= 4; p += 4) x = rotate(x ^ load(p, 4) * prime[0], 23) * prime[1] + prime[2];
    for (; p < end; p++) x = rotate(x ^ *p * prime[4], 11) * prime[0];
    x = (x ^ x >> 33) * prime[1];
    x = (x ^ x >> 29) * prime[2];
    return x ^ x >> 32;
}

uint64_t gem_hash_of(const void *data, size_t n)
{
    struct gem_hash h;

    gem_hash_begin(&h);
    gem_hash_add(&h, data, n);
    return gem_hash_end(&h);
}
