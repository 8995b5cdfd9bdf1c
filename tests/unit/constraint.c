/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/constraint.c - which texts constraints take, and masks against trying every token. The tokenizer is that
 * of the small reference model: 1,024 pieces with all control tokens. */
#include "generate/answer.h"
#include "generate/constraint.h"
#include "unit/check.h"
#include "unit/tokenizer_open.h"

#include "base/memory.h"

#include <time.h>

/* Hostile input may take this much of a processor; sanitizers run many times slower. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || defined(SANITIZED)
enum { SECONDS = 60 };
#else
enum { SECONDS = 5 };
#endif

static struct gem_tokenizer *tokenizer;
static struct gem_trie *trie;

enum kind { REGEX, GBNF, SCHEMA, COMPACT, TOOLS, TOOLS_ALL, TOOLS_ONE, THOUGHT };

static gem_status compile(struct gem_constraint **c, enum kind kind, const char *s, size_t n, gem_error *err)
{
    const struct gem_schema_options options = {.compact = kind != SCHEMA};
    const gem_tool_options tools = {.choice = kind == TOOLS ? GEM_TOOL_AUTO : GEM_TOOL_REQUIRED,
                                    .name = kind == TOOLS_ONE ? "get" : NULL,
                                    .n_name = 3,
                                    .single = kind == TOOLS_ONE};
    struct gem_grammar g;
    gem_status st;

    *c = NULL;
    if ((st = gem_grammar_open(&g, err))) return st;
    if (kind == GBNF) {
        gem_gbnf_parse(&g, s, n);
    } else if (kind == SCHEMA || kind == COMPACT) {
        gem_schema_parse(&g, &options, s, n);
    } else if (kind >= TOOLS && kind <= TOOLS_ONE) {
        gem_answer_with_tools(&g, tokenizer, s, n, &tools);
    } else {
        g.root = gem_rule_new(&g, "root", 4, false);
        gem_rule_set(&g, g.root, gem_regex_parse(&g, GEM_SPELL_PLAIN, false, "pattern", s, n));
        if (kind == THOUGHT) gem_answer_after_thought(&g, tokenizer, GEM_THOUGHT_OPTIONAL);
    }
    st = g.status ? g.status : gem_constraint_open(c, &g, trie, err);
    gem_grammar_close(&g);
    return st;
}

/* Control tokens in a text are written by name; the matcher gets them as tokens. */
static bool accepts(struct gem_constraint *c, const char *text)
{
    int32_t ids[512];
    size_t n_ids;
    struct gem_matcher *m;
    bool ok = true;

    CHECK_EQ(gem_tokenizer_encode(tokenizer, text, strlen(text), true, ids, 512, &n_ids, NULL), GEM_OK);
    CHECK(n_ids <= 512);
    CHECK_EQ(gem_matcher_begin(&m, c, NULL), GEM_OK);
    for (size_t i = 0; i < n_ids && ok; i++) {
        gem_error err;
        ok = gem_matcher_take(m, ids[i], &err) == GEM_OK;
    }
    ok = ok && gem_matcher_done(m);
    gem_matcher_end(m);
    return ok;
}

struct language {
    enum kind kind;
    const char *source;
    const char *in[8], *out[12];
};

