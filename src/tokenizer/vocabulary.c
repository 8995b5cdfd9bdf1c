/* SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

/* A table's longest probe that is believed. At two thirds full, chance makes some tens; a file that was made to
 * collide is refused instead of being read in quadratic time. */
enum { MAX_PROBES = 1024 };

/* ---- spelling -> id ------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t h, const char *s, size_t n)
{
    while (n >= 8) {
        uint64_t w;
        memcpy(&w, s, 8);
        h = (h ^ w) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
        s += 8;
        n -= 8;
    }
    for (; n > 0; n--) h = (h ^ (uint8_t)*s++) * UINT64_C(0xbf58476d1ce4e5b9);
    return h;
}

static uint32_t hash_piece(const char *s, size_t n)
{
    const uint64_t h = mix(n, s, n);

    return (uint32_t)(h >> 32 ^ h >> 12);
}

/* The slot that holds s or, where it would go, an empty one. MAX_PROBES slots at most are looked at: beyond, NULL. */
static uint32_t *slot_of(const struct gem_tokenizer *t, const char *s, size_t n)
{
    uint32_t i = hash_piece(s, n);

    for (int probes = 0; probes < MAX_PROBES; probes++) {
        uint32_t *slot = &t->slots[i++ & t->slot_mask];
        size_t len;
        const char *piece;
        if (*slot == 0) return slot;
        piece = gem_piece_text(t, *slot - 1, &len);
        if (len == n && !memcmp(piece, s, n)) return slot;
    }
    return NULL;
}

static uint32_t find(const struct gem_tokenizer *t, const char *s, size_t n)
{
    const uint32_t *slot = n > 0 && n <= GEM_TOKENIZER_MAX_PIECE ? slot_of(t, s, n) : NULL;

    return slot && *slot ? *slot - 1 : GEM_SYMBOL_NONE;
}

uint32_t gem_vocabulary_find2(const struct gem_tokenizer *t, const char *a, size_t n_a, const char *b, size_t n_b)
{
    char both[GEM_TOKENIZER_MAX_PIECE];

    if (n_a > sizeof both || n_b > sizeof both - n_a) return GEM_SYMBOL_NONE;
    memcpy(both, a, n_a);
    memcpy(both + n_a, b, n_b);
    return find(t, both, n_a + n_b);
}

/* ---- filling ------------------------------------------------------------------------------------------- */

static gem_status check_piece(const char *name, const struct gem_piece *p, uint32_t id, gem_error *err)
{
    if (p->n > GEM_TOKENIZER_MAX_PIECE)
        return gem_fail(err, GEM_E_LIMIT, p->offset, "%s: piece %u has %u bytes, more than the ceiling of %d", name, id,
                        p->n, GEM_TOKENIZER_MAX_PIECE);
    if (!gem_utf8_valid(p->s, p->n))
        return gem_fail(err, GEM_E_FORMAT, p->offset, "%s: piece %u is not UTF-8", name, id);
    return GEM_OK;
}

static gem_status copy_pieces(struct gem_tokenizer *t, const char *name, const struct gem_piece *pieces, uint32_t n,
                              gem_error *err)
{
    uint64_t n_bytes = 0;
    gem_status st;

    for (uint32_t id = 0; id < n; id++) {
        if ((st = check_piece(name, &pieces[id], id, err))) return st;
        n_bytes += pieces[id].n;
    }
    t->n_vocab = n;
    t->text = gem_calloc(n_bytes, 1, "the vocabulary", err);
    t->begin = gem_calloc((size_t)n + 1, sizeof *t->begin, "the vocabulary", err);
    t->kind = gem_calloc(n, sizeof *t->kind, "the vocabulary", err);
    if (!t->text || !t->begin || !t->kind) return GEM_E_NOMEM;
    for (uint32_t id = 0; id < n; id++) {
        const struct gem_piece *p = &pieces[id];
        if (p->n) memcpy(t->text + t->begin[id], p->s, p->n);
        t->begin[id + 1] = t->begin[id] + p->n; /* 2^20 pieces of 480 bytes fit 32 bits */
        t->kind[id] = (uint8_t)(p->n ? p->kind : GEM_PIECE_UNUSED);
    }
    return GEM_OK;
}

