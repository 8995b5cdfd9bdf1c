/* SPDX-License-Identifier: Apache-2.0 */
#include <gemmule.h>

#include <math.h>

#include "check.h"

enum { VOCAB = 8, DRAWS = 20000 };

static int32_t sample(const gem_sampling *s, const float *logits, const int32_t *seen, size_t n_seen, uint64_t draw)
{
    int32_t token = -2;

    CHECK_EQ(gem_sample(s, logits, VOCAB, seen, n_seen, draw, &token, NULL), GEM_OK);
    return token;
}

static void count(const gem_sampling *s, const float *logits, int *counts)
{
    memset(counts, 0, VOCAB * sizeof *counts);
    for (uint64_t i = 0; i < DRAWS; i++) counts[sample(s, logits, NULL, 0, i)]++;
}

static const float logits[VOCAB] = {0.5f, 2.0f, 1.0f, 2.0f, -1.0f, 0.0f, 1.5f, -INFINITY};

static void test_greedy_takes_the_lowest_of_equals(void)
{
    const gem_sampling s = {0};

    CHECK_EQ(sample(&s, logits, NULL, 0, 0), 1);
}

/* Within five standard deviations of softmax(logits / temperature) for every token. */
static void test_draws_follow_the_distribution(void)
{
    static const float temperatures[] = {0.5f, 1.0f, 2.0f};

    for (size_t t = 0; t < 3; t++) {
        const gem_sampling s = {.temperature = temperatures[t], .seed = 7 + t};
        double sum = 0;
        int counts[VOCAB];

        count(&s, logits, counts);
        for (int i = 0; i < VOCAB; i++) sum += exp((double)logits[i] / temperatures[t]);
        for (int i = 0; i < VOCAB; i++) {
            const double p = exp((double)logits[i] / temperatures[t]) / sum;
            CHECK(fabs(counts[i] - DRAWS * p) <= 5 * sqrt(DRAWS * p * (1 - p)) + 1e-9);
        }
    }
}

static void test_top_k_cuts_to_the_best(void)
{
    const gem_sampling s = {.temperature = 1, .top_k = 3, .seed = 1};
    int counts[VOCAB];

    count(&s, logits, counts);
    CHECK(counts[1] > 0 && counts[3] > 0 && counts[6] > 0);
    CHECK_EQ(counts[1] + counts[3] + counts[6], DRAWS);
}

/* Probabilities 0.5, 0.3, 0.15, 0.05: top_p 0.8 needs the first two exactly (kept while the sum before is below). */
static void test_top_p_keeps_the_smallest_set(void)
{
    const float l[VOCAB] = {logf(0.5f), logf(0.3f), logf(0.15f), logf(0.05f),
                            -INFINITY,  -INFINITY,  -INFINITY,   -INFINITY};
    const gem_sampling s = {.temperature = 1, .top_p = 0.79f, .seed = 3},
                       wider = {.temperature = 1, .top_p = 0.81f, .seed = 3};
    int counts[VOCAB];

    count(&s, l, counts);
    CHECK_EQ(counts[0] + counts[1], DRAWS);
    CHECK(counts[1] > 0);
    count(&wider, l, counts);
    CHECK(counts[2] > 0);
    CHECK_EQ(counts[3], 0);
}

static void test_min_p_is_relative_to_the_best(void)
{
    const float l[VOCAB] = {logf(0.5f), logf(0.3f), logf(0.15f), logf(0.05f),
                            -INFINITY,  -INFINITY,  -INFINITY,   -INFINITY};
    const gem_sampling s = {.temperature = 1, .min_p = 0.25f, .seed = 3};
    int counts[VOCAB];

    count(&s, l, counts);
    CHECK(counts[2] > 0);
    CHECK_EQ(counts[3], 0);
}

