/* SPDX-License-Identifier: Apache-2.0
 * src/generate/text.h - text and patterns as expressions, plain or as the inside of a JSON string.
 *
 * In a JSON string each character of a pattern has one spelling: itself, or the shortest escape where JSON wants one
 * (\" \\ \b \f \n \r \t, \u001f). */
#ifndef GEM_GENERATE_TEXT_H
#define GEM_GENERATE_TEXT_H

#include "generate/grammar.h"

enum gem_spelling {
    GEM_SPELL_PLAIN,
    GEM_SPELL_JSON, /* inside of a JSON string */
};

/* One of these characters; ranges in any order. */
uint32_t gem_text_chars(struct gem_grammar *g, enum gem_spelling how, const struct gem_char_range *ranges, size_t n,
                        bool negated);
uint32_t gem_text_any(struct gem_grammar *g, enum gem_spelling how); /* any one character */
/* Exactly this text, which is UTF-8. */
uint32_t gem_text_literal(struct gem_grammar *g, enum gem_spelling how, const char *s, size_t n);

/* A regular expression as ECMA-262 writes them, without what is not regular: look-around, back references, word
 * boundaries. Classes \d \w \s are those of ECMA-262. Anchors may stand where text begins or ends.
 *   search  true: somewhere in the text (JSON Schema's `pattern`); false: the text as a whole
 *   where   begins messages: "/properties/name/pattern", "the regular expression" */
uint32_t gem_regex_parse(struct gem_grammar *g, enum gem_spelling how, bool search, const char *where, const char *s,
                         size_t n);

/* A grammar in GBNF, whose first rule is "root". Sets g->root. */
gem_status gem_gbnf_parse(struct gem_grammar *g, const char *s, size_t n);

/* Digits: integers between two bounds, with no leading zeros. Bounds are decimal as JSON writes them, NULL: none. */
struct gem_number_bounds {
    const char *least, *most;
    bool above, below; /* the bound itself does not count */
    uint64_t multiple; /* of integers; 0 or 1: any */
};
uint32_t gem_number_integer(struct gem_grammar *g, const struct gem_number_bounds *b, const char *where);
/* Numbers as JSON writes them; bounded ones have no exponent. */
uint32_t gem_number_any(struct gem_grammar *g, const struct gem_number_bounds *b, const char *where);

#endif