static gem_status fill_slots(struct gem_tokenizer *t, const char *name, const struct gem_piece *pieces, gem_error *err)
{
    uint32_t n_slots = 64;

    while (n_slots / 3 * 2 < t->n_vocab) n_slots *= 2;
    t->slots = gem_calloc(n_slots, sizeof *t->slots, "the vocabulary", err);
    if (!t->slots) return GEM_E_NOMEM;
    t->slot_mask = n_slots - 1;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        const struct gem_piece *p = &pieces[id];
        uint32_t *slot;
        if (t->kind[id] == GEM_PIECE_UNUSED) continue;
        slot = slot_of(t, p->s, p->n);
        if (!slot) return gem_fail(err, GEM_E_UNSUPPORTED, p->offset, "%s: the pieces' hashes collide", name);
        if (*slot)
            return gem_fail(err, GEM_E_FORMAT, p->offset, "%s: pieces %u and %u are both \"%.*s\"", name, *slot - 1, id,
                            p->n > 80 ? 80 : (int)p->n, p->s);
        *slot = id + 1;
    }
    return GEM_OK;
}

bool gem_byte_piece(const char *s, size_t n, uint8_t *byte)
{
    static const char hex[] = "0123456789ABCDEF";
    const char *hi, *lo;

    if (n != 6 || memcmp(s, "<0x", 3) || s[5] != '>' || !s[3] || !s[4]) return false;
    hi = strchr(hex, s[3]);
    lo = strchr(hex, s[4]);
    if (!hi || !lo) return false;
    *byte = (uint8_t)((hi - hex) << 4 | (lo - hex));
    return true;
}

static gem_status fill_bytes(struct gem_tokenizer *t, const char *name, gem_error *err)
{
    for (int i = 0; i < 256; i++) t->byte_id[i] = GEM_SYMBOL_NONE;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const char *s = gem_piece_text(t, id, &n);
        uint8_t byte;
        if (t->kind[id] != GEM_PIECE_BYTE) continue;
        if (!gem_byte_piece(s, n, &byte))
            return gem_fail(err, GEM_E_FORMAT, 0, "%s: byte piece %u is not spelled like \"<0x41>\"", name, id);
        t->byte_id[byte] = id;
    }
    for (int i = 0; i < 256; i++)
        if (t->byte_id[i] == GEM_SYMBOL_NONE)
            return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: byte piece <0x%02X> is missing", name, i);
    return GEM_OK;
}

/* ---- code point -> symbol ------------------------------------------------------------------------------ */

/* The code point that a piece is, where it is just one that text can give. */
static bool single(const struct gem_tokenizer *t, uint32_t id, uint32_t *cp)
{
    size_t n;
    const char *s = gem_piece_text(t, id, &n);

    return gem_piece_merges(t, id) && gem_utf8_decode(s, n, cp) == n;
}

static gem_status fill_symbols(struct gem_tokenizer *t, const char *name, gem_error *err)
{
    uint32_t n_pages = 1, cp;

    for (uint32_t id = 0; id < t->n_vocab; id++)
        if (single(t, id, &cp) && !t->page_of[cp >> 8]) t->page_of[cp >> 8] = (uint16_t)n_pages++;
    t->pages = gem_calloc(n_pages, 256 * sizeof *t->pages, "the vocabulary", err);
    if (!t->pages) return GEM_E_NOMEM;
    for (size_t i = 0; i < (size_t)n_pages << 8; i++) t->pages[i] = GEM_SYMBOL_NONE;
    for (uint32_t id = 0; id < t->n_vocab; id++)
        if (single(t, id, &cp)) t->pages[(size_t)t->page_of[cp >> 8] << 8 | (cp & 0xff)] = id;
    if (gem_symbol_of(t, 0x2581) == GEM_SYMBOL_NONE)
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: no piece for U+2581, which stands for the space", name);
    for (cp = 0; cp < 128; cp++) {
        const uint32_t symbol = gem_symbol_of(t, cp == ' ' ? 0x2581 : cp);
        t->ascii[cp] = symbol == GEM_SYMBOL_NONE ? t->byte_id[cp] : symbol;
    }
    return GEM_OK;
}

