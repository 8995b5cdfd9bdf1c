/* SPDX-License-Identifier: Apache-2.0
 *
 * Drawing a token from logits. A draw is a pure function of its arguments: the random number comes from hashing seed
 * and number of the draw, so nothing has to be carried along. */
#include "generate/sampler.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DRY_MOST = 50 };

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
        {"typical_p", s->typical_p, 0, 1},
        {"xtc_probability", s->xtc_probability, 0, 1},
        {"xtc_threshold", s->xtc_threshold, 0, 1},
        {"dry_multiplier", s->dry_multiplier, 0, 1e6f},
        {"dry_base", s->dry_base, 0, 1e6f},
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

uint32_t gem_sampling_best(const gem_sampling *s, size_t vocab)
{
    if (check(s, vocab, NULL) || has_penalty(s) || s->dry_multiplier != 0) return 0;
    return s->temperature == 0 ? 1 : s->top_k;
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

static bool is_breaker(const gem_sampling *s, int32_t token)
{
    for (size_t i = 0; i < s->n_dry_breakers; i++)
        if (s->dry_breakers[i] == token) return true;
    return false;
}

/* Tokens of the end of seen [n] that also stand before position `before`, counted backwards: at most DRY_MOST, and none
 * from a breaker on. */
static size_t repeated(const gem_sampling *s, const int32_t *seen, size_t n, size_t before)
{
    size_t k = 0;

    while (k < DRY_MOST && k < before && seen[before - 1 - k] == seen[n - 1 - k] && !is_breaker(s, seen[n - 1 - k]))
        k++;
    return k;
}

/* "Don't repeat yourself" as its author defined it (p-e-w, text-generation-webui pull request 5677): a token that
 * follows an earlier occurrence of the present end pays by the length of that occurrence; the longest one counts. */
static void penalise_repetition(const gem_sampling *s, float *logits, uint32_t *longest, size_t vocab,
                                const int32_t *seen, size_t n)
{
    const size_t window = s->dry_window && s->dry_window < n ? s->dry_window : n;
    const uint32_t allowed = s->dry_allowed ? s->dry_allowed : 2;
    const double base = s->dry_base != 0 ? s->dry_base : 1.75;

    seen += n - window;
    n = window;
    for (size_t i = 1; i < n; i++) {
        const size_t k = repeated(s, seen, n, i);
        if (k < allowed || seen[i] < 0 || (size_t)seen[i] >= vocab || is_breaker(s, seen[i])) continue;
        if (k > longest[seen[i]]) longest[seen[i]] = (uint32_t)k;
    }
    for (size_t i = 1; i < n; i++) {
        if (seen[i] < 0 || (size_t)seen[i] >= vocab || longest[seen[i]] == 0) continue;
        logits[seen[i]] -= (float)(s->dry_multiplier * pow(base, (double)(longest[seen[i]] - allowed)));
        longest[seen[i]] = 0; /* once a token */
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

/* The next token from i on that may be drawn; whole words of the set that are empty are passed over. */
static size_t next_allowed(const uint64_t *allowed, size_t i, size_t vocab)
{
    while (allowed && i < vocab) {
        const uint64_t word = allowed[i / 64] >> i % 64;
        if (word) return i + (size_t)__builtin_ctzll(word);
        i = (i / 64 + 1) * 64;
    }
    return i;
}

enum { BLOCK = 64 };

/* The largest logit of a block, NaN apart; compilers make vectors of it. */
static float block_max(const float *logits)
{
    float lane[16], max = -INFINITY;

    for (int j = 0; j < 16; j++) lane[j] = logits[j] > -INFINITY ? logits[j] : -INFINITY;
    for (int i = 16; i < BLOCK; i += 16)
        for (int j = 0; j < 16; j++) lane[j] = logits[i + j] > lane[j] ? logits[i + j] : lane[j];
    for (int j = 0; j < 16; j++) max = lane[j] > max ? lane[j] : max;
    return max;
}

/* The first token from i on that may be drawn and whose logit is not surely at most `floor`: most blocks are passed
 * over. */
static size_t next_above(const float *logits, float floor, const uint64_t *allowed, size_t i, size_t vocab)
{
    for (i = next_allowed(allowed, i, vocab); i + BLOCK <= vocab && i % BLOCK == 0;
         i = next_allowed(allowed, i, vocab)) {
        if (block_max(logits + i) > floor) break;
        i += BLOCK;
    }
    return i;
}

static int32_t argmax(const float *logits, size_t vocab, const uint64_t *allowed)
{
    float top = -INFINITY;
    int32_t best = -1;

    for (size_t i = next_above(logits, top, allowed, 0, vocab); i < vocab;
         i = next_above(logits, top, allowed, i + 1, vocab)) {
        if (!(logits[i] > top)) continue;
        top = logits[i];
        best = (int32_t)i;
    }
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
static size_t best_candidates(const float *logits, size_t vocab, const uint64_t *allowed, size_t k,
                              struct candidate *out)
{
    float floor = -INFINITY; /* what a candidate must exceed: of equal ones, those that came first stay */
    size_t n = 0;

    for (size_t i = next_above(logits, floor, allowed, 0, vocab); i < vocab;
         i = next_above(logits, floor, allowed, i + 1, vocab)) {
        const struct candidate c = {.logit = logits[i], .token = (int32_t)i};
        if (!(c.logit > floor)) continue;
        if (n < k) {
            out[n++] = c;
            if (n == k && k < vocab)
                for (size_t j = n / 2; j-- > 0;) sift_down(out, n, j);
        } else {
            out[0] = c;
            sift_down(out, n, 0);
        }
        if (n == k && k < vocab) floor = out[0].logit;
    }
    qsort(out, n, sizeof *out, compare);
    return n;
}

/* From here on a candidate's logit is its weight, the best one's being 1. */
static double sum_of(const struct candidate *c, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) sum += c[i].logit;
    return sum;
}

/* The candidates whose surprise, -ln p, is nearest to the mean surprise, up to a mass; order is kept. scratch [n]. */
static size_t keep_typical(float mass, struct candidate *c, size_t n, struct candidate *scratch)
{
    const double sum = sum_of(c, n);
    double entropy = 0, kept = 0, limit;
    size_t end = 0, out = 0;

    for (size_t i = 0; i < n; i++)
        if (c[i].logit > 0) entropy -= c[i].logit / sum * log(c[i].logit / sum);
    for (size_t i = 0; i < n; i++) /* sorted by descending logit, so the distance goes in negated */
        scratch[i] = (struct candidate){.logit = (float)-fabs(-log(c[i].logit / sum) - entropy), .token = (int32_t)i};
    qsort(scratch, n, sizeof *scratch, compare);
    while (end < n && kept < mass) kept += c[scratch[end++].token].logit / sum;
    limit = (double)scratch[end > 0 ? end - 1 : 0].logit;
    for (size_t i = 0; i < n; i++)
        if (-fabs(-log(c[i].logit / sum) - entropy) >= limit - 1e-6) c[out++] = c[i];
    return out;
}

/* "Exclude top choices": of the candidates that reach the threshold all but the least likely go. Returns how many of
 * the first are gone. */
static size_t exclude_top(float threshold, const struct candidate *c, size_t n)
{
    const double sum = sum_of(c, n);
    size_t reach = 0;

    while (reach < n && c[reach].logit / sum >= threshold) reach++;
    return reach > 1 ? reach - 1 : 0;
}

/* Cuts the list (best first) to top-p, min-p and so on, then draws. scratch [n] with typical_p. */
static int32_t draw(const gem_sampling *s, struct candidate *c, size_t n, uint64_t n_drawn, struct candidate *scratch)
{
    const float top = c[0].logit;
    double sum = 0, kept = 0, u;
    size_t end = 0, begin = 0;

    for (size_t i = 0; i < n; i++) {
        c[i].logit = (float)exp((double)(c[i].logit - top) / s->temperature);
        sum += c[i].logit;
    }
    while (end < n && (end == 0 || ((s->top_p == 0 || kept < s->top_p * sum) && c[end].logit >= s->min_p)))
        kept += c[end++].logit;
    if (scratch) end = keep_typical(s->typical_p, c, end, scratch);
    if (s->xtc_probability > 0 && uniform(~s->seed, n_drawn) < s->xtc_probability)
        begin = exclude_top(s->xtc_threshold, c, end);
    if (scratch || begin > 0) kept = sum_of(c + begin, end - begin);
    u = uniform(s->seed, n_drawn) * kept;
    for (size_t i = begin; i < end; i++)
        if ((u -= c[i].logit) < 0) return c[i].token;
    return c[end - 1].token; /* rounding */
}

/* Logits after bias and penalties, or NULL after a failure. */
static float *changed_logits(const gem_sampling *s, const float *logits, size_t vocab, const int32_t *seen,
                             size_t n_seen, gem_error *err)
{
    float *changed = gem_calloc(vocab, sizeof *changed, "sampling", err);
    uint32_t *counts;

    if (!changed) return NULL;
    memcpy(changed, logits, vocab * sizeof *changed);
    for (size_t i = 0; i < s->n_bias; i++) changed[s->bias[i].token] += s->bias[i].bias;
    if (n_seen == 0 || (!has_penalty(s) && s->dry_multiplier == 0)) return changed;
    if (!(counts = gem_calloc(vocab, sizeof *counts, "sampling", err))) {
        gem_free(changed);
        return NULL;
    }
    if (has_penalty(s)) penalise(s, changed, counts, vocab, seen, n_seen);
    if (s->dry_multiplier > 0) penalise_repetition(s, changed, counts, vocab, seen, n_seen);
    gem_free(counts);
    return changed;
}

gem_status gem_sample(const gem_sampling *s, const float *logits, size_t vocab, const int32_t *seen, size_t n_seen,
                      uint64_t n_drawn, int32_t *token, gem_error *err)
{
    const bool changes = s->n_bias > 0 || ((has_penalty(s) || s->dry_multiplier > 0) && n_seen > 0);
    const bool greedy = s->temperature == 0 || s->top_k == 1;
    const bool typical = s->typical_p > 0 && s->typical_p < 1;
    const size_t k = s->top_k && s->top_k < vocab ? s->top_k : vocab;
    float *changed = NULL;
    struct candidate *candidates = NULL;
    gem_status st = check(s, vocab, err);

    *token = -1;
    if (st) return st;
    st = GEM_E_NOMEM;
    if (changes) {
        if (!(changed = changed_logits(s, logits, vocab, seen, n_seen, err))) goto out;
        logits = changed;
    }
    if (greedy) {
        *token = argmax(logits, vocab, s->allowed);
    } else {
        size_t n;
        if (!(candidates = gem_calloc(typical ? 2 * k : k, sizeof *candidates, "sampling", err))) goto out;
        n = best_candidates(logits, vocab, s->allowed, k, candidates);
        if (n > 0) *token = draw(s, candidates, n, n_drawn, typical ? candidates + k : NULL);
    }
    st = *token >= 0 ? GEM_OK
                     : gem_fail(err, GEM_E_NONFINITE, 0, "no token is possible: all logits%s are -infinity or NaN",
                                s->allowed ? " that are allowed" : "");
out:
    gem_free(changed);
    gem_free(candidates);
    return st;
}

uint64_t gem_sample_seed(uint64_t seed, size_t sample)
{
    return sample == 0 ? seed : (uint64_t)(uniform(seed ^ UINT64_C(0x73616d706c657321), sample) * 0x1p53);
}

size_t gem_logprobs(const float *logits, size_t vocab, int32_t token, gem_logprob *chosen, gem_logprob *top, size_t n)
{
    float best = -INFINITY;
    double sum = 0, log_sum;
    size_t n_top = 0;

    for (size_t i = 0; i < vocab; i++)
        if (logits[i] > best) best = logits[i];
    for (size_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - best);
    log_sum = log(sum) + best;
    *chosen = (gem_logprob){token, (float)(logits[token] - log_sum)};
    for (size_t i = 0; i < vocab && n > 0; i++) { /* insertion: n is small, and few tokens come in */
        size_t at;
        if (n_top == n && !(logits[i] > top[n - 1].logprob)) continue;
        for (at = n_top < n ? n_top++ : n - 1; at > 0 && top[at - 1].logprob < logits[i]; at--) top[at] = top[at - 1];
        top[at] = (gem_logprob){(int32_t)i, logits[i]};
    }
    for (size_t i = 0; i < n_top; i++) top[i].logprob = (float)((double)top[i].logprob - log_sum);
    return n_top;
}
