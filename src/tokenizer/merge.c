/* SPDX-License-Identifier: Apache-2.0
 * src/tokenizer/merge.c - merging symbols by rules: always the pair whose rule has the lowest priority number,
 * the leftmost of equals.
 *
 * Words are short, and a scan for the minimum is best there. What cannot be cut (a megabyte of one letter) needs
 * better, and a heap of all pairs is slow where it does not fit the cache. Here pairs wait in a radix heap: lists by
 * the highest octal digit in which a priority differs from the one at hand, so that a pair moves at most eight times,
 * in sequence. That asks that what is added comes after what is at hand. A merge can make a pair that comes before
 * (runs of newlines do all the time), but such a pair touches the symbol just made, and all others come later: so it
 * is merged at once, and there are never more than two to choose from. */
#include "tokenizer/vocabulary.h"

#include "base/memory.h"

enum { SHORT = 32 }; /* symbols up to which scanning wins */
enum { N_LISTS = GEM_MERGE_LISTS };
enum { AHEAD = 8 }; /* pairs by which the next ones' nodes are fetched in advance */
enum { NONE = UINT32_MAX };

/* ---- short words --------------------------------------------------------------------------------------- */

static size_t merge_short(const struct gem_tokenizer *t, uint32_t *symbols, size_t n)
{
    uint32_t rule[SHORT], priority[SHORT]; /* of symbol i and the next */

    for (size_t i = 0; i + 1 < n; i++) {
        rule[i] = gem_rule_find(t, symbols[i], symbols[i + 1]);
        priority[i] = gem_rule_priority(t, rule[i]);
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (priority[i] < priority[best]) best = i;
        if (rule[best] == GEM_RULE_NONE) break;
        symbols[best] = gem_rule_merged(t, rule[best]);
        n--;
        for (size_t i = best + 1; i < n; i++) {
            symbols[i] = symbols[i + 1];
            rule[i - 1] = rule[i];
            priority[i - 1] = priority[i];
        }
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            rule[i] = gem_rule_find(t, symbols[i], symbols[i + 1]);
            priority[i] = gem_rule_priority(t, rule[i]);
        }
    }
    return n;
}

/* ---- long runs ----------------------------------------------------------------------------------------- */

/* Symbol i, its neighbours in the text or NONE, and the rule of the pair that it makes with the right one. */
struct gem_merge_node {
    uint32_t symbol, left, right, rule;
};

/* A pair that waits: at node `at`, as long as that still has a rule of this priority. One that has become stale can
 * look valid again only when the node's next rule has the same priority (scores tie): then two entries say the same,
 * and whichever comes first is right. */
struct gem_merge_entry {
    uint32_t priority, at;
};

struct heap {
    const struct gem_tokenizer *t;
    struct gem_merge_node *nodes;
    struct gem_merge_list *lists; /* [N_LISTS] see list_of */
    uint64_t filled;              /* bit b: list b is not empty */
    uint32_t last;                /* the priority at hand; what waits comes after it */
    uint32_t held;                /* a node whose pair is yet to be put into a list, or NONE */
    bool failed;                  /* a list could not grow */
};

/* By the highest octal digit in which a priority differs from `last`, and by that digit. What waits in a lower list
 * comes before what waits in a higher one, and one of the first eight holds a single priority. */
static unsigned list_of(const struct heap *h, uint32_t priority)
{
    const uint32_t differ = priority ^ h->last;
    const unsigned digit = differ ? (31 - (unsigned)__builtin_clz(differ)) / 3 : 0;

    return digit * 8 + (priority >> digit * 3 & 7);
}

static bool reserve(struct gem_merge_list *list, size_t n)
{
    struct gem_merge_entry *grown;

    if (n <= list->cap) return true;
    grown = gem_realloc(list->entries, n, sizeof *grown, "", NULL);
    if (!grown) return false;
    list->entries = grown;
    list->cap = n;
    return true;
}

static void append(struct heap *h, struct gem_merge_entry entry)
{
    const unsigned b = list_of(h, entry.priority);
    struct gem_merge_list *list = &h->lists[b];

    if (list->n == list->cap && !reserve(list, list->n * 2 + 64)) {
        h->failed = true;
        return;
    }
    list->entries[list->n++] = entry;
    h->filled |= UINT64_C(1) << b;
}

