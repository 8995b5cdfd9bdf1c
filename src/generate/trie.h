/* SPDX-License-Identifier: Apache-2.0
 * src/generate/trie.h - the vocabulary as a tree of bytes. Built once for a tokenizer, immutable, shared by all
 * constraints and threads.
 *
 * Nodes lie in depth-first order, so that a walk goes forward through one array and a subtree that a constraint forbids
 * is one jump. The bytes of a token are those it adds to the text (U+2581 is a space, byte pieces are their byte);
 * control tokens are spelled as grammar.h says. Pieces that are never text (holes) and the byte piece of 0xff are left
 * out.
 *
 * Most tokens are plain: whole characters, none of which JSON escapes in a string, and neither of the two rare ones
 * (U+2028, U+2029) that a pattern's "." leaves out. Where a constraint takes any plain text
 * the mask is known without a walk: `plain[k]` has all plain tokens of at most k characters, and the second tree has
 * only the tokens that are not plain. */
#ifndef GEM_GENERATE_TRIE_H
#define GEM_GENERATE_TRIE_H

#include "tokenizer/tokenizer.h"

enum { GEM_TRIE_MAX_DEPTH = 255, GEM_TRIE_PLAIN = 48 };

struct gem_trie_node {
    uint32_t next;  /* the first node after this one's subtree */
    uint32_t first; /* index into ids: this node's tokens begin here and end where those of the node after begin */
    uint8_t byte, depth;
};

struct gem_trie_tree {
    struct gem_trie_node *nodes; /* [n_nodes + 1]; node 0 is the root; the last one only ends the list */
    int32_t *ids;                /* [nodes[n_nodes].first] */
    uint32_t n_nodes;
};

struct gem_trie {
    const struct gem_tokenizer *tokenizer; /* borrowed */
    uint32_t n_vocab, n_words;             /* 64-bit words of a set of tokens */
    uint8_t *bytes;                        /* of all tokens, one after the other */
    uint32_t *begin;                       /* [n_vocab + 1] */
    struct gem_trie_tree all, not_plain;
    uint64_t *plain[GEM_TRIE_PLAIN + 1]; /* [n_words]; equal from most_plain on */
    uint32_t most_plain;                 /* characters of the longest plain token, at most GEM_TRIE_PLAIN */
    uint32_t most_bytes;                 /* of any token */
};

/* The tokenizer must stay open. */
gem_status gem_trie_open(struct gem_trie **out, const struct gem_tokenizer *t, gem_error *err);
void gem_trie_close(struct gem_trie *trie); /* accepts NULL */

static inline const uint8_t *gem_trie_bytes(const struct gem_trie *t, int32_t id, size_t *n)
{
    *n = t->begin[id + 1] - t->begin[id];
    return t->bytes + t->begin[id];
}

/* The child of a node, or 0. */
uint32_t gem_trie_child(const struct gem_trie_tree *tree, uint32_t node, uint8_t byte);

#endif
