/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/constraint_stdin.c - constraints for programs in other languages (tools/lab/judge_schema.py and its like).
 *   constraint_stdin TOKENIZER        tokenizer.json or GGUF
 * Reads one JSON object a line, writes one a line. What the text may be:
 *   "schema", "regex", "grammar" or "tools": its text; "single", "thought", "compact": booleans
 *
 * What to do, and what comes back beside "compile_us" (or "error" and "status"):
 *
 *   "do": "generate", "seed", "budget", "stop", "no_forced"      "text", "tokens", "least", "forced", "mask_us"
 *
 *   "do": "accepts", "texts": [...]                             "accepts": [...]
 *
 *   "do": "walk", "ids": [...]                                  "masks": [...] in hexadecimal, "done": [...]
 */
#include "generate/answer.h"
#include "generate/constraint.h"
#include "generate/schema.h"
#include "unit/tokenizer_open.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <yyjson.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static uint64_t next_random(uint64_t *seed)
{
    uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static const char *text_of(yyjson_val *request, const char *key, size_t *n)
{
    yyjson_val *v = yyjson_obj_get(request, key);

    *n = yyjson_get_len(v);
    return yyjson_get_str(v);
}

static gem_status compile(struct gem_constraint **c, yyjson_val *request, const struct gem_trie *trie, gem_error *err)
{
    const struct gem_schema_options options = {.compact = yyjson_get_bool(yyjson_obj_get(request, "compact"))};
    struct gem_grammar g;
    size_t n;
    const char *s;
    gem_status st;

    *c = NULL;
    if ((st = gem_grammar_open(&g, err))) return st;
    if ((s = text_of(request, "schema", &n))) {
        gem_schema_parse(&g, &options, s, n);
    } else if ((s = text_of(request, "regex", &n))) {
        g.root = gem_rule_new(&g, "root", 4, false);
        gem_rule_set(&g, g.root, gem_regex_parse(&g, GEM_SPELL_PLAIN, false, "the regular expression", s, n));
    } else if ((s = text_of(request, "grammar", &n))) {
        gem_gbnf_parse(&g, s, n);
    } else if ((s = text_of(request, "tools", &n))) {
        const gem_tool_options tools = {.choice = GEM_TOOL_REQUIRED,
                                        .single = yyjson_get_bool(yyjson_obj_get(request, "single"))};
        gem_answer_with_tools(&g, trie->tokenizer, s, n, &tools);
    } else {
        gem_grammar_fail(&g, GEM_E_ARGUMENT, 0, "no schema, regex or grammar");
    }
    if (yyjson_get_bool(yyjson_obj_get(request, "thought")))
        gem_answer_after_thought(&g, trie->tokenizer, GEM_THOUGHT_OPTIONAL);
    st = g.status ? g.status : gem_constraint_open(c, &g, trie, err);
    gem_grammar_close(&g);
    return st;
}

/* A token as a model with random logits would draw it: uniform among the allowed, or from few of them, since uniform
 * draws hardly ever end a string. */
static int32_t draw(const struct gem_matcher *m, uint64_t *seed)
{
    const uint32_t n_words = m->constraint->trie->n_words;
    uint64_t k = next_random(seed) % m->n_allowed;

    for (uint32_t i = 0; i < n_words; i++) {
        uint64_t w = m->bits[i];
        const unsigned n = (unsigned)__builtin_popcountll(w);
        if (k >= n) {
            k -= n;
            continue;
        }
        for (; k > 0; k--) w &= w - 1;
        return (int32_t)(i * 64 + (unsigned)__builtin_ctzll(w));
    }
    return -1;
}

struct answer {
    int32_t *tokens;
    size_t n, n_forced, cap;
    double *mask_us;
    size_t n_masks;
};

static gem_status generate(struct gem_matcher *m, yyjson_val *request, struct answer *a, gem_error *err)
{
    uint64_t seed = yyjson_get_uint(yyjson_obj_get(request, "seed"));
    const double stop = yyjson_get_real(yyjson_obj_get(request, "stop"));
    const bool no_forced = yyjson_get_bool(yyjson_obj_get(request, "no_forced"));
    gem_status st;

    while (!gem_matcher_finished(m)) {
        const size_t budget = a->cap - a->n;
        int32_t forced[64];
        size_t n = 0;
        double began;
        if (gem_matcher_done(m) && (budget == 0 || (double)(next_random(&seed) >> 11) * 0x1p-53 < stop)) break;
        if (!no_forced && (st = gem_matcher_find_forced(m, budget, forced, 64, &n, err))) return st;
        for (size_t i = 0; i < n; i++) {
            if ((st = gem_matcher_take(m, forced[i], err))) return st;
            a->tokens[a->n++] = forced[i];
        }
        a->n_forced += n;
        if (n > 0) continue;
        began = now();
        st = gem_matcher_find_mask(m, budget, err);
        a->mask_us[a->n_masks++] = now() - began;
        if (st) return st;
        if (m->n_allowed == 0) {
            if (gem_matcher_done(m)) break;
            return gem_fail(err, GEM_E_LIMIT, 0, "no token is allowed");
        }
        a->tokens[a->n] = draw(m, &seed);
        if ((st = gem_matcher_take(m, a->tokens[a->n++], err))) return st;
    }
    return gem_matcher_done(m) ? GEM_OK : gem_fail(err, GEM_E_LIMIT, 0, "the budget ended before the text");
}

static gem_status do_generate(struct gem_constraint *c, yyjson_val *request, yyjson_mut_doc *out, gem_error *err)
{
    yyjson_mut_val *root = yyjson_mut_doc_get_root(out), *list = yyjson_mut_arr(out), *ids = yyjson_mut_arr(out);
    const struct gem_trie *trie = c->trie;
    struct answer a = {.cap = yyjson_get_uint(yyjson_obj_get(request, "budget"))};
    struct gem_matcher *m;
    char *text;
    size_t n_text = 0, cap_text;
    gem_status st;

    a.tokens = calloc(a.cap + 1, sizeof *a.tokens);
    a.mask_us = calloc(a.cap + 1, sizeof *a.mask_us);
    if ((st = gem_matcher_begin(&m, c, err))) return st;
    yyjson_mut_obj_add_uint(out, root, "least", gem_matcher_find_least(m));
    st = generate(m, request, &a, err);
    cap_text = a.n * 256 + 1;
    text = malloc(cap_text);
    for (size_t i = 0; i < a.n; i++) {
        size_t n;
        const uint8_t *s = gem_trie_bytes(trie, a.tokens[i], &n);
        if (gem_tokenizer_is_control(trie->tokenizer, a.tokens[i]))
            s = (const uint8_t *)gem_tokenizer_piece(trie->tokenizer, a.tokens[i], &n);
        memcpy(text + n_text, s, n);
        n_text += n;
    }
    yyjson_mut_obj_add_strncpy(out, root, "text", text, n_text);
    yyjson_mut_obj_add_uint(out, root, "tokens", a.n);
    for (size_t i = 0; i < a.n; i++) yyjson_mut_arr_add_int(out, ids, a.tokens[i]);
    yyjson_mut_obj_add_val(out, root, "ids", ids);
    yyjson_mut_obj_add_uint(out, root, "forced", a.n_forced);
    for (size_t i = 0; i < a.n_masks; i++) yyjson_mut_arr_add_real(out, list, a.mask_us[i]);
    yyjson_mut_obj_add_val(out, root, "mask_us", list);
    free(text);
    free(a.tokens);
    free(a.mask_us);
    gem_matcher_end(m);
    return st;
}

static gem_status do_accepts(struct gem_constraint *c, yyjson_val *request, yyjson_mut_doc *out, gem_error *err)
{
    yyjson_mut_val *list = yyjson_mut_arr(out);
    yyjson_val *texts = yyjson_obj_get(request, "texts"), *text;
    yyjson_arr_iter it = yyjson_arr_iter_with(texts);
    struct gem_matcher *m;
    gem_status st;

    if ((st = gem_matcher_begin(&m, c, err))) return st;
    while (!st && (text = yyjson_arr_iter_next(&it))) {
        bool ok;
        gem_matcher_reset(m);
        st = gem_matcher_take_bytes(m, yyjson_get_str(text), yyjson_get_len(text), &ok, err);
        yyjson_mut_arr_add_bool(out, list, ok && gem_matcher_done(m));
    }
    gem_matcher_end(m);
    yyjson_mut_obj_add_val(out, yyjson_mut_doc_get_root(out), "accepts", list);
    return st;
}

/* Masks on the way along tokens, as hexadecimal digits of their 64-bit words, and whether the text may end there. */
static gem_status do_walk(struct gem_constraint *c, yyjson_val *request, yyjson_mut_doc *out, gem_error *err)
{
    yyjson_mut_val *list = yyjson_mut_arr(out), *done = yyjson_mut_arr(out);
    yyjson_val *ids = yyjson_obj_get(request, "ids");
    const uint32_t n_words = c->trie->n_words;
    char *hex = malloc((size_t)n_words * 16 + 1);
    struct gem_matcher *m;
    gem_status st;

    if ((st = gem_matcher_begin(&m, c, err))) return st;
    for (size_t i = 0; i <= yyjson_arr_size(ids) && !st; i++) {
        if (i > 0) st = gem_matcher_take(m, (int32_t)yyjson_get_int(yyjson_arr_get(ids, i - 1)), err);
        if (!st) st = gem_matcher_find_mask(m, SIZE_MAX, err);
        for (uint32_t k = 0; k < n_words; k++)
            snprintf(hex + (size_t)k * 16, 17, "%016llx", (unsigned long long)m->bits[k]);
        yyjson_mut_arr_add_strcpy(out, list, hex);
        yyjson_mut_arr_add_bool(out, done, gem_matcher_done(m));
    }
    gem_matcher_end(m);
    free(hex);
    yyjson_mut_obj_add_val(out, yyjson_mut_doc_get_root(out), "masks", list);
    yyjson_mut_obj_add_val(out, yyjson_mut_doc_get_root(out), "done", done);
    return st;
}

static gem_status serve(yyjson_val *request, yyjson_mut_doc *out, const struct gem_trie *trie, gem_error *err)
{
    const char *what = yyjson_get_str(yyjson_obj_get(request, "do"));
    const double began = now();
    struct gem_constraint *c;
    gem_status st;

    if ((st = compile(&c, request, trie, err))) return st;
    yyjson_mut_obj_add_real(out, yyjson_mut_doc_get_root(out), "compile_us", now() - began);
    yyjson_mut_obj_add_uint(out, yyjson_mut_doc_get_root(out), "nodes", c->automaton.n_nodes);
    if (what && !strcmp(what, "generate"))
        st = do_generate(c, request, out, err);
    else if (what && !strcmp(what, "accepts"))
        st = do_accepts(c, request, out, err);
    else if (what && !strcmp(what, "walk"))
        st = do_walk(c, request, out, err);
    yyjson_mut_obj_add_uint(out, yyjson_mut_doc_get_root(out), "states", c->states.n_states);
    yyjson_mut_obj_add_uint(out, yyjson_mut_doc_get_root(out), "configs", c->n_configs);
    gem_constraint_close_parts(c);
    return st;
}

int main(int argc, char **argv)
{
    struct gem_tokenizer *t = NULL;
    struct gem_trie *trie = NULL;
    gem_error err = {0};
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    double began;

    if (argc < 2 || tokenizer_open(&t, argv[1], &err)) {
        fprintf(stderr, "%s\n", argc < 2 ? "usage: constraint_stdin TOKENIZER" : err.message);
        return 1;
    }
    began = now();
    if (gem_trie_open(&trie, t, &err)) return 1;
    fprintf(stderr, "tree: %.0f us, %u nodes, %u not plain (%u tokens), longest %u\n", now() - began, trie->all.n_nodes,
            trie->not_plain.n_nodes, trie->not_plain.nodes[trie->not_plain.n_nodes].first, trie->most_plain);
    while ((n = getline(&line, &cap, stdin)) > 0) {
        yyjson_doc *doc = yyjson_read(line, (size_t)n, 0);
        yyjson_mut_doc *out = yyjson_mut_doc_new(NULL);
        char *json;
        yyjson_mut_doc_set_root(out, yyjson_mut_obj(out));
        if (serve(yyjson_doc_get_root(doc), out, trie, &err)) {
            yyjson_mut_obj_add_strcpy(out, yyjson_mut_doc_get_root(out), "error", err.message);
            yyjson_mut_obj_add_strcpy(out, yyjson_mut_doc_get_root(out), "status", gem_status_name(err.code));
        }
        json = yyjson_mut_write(out, YYJSON_WRITE_ALLOW_INVALID_UNICODE, NULL);
        puts(json ? json : "{\"error\": \"writing\"}");
        fflush(stdout);
        free(json);
        yyjson_mut_doc_free(out);
        yyjson_doc_free(doc);
    }
    free(line);
    gem_trie_close(trie);
    gem_tokenizer_close(t);
    return 0;
}
