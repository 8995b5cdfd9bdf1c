/* SPDX-License-Identifier: Apache-2.0
 * src/tokenizer/vocabulary.h - what a tokenizer is made of; private to this folder and its tests.
 *
 * Text becomes symbols, one per code point that is a piece and one per byte where none is; rules merge two
 * neighbouring symbols into one; what is left are the ids. So symbols are piece ids throughout. */
#ifndef GEM_TOKENIZER_VOCABULARY_H
#define GEM_TOKENIZER_VOCABULARY_H

#include "tokenizer/tokenizer.h"

enum {
    GEM_TOKENIZER_MAX_JSON = 64 << 20, /* bytes; Gemma 4's file has 32 MB */
    GEM_TOKENIZER_MAX_VOCAB = 1 << 20, /* ids fit 20 bits of a pair's key */
    GEM_TOKENIZER_MAX_RULES = 1 << 22, /* rule numbers fit 22 */
    GEM_TOKENIZER_MAX_PIECE = 480,     /* bytes, so that GEM_TEXT_STREAM_MAX holds one and what was pending */
};

#define GEM_SYMBOL_NONE UINT32_MAX
#define GEM_RULE_NONE   UINT32_MAX

enum gem_piece_kind {
    GEM_PIECE_UNUSED,  /* no such piece: a hole between ids */
    GEM_PIECE_NORMAL,  /* made by merges */
    GEM_PIECE_BYTE,    /* "<0x41>": no merge makes or takes it */
    GEM_PIECE_USER,    /* found whole in any text before merging; merges may make it too */
    GEM_PIECE_CONTROL, /* found whole in text only when control tokens are wanted; no merge makes it */
};

/* A piece as a file gives it. */
struct gem_piece {
    const char *s; /* borrowed */
    uint32_t n;
    enum gem_piece_kind kind;
    uint64_t offset; /* in the file, for messages */
};

struct gem_tokenizer {
    uint32_t n_vocab;
    char *text;      /* all pieces, one after the other */
    uint32_t *begin; /* [n_vocab + 1] of each piece in text */
    uint8_t *kind;   /* [n_vocab] enum gem_piece_kind */
    uint32_t *slots; /* [slot_mask + 1] id + 1 or 0; linear probing from the piece's hash */
    uint32_t slot_mask;

    uint32_t byte_id[256];
    uint32_t ascii[128];      /* symbol of each, the space being U+2581; the byte's id where it is no piece */
    uint16_t page_of[0x1100]; /* of a code point's upper bits: index into pages; page 0 has no pieces */
    uint32_t *pages;          /* [n_pages, 256] symbol or GEM_SYMBOL_NONE */

    uint32_t *whole; /* [n_whole] user and control ids sorted by spelling: those found whole in text */
    uint32_t n_whole;
    uint32_t whole_from[257]; /* of each first byte, the first in `whole`; [256] = n_whole */
    bool has_user;
    bool space_prefix; /* text gets a space in front, as does what follows a token found whole */

    uint64_t *pairs;  /* [2^pair_bits] 1 << 63 | left << 42 | right << 22 | rule, or 0; linear probing */
    uint64_t *filter; /* bits: see gem_filter_bit */
    unsigned pair_bits;
    uint32_t n_rules;
    uint32_t *merged;   /* [n_rules] piece that a rule makes; NULL: its number is the piece's id */
    uint32_t *priority; /* [n_rules] lower goes first; NULL: the rule's number */
    uint64_t *joints;   /* [2^joint_bits] bits by gem_joint_hash: see gem_joinable */
    unsigned joint_bits;
};

/* Takes the pieces over (copies them) and builds all tables but the rules. `name` is the file's, for messages.
 * Checks lengths, spelling, that no piece comes twice and that all bytes have theirs. */
gem_status gem_vocabulary_fill(struct gem_tokenizer *t, const char *name, const struct gem_piece *pieces, uint32_t n,
                               gem_error *err);
/* Whether s spells a byte piece, "<0x" two capital hexadecimal digits ">", and which. */
bool gem_byte_piece(const char *s, size_t n, uint8_t *byte);
/* The piece spelled by a and then b, or GEM_SYMBOL_NONE. */
uint32_t gem_vocabulary_find2(const struct gem_tokenizer *t, const char *a, size_t n_a, const char *b, size_t n_b);
/* The longest piece found whole at s, or GEM_SYMBOL_NONE. n > 0. */
uint32_t gem_vocabulary_whole(const struct gem_tokenizer *t, const char *s, size_t n, bool control);

static inline const char *gem_piece_text(const struct gem_tokenizer *t, uint32_t id, size_t *n)
{
    *n = t->begin[id + 1] - t->begin[id];
    return t->text + t->begin[id];
}

/* Pieces that merging may make or take. */
static inline bool gem_piece_merges(const struct gem_tokenizer *t, uint32_t id)
{
    return t->kind[id] == GEM_PIECE_NORMAL || t->kind[id] == GEM_PIECE_USER;
}

