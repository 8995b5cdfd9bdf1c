/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/trie.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

static const char mark[] = "\xe2\x96\x81"; /* U+2581, the tokenizer's space */

/* "<0x41>", as vocabulary.h has it: all byte pieces decode to one byte that differs from their spelling. */
static size_t token_bytes(const struct gem_tokenizer *t, int32_t id, uint8_t *out)
{
    size_t n, n_out = 0;
    const char *s = gem_tokenizer_piece(t, id, &n);
    uint8_t byte;

    if (!s) return 0;
    if (gem_tokenizer_is_control(t, id)) {
        const uint8_t spelled[4] = {0xff, (uint8_t)(id >> 14 & 0x7f), (uint8_t)(id >> 7 & 0x7f), (uint8_t)(id & 0x7f)};
        memcpy(out, spelled, sizeof spelled);
        return sizeof spelled;
    }
    if (gem_tokenizer_is_byte(t, id, &byte)) {
        out[0] = byte;
        return byte != 0xff;
    }
    if (n > GEM_TRIE_MAX_DEPTH) return 0;
    for (size_t i = 0; i < n;) {
        const bool space = n - i >= 3 && !memcmp(s + i, mark, 3);
        out[n_out++] = space ? ' ' : (uint8_t)s[i];
        i += space ? 3 : 1;
    }
    return n_out;
}

static gem_status fill_bytes(struct gem_trie *t, gem_error *err)
{
    uint8_t token[GEM_TRIE_MAX_DEPTH + 4];
    size_t total = 0;

    for (uint32_t id = 0; id < t->n_vocab; id++) total += token_bytes(t->tokenizer, (int32_t)id, token);
    t->bytes = gem_calloc(total, 1, "the tree of tokens", err);
    t->begin = gem_calloc((size_t)t->n_vocab + 1, sizeof *t->begin, "the tree of tokens", err);
    if (!t->bytes || !t->begin) return GEM_E_NOMEM;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        const size_t n = token_bytes(t->tokenizer, (int32_t)id, token);
        memcpy(t->bytes + t->begin[id], token, n);
        t->begin[id + 1] = t->begin[id] + (uint32_t)n;
        if (n > t->most_bytes) t->most_bytes = (uint32_t)n;
    }
    return GEM_OK;
}

/* Characters of a plain token, or 0. */
static uint32_t plain_chars(const uint8_t *s, size_t n)
{
    uint32_t chars = 0, cp = 0;

    for (size_t i = 0, n_char; i < n; i += n_char) {
        n_char = gem_utf8_decode((const char *)s + i, n - i, &cp);
        if (n_char == 0 || cp < 0x20 || cp == '"' || cp == '\\' || cp == 0x2028 || cp == 0x2029) return 0;
        chars++;
    }
    return chars <= GEM_TRIE_PLAIN ? chars : 0;
}

/* ---- trees --------------------------------------------------------------------------------------------- */

struct spelling {
    const uint8_t *s;
    uint32_t n;
    int32_t id;
};

static int by_spelling(const void *a, const void *b)
{
    const struct spelling *x = a, *y = b;
    const int order = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);

    if (order) return order;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static uint32_t common_bytes(const struct spelling *a, const struct spelling *b)
{
    uint32_t n = 0;

    while (n < a->n && n < b->n && a->s[n] == b->s[n]) n++;
    return n;
}

static uint32_t count_nodes(const struct spelling *list, uint32_t n)
{
    uint32_t nodes = 1;

    for (uint32_t i = 0; i < n; i++) nodes += list[i].n - (i > 0 ? common_bytes(&list[i - 1], &list[i]) : 0);
    return nodes;
}

/* From spellings in order. `open` holds the path from the root to the newest node. */
static void fill_tree(struct gem_trie_tree *tree, const struct spelling *list, uint32_t n)
{
    uint32_t open[GEM_TRIE_MAX_DEPTH + 1] = {0}, depth = 0, at = 1;

    tree->nodes[0] = (struct gem_trie_node){0};
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t common = i > 0 ? common_bytes(&list[i - 1], &list[i]) : 0;
        while (depth > common) tree->nodes[open[depth--]].next = at;
        while (depth < list[i].n) {
            open[++depth] = at;
            tree->nodes[at++] =
                (struct gem_trie_node){.first = i, .byte = list[i].s[depth - 1], .depth = (uint8_t)depth};
        }
        tree->ids[i] = list[i].id;
    }
    while (depth > 0) tree->nodes[open[depth--]].next = at;
    tree->nodes[0].next = at;
    tree->nodes[at] = (struct gem_trie_node){.first = n, .next = at};
    tree->n_nodes = at;
}

