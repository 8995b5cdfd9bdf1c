/* SPDX-License-Identifier: Apache-2.0 */
#include "model/cache.h"

#include "check.h"

enum { WINDOW = 4, CONTEXT = 64 };

static struct gem_hparams shape(void)
{
    struct gem_hparams h = {.n_layers = 2, .n_own = 2, .hidden = 8, .n_heads = 1, .window = WINDOW, .context = CONTEXT};

    h.layers[0] = (struct gem_layer_hparams){.head_dim = 2, .n_kv_heads = 2};
    h.layers[1] = (struct gem_layer_hparams){.global = true, .head_dim = 4, .n_kv_heads = 1};
    return h;
}

static void test_computed_size_is_the_size_taken(void) /* a session that takes more than was said fails the promise */
{
    const struct gem_hparams h = shape();
    struct gem_cache c;

    CHECK_EQ(gem_cache_open(&c, &h, GEM_F32, CONTEXT, 12, NULL), GEM_OK);
    CHECK_EQ(c.arena.peak, c.arena.cap);
    CHECK_EQ(c.arena.cap, gem_cache_bytes(&h, GEM_F32, CONTEXT, 12));
    gem_cache_close(&c);
}

static void test_ring_forgets_only_the_oldest(void) /* off by one shows only a window later */
{
    const struct gem_hparams h = shape();
    struct gem_cache c;

    CHECK_EQ(gem_cache_open(&c, &h, GEM_F32, CONTEXT, 12, NULL), GEM_OK);
    for (uint32_t p = 0; p < 30; p++) {
        ((float *)c.layers[0].k)[gem_cache_at(&c.layers[0], 1, p)] = (float)p;
        ((float *)c.layers[1].k)[gem_cache_at(&c.layers[1], 0, p)] = (float)p;
        gem_cache_commit(&c, 1);
    }
    for (uint32_t p = 18; p < 30; p++) CHECK_EQ(((float *)c.layers[0].k)[gem_cache_at(&c.layers[0], 1, p)], p);
    for (uint32_t p = 0; p < 30; p++) CHECK_EQ(((float *)c.layers[1].k)[gem_cache_at(&c.layers[1], 0, p)], p);
    CHECK_EQ(c.low, 18);
    gem_cache_close(&c);
}

/* Row n looks at n - 3 .. n; positions below 18 are gone: 21 can stay, 20 cannot. */
static void test_taking_back_needs_the_window(void)
{
    const struct gem_hparams h = shape();
    struct gem_cache c;

    CHECK_EQ(gem_cache_open(&c, &h, GEM_BF16, CONTEXT, 12, NULL), GEM_OK);
    gem_cache_commit(&c, 12);
    gem_cache_commit(&c, 12);
    gem_cache_commit(&c, 6);
    CHECK_EQ(gem_cache_keepable(&c, 30), 30);
    CHECK_EQ(gem_cache_keepable(&c, 21), 21);
    CHECK_EQ(gem_cache_keepable(&c, 20), 0);
    gem_cache_cut(&c, 22);
    gem_cache_commit(&c, 2); /* writing on does not bring lost positions back */
    CHECK_EQ(gem_cache_keepable(&c, 20), 0);
    CHECK_EQ(gem_cache_keepable(&c, 21), 21);
    gem_cache_cut(&c, 0);
    CHECK_EQ(c.low, 0);
    gem_cache_close(&c);
}

static void test_short_contexts_never_wrap(void)
{
    const struct gem_hparams h = shape();

    CHECK_EQ(gem_cache_local_cap(&h, 10, 1024, 256), 10);
    CHECK_EQ(gem_cache_local_cap(&h, 100000, 1024, 256), WINDOW + 1024);
    CHECK_EQ(gem_cache_local_cap(&h, 100000, 1, 256), WINDOW + 256);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"computed_size_is_the_size_taken", test_computed_size_is_the_size_taken},
        {"ring_forgets_only_the_oldest", test_ring_forgets_only_the_oldest},
        {"taking_back_needs_the_window", test_taking_back_needs_the_window},
        {"short_contexts_never_wrap", test_short_contexts_never_wrap},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