/* ---- pieces found whole -------------------------------------------------------------------------------- */

struct spelling {
    const char *s;
    size_t n;
    uint32_t id;
};

static int by_spelling(const void *a, const void *b)
{
    const struct spelling *x = a, *y = b;
    const int order = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);

    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static gem_status fill_whole(struct gem_tokenizer *t, gem_error *err)
{
    struct spelling *list;
    uint32_t n = 0;

    for (uint32_t id = 0; id < t->n_vocab; id++) n += t->kind[id] >= GEM_PIECE_USER;
    t->whole = gem_calloc(n, sizeof *t->whole, "the control tokens", err);
    list = gem_calloc(n, sizeof *list, "the control tokens", err);
    if (!t->whole || !list) {
        gem_free(list);
        return GEM_E_NOMEM;
    }
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        if (t->kind[id] < GEM_PIECE_USER) continue;
        t->has_user |= t->kind[id] == GEM_PIECE_USER;
        list[t->n_whole].s = gem_piece_text(t, id, &list[t->n_whole].n);
        list[t->n_whole++].id = id;
    }
    qsort(list, n, sizeof *list, by_spelling);
    for (uint32_t i = 0; i < n; i++) {
        t->whole[i] = list[i].id;
        t->whole_from[(uint8_t)list[i].s[0] + 1] = i + 1;
    }
    for (int c = 1; c <= 256; c++) /* first bytes that none begins with */
        if (t->whole_from[c] < t->whole_from[c - 1]) t->whole_from[c] = t->whole_from[c - 1];
    gem_free(list);
    return GEM_OK;
}

