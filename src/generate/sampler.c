/* SPDX-License-Identifier: Apache-2.0
 *
 * Drawing a token from logits. A draw is a pure function of its arguments: the random number comes from hashing seed
 * and number of the draw, so nothing has to be carried along. */
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct candidate {
    float logit;
    int32_t token;
};

static gem_status check(const gem_sampling *s, size_t vocab, gem_error *err)
{
    const struct {
        const char *name;
        float value, min, max;
    } settings[] = {
        {"temperature", s->temperature, 0, 1e6f},
        {"top_p", s->top_p, 0, 1},
        {"min_p", s->min_p, 0, 1},
        {"repetition_penalty", s->repetition_penalty, 0, 1e6f},
        {"presence_penalty", s->presence_penalty, -1e6f, 1e6f},
        {"frequency_penalty", s->frequency_penalty, -1e6f, 1e6f},
    };

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (!(settings[i].value >= settings[i].min && settings[i].value <= settings[i].max))
            return gem_fail(err, GEM_E_ARGUMENT, 0, "%s: %g is not between %g and %g", settings[i].name,
                            (double)settings[i].value, (double)settings[i].min, (double)settings[i].max);
    for (size_t i = 0; i < s->n_bias; i++)
        if (s->bias[i].token < 0 || (size_t)s->bias[i].token >= vocab || isnan(s->bias[i].bias))
            return gem_fail(err, GEM_E_ARGUMENT, 0, "logit bias: token %d with bias %g; the vocabulary has %zu",
                            s->bias[i].token, (double)s->bias[i].bias, vocab);
    return GEM_OK;
}

static bool has_penalty(const gem_sampling *s)
{
    return (s->repetition_penalty != 0 && s->repetition_penalty != 1) || s->presence_penalty != 0 ||
           s->frequency_penalty != 0;
}

/* counts [vocab]: how often each token was seen within the window. Ids out of range are not ours to judge. */
static void penalise(const gem_sampling *s, float *logits, uint32_t *counts, size_t vocab, const int32_t *seen,
                     size_t n_seen)
{
    const size_t window = s->penalty_window && s->penalty_window < n_seen ? s->penalty_window : n_seen;
    const float repetition = s->repetition_penalty == 0 ? 1 : s->repetition_penalty;

    for (size_t i = n_seen - window; i < n_seen; i++)
        if (seen[i] >= 0 && (size_t)seen[i] < vocab) counts[seen[i]]++;
    for (size_t i = n_seen - window; i < n_seen; i++) {
        const int32_t t = seen[i];
        if (t < 0 || (size_t)t >= vocab || counts[t] == 0) continue;
        logits[t] = logits[t] > 0 ? logits[t] / repetition : logits[t] * repetition;
        logits[t] -= s->presence_penalty + s->frequency_penalty * (float)counts[t];
        counts[t] = 0; /* once a token */
    }
}

/* A uniform number in [0, 1) from seed and draw: two rounds of splitmix64 (Steele, Lea and Flood 2014). */
static double uniform(uint64_t seed, uint64_t draw)
{
    uint64_t x = seed;

    for (int round = 0; round < 2; round++) {
        x += 0x9e3779b97f4a7c15u * (round ? draw + 1 : 1);
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        x ^= x >> 31;
    }
    return (double)(x >> 11) * 0x1p-53;
}

static int32_t argmax(const float *logits, size_t vocab)
{
    int32_t best = -1;

    for (size_t i = 0; i < vocab; i++)
        if (logits[i] > (best < 0 ? -INFINITY : logits[best])) best = (int32_t)i;
    return best;
}

/* Larger logits first; of equal ones the lower id. */
static int compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

/* Restores the order of a heap whose root is the worst candidate. */
static void sift_down(struct candidate *heap, size_t n, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        const struct candidate moved = heap[i];
        if (child + 1 < n && compare(&heap[child + 1], &heap[child]) > 0) child++;
        if (compare(&heap[child], &moved) <= 0) return;
        heap[i] = heap[child];
        heap[child] = moved;
    }
}

/* The k best of all tokens, best first. Returns how many there are; tokens at -infinity or NaN are none. */
static size_t best_candidates(const float *logits, size_t vocab, size_t k, struct candidate *out)
{
    size_t n = 0;

    for (size_t i = 0; i < vocab; i++) {
        const struct candidate c = {.logit = logits[i], .token = (int32_t)i};
        if (!(c.logit > -INFINITY)) continue;
        if (n < k) {
            out[n++] = c;
            if (n == k && k < vocab)
                for (size_t j = n / 2; j-- > 0;) sift_down(out, n, j);
        } else if (compare(&c, &out[0]) < 0) {
            out[0] = c;
            sift_down(out, n, 0);
        }
    }
    qsort(out, n, sizeof *out, compare);
    return n;
}

/* Cuts the list (best first) to top-p and min-p, then draws. */
static int32_t draw(const gem_sampling *s, struct candidate *c, size_t n, uint64_t n_drawn)
{
    const float top = c[0].logit;
    double sum = 0, kept = 0, u;
    size_t end = 0;

    for (size_t i = 0; i < n; i++) {
        c[i].logit = (float)exp((double)(c[i].logit - top) / s->temperature);
        sum += c[i].logit;
    }
    while (end < n && (end == 0 || ((s->top_p == 0 || kept < s->top_p * sum) && c[end].logit >= s->min_p)))
        kept += c[end++].logit;
    u = uniform(s->seed, n_drawn) * kept;
    for (size_t i = 0; i < end; i++)
        if ((u -= c[i].logit) < 0) return c[i].token;
    return c[end - 1].token; /* rounding */
}

gem_status gem_sample(const gem_sampling *s, const float *logits, size_t vocab, const int32_t *seen, size_t n_seen,
                      uint64_t n_drawn, int32_t *token, gem_error *err)
{
    const bool changes = s->n_bias > 0 || (has_penalty(s) && n_seen > 0), greedy = s->temperature == 0 || s->top_k == 1;
    const size_t k = s->top_k && s->top_k < vocab ? s->top_k : vocab;
    float *changed = NULL;
    uint32_t *counts = NULL;
    struct candidate *candidates = NULL;
    gem_status st = check(s, vocab, err);

    *token = -1;
    if (st) return st;
    st = GEM_E_NOMEM;
    if (changes) {
        if (!(changed = gem_calloc(vocab, sizeof *changed, "sampling", err))) goto out;
        memcpy(changed, logits, vocab * sizeof *changed);
        for (size_t i = 0; i < s->n_bias; i++) changed[s->bias[i].token] += s->bias[i].bias;
        if (has_penalty(s) && n_seen > 0) {
            if (!(counts = gem_calloc(vocab, sizeof *counts, "sampling", err))) goto out;
            penalise(s, changed, counts, vocab, seen, n_seen);
        }
        logits = changed;
    }
    if (greedy) {
        *token = argmax(logits, vocab);
    } else {
        size_t n;
        if (!(candidates = gem_calloc(k, sizeof *candidates, "sampling", err))) goto out;
        n = best_candidates(logits, vocab, k, candidates);
        if (n > 0) *token = draw(s, candidates, n, n_drawn);
    }
    st = *token >= 0 ? GEM_OK
                     : gem_fail(err, GEM_E_NONFINITE, 0, "no token is possible: all logits are -infinity or NaN");
out:
    gem_free(changed);
    gem_free(counts);
    gem_free(candidates);
    return st;
}