static void check_languages(const struct language *l, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        gem_error err = {0};
        struct gem_constraint *c;
        if (compile(&c, l[i].kind, l[i].source, strlen(l[i].source), &err)) {
            printf("%s: %s\n", l[i].source, err.message);
            check_failures++;
            continue;
        }
        for (size_t k = 0; k < 8 && l[i].in[k]; k++)
            if (!accepts(c, l[i].in[k])) {
                printf("%s does not take %s\n", l[i].source, l[i].in[k]);
                check_failures++;
            }
        for (size_t k = 0; k < 12 && l[i].out[k]; k++)
            if (accepts(c, l[i].out[k])) {
                printf("%s takes %s\n", l[i].source, l[i].out[k]);
                check_failures++;
            }
        gem_constraint_close_parts(c);
    }
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void test_regex(void)
{
    static const struct language table[] = {
        {REGEX, "abc", {"abc"}, {"", "ab", "abcd", "xabc"}},
        {REGEX, "^abc$", {"abc"}, {"abcd"}},
        {REGEX, "a*", {"", "a", "aaaaaaaaaaaaaaaaa"}, {"b", "ab"}},
        {REGEX, "a+?b{2,3}", {"abb", "aabbb"}, {"ab", "abbbb", "bb"}},
        {REGEX, "(ab|cd)+", {"ab", "cdab"}, {"", "abc"}},
        {REGEX, "(?:a|b)?(?<name>c)", {"c", "ac", "bc"}, {"abc", "a"}},
        {REGEX, "[a-cx]", {"a", "c", "x"}, {"d", "ax"}},
        {REGEX, "[^a-c]", {"d", "\xc3\xa9", "\xe6\xbc\xa2", "\xf0\x9f\x8c\x8a"}, {"a", "b", "dd"}},
        {REGEX, "[\\]\\-^]", {"]", "-", "^"}, {"a", "\\"}},
        {REGEX, ".", {"a", "\xf0\x9f\x8c\x8a"}, {"\n", "", "ab"}},
        {REGEX, "\\d\\D\\w\\W\\s\\S", {"1a_- x"}, {"aa_- x", "11_- x", "1a_a x", "1a_-xx"}},
        {REGEX,
         "\\x41\\u00e9\\u{1F30A}\\ud83c\\udf0a\\t\\.\\/",
         {"A\xc3\xa9\xf0\x9f\x8c\x8a\xf0\x9f\x8c\x8a\t./"},
         {"A"}},
        {REGEX, "a{3}", {"aaa"}, {"aa", "aaaa"}},
        {REGEX, "a{,3}", {"a{,3}"}, {"aaa"}}, /* what is no repetition is text */
        {REGEX, "x{2,}y", {"xxy", "xxxxxxxy"}, {"xy"}},
        {REGEX, "(^a|b)c$", {"ac", "bc"}, {"abc"}},
        {REGEX, "([a-z]{30,90} )*z", {"z", "abcdefghijklmnopqrstuvwxyzabcdefghij z"}, {"abc z"}},
        {REGEX, "(\xc3\xa9|\xc3\xa8){1,200}", {"\xc3\xa9\xc3\xa8"}, {"", "e", "\xc3\xa0"}},
        {REGEX,
         "(a|aa)+(a+)+$",
         {"aa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
         {"a", "aaab"}},
        {REGEX, "[\\u0800-\\uffff]", {"\xe0\xa0\x80", "\xef\xbf\xbd"}, {"\xdf\xbf", "\xf0\x90\x80\x80"}},
    };

    check_languages(table, COUNT(table));
}

static void test_grammar(void)
{
    static const struct language table[] = {
        {GBNF,
         "root ::= \"a\" b? # comment\nb ::= [x-z] | \"q\" | (\"m\"\n \"n\")",
         {"a", "ax", "aq", "amn"},
         {"", "b", "am"}},
        {GBNF, "root ::= \"(\" root \")\" | \"\"", {"", "()", "((()))"}, {"(", "(()", "())"}},
        {GBNF,
         "root ::= e\ne ::= t (\"+\" t)*\nt ::= [0-9]+ | \"(\" e \")\"",
         {"1", "1+2", "(1+(22))+3"},
         {"", "1+", "(1"}},
        {GBNF, "root ::= \"x\" root | \"x\"", {"x", "xxxxxxxxxx"}, {""}},
        {GBNF,
         "root ::= [^\\n\"]{2,3} \"\\x41\" \"\\u00e9\\\"\"",
         {"abA\xc3\xa9\"", "abcA\xc3\xa9\""},
         {"aA\xc3\xa9\""}},
        {GBNF, "root ::=\n  \"a\"\n  | \"b\"\nother ::= root", {"a", "b"}, {"ab"}},
        {GBNF, "root ::= a b\na ::= \"1\"?\nb ::= a a", {"", "1", "111"}, {"1111"}},
        {GBNF, "root ::= .{2}", {"ab", "\xf0\x9f\x8c\x8a\n"}, {"a", "abc"}},
    };

    check_languages(table, COUNT(table));
}

static void test_schema(void)
{
    static const struct language table[] = {
        {COMPACT, "{\"type\":\"integer\"}", {"0", "-0", "17", "-3"}, {"01", "1.0", "1e3", "+1", "\"1\"", ""}},
        {COMPACT, "{\"type\":\"number\"}", {"0", "-1.5", "1e3", "2.5E-7"}, {"01", "1.", ".5", "1e", "NaN"}},
        {COMPACT,
         "{\"minimum\":-12,\"exclusiveMaximum\":105,\"type\":\"integer\"}",
         {"-12", "-9", "0", "9", "99", "100", "104"},
         {"-13", "105", "-20", "1000", "-100"}},
        {COMPACT,
         "{\"type\":\"number\",\"exclusiveMinimum\":0.5,\"maximum\":10.25}",
         {"0.51", "1", "10.25", "10", "9.999", "10.2500"},
         {"0.5", "0.50", "0.4", "10.26", "11", "0", "-1", "10.3"}},
        {COMPACT,
         "{\"type\":\"number\",\"maximum\":-2.5}",
         {"-2.5", "-3", "-2.51", "-100"},
         {"-2.4", "2.5", "0", "-2"}},
        {COMPACT,
         "{\"type\":\"integer\",\"multipleOf\":15,\"minimum\":31}",
         {"45", "60", "1005"},
         {"30", "31", "15", "0", "46"}},
        {COMPACT, "{\"type\":[\"null\",\"boolean\"]}", {"null", "true", "false"}, {"0", "nul"}},
        {COMPACT,
         "{\"enum\":[1,\"a\\\"b\",null,{\"k\":[1.50]}]}",
         {"1", "\"a\\\"b\"", "null", "{\"k\":[1.50]}"},
         {"2", "\"a\"", "{\"k\":[1.5]}"}},
        {COMPACT,
         "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"\xc3\xa9\\n\xf0\x9f\x8c\x8a\"", "\"\\ud83c\\udf0a\\u0041\""},
         {"\"a\"", "\"abcd\"", "\"\\ud83c\\udf0a\"", "\"\\ud83cab\"", "\"a\nb\""}},
        {COMPACT,
         "{\"type\":\"string\",\"pattern\":\"^[a-z]+[\\\"\\n]$\"}",
         {"\"ab\\\"\"", "\"x\\n\""},
         {"\"ab\"", "\"\\n\"", "\"a\n\""}},
        {COMPACT, "{\"type\":\"string\",\"pattern\":\"b.d\"}", {"\"abcde\"", "\"bxd\""}, {"\"abd\"", "\"b\\nd\""}},
        {COMPACT,
         "{\"type\":\"string\",\"pattern\":\"^a*$\",\"maxLength\":3,\"minLength\":2}",
         {"\"aa\"", "\"aaa\""},
         {"\"a\"", "\"aaaa\"", "\"ab\""}},
        {COMPACT,
         "{\"type\":\"string\",\"format\":\"date\"}",
         {"\"2024-02-29\"", "\"1999-12-31\""},
         {"\"2023-02-29\"", "\"1999-13-01\"", "\"1999-04-31\"", "\"99-01-01\""}},
        {COMPACT,
         "{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"minItems\":1,\"maxItems\":3}",
         {"[null]", "[null,null,null]"},
         {"[]", "[null,]", "[null,null,null,null]", "[null", "[1]"}},
        {COMPACT,
         "{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":{\"const\":3}}",
         {"[]", "[1]", "[1,2]", "[1,2,3,3]"},
         {"[2]", "[1,3]", "[,1]", "[1,2,2]"}},
        {COMPACT,
         "{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":false,\"minItems\":1}",
         {"[1]", "[1,2]"},
         {"[]", "[1,2,3]"}},
        {COMPACT,
         "{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2},\"c\":{\"const\":3}},"
         "\"required\":[\"b\"]}",
         {"{\"b\":2}", "{\"a\":1,\"b\":2}", "{\"b\":2,\"c\":3}", "{\"a\":1,\"b\":2,\"c\":3}"},
         {"{}", "{\"a\":1}", "{\"b\":2,\"a\":1}", "{\"b\":2,}", "{\"b\":2,\"d\":1}", "{,\"b\":2}", "{\"b\":3}"}},
        {COMPACT,
         "{\"type\":\"object\",\"properties\":{\"foo\":{\"const\":1},\"fob\":{\"const\":1}},\"additionalProperties\":{"
         "\"type\":\"null\"}}",
         {"{}", "{\"foo\":1,\"x\":null,\"y\":null}", "{\"fo\":null}", "{\"fooo\":null}", "{\"\":null}"},
         {"{\"foo\":null}", "{\"fob\":null}", "{\"x\":1}", "{\"f\\u006fo\":null}"}},
        {COMPACT, "{\"type\":\"object\"}", {"{}", "{\"a\":[1,{\"b\":\"c\"}]}"}, {"[]", "{a:1}"}},
        {COMPACT, "{\"properties\":{\"a\":true}}", {"{}", "{\"a\":[1]}"}, {"1", "{\"b\":1}"}},
        {COMPACT,
         "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}}}",
         {"[]", "[[],[[]]]"},
         {"[1]", "[", "[[]"}},
        {COMPACT,
         "{\"anyOf\":[{\"type\":\"string\",\"maxLength\":1},{\"type\":\"integer\"}]}",
         {"\"a\"", "5"},
         {"\"ab\"", "null"}},
        {COMPACT,
         "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"},\"v\":{\"type\":\"integer\"}},"
         "\"required\":[\"k\"]},"
         "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"}},\"required\":[\"k\"]}]}",
         {"{\"k\":\"a\",\"v\":1}", "{\"k\":\"b\"}"},
         {"{\"k\":\"b\",\"v\":1}", "{}", "{\"k\":\"c\"}"}},
        {COMPACT,
         "{\"allOf\":[{\"type\":\"integer\",\"minimum\":3},{\"maximum\":5},{\"$ref\":\"#/$defs/"
         "even\"}],\"$defs\":{\"even\":{\"multipleOf\":2}}}",
         {"4"},
         {"2", "3", "5", "6"}},
        {COMPACT,
         "{\"allOf\":[{\"properties\":{\"a\":{\"minimum\":1}},\"required\":[\"a\"]},{\"properties\":{\"a\":{\"type\":"
         "\"integer\",\"maximum\":2},\"b\":{\"const\":0}}}]}",
         {"{\"a\":1}", "{\"a\":2,\"b\":0}"},
         {"{\"a\":3}", "{\"b\":0}", "{\"a\":0}"}},
        {COMPACT,
         "{\"type\":\"object\",\"properties\":{\"k\":{\"enum\":[1,2]}},\"required\":[\"k\"],\"anyOf\":[{\"properties\":"
         "{\"k\":{\"const\":1}}},{\"properties\":{\"k\":{\"const\":3}}}]}",
         {"{\"k\":1}"},
         {"{\"k\":2}", "{\"k\":3}"}},
        {COMPACT, "true", {"1", "null", "{\"a\":[]}", "\"x\""}, {"", "x"}},
        {SCHEMA,
         "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\"}},\"required\":[\"a\"]}",
         {"{\"a\":[]}", "{ \"a\": [ 1, 2 ] }", "{\n  \"a\": [\n    1,\n    2\n  ]\n}", "{\n\t\"a\":[]\n}"},
         {"{ \"a\" :[]}", "{  \"a\":[]}", "{\"a\":  []}", " {\"a\":[]}", "{\"a\":[]} "}},
    };

    check_languages(table, COUNT(table));
}