static gem_status open_tree(struct gem_trie_tree *tree, const struct spelling *list, uint32_t n, gem_error *err)
{
    tree->nodes = gem_calloc((size_t)count_nodes(list, n) + 1, sizeof *tree->nodes, "the tree of tokens", err);
    tree->ids = gem_calloc(n, sizeof *tree->ids, "the tree of tokens", err);
    if (!tree->nodes || !tree->ids) return GEM_E_NOMEM;
    fill_tree(tree, list, n);
    return GEM_OK;
}

static gem_status open_plain(struct gem_trie *t, gem_error *err)
{
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const uint8_t *s = gem_trie_bytes(t, (int32_t)id, &n);
        const uint32_t chars = plain_chars(s, n);
        if (chars > t->most_plain) t->most_plain = chars;
    }
    for (uint32_t k = 0; k <= t->most_plain; k++)
        if (!(t->plain[k] = gem_calloc(t->n_words, sizeof *t->plain[k], "sets of tokens", err))) return GEM_E_NOMEM;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const uint8_t *s = gem_trie_bytes(t, (int32_t)id, &n);
        const uint32_t chars = plain_chars(s, n);
        for (uint32_t k = chars; chars > 0 && k <= t->most_plain; k++) t->plain[k][id / 64] |= UINT64_C(1) << id % 64;
    }
    return GEM_OK;
}

static gem_status open_trees(struct gem_trie *t, gem_error *err)
{
    struct spelling *list = gem_calloc(t->n_vocab, sizeof *list, "the tree of tokens", err);
    uint32_t n = 0, n_left = 0;
    gem_status st;

    if (!list) return GEM_E_NOMEM;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        size_t len;
        const uint8_t *s = gem_trie_bytes(t, (int32_t)id, &len);
        if (len > 0) list[n++] = (struct spelling){.s = s, .n = (uint32_t)len, .id = (int32_t)id};
    }
    qsort(list, n, sizeof *list, by_spelling);
    if ((st = open_tree(&t->all, list, n, err))) goto out;
    for (uint32_t i = 0; i < n; i++)
        if (plain_chars(list[i].s, list[i].n) == 0) list[n_left++] = list[i];
    st = open_tree(&t->not_plain, list, n_left, err);
out:
    gem_free(list);
    return st;
}

gem_status gem_trie_open(struct gem_trie **out, const struct gem_tokenizer *tokenizer, gem_error *err)
{
    struct gem_trie *t = gem_calloc(1, sizeof *t, "the tree of tokens", err);
    gem_status st = GEM_E_NOMEM;

    *out = NULL;
    if (!t) return st;
    t->tokenizer = tokenizer;
    t->n_vocab = gem_tokenizer_vocab(tokenizer);
    t->n_words = (t->n_vocab + 63) / 64;
    if ((st = fill_bytes(t, err))) goto fail;
    if ((st = open_trees(t, err))) goto fail;
    if ((st = open_plain(t, err))) goto fail;
    *out = t;
    return GEM_OK;
fail:
    gem_trie_close(t);
    return st;
}

void gem_trie_close(struct gem_trie *t)
{
    if (!t) return;
    gem_free(t->bytes);
    gem_free(t->begin);
    gem_free(t->all.nodes);
    gem_free(t->all.ids);
    gem_free(t->not_plain.nodes);
    gem_free(t->not_plain.ids);
    for (size_t k = 0; k <= GEM_TRIE_PLAIN; k++) gem_free(t->plain[k]);
    gem_free(t);
}

uint32_t gem_trie_child(const struct gem_trie_tree *tree, uint32_t node, uint8_t byte)
{
    const uint32_t end = tree->nodes[node].next;

    for (uint32_t i = node + 1; i < end; i = tree->nodes[i].next)
        if (tree->nodes[i].byte >= byte) return tree->nodes[i].byte == byte ? i : 0;
    return 0;
}