static void put(struct heap *h, uint32_t i, uint32_t rule)
{
    h->nodes[i].rule = rule;
    if (rule != GEM_RULE_NONE) append(h, (struct gem_merge_entry){gem_rule_priority(h->t, rule), i});
}

/* A merge's right pair is held back until the next merge, which in a run of equal letters changes it at once. */
static void hold(struct heap *h, uint32_t i, uint32_t rule)
{
    if (h->held != NONE && h->held != i) put(h, h->held, h->nodes[h->held].rule);
    h->nodes[i].rule = rule;
    h->held = i;
}

static uint32_t rule_at(const struct heap *h, uint32_t i)
{
    const uint32_t right = i == NONE ? NONE : h->nodes[i].right;

    return right == NONE ? GEM_RULE_NONE : gem_rule_find(h->t, h->nodes[i].symbol, h->nodes[right].symbol);
}

/* Merges the pair at i, then what that puts before or beside everything that waits: the symbol made with its left
 * or right neighbour, over and over. A pair of the priority at hand is to the left of all that wait with it, for
 * a list is read from left to right: so it goes first, too. */
static void merge_at(struct heap *h, uint32_t i)
{
    struct gem_merge_node *nodes = h->nodes;
    uint32_t rule = nodes[i].rule;

    for (;;) {
        const uint32_t gone = nodes[i].right, left = nodes[i].left;
        uint32_t rule_left, first_left, first_right;
        nodes[i].symbol = gem_rule_merged(h->t, rule);
        nodes[i].right = nodes[gone].right;
        nodes[gone].rule = GEM_RULE_NONE;
        if (nodes[i].right != NONE) nodes[nodes[i].right].left = i;

        rule_left = rule_at(h, left);
        rule = rule_at(h, i);
        first_left = gem_rule_priority(h->t, rule_left);
        first_right = gem_rule_priority(h->t, rule);
        if (rule_left != GEM_RULE_NONE && first_left <= h->last && first_left <= first_right) {
            nodes[i].rule = GEM_RULE_NONE;
            i = left;
            rule = rule_left;
        } else if (rule == GEM_RULE_NONE || first_right > h->last) {
            if (left == h->held) h->held = NONE;
            if (left != NONE) put(h, left, rule_left);
            hold(h, i, rule);
            return;
        }
    }
}

static size_t run_end(const struct gem_merge_entry *list, size_t from, size_t n)
{
    if (from < n) from++;
    while (from < n && list[from].at >= list[from - 1].at) from++;
    return from;
}

/* Sorts a list by position. It was filled in sweeps from left to right, so it has few runs: those are merged in pairs.
 * The lists' memory changes places with `spare`, which is as large. */
static void sort_list(struct gem_merge_list *list, struct gem_merge_list *spare)
{
    const size_t n = list->n;

    while (run_end(list->entries, 0, n) < n) {
        const struct gem_merge_list from = *list;
        struct gem_merge_entry *to = spare->entries;
        for (size_t a = 0, middle, end; a < n; a = end) {
            size_t b = middle = run_end(from.entries, a, n);
            end = run_end(from.entries, middle, n);
            while (a < middle || b < end)
                *to++ = b == end || (a < middle && from.entries[a].at < from.entries[b].at) ? from.entries[a++]
                                                                                            : from.entries[b++];
        }
        list->entries = spare->entries, list->cap = spare->cap;
        spare->entries = from.entries, spare->cap = from.cap;
    }
}

/* Whether all pairs of a list have the same priority; *lowest is the first in order. */
static bool is_single(const struct gem_merge_list *list, uint32_t *lowest)
{
    uint32_t highest = 0;

    *lowest = UINT32_MAX;
    for (size_t i = 0; i < list->n; i++) {
        const uint32_t priority = list->entries[i].priority;
        if (priority < *lowest) *lowest = priority;
        if (priority > highest) highest = priority;
    }
    return *lowest == highest;
}