#define Q   "<|\"|>"
#define GET "{\"type\":\"function\",\"function\":{\"name\":\"get\",\"parameters\":{\"type\":\"object\",\"properties\":{"
#define TOOL_LIST                                                                                                      \
    "[" GET "\"Zip\":{\"type\":\"string\"},\"at\":{\"type\":\"integer\",\"nullable\":true},\"unit\":{\"type\":"        \
    "\"STRING\",\"enum\":[\"C\",\"F\"]}},"                                                                             \
    "\"required\":[\"at\"]}}},{\"name\":\"stop.it-now\"}]"

static void test_tools(void)
{
    static const struct language table[] = {
        {TOOLS_ALL,
         TOOL_LIST,
         {"<|tool_call>call:get{at:3}<tool_call|>",
          "<|tool_call>call:get{at:null,unit:" Q "C" Q ",Zip:" Q "a{\"\n}," Q
          "}<tool_call|>", /* sorted by lower case */
          "<|tool_call>call:stop.it-now{}<tool_call|>",
          "<|tool_call>call:stop.it-now{}<tool_call|><|tool_call>call:get{at:-1}<tool_call|>"},
         {"", "text", "<|tool_call>call:get{}<tool_call|>",
          "<|tool_call>call:get{at:1,Zip:" Q Q ",unit:" Q "C" Q "}<tool_call|>", "<|tool_call>call:got{}<tool_call|>",
          "<|tool_call>call:get{at:" Q "1" Q "}<tool_call|>", "<|tool_call>call:get{at:1,unit:" Q "K" Q "}<tool_call|>",
          "<|tool_call>call:stop.it-now{a:1}<tool_call|>", "<|tool_call>call:stop.it-now{}", "call:stop.it-now{}"}},
        {TOOLS,
         TOOL_LIST,
         {"", "Any \"text\" {at all}\n", "Well.<|tool_call>call:stop.it-now{}<tool_call|>"},
         {"<|tool_call>", "<tool_call|>", "<|turn>", "<|tool_call>call:stop.it-now{}<tool_call|>text"}},
        {TOOLS_ONE,
         TOOL_LIST,
         {"<|tool_call>call:get{at:3}<tool_call|>"},
         {"", "<|tool_call>call:stop.it-now{}<tool_call|>",
          "<|tool_call>call:get{at:3}<tool_call|><|tool_call>call:get{at:3}<tool_call|>"}},
        {THOUGHT,
         "[a-c]+",
         {"abc", "<|channel>thought\nSo \"x\".\n<channel|>a", "<|channel>thought\n<channel|>a"},
         {"", "<|channel>thought\nabc", "<|channel>a<channel|>b", "a<channel|>", "<channel|>a",
          "<|channel>thought\n<|channel>thought\n<channel|>a", "<|channel>thought\n<|tool_call><channel|>a"}},
    };

    check_languages(table, COUNT(table));
}