/* Which tokens are left, as transformers 5.23's processors have it: temperature, top-k, top-p, min-p, typical. */
static void test_typical_as_hugging_face(void)
{
    static const float l[VOCAB] = {2.5f, 2.25f, 1.5f, 0.75f, 0.5f, 0.0f, -1.0f, -3.0f};
    static const struct {
        gem_sampling s;
        const char *left;
    } cases[] = {
        {{.temperature = 1, .typical_p = 0.15f}, "01000000"},
        {{.temperature = 1, .typical_p = 0.35f}, "01100000"},
        {{.temperature = 1, .typical_p = 0.5f}, "11100000"},
        {{.temperature = 1, .typical_p = 0.9f}, "11110000"},
        {{.temperature = 1, .typical_p = 0.97f}, "11111100"},
        {{.temperature = 0.7f, .top_k = 6, .top_p = 0.9f, .min_p = 0.05f, .typical_p = 0.6f}, "11000000"},
        {{.temperature = 1.5f, .top_p = 0.95f, .min_p = 0.1f, .typical_p = 0.4f}, "01100000"},
        {{.temperature = 2, .top_k = 5, .typical_p = 0.8f}, "11110000"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int counts[VOCAB];
        count(&cases[i].s, l, counts);
        for (int t = 0; t < VOCAB; t++) CHECK_EQ(counts[t] > 0, cases[i].left[t] == '1');
    }
}

/* Probabilities 0.4, 0.3, 0.2, 0.1: of those at 0.15 or more only the last stays, in the given share of draws. */
static void test_xtc_leaves_the_least_of_the_top(void)
{
    const float l[VOCAB] = {logf(0.3f), logf(0.4f), logf(0.1f), logf(0.2f), -INFINITY, -INFINITY, -INFINITY, -INFINITY};
    gem_sampling s = {.temperature = 1, .xtc_probability = 1, .xtc_threshold = 0.15f, .seed = 9};
    int counts[VOCAB];
    double expected;

    count(&s, l, counts);
    CHECK_EQ(counts[0] + counts[1], 0);
    expected = DRAWS * 0.2 / 0.3;
    CHECK(fabs(counts[3] - expected) < 5 * sqrt(DRAWS * 2.0 / 9));
    s.xtc_probability = 0.5f;
    count(&s, l, counts);
    expected = DRAWS * 0.5 * 0.4; /* the other half of the draws is untouched */
    CHECK(fabs(counts[1] - expected) < 5 * sqrt(DRAWS * 0.2 * 0.8));
    s = (gem_sampling){.temperature = 1, .xtc_probability = 1, .xtc_threshold = 0.35f, .seed = 9};
    count(&s, l, counts); /* only one reaches it: nothing is left out */
    CHECK(fabs(counts[1] - DRAWS * 0.4) < 5 * sqrt(DRAWS * 0.24));
}

/* The definition, without a window's or a breaker's help: for each token the longest earlier copy of the end that it
 * would prolong. */
static size_t longest_copy(const int32_t *seen, size_t n, int32_t token, int32_t breaker)
{
    size_t longest = 0;

    for (size_t i = 1; i < n; i++) {
        size_t k = 0;
        if (seen[i] != token || token == breaker) continue;
        while (k < i && k < 50 && seen[i - 1 - k] == seen[n - 1 - k] && seen[n - 1 - k] != breaker) k++;
        if (k > longest) longest = k;
    }
    return longest;
}

static void test_dry_makes_repeating_dear(void)
{
    static const int32_t breaker[] = {6};
    uint64_t seed = 5;

    for (int round = 0; round < 300; round++) {
        const gem_sampling s = {
            .dry_multiplier = 0.8f, .dry_base = 1.6f, .dry_allowed = 2, .dry_breakers = breaker, .n_dry_breakers = 1};
        float plain[VOCAB];
        int32_t seen[80], best = 0;
        const size_t n = 1 + (size_t)round % 80;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            seen[i] = (int32_t)(seed >> 33) % (round % 3 == 0 ? 2 : 7);
        }
        for (int t = 0; t < VOCAB; t++) {
            const size_t k = longest_copy(seen, n, t, 6);
            plain[t] = logits[t] - (k >= 2 ? (float)(0.8 * pow((double)1.6f, (double)(k - 2))) : 0);
            if (plain[t] > plain[best]) best = t;
        }
        CHECK_EQ(sample(&s, logits, seen, n, 0), best);
    }
    {
        const int32_t seen[] = {1, 2, 3, 1, 2};
        const float l[VOCAB] = {0.5f, 0, 0, 0.9f};
        CHECK_EQ(sample(&(gem_sampling){.dry_multiplier = 1}, l, seen, 5, 0), 0);
        CHECK_EQ(sample(&(gem_sampling){.dry_multiplier = 1, .dry_window = 3}, l, seen, 5, 0), 3);
        CHECK_EQ(sample(&(gem_sampling){.dry_multiplier = 1, .dry_allowed = 3}, l, seen, 5, 0), 3);
    }
}

static void test_only_allowed_tokens_are_drawn(void)
{
    const uint64_t allowed[] = {1u << 2 | 1u << 4 | 1u << 7}, none[] = {1u << 7};
    const gem_sampling s = {.temperature = 1.5f, .seed = 2, .allowed = allowed};
    int counts[VOCAB];
    int32_t token;

    count(&s, logits, counts);
    CHECK_EQ(counts[2] + counts[4], DRAWS);
    CHECK(counts[4] > 0);
    CHECK_EQ(sample(&(gem_sampling){.allowed = allowed}, logits, NULL, 0, 0), 2);
    CHECK_EQ(gem_sample(&(gem_sampling){.allowed = none}, logits, VOCAB, NULL, 0, 0, &token, NULL), GEM_E_NONFINITE);
}

