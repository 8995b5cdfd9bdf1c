/* SPDX-License-Identifier: Apache-2.0 */
#include "model/cache.h"

#include "check.h"

#include <math.h>

enum { WINDOW = 4, CONTEXT = 1000, CAP = 2 * GEM_SPAN };

static struct gem_hparams shape(void)
{
    struct gem_hparams h = {.n_layers = 2, .n_own = 2, .hidden = 8, .n_heads = 1, .window = WINDOW, .context = CONTEXT};

    h.layers[0] = (struct gem_layer_hparams){.head_dim = 2, .n_kv_heads = 2};
    h.layers[1] = (struct gem_layer_hparams){.global = true, .head_dim = 4, .n_kv_heads = 1};
    return h;
}

/* Global layers of 16 dimensions, 2 pairs of which are rotated; values of layer 1 are its keys. */
static struct gem_hparams shape_of_shared(void)
{
    struct gem_hparams h = shape();

    h.value_norm = true;
    h.rope_global.n_rot = 2;
    h.layers[1] = (struct gem_layer_hparams){.global = true, .k_eq_v = true, .head_dim = 16, .n_kv_heads = 3};
    return h;
}

static void test_computed_size_is_the_size_taken(void) /* a session that takes more than was said fails the promise */
{
    const struct gem_hparams shapes[] = {shape(), shape_of_shared()};
    struct gem_cache c;

    for (int i = 0; i < 2; i++)
        for (enum gem_cache_type type = GEM_CACHE_F32; type <= GEM_CACHE_INT8; type++) {
            CHECK_EQ(gem_cache_open(&c, &shapes[i], type, CONTEXT, CAP, NULL), GEM_OK);
            CHECK_EQ(c.arena.peak, c.arena.cap);
            CHECK_EQ(c.arena.cap, gem_cache_bytes(&shapes[i], type, CONTEXT, CAP));
            gem_cache_close(&c);
        }
}

/* 4 of 16 dimensions of keys beside 16 of values, not 32; all where not everything else can be made of values. */
static void test_keys_that_are_values_are_kept_once(void)
{
    const uint64_t positions = (uint64_t)3 * 1024, once = positions * (16 - 4);
    struct gem_hparams h = shape_of_shared();
    const uint64_t f32 = gem_cache_bytes(&h, GEM_CACHE_F32, 1024, CAP);
    const uint64_t bf16 = gem_cache_bytes(&h, GEM_CACHE_BF16, 1024, CAP);
    const uint64_t int8 = gem_cache_bytes(&h, GEM_CACHE_INT8, 1024, CAP);

    h.layers[1].k_eq_v = false;
    CHECK_EQ(gem_cache_bytes(&h, GEM_CACHE_F32, 1024, CAP), f32 + once * 4);
    CHECK_EQ(gem_cache_bytes(&h, GEM_CACHE_BF16, 1024, CAP), bf16 + once * 2);
    CHECK_EQ(gem_cache_bytes(&h, GEM_CACHE_INT8, 1024, CAP), int8 + once);
    h.layers[1].k_eq_v = true;
    h.rope_global.n_rot = 8; /* all */
    CHECK_EQ(gem_cache_bytes(&h, GEM_CACHE_F32, 1024, CAP), f32 + once * 4);
    h.rope_global.n_rot = 3; /* the rest of either half is odd */
    CHECK_EQ(gem_cache_bytes(&h, GEM_CACHE_F32, 1024, CAP), f32 + once * 4);
    h.rope_global.n_rot = 2;
    h.value_norm = false; /* values are no multiples of keys */
    CHECK_EQ(gem_cache_bytes(&h, GEM_CACHE_F32, 1024, CAP), f32 + once * 4);
}

