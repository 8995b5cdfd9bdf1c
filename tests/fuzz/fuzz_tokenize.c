/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/fuzz_tokenize.c - any text through a small vocabulary whose merges come in any order, or whose scores
 * have many ties. Input: a byte of flags, a byte and two more that seed the order, then the text. */
#include "tokenizer_walk.h"

#include "base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MARK "\xe2\x96\x81"

static const char *const normal[] = {
    MARK,
    "a",
    "b",
    "e",
    "t",
    "h",
    "<",
    ">",
    "/",
    "|",
    "\n",
    "\xc3\xa9",
    "\xe6\xbc\xa2",
    "aa",
    "aaa",
    "ab",
    "ba",
    "th",
    "the",
    "he",
    "abab",
    "aaaaaa",
    "bb",
    "eth",
    "\xc3\xa9\xc3\xa9",
    MARK "t",
    "e" MARK,
    MARK "the",
    MARK MARK,
    MARK MARK MARK MARK,
    ">" MARK "<",
    ">" MARK,
    "the" MARK,
    "\n\n\n",
    "aaaa",
    "<|",
    "|>",
    "a\xe6\xbc\xa2",
    "bab",
    "tt",
    "ttt",
    "tttt",
    "hh",
    "\xe6\xbc\xa2\xe6\xbc\xa2",
};
static const char *const user[] = {"\n\n", "<t>", "<th", "  "};
static const char *const control[] = {"<eos>", "<|turn>", "<a|>", "<a"};

#define COUNT(a) (sizeof(a) / sizeof *(a))
enum { N = 256 + COUNT(normal) + COUNT(user) + COUNT(control) };

static void fill(struct gem_tokenizer *t)
{
    static const struct {
        const char *const *list;
        size_t n;
        enum gem_piece_kind kind;
    } parts[] = {{normal, COUNT(normal), GEM_PIECE_NORMAL},
                 {user, COUNT(user), GEM_PIECE_USER},
                 {control, COUNT(control), GEM_PIECE_CONTROL}};
    struct gem_piece pieces[N];
    char bytes[256][7];
    uint32_t at = 256;

    for (uint32_t i = 0; i < 256; i++) {
        static const char hex[] = "0123456789ABCDEF";
        const char byte[7] = {'<', '0', 'x', hex[i >> 4], hex[i & 15], '>'};
        memcpy(bytes[i], byte, sizeof byte);
        pieces[i] = (struct gem_piece){.s = bytes[i], .n = 6, .kind = GEM_PIECE_BYTE};
    }
    for (size_t k = 0; k < COUNT(parts); k++)
        for (size_t i = 0; i < parts[k].n; i++)
            pieces[at++] = (struct gem_piece){
                .s = parts[k].list[i], .n = (uint32_t)strlen(parts[k].list[i]), .kind = parts[k].kind};
    WALK_EXPECT(!gem_vocabulary_fill(t, "fuzz", pieces, N, NULL));
}

static uint32_t next(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)*seed * below >> 32);
}

static void score(struct gem_tokenizer *t, uint32_t seed)
{
    float scores[N];

    for (size_t i = 0; i < N; i++) scores[i] = (float)next(&seed, 12);
    WALK_EXPECT(!gem_rules_from_scores(t, "fuzz", scores, NULL));
}

/* All ways to make a piece of two others, shuffled. */
static void list_merges(struct gem_tokenizer *t, uint32_t seed)
{
    struct {
        const char *s;
        size_t n, cut;
    } cuts[512], swap;
    uint32_t n_cuts = 0;

    for (uint32_t id = 256; id < 256 + COUNT(normal); id++) {
        size_t n;
        const char *s = gem_piece_text(t, id, &n);
        for (size_t cut = 1; cut < n; cut++) {
            const int32_t l = gem_tokenizer_find(t, s, cut), r = gem_tokenizer_find(t, s + cut, n - cut);
            if (l < 0 || r < 0 || !gem_piece_merges(t, (uint32_t)l) || !gem_piece_merges(t, (uint32_t)r)) continue;
            cuts[n_cuts].s = s;
            cuts[n_cuts].n = n;
            cuts[n_cuts++].cut = cut;
        }
    }
    for (uint32_t i = n_cuts; i > 1; i--) {
        const uint32_t k = next(&seed, i);
        swap = cuts[k];
        cuts[k] = cuts[i - 1];
        cuts[i - 1] = swap;
    }
    WALK_EXPECT(!gem_merges_open(t, "fuzz", n_cuts, NULL));
    for (uint32_t i = 0; i < n_cuts; i++)
        WALK_EXPECT(!gem_merges_add(t, "fuzz", 0, i, cuts[i].s, cuts[i].cut, cuts[i].s + cuts[i].cut,
                                    cuts[i].n - cuts[i].cut, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gem_tokenizer *t;
    uint32_t seed;

    if (n < 4) return 0;
    t = gem_calloc(1, sizeof *t, "a tokenizer", NULL);
    WALK_EXPECT(t);
    fill(t);
    seed = (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
    if (data[0] & 1)
        score(t, seed);
    else
        list_merges(t, seed);
    t->space_prefix = data[0] & 2;
    walk_text(t, (const char *)data + 4, n - 4 < 600 ? n - 4 : 600, data[0] & 4);
    gem_tokenizer_close(t);
    return 0;
}