static void test_penalties_and_bias(void)
{
    const int32_t seen[] = {3, 1, 1};
    const gem_logit_bias forbid[] = {{1, -INFINITY}, {3, -INFINITY}}, lift[] = {{4, 5.0f}};

    /* 2.0 / 1.5 = 1.33 for the seen 1 and 3; the unseen 6 at 1.5 wins */
    CHECK_EQ(sample(&(gem_sampling){.repetition_penalty = 1.5f}, logits, seen, 3, 0), 6);
    /* token 1 was seen twice, token 3 once: 2 - 0.2 * 2 < 2 - 0.2 */
    CHECK_EQ(sample(&(gem_sampling){.frequency_penalty = 0.2f}, logits, seen, 3, 0), 3);
    CHECK_EQ(sample(&(gem_sampling){.presence_penalty = 0.6f}, logits, seen, 3, 0), 6);
    /* a window of 2 no longer sees token 3 */
    CHECK_EQ(sample(&(gem_sampling){.presence_penalty = 0.6f, .penalty_window = 2}, logits, seen, 3, 0), 3);
    CHECK_EQ(sample(&(gem_sampling){.bias = forbid, .n_bias = 2}, logits, NULL, 0, 0), 6);
    CHECK_EQ(sample(&(gem_sampling){.bias = lift, .n_bias = 1}, logits, NULL, 0, 0), 4);
}

static void test_a_draw_depends_on_its_arguments_only(void)
{
    const gem_sampling s = {.temperature = 1, .seed = 42}, other = {.temperature = 1, .seed = 43};
    int same = 0, differs = 0;

    for (uint64_t i = 0; i < 200; i++) {
        same += sample(&s, logits, NULL, 0, i) == sample(&s, logits, NULL, 0, i);
        differs += sample(&s, logits, NULL, 0, i) != sample(&other, logits, NULL, 0, i);
    }
    CHECK_EQ(same, 200);
    CHECK(differs > 50);
}

static void test_refusals_name_the_setting(void)
{
    const float nothing[VOCAB] = {NAN, -INFINITY, NAN, -INFINITY, NAN, -INFINITY, NAN, -INFINITY};
    const gem_logit_bias outside[] = {{VOCAB, 1.0f}};
    gem_error err;
    int32_t token;

    CHECK_EQ(gem_sample(&(gem_sampling){.temperature = -1}, logits, VOCAB, NULL, 0, 0, &token, &err), GEM_E_ARGUMENT);
    CHECK(strstr(err.message, "temperature"));
    CHECK_EQ(gem_sample(&(gem_sampling){.temperature = NAN}, logits, VOCAB, NULL, 0, 0, &token, &err), GEM_E_ARGUMENT);
    CHECK_EQ(gem_sample(&(gem_sampling){.top_p = 1.5f}, logits, VOCAB, NULL, 0, 0, &token, &err), GEM_E_ARGUMENT);
    CHECK(strstr(err.message, "top_p"));
    CHECK_EQ(gem_sample(&(gem_sampling){.bias = outside, .n_bias = 1}, logits, VOCAB, NULL, 0, 0, &token, &err),
             GEM_E_ARGUMENT);
    CHECK_EQ(gem_sample(&(gem_sampling){0}, nothing, VOCAB, NULL, 0, 0, &token, &err), GEM_E_NONFINITE);
    CHECK_EQ(gem_sample(&(gem_sampling){.temperature = 1}, nothing, VOCAB, NULL, 0, 0, &token, &err), GEM_E_NONFINITE);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"greedy_takes_the_lowest_of_equals", test_greedy_takes_the_lowest_of_equals},
        {"draws_follow_the_distribution", test_draws_follow_the_distribution},
        {"top_k_cuts_to_the_best", test_top_k_cuts_to_the_best},
        {"top_p_keeps_the_smallest_set", test_top_p_keeps_the_smallest_set},
        {"min_p_is_relative_to_the_best", test_min_p_is_relative_to_the_best},
        {"typical_as_hugging_face", test_typical_as_hugging_face},
        {"xtc_leaves_the_least_of_the_top", test_xtc_leaves_the_least_of_the_top},
        {"dry_makes_repeating_dear", test_dry_makes_repeating_dear},
        {"only_allowed_tokens_are_drawn", test_only_allowed_tokens_are_drawn},
        {"penalties_and_bias", test_penalties_and_bias},
        {"a_draw_depends_on_its_arguments_only", test_a_draw_depends_on_its_arguments_only},
        {"refusals_name_the_setting", test_refusals_name_the_setting},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