/* What is put comes out of a copy, keys and values at their own widths, and clearing reaches the last of both. */
static void test_narrow_keys_are_copied_and_cleared(void)
{
    const struct gem_hparams h = shape_of_shared();
    float k[4] = {0}, v[16] = {0};
    struct gem_cache c, copy;
    const struct gem_cache_layer *l;

    CHECK_EQ(gem_cache_open(&c, &h, GEM_CACHE_F32, 512, CAP, NULL), GEM_OK);
    CHECK_EQ(gem_cache_open(&copy, &h, GEM_CACHE_F32, 1024, CAP, NULL), GEM_OK);
    for (uint32_t p = 0; p < 512; p++) {
        k[3] = (float)p + 0.25f;
        v[15] = (float)p + 0.5f;
        for (uint32_t kv = 0; kv < 3; kv++) gem_cache_put(&c, &c.layers[1], kv, p, k, v);
        gem_cache_commit(&c, 1);
    }
    gem_cache_copy(&copy, &c);
    l = &copy.layers[1];
    for (size_t p = 0; p < 512; p++) {
        CHECK_EQ(((float *)l->k)[(2 * l->cap + p / 16 * 16) * 4 + 3 * 16 + p % 16], (float)p + 0.25f);
        CHECK_EQ(((float *)l->v)[(2 * l->cap + p) * 16 + 15], (float)p + 0.5f);
    }
    l = &c.layers[1];
    gem_cache_clear(&c);
    CHECK_EQ(((float *)l->k)[(size_t)3 * 512 * 4 - 1], 0);
    CHECK_EQ(((float *)l->v)[(size_t)3 * 512 * 16 - 1], 0);
    gem_cache_close(&copy);
    gem_cache_close(&c);
}

/* Dimension i of head 1's key at position p, by the letter of kernels.h. */
static float *key(const struct gem_cache *c, uint32_t p, uint32_t i)
{
    const struct gem_cache_layer *l = &c->layers[0];
    const uint32_t slot = p % l->cap;

    return (float *)l->k + ((size_t)l->cap + slot / 16 * 16) * l->head_dim + (size_t)i * 16 + slot % 16;
}

static void put(struct gem_cache *c, uint32_t p)
{
    const float k[] = {(float)p, -(float)p}, v[] = {(float)p + 0.5f, 1}, g[] = {(float)p, 2, 3, 4};

    gem_cache_put(c, &c->layers[0], 1, p, k, v);
    gem_cache_put(c, &c->layers[1], 0, p, g, g);
    gem_cache_commit(c, 1);
}

static void test_ring_forgets_only_the_oldest(void) /* off by one shows only a window later */
{
    const struct gem_hparams h = shape();
    struct gem_cache c;

    CHECK_EQ(gem_cache_open(&c, &h, GEM_CACHE_F32, CONTEXT, CAP, NULL), GEM_OK);
    for (uint32_t p = 0; p < 900; p++) put(&c, p);
    for (uint32_t p = 900 - CAP; p < 900; p++) {
        CHECK_EQ(*key(&c, p, 0), p);
        CHECK_EQ(*key(&c, p, 1), -(float)p);
        CHECK_EQ(((float *)c.layers[0].v)[(CAP + (size_t)p % CAP) * 2], (float)p + 0.5f);
    }
    for (uint32_t p = 0; p < 900; p++) CHECK_EQ(((float *)c.layers[1].v)[(size_t)p * 4], p);
    CHECK_EQ(c.low, 900 - CAP);
    gem_cache_close(&c);
}

static void test_bfloat16_lies_in_pairs(void)
{
    const uint16_t k[2][2] = {{1, 2}, {3, 4}}, v[2][2] = {{5, 6}, {7, 8}};
    const struct gem_hparams h = shape();
    struct gem_cache c;
    const uint16_t *at;

    CHECK_EQ(gem_cache_open(&c, &h, GEM_CACHE_BF16, CONTEXT, CAP, NULL), GEM_OK);
    for (uint32_t p = 0; p < 2; p++) gem_cache_put(&c, &c.layers[0], 1, 20 + p, k[p], v[p]);
    at = (const uint16_t *)c.layers[0].k + ((size_t)CAP + 16) * 2 + 4 * 2; /* head 1, panel 1, key 4 */
    for (uint16_t i = 0; i < 4; i++) CHECK_EQ(at[i], i + 1);
    at = (const uint16_t *)c.layers[0].v + ((size_t)CAP + 20) * 2;
    for (int i = 0; i < 4; i++) CHECK_EQ(at[i], v[i % 2][i / 2]);
    gem_cache_clear(&c);
    for (int i = 0; i < 4; i++) CHECK_EQ(at[i], 0);
    gem_cache_close(&c);
}