/* The first of whole[lo, hi), which agree on `depth` bytes, whose next byte is not below c. */
static uint32_t narrow(const struct gem_tokenizer *t, uint32_t lo, uint32_t hi, size_t depth, unsigned c)
{
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        size_t n;
        const char *s = gem_piece_text(t, t->whole[mid], &n);
        if (n <= depth || (uint8_t)s[depth] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint32_t gem_vocabulary_whole(const struct gem_tokenizer *t, const char *s, size_t n, bool control)
{
    uint32_t lo = t->whole_from[(uint8_t)s[0]], hi = t->whole_from[(uint8_t)s[0] + 1], found = GEM_SYMBOL_NONE;

    for (size_t depth = 1; lo < hi; depth++) {
        const uint32_t id = t->whole[lo]; /* the shortest that goes on like this comes first */
        size_t len;
        gem_piece_text(t, id, &len);
        if (len == depth && (control || t->kind[id] == GEM_PIECE_USER)) found = id;
        if (depth == n) break;
        lo = narrow(t, lo, hi, depth, (uint8_t)s[depth]);
        hi = narrow(t, lo, hi, depth, (uint8_t)s[depth] + 1u);
    }
    return found;
}

gem_status gem_vocabulary_fill(struct gem_tokenizer *t, const char *name, const struct gem_piece *pieces, uint32_t n,
                               gem_error *err)
{
    gem_status st;

    if ((st = copy_pieces(t, name, pieces, n, err))) return st;
    if ((st = fill_slots(t, name, pieces, err))) return st;
    if ((st = fill_bytes(t, name, err))) return st;
    if ((st = fill_symbols(t, name, err))) return st;
    return fill_whole(t, err);
}

/* ---- rules --------------------------------------------------------------------------------------------- */

static unsigned bits_for(size_t n)
{
    unsigned bits = 6;

    while ((UINT64_C(1) << bits) < n) bits++;
    return bits;
}

gem_status gem_rules_open(struct gem_tokenizer *t, size_t n_pairs, uint32_t n_rules, gem_error *err)
{
    t->n_rules = n_rules;
    t->pair_bits = bits_for(n_pairs + n_pairs / 2); /* at most two thirds full: lookups end at an empty slot */
    t->joint_bits = bits_for(n_pairs * 2);          /* Gemma's 514,906 pairs have 33,695 joints: one bit in 31 */
    t->pairs = gem_calloc((size_t)1 << t->pair_bits, sizeof *t->pairs, "the merges", err);
    t->joints = gem_calloc((size_t)1 << (t->joint_bits - 6), sizeof *t->joints, "the merges", err);
    t->filter = gem_calloc((size_t)1 << (t->pair_bits + 2 - 6), sizeof *t->filter, "the merges", err);
    return t->pairs && t->joints && t->filter ? GEM_OK : GEM_E_NOMEM;
}

static void add_joint(struct gem_tokenizer *t, uint32_t left, uint32_t right)
{
    size_t n_left, n_right;
    const char *l = gem_piece_text(t, left, &n_left), *r = gem_piece_text(t, right, &n_right);
    const uint32_t last = gem_symbol_of(t, gem_utf8_last(l, n_left));
    uint32_t cp, first;
    uint64_t h;

    gem_utf8_decode(r, n_right, &cp);
    first = gem_symbol_of(t, cp);
    if (last == GEM_SYMBOL_NONE || first == GEM_SYMBOL_NONE) return; /* text becomes bytes there: never made */
    h = gem_joint_hash(t, last, first);
    t->joints[h >> 6] |= UINT64_C(1) << (h & 63);
}

bool gem_rules_add(struct gem_tokenizer *t, uint32_t left, uint32_t right, uint32_t rule)
{
    const uint64_t entry = UINT64_C(1) << 63 | (uint64_t)left << 42 | (uint64_t)right << 22 | rule;
    const uint64_t mask = (UINT64_C(1) << t->pair_bits) - 1;
    const uint64_t hash = gem_pair_hash(left, right), bit = gem_filter_bit(t, hash);
    uint64_t i = hash >> (64 - t->pair_bits);

    for (int probes = 0; probes < MAX_PROBES; probes++, i = (i + 1) & mask) {
        if (t->pairs[i] >> 22 == entry >> 22) return false;
        if (t->pairs[i]) continue;
        t->pairs[i] = entry;
        t->filter[bit >> 6] |= UINT64_C(1) << (bit & 63);
        add_joint(t, left, right);
        return true;
    }
    return false;
}

/* ---- the interface's small functions ------------------------------------------------------------------- */

void gem_tokenizer_close(struct gem_tokenizer *t)
{
    if (!t) return;
    gem_free(t->text);
    gem_free(t->begin);
    gem_free(t->kind);
    gem_free(t->slots);
    gem_free(t->pages);
    gem_free(t->whole);
    gem_free(t->pairs);
    gem_free(t->filter);
    gem_free(t->merged);
    gem_free(t->priority);
    gem_free(t->joints);
    gem_free(t);
}

uint32_t gem_tokenizer_vocab(const struct gem_tokenizer *t) { return t->n_vocab; }

const char *gem_tokenizer_piece(const struct gem_tokenizer *t, int32_t id, size_t *n)
{
    *n = 0;
    if (id < 0 || (uint32_t)id >= t->n_vocab || t->kind[id] == GEM_PIECE_UNUSED) return NULL;
    return gem_piece_text(t, (uint32_t)id, n);
}

int32_t gem_tokenizer_find(const struct gem_tokenizer *t, const char *piece, size_t n)
{
    return (int32_t)find(t, piece, n); /* GEM_SYMBOL_NONE becomes -1 */
}

bool gem_tokenizer_is_control(const struct gem_tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->n_vocab && t->kind[id] == GEM_PIECE_CONTROL;
}

uint64_t gem_tokenizer_bytes(const struct gem_tokenizer *t)
{
    uint64_t n_pages = 1;

    if (!t) return 0;
    for (size_t i = 0; i < sizeof t->page_of / sizeof *t->page_of; i++)
        if (t->page_of[i] >= n_pages) n_pages = t->page_of[i] + UINT64_C(1);
    return sizeof *t + t->begin[t->n_vocab] + 5 * (uint64_t)t->n_vocab + 4 * ((uint64_t)t->slot_mask + 1) +
           1024 * n_pages + 4 * (uint64_t)t->n_whole + (UINT64_C(8) << t->pair_bits) +
           (UINT64_C(1) << t->pair_bits >> 1) + (UINT64_C(1) << t->joint_bits >> 3) +
           (t->merged ? 4 * (uint64_t)t->n_rules : 0) + (t->priority ? 4 * (uint64_t)t->n_rules : 0);
}