static inline uint32_t gem_symbol_of(const struct gem_tokenizer *t, uint32_t cp)
{
    return t->pages[(size_t)t->page_of[cp >> 8] << 8 | (cp & 0xff)];
}

/* Room for n_pairs pairs and n_rules rules; then every pair is added. */
gem_status gem_rules_open(struct gem_tokenizer *t, size_t n_pairs, uint32_t n_rules, gem_error *err);
/* False when the pair is there already, or when its neighbourhood in the table is absurdly crowded, which only a
 * file made for that purpose achieves. */
bool gem_rules_add(struct gem_tokenizer *t, uint32_t left, uint32_t right, uint32_t rule);

/* From a list of merges in the order of their ranks: open, then add each. Messages name file, offset and rank. */
gem_status gem_merges_open(struct gem_tokenizer *t, const char *name, uint64_t n, gem_error *err);
gem_status gem_merges_add(struct gem_tokenizer *t, const char *name, uint64_t offset, uint32_t rank, const char *a,
                          size_t n_a, const char *b, size_t n_b, gem_error *err);
/* "a b" into its halves, which point into s, at the first space that is not the first byte; neither is empty. */
bool gem_merge_split(const char *s, size_t n, const char **a, size_t *n_a, const char **b, size_t *n_b);
/* From the score [n_vocab] of each piece, none NaN: a pair merges when its text is a piece, the best score first. */
gem_status gem_rules_from_scores(struct gem_tokenizer *t, const char *name, const float *scores, gem_error *err);

static inline uint64_t gem_pair_hash(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 20 | right) * UINT64_C(0x9e3779b97f4a7c15);

    return (h ^ h >> 29) * UINT64_C(0xbf58476d1ce4e5b9); /* the upper bits are the good ones */
}

/* The bit of the filter that a pair of this hash has set: four times as many bits as slots. */
static inline uint64_t gem_filter_bit(const struct gem_tokenizer *t, uint64_t hash)
{
    return hash >> (64 - t->pair_bits - 2);
}

static inline uint32_t gem_rule_find(const struct gem_tokenizer *t, uint32_t left, uint32_t right)
{
    const uint64_t hash = gem_pair_hash(left, right), bit = gem_filter_bit(t, hash);
    const uint64_t key = UINT64_C(1) << 41 | (uint64_t)left << 20 | right;
    const uint64_t mask = (UINT64_C(1) << t->pair_bits) - 1;

    /* Most pairs asked for have no rule. The filter (512 KB for Gemma) says so from the second-level cache. */
    if (!(t->filter[bit >> 6] >> (bit & 63) & 1)) return GEM_RULE_NONE;
    for (uint64_t i = hash >> (64 - t->pair_bits);; i = (i + 1) & mask) {
        if (t->pairs[i] >> 22 == key) return t->pairs[i] & (GEM_TOKENIZER_MAX_RULES - 1);
        if (t->pairs[i] == 0) return GEM_RULE_NONE;
    }
}

static inline uint32_t gem_rule_priority(const struct gem_tokenizer *t, uint32_t rule)
{
    return t->priority && rule != GEM_RULE_NONE ? t->priority[rule] : rule;
}

static inline uint32_t gem_rule_merged(const struct gem_tokenizer *t, uint32_t rule)
{
    return t->merged ? t->merged[rule] : rule;
}

static inline uint64_t gem_joint_hash(const struct gem_tokenizer *t, uint32_t left, uint32_t right)
{
    return ((uint64_t)left << 20 | right) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - t->joint_bits);
}

/* False when no piece that merging makes holds these two symbols side by side: text can be cut between them and
 * each part merged alone, for no merge ever reaches across. This is spec 1.5's pre-split, taken from the
 * vocabulary at hand and not from what is known of Gemma's: every seam inside a merged piece is the seam of some
 * rule (last symbol of its left, first of its right). Hashed, so some needless true. */
static inline bool gem_joinable(const struct gem_tokenizer *t, uint32_t left, uint32_t right)
{
    const uint64_t h = gem_joint_hash(t, left, right);

    return t->joints[h >> 6] >> (h & 63) & 1;
}

/* Memory that merging keeps from word to word. Zero-initialised is the closed state. */
enum { GEM_MERGE_LISTS = 64 }; /* eight for each octal digit of a priority, which has 22 bits */
struct gem_merge_scratch {
    struct gem_merge_node *nodes;
    size_t n_nodes;
    struct gem_merge_list {
        struct gem_merge_entry *entries;
        size_t n, cap;
    } lists[GEM_MERGE_LISTS + 1]; /* the last one for sorting */
};

/* Merges symbols [n] in place; returns by *n how many are left. */
gem_status gem_merge(const struct gem_tokenizer *t, uint32_t *symbols, size_t *n, struct gem_merge_scratch *scratch,
                     gem_error *err);
void gem_merge_scratch_close(struct gem_merge_scratch *scratch);

#endif