static void test_int8_lies_as_bfloat16_does(void)
{
    const int8_t k[2][2] = {{1, 2}, {3, 4}}, v[2][2] = {{5, 6}, {7, 8}};
    const struct gem_hparams h = shape();
    const struct gem_cache_layer *l;
    struct gem_cache c;

    CHECK_EQ(gem_cache_open(&c, &h, GEM_CACHE_INT8, CONTEXT, CAP, NULL), GEM_OK);
    l = &c.layers[0];
    for (uint32_t p = 0; p < 2; p++) gem_cache_put(&c, l, 1, 20 + p, k[p], v[p]);
    for (int i = 0; i < 4; i++) CHECK_EQ(l->k[((size_t)CAP + 16) * 2 + 4 * 2 + (size_t)i], i + 1);
    for (int i = 0; i < 4; i++) CHECK_EQ(l->v[((size_t)CAP + 20) * 2 + (size_t)i], v[i % 2][i / 2]);
    l->k_scale[gem_cache_scale(l, 1, CAP - 1)] = NAN; /* the last of all: clearing must reach it */
    gem_cache_clear(&c);
    CHECK_EQ(l->k_scale[2 * CAP - 1], 0);
    CHECK_EQ(l->v[((size_t)CAP + 20) * 2], 0);
    gem_cache_close(&c);
}

/* Row n looks at n - 3 .. n; positions below CAP are gone: CAP + 3 can stay, CAP + 2 cannot. */
static void test_taking_back_needs_the_window(void)
{
    const struct gem_hparams h = shape();
    struct gem_cache c;

    CHECK_EQ(gem_cache_open(&c, &h, GEM_CACHE_BF16, CONTEXT, CAP, NULL), GEM_OK);
    gem_cache_commit(&c, CAP);
    gem_cache_commit(&c, CAP - 6);
    gem_cache_commit(&c, 6);
    CHECK_EQ(gem_cache_keepable(&c, 2 * CAP), 2 * CAP);
    CHECK_EQ(gem_cache_keepable(&c, CAP + 3), CAP + 3);
    CHECK_EQ(gem_cache_keepable(&c, CAP + 2), 0);
    gem_cache_cut(&c, CAP + 4);
    gem_cache_commit(&c, 2); /* writing on does not bring lost positions back */
    CHECK_EQ(gem_cache_keepable(&c, CAP + 2), 0);
    CHECK_EQ(gem_cache_keepable(&c, CAP + 3), CAP + 3);
    gem_cache_cut(&c, 0);
    CHECK_EQ(c.low, 0);
    gem_cache_close(&c);
}

static void test_rings_hold_whole_spans(void)
{
    const struct gem_hparams h = shape();

    CHECK_EQ(gem_cache_local_cap(&h, 10, 1024, 256), GEM_SPAN);
    CHECK_EQ(gem_cache_local_cap(&h, 100000, 1024, 256), 1024 + GEM_SPAN);
    CHECK_EQ(gem_cache_local_cap(&h, 100000, 1, 256), 2 * GEM_SPAN);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"computed_size_is_the_size_taken", test_computed_size_is_the_size_taken},
        {"keys_that_are_values_are_kept_once", test_keys_that_are_values_are_kept_once},
        {"narrow_keys_are_copied_and_cleared", test_narrow_keys_are_copied_and_cleared},
        {"ring_forgets_only_the_oldest", test_ring_forgets_only_the_oldest},
        {"taking_back_needs_the_window", test_taking_back_needs_the_window},
        {"bfloat16_lies_in_pairs", test_bfloat16_lies_in_pairs},
        {"int8_lies_as_bfloat16_does", test_int8_lies_as_bfloat16_does},
        {"rings_hold_whole_spans", test_rings_hold_whole_spans},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