/* ---- what is refused --------------------------------------------------------------------------------- */

static void test_refusals(void)
{
    static const struct {
        enum kind kind;
        const char *source;
        gem_status status;
        const char *says;
    } table[] = {
        {REGEX, "a(?=b)", GEM_E_UNSUPPORTED, "byte 1"},
        {REGEX, "(a)\\1", GEM_E_UNSUPPORTED, "back reference"},
        {REGEX, "\\bword", GEM_E_UNSUPPORTED, "word boundary"},
        {REGEX, "\\p{L}", GEM_E_UNSUPPORTED, "Unicode property"},
        {REGEX, "(a", GEM_E_FORMAT, "never closed"},
        {REGEX, "a)", GEM_E_FORMAT, "byte 1"},
        {REGEX, "[a", GEM_E_FORMAT, "never closed"},
        {REGEX, "*a", GEM_E_FORMAT, "nothing to repeat"},
        {REGEX, "a{3,2}", GEM_E_FORMAT, "below its least"},
        {REGEX, "[z-a]", GEM_E_FORMAT, "before its beginning"},
        {REGEX, "a^b", GEM_E_UNSUPPORTED, "anchor in the middle"},
        {REGEX, "\xff", GEM_E_FORMAT, "not UTF-8"},
        {REGEX, "[^\\s\\S]", GEM_E_UNSUPPORTED, "no text satisfies"},
        {REGEX, "(((a{1000}){1000}){1000}){1000}", GEM_E_LIMIT, "too large"},
        {GBNF, "root ::= root \"a\" | \"a\"", GEM_E_UNSUPPORTED, "\"root\" begins with itself"},
        {GBNF, "root ::= a\na ::= b? a2\nb ::= \"x\"\na2 ::= a \"y\" | \"z\"", GEM_E_UNSUPPORTED, "begins with itself"},
        {GBNF, "root ::= missing", GEM_E_UNSUPPORTED, "\"missing\" is used but not defined"},
        {GBNF, "rot ::= \"a\"", GEM_E_FORMAT, "no rule \"root\""},
        {GBNF, "root ::= \"a", GEM_E_FORMAT, "line 1"},
        {GBNF, "root ::= \"a\"\n\nroot ::= \"b\"", GEM_E_FORMAT, "line 3: a rule is defined twice"},
        {GBNF, "root ::= \"a\" root", GEM_E_UNSUPPORTED, "no text satisfies"},
        {SCHEMA, "{", GEM_E_FORMAT, "not JSON"},
        {SCHEMA, "[]", GEM_E_FORMAT, "neither an object nor true or false"},
        {SCHEMA, "{\"type\":\"strin\"}", GEM_E_FORMAT, "type"},
        {SCHEMA, "{\"properties\":{\"a/b\":{\"not\":{}}}}", GEM_E_UNSUPPORTED, "/properties/a~1b: not"},
        {SCHEMA, "{\"if\":{},\"then\":{}}", GEM_E_UNSUPPORTED, "/: if"},
        {SCHEMA, "{\"minLenght\":3}", GEM_E_UNSUPPORTED, "minLenght: an unknown keyword"},
        {SCHEMA, "{\"items\":{\"type\":\"array\",\"uniqueItems\":true}}", GEM_E_UNSUPPORTED, "/items: uniqueItems"},
        {SCHEMA, "{\"type\":\"string\",\"format\":\"idn-email\"}", GEM_E_UNSUPPORTED, "format"},
        {SCHEMA, "{\"type\":\"string\",\"pattern\":\"(?!a)\"}", GEM_E_UNSUPPORTED, "pattern"},
        {SCHEMA, "{\"oneOf\":[{\"type\":\"string\"},{\"minLength\":2,\"type\":\"string\"}]}", GEM_E_UNSUPPORTED,
         "oneOf"},
        {SCHEMA, "{\"$ref\":\"#\"}", GEM_E_UNSUPPORTED, "without end"},
        {SCHEMA, "{\"allOf\":[{\"$ref\":\"#/$defs/a\"}],\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#\"}]}}}",
         GEM_E_UNSUPPORTED, "without end"},
        {SCHEMA, "{\"anyOf\":[{\"$ref\":\"#\"}]}", GEM_E_UNSUPPORTED, "without end"},
        {SCHEMA, "{\"$ref\":\"#/$defs/b\"}", GEM_E_FORMAT, "not there"},
        {SCHEMA, "{\"$ref\":\"http://example.com/s\"}", GEM_E_UNSUPPORTED, "$ref"},
        {SCHEMA, "{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", GEM_E_UNSUPPORTED,
         "no text satisfies"},
        {SCHEMA, "{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", GEM_E_UNSUPPORTED, ""},
        {SCHEMA, "{\"type\":\"string\",\"const\":1}", GEM_E_UNSUPPORTED, "enum or const"},
        {SCHEMA, "{\"multipleOf\":0.01}", GEM_E_UNSUPPORTED, "multipleOf"},
        {SCHEMA, "{\"minItems\":-1}", GEM_E_FORMAT, "minItems"},
        {SCHEMA, "{\"minItems\":1000000}", GEM_E_LIMIT, "items"},
        {SCHEMA, "{\"type\":\"object\",\"minProperties\":2}", GEM_E_UNSUPPORTED, "minProperties"},
        {SCHEMA, "false", GEM_E_UNSUPPORTED, "schema"},
        {TOOLS, "{}", GEM_E_FORMAT, "not a list"},
        {TOOLS, "[]", GEM_E_ARGUMENT, "none"},
        {TOOLS,
         "[{\"name\":\"a"
         "<|\\\"|>"
         "b\"}]",
         GEM_E_FORMAT, "/0: a name is"},
        {TOOLS, "[{\"name\":\"a\"},{\"name\":\"a\"}]", GEM_E_FORMAT, "/1: a second tool"},
        {TOOLS, "[{\"name\":\"a\",\"parameters\":{\"type\":\"object\",\"properties\":{\"x:y\":{}}}}]",
         GEM_E_UNSUPPORTED, "cannot spell"},
        {TOOLS, "[{\"name\":\"a\",\"parameters\":{\"type\":\"string\"}}]", GEM_E_UNSUPPORTED, "tool a"},
        {TOOLS_ONE, "[{\"name\":\"a\"}]", GEM_E_ARGUMENT, "none has the name"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        gem_error err = {0};
        struct gem_constraint *c;
        const gem_status st = compile(&c, table[i].kind, table[i].source, strlen(table[i].source), &err);
        if (st != table[i].status || err.code != st || !strstr(err.message, table[i].says)) {
            printf("%s: %s, \"%s\"\n", table[i].source, gem_status_name(st), err.message);
            check_failures++;
        }
        gem_constraint_close_parts(c);
    }
}

static char *repeated(const char *head, const char *unit, size_t n, const char *tail)
{
    const size_t n_head = strlen(head), n_unit = strlen(unit), n_tail = strlen(tail);
    char *s = malloc(n_head + n * n_unit + n_tail + 1);

    memcpy(s, head, n_head);
    for (size_t i = 0; i < n; i++) memcpy(s + n_head + i * n_unit, unit, n_unit);
    memcpy(s + n_head + n * n_unit, tail, n_tail + 1);
    return s;
}

/* Made to be slow or deep: an error or not, but soon and without a crash. */
static void test_hostile(void)
{
    static const struct {
        enum kind kind;
        const char *head, *unit;
        size_t n;
        const char *tail;
    } table[] = {
        {REGEX, "", "(", 100000, ""},
        {REGEX, "", "(a|", 100000, ""},
        {REGEX, "", "(a?){1,50}", 2000, ""},
        {REGEX, "", "[a-z]|", 100000, "x"},
        {REGEX, "(a+)+", "(b*c*)*", 500, "x"},
        {REGEX, "(.*", "a.{500}", 20, "b)*"},
        {GBNF, "root ::= ", "(", 100000, ""},
        {GBNF, "root ::= \"a\" ", "\n|\"b\" root", 20000, ""},
        {SCHEMA, "", "{\"items\":", 60, "true"},
        {SCHEMA, "{\"enum\":[", "\"abcdefghijklmnop\",", 60000, "1]}"},
        {SCHEMA, "{\"allOf\":[", "{\"anyOf\":[{\"minimum\":1},{\"maximum\":5}]},", 40, "{}]}"},
        {SCHEMA, "{\"type\":\"string\",\"maxLength\":", "9", 300, "}"},
        {SCHEMA, "{\"type\":\"integer\",\"maximum\":1e", "9", 9, "}"},
        {SCHEMA, "{\"type\":\"string\",\"pattern\":\"^(a|aa|", "(a*)*|", 100, "b)+$\",\"maxLength\":20000}"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        char *s = repeated(table[i].head, table[i].unit, table[i].n, table[i].tail);
        gem_error err = {0};
        struct gem_constraint *c;
        const clock_t began = clock();
        const gem_status st = compile(&c, table[i].kind, s, strlen(s), &err);
        const double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
        CHECK((st == GEM_OK) == (c != NULL) && (st == GEM_OK || err.message[0]));
        if (seconds > SECONDS) {
            printf("%.40s... takes %.1f s: %s\n", s, seconds, err.message);
            check_failures++;
        }
        gem_constraint_close_parts(c);
        free(s);
    }
}

/* ---- masks ------------------------------------------------------------------------------------------- */

static uint64_t seed = 1;

static uint32_t below(uint32_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((seed >> 33) % n);
}

static const struct {
    enum kind kind;
    const char *source;
} samples[] = {
    {REGEX, "(foo|fob|[^a-z]{2,4}){1,9}x*"},
    {REGEX, "a{60,300}(b|\xc3\xa9)*"},
    {REGEX, "[a-e]{100,}|\\w{0,70} \\d+"},
    {GBNF, "root ::= item (\",\" \" \"? item)*\nitem ::= \"[\" root? \"]\" | [a-z]{2,4} | str\nstr ::= \"\\\"\" ch* "
           "\"\\\"\"\nch ::= [^\"\\\\] | \"\\\\\" ."},
    {GBNF, "root ::= \"a\" root \"b\" | \"a\" root \"c\" | [d-f]"},
    {SCHEMA, "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":3,\"maxLength\":40},"
             "\"a\":{\"$ref\":\"#\"},\"n\":{\"type\":\"number\",\"minimum\":2.5}},\"required\":[\"name\"]}"},
    {SCHEMA, "true"},
    {COMPACT, "{\"type\":\"array\",\"items\":{\"enum\":[\"red\",\"green\",10,100]},\"minItems\":2,\"maxItems\":5}"},
    {COMPACT, "{\"type\":\"object\",\"properties\":{\"the\":{\"type\":\"integer\"},\"then\":{\"type\":\"null\"}},"
              "\"additionalProperties\":true}"},
    {TOOLS, TOOL_LIST},
    {TOOLS_ALL, TOOL_LIST},
    {THOUGHT, "yes|no"},
};

/* Whether a token may come by the definition: the text goes on, and can be completed in what is then left. */
static bool may_come(struct gem_matcher *probe, uint32_t config, int32_t token, size_t budget)
{
    gem_error err;

    probe->config = config;
    return gem_matcher_take(probe, token, &err) == GEM_OK && gem_matcher_find_least(probe) <= budget - 1;
}

static void check_mask(struct gem_matcher *m, struct gem_matcher *probe, size_t budget, const char *source)
{
    uint32_t wrong = 0;

    CHECK_EQ(gem_matcher_find_mask(m, budget, NULL), GEM_OK);
    for (uint32_t id = 0; id < trie->n_vocab; id++) {
        const bool may = may_come(probe, m->config, (int32_t)id, budget), is = m->bits[id / 64] >> id % 64 & 1;
        if (may != is && wrong++ < 3) {
            size_t n;
            const char *piece = gem_tokenizer_piece(tokenizer, (int32_t)id, &n);
            printf("%s, budget %zu: token %u (%.*s) may %d, is %d\n", source, budget, id, (int)n, piece, may, is);
        }
    }
    CHECK_EQ(wrong, 0);
    CHECK(m->n_allowed > 0 || gem_matcher_done(m));
}

static int32_t pick(const struct gem_matcher *m)
{
    uint32_t k = below(m->n_allowed);

    for (uint32_t id = 0; id < trie->n_vocab; id++)
        if ((m->bits[id / 64] >> id % 64 & 1) && k-- == 0) return (int32_t)id;
    return -1;
}

/* Every mask on random ways through random constraints, with ample and with the tightest budgets; now and then
 * everything that is kept is thrown away. */
static void test_masks_are_what_trying_finds(void)
{
    for (size_t i = 0; i < COUNT(samples); i++) {
        gem_error err = {0};
        struct gem_constraint *c;
        struct gem_matcher *m, *probe;

        if (compile(&c, samples[i].kind, samples[i].source, strlen(samples[i].source), &err))
            printf("%s\n", err.message);
        CHECK(c != NULL);
        if (!c) continue;
        CHECK_EQ(gem_matcher_begin(&m, c, NULL), GEM_OK);
        CHECK_EQ(gem_matcher_begin(&probe, c, NULL), GEM_OK);
        for (uint32_t round = 0; round < 6; round++) {
            size_t budget;
            gem_matcher_reset(m);
            budget = gem_matcher_find_least(m) + (round % 3 == 0 ? 0 : round % 3 == 1 ? 7 : 60);
            while (budget > 0 && !gem_matcher_finished(m)) {
                if (below(8) == 0) {
                    probe->config = 1;
                    pthread_mutex_lock(&c->mutex);
                    c->status = GEM_OK;
                    gem_constraint_flush(c);
                    pthread_mutex_unlock(&c->mutex);
                }
                check_mask(m, probe, budget, samples[i].source);
                if (m->n_allowed == 0 || (gem_matcher_done(m) && below(9) == 0)) break;
                CHECK_EQ(gem_matcher_take(m, pick(m), NULL), GEM_OK);
                budget--;
            }
            CHECK(gem_matcher_done(m)); /* in time, whatever was drawn */
        }
        gem_matcher_end(probe);
        gem_matcher_end(m);
        gem_constraint_close_parts(c);
    }
}

/* Forced tokens spell forced text: at each of them the next bytes could not have been others. */
static void test_forced_text(void)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"temperature\":{\"type\":\"integer\"}},\"required\":[\"temperature\"]}";
    struct gem_constraint *c;
    struct gem_matcher *m;
    int32_t forced[32];
    char text[64] = "";
    size_t n, n_text;

    CHECK_EQ(compile(&c, COMPACT, schema, strlen(schema), NULL), GEM_OK);
    CHECK_EQ(gem_matcher_begin(&m, c, NULL), GEM_OK);
    CHECK_EQ(gem_matcher_find_forced(m, 100, forced, 32, &n, NULL), GEM_OK);
    CHECK(n > 0);
    CHECK_EQ(gem_tokenizer_decode(tokenizer, forced, n, true, text, sizeof text - 1, &n_text, NULL), GEM_OK);
    CHECK(!strncmp(text, "{\"temperature\":", n_text));
    for (size_t i = 0; i < n; i++) CHECK_EQ(gem_matcher_take(m, forced[i], NULL), GEM_OK);
    CHECK_EQ(gem_matcher_find_forced(m, 100, forced, 32, &n, NULL), GEM_OK);
    for (size_t i = 0; i < n; i++) CHECK_EQ(gem_matcher_take(m, forced[i], NULL), GEM_OK);
    CHECK_EQ(gem_matcher_find_forced(m, 2, forced, 32, &n, NULL), GEM_OK);
    CHECK_EQ(n, 0); /* a digit is free */
    gem_matcher_end(m);
    gem_constraint_close_parts(c);

    /* The tightest budget forces short spellings, which forced text must respect. */
    CHECK_EQ(compile(&c, TOOLS_ONE, TOOL_LIST, strlen(TOOL_LIST), NULL), GEM_OK);
    CHECK_EQ(gem_matcher_begin(&m, c, NULL), GEM_OK);
    for (size_t budget = gem_matcher_find_least(m); !gem_matcher_finished(m); budget -= n ? n : 1) {
        CHECK_EQ(gem_matcher_find_forced(m, budget, forced, 32, &n, NULL), GEM_OK);
        for (size_t i = 0; i < n; i++) CHECK_EQ(gem_matcher_take(m, forced[i], NULL), GEM_OK);
        if (n > 0) continue;
        CHECK_EQ(gem_matcher_find_mask(m, budget, NULL), GEM_OK);
        if (m->n_allowed == 0) break;
        CHECK_EQ(gem_matcher_take(m, pick(m), NULL), GEM_OK);
    }
    CHECK(gem_matcher_finished(m));
    gem_matcher_end(m);
    gem_constraint_close_parts(c);
}

/* More states than the table holds: what is not needed any more is dropped on the way. */
static void test_a_long_text_drops_old_states(void)
{
    enum { PIECE = 1000 };
    static const char pattern[] = "(a|[b-y]){1,390000}z*";
    char piece[PIECE];
    struct gem_constraint *c;
    struct gem_matcher *m, *early;
    bool ok = true;

    memset(piece, 'a', sizeof piece);
    CHECK_EQ(compile(&c, REGEX, pattern, strlen(pattern), NULL), GEM_OK);
    CHECK_EQ(gem_matcher_begin(&m, c, NULL), GEM_OK);
    CHECK_EQ(gem_matcher_begin(&early, c, NULL), GEM_OK);
    CHECK_EQ(gem_matcher_take_bytes(early, "ab", 2, &ok, NULL), GEM_OK);
    for (int i = 0; i < 390; i++) {
        gem_error err = {0};
        if (gem_matcher_take_bytes(m, piece, sizeof piece, &ok, &err) || !ok) {
            printf("piece %d: %s\n", i, err.message);
            check_failures++;
            break;
        }
    }
    CHECK(c->states.n_states <= GEM_STATES_MAX / 2 + 2 * PIECE);
    CHECK_EQ(gem_matcher_take_bytes(m, "a", 1, &ok, NULL), GEM_OK);
    CHECK(!ok); /* the count was kept all the way */
    CHECK_EQ(gem_matcher_take_bytes(m, "zz", 2, &ok, NULL), GEM_OK);
    CHECK(ok && gem_matcher_done(m));
    CHECK_EQ(gem_matcher_take_bytes(early, "cz", 2, &ok, NULL), GEM_OK); /* and the other matcher where it was */
    CHECK(ok && gem_matcher_done(early));
    gem_matcher_end(early);
    gem_matcher_end(m);
    gem_constraint_close_parts(c);
}

/* ---- threads ----------------------------------------------------------------------------------------- */

static void *use(void *constraint)
{
    struct gem_matcher *m;

    if (gem_matcher_begin(&m, constraint, NULL)) return NULL;
    for (int round = 0; round < 20; round++) {
        gem_matcher_reset(m);
        for (size_t budget = gem_matcher_find_least(m) + 10; budget > 0 && !gem_matcher_finished(m); budget--) {
            uint32_t first = 0;
            if (gem_matcher_find_mask(m, budget, NULL)) break;
            while (first < trie->n_vocab && !(m->bits[first / 64] >> first % 64 & 1)) first++;
            if (first == trie->n_vocab || gem_matcher_take(m, (int32_t)first, NULL)) break;
        }
    }
    gem_matcher_end(m);
    return constraint;
}

static void test_threads_share_a_constraint(void)
{
    struct gem_constraint *c;
    pthread_t threads[3];
    void *result;

    CHECK_EQ(compile(&c, SCHEMA, samples[5].source, strlen(samples[5].source), NULL), GEM_OK);
    for (int i = 0; i < 3; i++) CHECK_EQ(pthread_create(&threads[i], NULL, use, c), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &result);
        CHECK(result != NULL);
    }
    gem_constraint_close_parts(c);
}

