/* SPDX-License-Identifier: Apache-2.0
 * src/engine/constraint.c - constraints of gemmule.h. */
#include "engine/internal.h"

#include "base/memory.h"

/* The vocabulary's tree, made when it is first wanted. */
gem_status gem_model_trie(const gem_model *model, const struct gem_trie **out, gem_error *err)
{
    struct gem_model_shared *shared = model->shared;
    gem_status st = GEM_OK;

    *out = NULL;
    if (!model->tokenizer)
        return gem_fail(err, model->no_tokenizer.code ? model->no_tokenizer.code : GEM_E_UNSUPPORTED, 0,
                        "a constraint needs the tokenizer: %s",
                        model->no_tokenizer.code ? model->no_tokenizer.message : "the model has none");
    pthread_mutex_lock(&shared->mutex);
    if (!shared->trie) st = gem_trie_open(&shared->trie, model->tokenizer, err);
    *out = shared->trie;
    pthread_mutex_unlock(&shared->mutex);
    return st;
}

/* Closes the grammar. */
static gem_status compile(gem_constraint **out, const gem_model *model, struct gem_grammar *g,
                          const gem_constraint_options *options, gem_error *err)
{
    const struct gem_trie *trie;
    gem_status st = gem_model_trie(model, &trie, err);

    if (!st && options) st = gem_answer_after_thought(g, model->tokenizer, options->thought);
    if (!st) st = gem_grammar_status(g);
    if (!st) st = gem_constraint_open(out, g, trie, err);
    if (!st && (model->h.vocab + 63) / 64 > trie->n_words) (*out)->mask_words = (model->h.vocab + 63) / 64;
    gem_grammar_close(g);
    return st;
}

gem_status gem_constraint_open_schema(gem_constraint **out, const gem_model *model, const char *schema, size_t n_bytes,
                                      const gem_constraint_options *options, gem_error *err)
{
    const struct gem_schema_options o = {.compact = options && options->compact};
    struct gem_grammar g;
    gem_status st = gem_grammar_open(&g, err);

    *out = NULL;
    if (!st) st = gem_schema_parse(&g, &o, schema, n_bytes);
    if (!st) return compile(out, model, &g, options, err);
    gem_grammar_close(&g);
    return st;
}

gem_status gem_constraint_open_regex(gem_constraint **out, const gem_model *model, const char *pattern, size_t n_bytes,
                                     const gem_constraint_options *options, gem_error *err)
{
    struct gem_grammar g;

    *out = NULL;
    if (!gem_grammar_open(&g, err)) {
        g.root = gem_rule_new(&g, "root", 4, false);
        gem_rule_set(&g, g.root,
                     gem_regex_parse(&g, GEM_SPELL_PLAIN, false, "the regular expression", pattern, n_bytes));
    }
    if (!gem_grammar_status(&g)) return compile(out, model, &g, options, err);
    {
        const gem_status st = gem_grammar_status(&g);
        gem_grammar_close(&g);
        return st;
    }
}

gem_status gem_constraint_open_grammar(gem_constraint **out, const gem_model *model, const char *grammar,
                                       size_t n_bytes, const gem_constraint_options *options, gem_error *err)
{
    struct gem_grammar g;
    gem_status st = gem_grammar_open(&g, err);

    *out = NULL;
    if (!st) st = gem_gbnf_parse(&g, grammar, n_bytes);
    if (!st) return compile(out, model, &g, options, err);
    gem_grammar_close(&g);
    return st;
}

gem_status gem_constraint_open_tools(gem_constraint **out, const gem_model *model, const char *tools, size_t n_bytes,
                                     const gem_tool_options *tool_options, const gem_constraint_options *options,
                                     gem_error *err)
{
    const gem_tool_options automatic = {.choice = GEM_TOOL_AUTO};
    const struct gem_trie *trie;
    struct gem_grammar g = {0};
    gem_status st;

    *out = NULL;
    if ((st = gem_model_trie(model, &trie, err))) return st; /* before its vocabulary is asked */
    if (!(st = gem_grammar_open(&g, err)))
        st = gem_answer_with_tools(&g, model->tokenizer, tools, n_bytes, tool_options ? tool_options : &automatic);
    if (!st) return compile(out, model, &g, options, err);
    gem_grammar_close(&g);
    return st;
}

void gem_constraint_close(gem_constraint *constraint) { gem_constraint_close_parts(constraint); }

/* ---- matchers ------------------------------------------------------------------------------------------ */

gem_status gem_matcher_open(gem_matcher **out, gem_constraint *constraint, gem_error *err)
{
    return gem_matcher_begin(out, constraint, err);
}

void gem_matcher_close(gem_matcher *matcher) { gem_matcher_end(matcher); }

gem_status gem_matcher_mask(gem_matcher *matcher, size_t budget, const uint64_t **allowed, size_t *n_allowed,
                            bool *may_end, gem_error *err)
{
    const gem_status st = gem_matcher_find_mask(matcher, budget, err);

    *allowed = matcher->bits;
    *n_allowed = st ? 0 : matcher->n_allowed;
    *may_end = gem_matcher_done(matcher);
    return st;
}

gem_status gem_matcher_forced(gem_matcher *matcher, size_t budget, int32_t *tokens, size_t cap, size_t *n_tokens,
                              gem_error *err)
{
    return gem_matcher_find_forced(matcher, budget, tokens, cap, n_tokens, err);
}

gem_status gem_matcher_accept(gem_matcher *matcher, int32_t token, gem_error *err)
{
    return gem_matcher_take(matcher, token, err);
}

size_t gem_matcher_least(const gem_matcher *matcher) { return gem_matcher_find_least(matcher); }