/* Moves a list's pairs to lower ones, by making the first of their priorities the one at hand. */
static void spread(struct heap *h, struct gem_merge_list *list, uint32_t lowest)
{
    h->last = lowest;
    for (size_t i = 0; i < list->n; i++) append(h, list->entries[i]);
    list->n = 0;
}

/* Merges the pairs of a list that holds a single priority, from left to right. */
static void merge_list(struct heap *h, struct gem_merge_list *list)
{
    h->last = list->entries[0].priority;
    for (size_t i = 0; i < list->n; i++) {
        const uint32_t at = list->entries[i].at, rule = h->nodes[at].rule;
        if (i + AHEAD < list->n) __builtin_prefetch(&h->nodes[list->entries[i + AHEAD].at]);
        if (rule != GEM_RULE_NONE && gem_rule_priority(h->t, rule) == h->last) merge_at(h, at);
    }
    list->n = 0; /* what merge_at adds comes later */
    if (h->held != NONE) put(h, h->held, h->nodes[h->held].rule);
    h->held = NONE;
}

static void merge_all(struct heap *h, struct gem_merge_list *spare)
{
    while (h->filled && !h->failed) {
        const unsigned b = (unsigned)__builtin_ctzll(h->filled);
        struct gem_merge_list *list = &h->lists[b];
        uint32_t lowest;
        h->filled &= h->filled - 1;
        if (b >= 8 && !is_single(list, &lowest)) {
            spread(h, list, lowest);
        } else if (!reserve(spare, list->n)) {
            h->failed = true;
        } else {
            sort_list(list, spare);
            merge_list(h, list);
        }
    }
}

static gem_status merge_long(const struct gem_tokenizer *t, uint32_t *symbols, size_t *n,
                             struct gem_merge_scratch *scratch, gem_error *err)
{
    struct heap h = {.t = t, .nodes = scratch->nodes, .lists = scratch->lists, .held = NONE};
    struct gem_merge_node *nodes = scratch->nodes;
    size_t n_out = 0;

    for (uint32_t i = 0; i < *n; i++) {
        nodes[i].symbol = symbols[i];
        nodes[i].left = i ? i - 1 : NONE;
        nodes[i].right = i + 1 < *n ? i + 1 : NONE;
        put(&h, i, i + 1 < *n ? gem_rule_find(t, symbols[i], symbols[i + 1]) : GEM_RULE_NONE);
    }
    merge_all(&h, &scratch->lists[N_LISTS]);
    for (int i = 0; i < N_LISTS; i++) scratch->lists[i].n = 0;
    if (h.failed) return gem_fail_nomem(err, *n * sizeof(struct gem_merge_entry), "merging a long word");
    for (uint32_t i = 0; i != NONE; i = nodes[i].right) symbols[n_out++] = nodes[i].symbol;
    *n = n_out;
    return GEM_OK;
}

static gem_status reserve_nodes(struct gem_merge_scratch *scratch, size_t n, gem_error *err)
{
    struct gem_merge_node *nodes;

    if (n <= scratch->n_nodes) return GEM_OK;
    if (n > UINT32_MAX / 2) return gem_fail(err, GEM_E_LIMIT, 0, "a word of %zu characters", n);
    nodes = gem_realloc(scratch->nodes, n + n / 4, sizeof *nodes, "merging a long word", err);
    if (!nodes) return GEM_E_NOMEM;
    scratch->nodes = nodes;
    scratch->n_nodes = n + n / 4;
    return GEM_OK;
}

gem_status gem_merge(const struct gem_tokenizer *t, uint32_t *symbols, size_t *n, struct gem_merge_scratch *scratch,
                     gem_error *err)
{
    gem_status st;

    if (*n <= SHORT) {
        *n = merge_short(t, symbols, *n);
        return GEM_OK;
    }
    if ((st = reserve_nodes(scratch, *n, err))) return st;
    return merge_long(t, symbols, n, scratch, err);
}

void gem_merge_scratch_close(struct gem_merge_scratch *scratch)
{
    gem_free(scratch->nodes);
    for (size_t i = 0; i < sizeof scratch->lists / sizeof *scratch->lists; i++) gem_free(scratch->lists[i].entries);
    *scratch = (struct gem_merge_scratch){0};
}