/* ---- the tree ---------------------------------------------------------------------------------------- */

static void test_tree_has_every_token(void)
{
    uint32_t n = 0;

    for (uint32_t id = 0; id < trie->n_vocab; id++) {
        size_t len;
        const uint8_t *s = gem_trie_bytes(trie, (int32_t)id, &len);
        uint32_t node = 0;
        bool found = false;
        n += len > 0;
        for (size_t i = 0; i < len; i++) {
            node = gem_trie_child(&trie->all, node, s[i]);
            CHECK(node != 0);
        }
        for (uint32_t i = trie->all.nodes[node].first; len > 0 && i < trie->all.nodes[node + 1].first; i++)
            found |= trie->all.ids[i] == (int32_t)id;
        CHECK(found || len == 0);
    }
    CHECK_EQ(trie->all.nodes[trie->all.n_nodes].first, n);
    CHECK(n >= trie->n_vocab - 1); /* all but the byte 0xff */
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"tree", test_tree_has_every_token},
        {"regex", test_regex},
        {"grammar", test_grammar},
        {"schema", test_schema},
        {"tools", test_tools},
        {"refusals", test_refusals},
        {"hostile", test_hostile},
        {"masks", test_masks_are_what_trying_finds},
        {"forced", test_forced_text},
        {"long", test_a_long_text_drops_old_states},
        {"threads", test_threads_share_a_constraint},
    };
    gem_error err = {0};
    int result;

    if (tokenizer_open(&tokenizer, "golden/models/e2b/model/tokenizer.json", &err) ||
        gem_trie_open(&trie, tokenizer, &err)) {
        printf("%s\n", err.message);
        return EXIT_FAILURE;
    }
    result = check_main(tests, sizeof tests / sizeof *tests, argc, argv);
    gem_trie_close(trie);
    gem_tokenizer_close(tokenizer);
    return result;
}
