/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/chat.c - conversations as text, and what models write, against the reference's cases. Their tokens are
 * compared in chat_real.c. */
#include "unit/chat_cases.h"

#include "chat/values.h"

/* ---- rendering -------------------------------------------------------------------------------------------------- */

static void check_case(void *user, yyjson_val *c)
{
    static const struct {
        gem_chat_format format;
        const char *field;
    } sizes[] = {{GEM_CHAT_GEMMA4_LARGE, "expected"}, {GEM_CHAT_GEMMA4_SMALL, "expected_small"}};
    const char *name = yyjson_get_str(yyjson_obj_get(c, "name"));
    const int before = check_failures;

    (void)user;
    for (size_t i = 0; i < 2; i++) {
        yyjson_val *want = yyjson_obj_get(c, sizes[i].field);
        gem_error err;
        gem_chat_prompt *prompt = chat_render_case(NULL, sizes[i].format, c, true, &err);

        if (chat_flag(c, "small_is_same")) want = yyjson_obj_get(c, "expected");
        if (yyjson_is_str(want))
            CHECK(prompt && chat_same_text(prompt, want));
        else
            CHECK(!prompt && err.code == GEM_E_FORMAT && strstr(err.message, "message "));
        if (!prompt && yyjson_is_str(want)) printf("  %s\n", err.message);
        gem_chat_prompt_close(prompt);
    }
    if (check_failures != before) printf("%s\n", name ? name : "a random conversation");
}

static void test_reference(void) /* one byte more or less, and a model is off what it was trained on */
{
    CHECK_EQ(chat_cases("golden/chat/render.jsonl", check_case, NULL), 105);
}

static void test_random(void) /* odd conversations: what nobody thought of putting into a list */
{
    CHECK(chat_cases("golden/chat/random.jsonl", check_case, NULL) > 350);
}

/* ---- parsing ---------------------------------------------------------------------------------------------------- */

struct heard {
    char thought[4096], text[4096], wrong[4096];
    yyjson_mut_doc *doc;
    yyjson_mut_val *calls;
    size_t n_events;
};

static void hear(void *user, const gem_chat_event *e)
{
    struct heard *h = user;
    char *into = e->kind == GEM_CHAT_THOUGHT ? h->thought : e->kind == GEM_CHAT_TEXT ? h->text : h->wrong;
    const size_t n = strlen(into);

    h->n_events++;
    if (e->kind == GEM_CHAT_CALL) {
        yyjson_doc *doc = yyjson_read(e->text, e->n_text, 0);
        yyjson_mut_val *call = yyjson_mut_arr_add_obj(h->doc, h->calls);
        CHECK(doc != NULL);
        yyjson_mut_obj_add_strncpy(h->doc, call, "name", e->name, e->n_name);
        yyjson_mut_obj_add_val(h->doc, call, "arguments", yyjson_val_mut_copy(h->doc, yyjson_doc_get_root(doc)));
        yyjson_doc_free(doc);
        return;
    }
    CHECK(e->n_text > 0 && n + e->n_text < sizeof h->text);
    memcpy(into + n, e->text, e->n_text);
    into[n + e->n_text] = 0;
}

static void heard_begin(struct heard *h)
{
    *h = (struct heard){.doc = yyjson_mut_doc_new(NULL)};
    h->calls = yyjson_mut_arr(h->doc);
}

static void heard_end(struct heard *h) { yyjson_mut_doc_free(h->doc); }

/* JSON equality with 1.0 equal to 1 and objects without order. */
static bool same_json(yyjson_val *a, yyjson_val *b)
{
    size_t i, max;
    yyjson_val *key, *v;

    if (yyjson_is_num(a) && yyjson_is_num(b)) return yyjson_get_num(a) == yyjson_get_num(b);
    if (yyjson_get_type(a) != yyjson_get_type(b)) return false;
    if (yyjson_is_arr(a)) {
        if (yyjson_arr_size(a) != yyjson_arr_size(b)) return false;
        yyjson_arr_foreach(a, i, max, v) if (!same_json(v, yyjson_arr_get(b, i))) return false;
        return true;
    }
    if (!yyjson_is_obj(a)) return yyjson_equals(a, b);
    if (yyjson_obj_size(a) != yyjson_obj_size(b)) return false;
    yyjson_obj_foreach(a, i, max, key,
                       v) if (!same_json(v, yyjson_obj_getn(b, yyjson_get_str(key), yyjson_get_len(key)))) return false;
    return true;
}

/* What was heard in calls, against the array `want` (read raw: both are written and read again). */
static bool same_calls(const struct heard *h, yyjson_val *want)
{
    char *ours = yyjson_mut_val_write(h->calls, 0, NULL), *theirs = yyjson_val_write(want, 0, NULL);
    yyjson_doc *a = yyjson_read(ours, strlen(ours), 0), *b = yyjson_read(theirs, strlen(theirs), 0);
    const bool same = same_json(yyjson_doc_get_root(a), yyjson_doc_get_root(b));

    if (!same) printf("  got  %s\n  want %s\n", ours, theirs);
    yyjson_doc_free(a);
    yyjson_doc_free(b);
    free(ours);
    free(theirs);
    return same;
}

static bool same_string(const char *ours, yyjson_val *want)
{
    const char *theirs = yyjson_is_str(want) ? yyjson_get_str(want) : "";

    if (!strcmp(ours, theirs)) return true;
    printf("  got  \"%s\"\n  want \"%s\"\n", ours, theirs);
    return false;
}

static bool ends_with_thought(yyjson_val *tail)
{
    static const char open[] = "<|channel>thought\n";
    const size_t n = yyjson_get_len(tail);

    return n >= sizeof open - 1 && !strcmp(yyjson_get_str(tail) + n - (sizeof open - 1), open);
}

/* Feeds s in pieces of `size` bytes. */
static void parse_text(struct heard *h, const struct gem_chat_prompt *prompt, const char *s, size_t n, size_t size)
{
    gem_chat_parser *p;

    heard_begin(h);
    CHECK(!gem_chat_reader_open(&p, NULL, GEM_CHAT_GEMMA4_LARGE, prompt, hear, h, NULL));
    for (size_t at = 0; at < n; at += size)
        CHECK(!gem_chat_parser_push_text(p, s + at, n - at < size ? n - at : size, NULL));
    CHECK(!gem_chat_parser_finish(p, NULL));
    gem_chat_parser_close(p);
}

/* The first place at which one of the strings is complete, by trying all; *n: the text before it. */
static int32_t first_stop(const gem_stop_string *strings, size_t n_strings, const char *s, size_t *n)
{
    for (size_t end = 1; end <= strlen(s); end++) {
        int32_t best = -1;
        for (size_t k = 0; k < n_strings; k++) {
            if (strings[k].n > end || strncmp(s + end - strings[k].n, strings[k].text, strings[k].n)) continue;
            if (best < 0 || strings[k].n > strings[best].n) best = (int32_t)k;
        }
        *n = best < 0 ? 0 : end - strings[best].n;
        if (best >= 0) return best;
    }
    *n = strlen(s);
    return -1;
}

static void test_stop_strings(void) /* in what is neither thought nor call; in pieces of any size */
{
    static const char content[] = "Well, banana bread; anan and band.";
    static const gem_stop_string sets[][3] = {{{"nan", 3}, {"banana", 6}, {"x", 1}},
                                              {{"banana", 6}, {"bananas", 7}, {"band", 4}},
                                              {{"Well", 4}, {"e", 1}, {"ll", 2}},
                                              {{"and.", 4}, {"and!", 4}, {"d..", 3}},
                                              {{"anan ", 5}, {"; ", 2}, {"Hm", 2}}};
    char output[256];

    snprintf(output, sizeof output, "<|channel>thought\nHm, nan\n<channel|>%s<|tool_call>call:f{a:1}<tool_call|>",
             content);
    for (size_t set = 0; set < sizeof sets / sizeof *sets; set++)
        for (size_t size = 1; size < 20; size++) {
            struct heard h;
            gem_chat_parser *p;
            const char *json;
            size_t n, n_json;
            const int32_t want = first_stop(sets[set], 3, content, &n);
            heard_begin(&h);
            CHECK(!gem_chat_reader_open(&p, NULL, GEM_CHAT_GEMMA4_LARGE, NULL, hear, &h, NULL));
            CHECK(!gem_chat_parser_set_stop(p, sets[set], 3, NULL));
            for (size_t at = 0; output[at]; at += size)
                CHECK(!gem_chat_parser_push_text(p, output + at, strnlen(output + at, size), NULL));
            CHECK(!gem_chat_parser_finish(p, NULL));
            CHECK_EQ(gem_chat_parser_stop(p), want);
            CHECK(strlen(h.text) == n && !memcmp(h.text, content, n));
            CHECK_STR(h.thought, "Hm, nan");
            CHECK(!gem_chat_parser_message(p, 1, &json, &n_json, NULL));
            CHECK((strstr(json, "tool_calls") != NULL) == (want < 0));
            gem_chat_parser_close(p);
            heard_end(&h);
        }
}

static void check_output(void *user, yyjson_val *c)
{
    static const size_t sizes[] = {1, 2, 3, 7, 100000};
    const struct gem_chat_prompt prompt = {
        .text = {.format = GEM_CHAT_GEMMA4_LARGE},
        .thought = ends_with_thought(yyjson_obj_get(c, "prompt_tail")) ? GEM_THOUGHT_OPEN : GEM_THOUGHT_NONE};
    yyjson_val *output = yyjson_obj_get(c, "output"), *want = yyjson_obj_get(c, "expected");
    const int before = check_failures;

    (void)user;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct heard h;
        parse_text(&h, &prompt, yyjson_get_str(output), yyjson_get_len(output), sizes[i]);
        CHECK(same_string(h.thought, yyjson_obj_get(want, "reasoning")));
        CHECK(same_string(h.text, yyjson_obj_get(want, "content")));
        CHECK(same_calls(&h, yyjson_obj_get(want, "tool_calls")));
        CHECK_STR(h.wrong, "");
        heard_end(&h);
    }
    if (check_failures != before) printf("%s\n", yyjson_get_str(yyjson_obj_get(c, "name")));
}

static void test_outputs(void) { CHECK_EQ(chat_cases("golden/chat/parse.jsonl", check_output, NULL), 62); }

/* ---- where the reference is wrong ------------------------------------------------------------------------------- */

/* Renders and compares; want NULL: refused, and the message has `says`. */
static void expect(const char *messages, const char *tools, gem_chat_options o, const char *want, const char *says)
{
    gem_chat_prompt *prompt = NULL;
    gem_error err = {0};
    const char *text = "";
    size_t n = 0;

    gem_chat_prompt_open(&prompt, NULL, GEM_CHAT_GEMMA4_SMALL, messages, strlen(messages), tools,
                         tools ? strlen(tools) : 0, &o, &err);
    if (prompt) n = gem_chat_prompt_text(prompt, &text);
    if (want ? n != strlen(want) || memcmp(text, want, n) : prompt || !strstr(err.message, says)) {
        printf("%s\n  got  %.*s%s\n  want %s\n", messages, (int)n, text, err.message, want ? want : says);
        check_failures++;
    }
    gem_chat_prompt_close(prompt);
}

#define Q                  "<|\"|>"
#define USER(text)         "{\"role\":\"user\",\"content\":\"" text "\"}"
#define CALL(more, calls)  "{\"role\":\"assistant\"," more "\"tool_calls\":[" calls "]}"
#define F(id, args)        "{\"id\":\"" id "\",\"function\":{\"name\":\"f\",\"arguments\":" args "}}"
#define RESULT(more, text) "{\"role\":\"tool\"," more "\"content\":" text "}"
#define TURN_X             "<bos><|turn>user\nx<turn|>\n<|turn>model\n"

static void test_text_goes_before_calls(void) /* else the turn is closed and the model thinks without end */
{
    const char *messages = "[" USER("x") "," CALL("\"content\":\"Let me look.\",", F("c", "{\"a\":1}")) "," RESULT(
        "\"tool_call_id\":\"c\",", "\"ok\"") "]";

    expect(messages, NULL, (gem_chat_options){0},
           TURN_X "Let me look.<|tool_call>call:f{a:1}<tool_call|><|tool_response>response:f{value:" Q "ok" Q
                  "}<tool_response|>",
           NULL);
    expect(messages, NULL, (gem_chat_options){.thinking = true},
           "<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>user\nx<turn|>\n<|turn>model\n"
           "Let me look.<|tool_call>call:f{a:1}<tool_call|><|tool_response>response:f{value:" Q "ok" Q
           "}<tool_response|><|channel>thought\n",
           NULL);
    expect("[" USER("x") "," CALL("\"content\":\"Let me look.\",", F("c", "{}")) "]", NULL, (gem_chat_options){0},
           TURN_X "Let me look.<|tool_call>call:f{}<tool_call|><|tool_response>", NULL);
}

static void test_results(void)
{
    const gem_chat_options o = {.history_only = true};

    expect("[" USER("x") "," CALL("", F("c", "\"{\\\"a\\\": 1.50, \\\"b\\\": [\\\"y\\\"]}\"")) "," RESULT(
               "\"tool_call_id\":\"c\",", "{\"temp\":21.5,\"Sky\":\"clear\",\"none\":null}") "]",
           NULL, o,
           TURN_X "<|tool_call>call:f{a:1.5,b:[" Q "y" Q "]}<tool_call|><|tool_response>response:f{none:null,Sky:" Q
                  "clear" Q ",temp:21.5}<tool_response|>",
           NULL);
    /* without ids, by position */
    expect("[" USER("x") "," CALL("", "{\"function\":{\"name\":\"f\"}},{\"function\":{\"name\":\"g\"}}") "," RESULT(
               "", "1") "," RESULT("", "2") "]",
           NULL, o,
           TURN_X "<|tool_call>call:f{}<tool_call|><|tool_call>call:g{}<tool_call|><|tool_response>response:f{value:1}"
                  "<tool_response|><|tool_response>response:g{value:2}<tool_response|>",
           NULL);
}

#define TOOL(parameters)                                                                                               \
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":null,\"parameters\":" parameters "}}]"
#define DECLARED(text)                                                                                                 \
    "<bos><|turn>system\n<|tool>declaration:f{description:" Q Q ",parameters:{" text "type:" Q "OBJECT" Q              \
    "}}<tool|><turn|>\n<|turn>user\nx<turn|>\n"

static void test_schemas(void)
{
    static const struct {
        const char *parameters, *want;
    } cases[] = {
        {TOOL("{\"properties\":{\"a\":{\"type\":[\"string\",\"null\"],\"enum\":[\"p\"]}}}"),
         DECLARED("properties:{a:{enum:[" Q "p" Q "],nullable:true,type:" Q "STRING" Q "}},")},
        {TOOL("{\"type\":\"object\",\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]}}}"),
         DECLARED("properties:{a:{type:[" Q "STRING" Q "," Q "NUMBER" Q "]}},")},
        {TOOL("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"title\":\"T\"}}}"),
         DECLARED("properties:{a:{properties:{},type:" Q "OBJECT" Q "}},")},
        {TOOL("{\"type\":\"object\",\"$defs\":{\"p\":{\"type\":\"object\",\"properties\":{\"q\":{\"const\":\"c\"}}}},"
              "\"properties\":{\"a\":{\"$ref\":\"#/$defs/p\",\"description\":\"D\"}}}"),
         DECLARED("properties:{a:{description:" Q "D" Q ",properties:{q:{enum:[" Q "c" Q "],type:" Q "STRING" Q
                  "}},type:" Q "OBJECT" Q "}},")},
        {TOOL(
             "{\"type\":\"object\",\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"array\",\"items\":"
             "{\"type\":\"integer\"}}]}}}"),
         DECLARED("properties:{a:{items:{type:" Q "INTEGER" Q "},nullable:true,type:" Q "ARRAY" Q "}},")},
        {TOOL("{\"type\":\"object\",\"properties\":{\"t\":{\"$ref\":\"#\"}}}"), /* a tree: it has no end */
         DECLARED("properties:{t:{properties:{},type:" Q "OBJECT" Q "}},")},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect("[" USER("x") "]", cases[i].parameters, (gem_chat_options){.history_only = true}, cases[i].want, NULL);
}

static void test_refusals(void)
{
    static const struct {
        const char *messages, *tools, *says;
    } cases[] = {
        {"[{\"role\":\"critic\",\"content\":\"x\"}]", NULL, "message 0: the role 'critic'"},
        {"[{\"content\":\"x\"}]", NULL, "message 0: no role"},
        {"{}", NULL, "messages: not an array"},
        {"[", NULL, "messages: not JSON at byte 1"},
        {"[" USER("a\xff") "]", NULL, "messages: not JSON at byte 28: invalid UTF-8"},
        {"[" USER("x") "," RESULT("", "1") "]", NULL, "message 1: a tool's result without a call"},
        {"[" USER("x") "," CALL("", F("c", "{}")) "," USER("y") "," RESULT("\"tool_call_id\":\"c\",", "1") "]", NULL,
         "message 3: a tool's result without a call"},
        {"[" USER("x") "," CALL("", F("c", "{}")) "," RESULT("\"tool_call_id\":\"d\",", "1") "]", NULL,
         "message 2: a tool's result without a call"},
        {"[" USER("x") "," CALL("", F("c", "{}")) "," RESULT("", "1") "," RESULT("", "2") "]", NULL,
         "message 3: a tool's result without a call"},
        {"[" CALL("", F("c", "\"[1]\"")) "]", NULL, "message 0: a call's arguments are JSON, but no object"},
        {"[" CALL("", F("c", "\"{a\"")) "]", NULL, "message 0: a call's arguments: not JSON at byte 1"},
        {"[" CALL("", F("c", "[1]")) "]", NULL, "message 0: a call's arguments are not an object"},
        {"[" CALL("", F("c", "{\"a\":1e999}")) "]", NULL, "1e999 is out of range"},
        {"[" CALL("", "{\"function\":{\"name\":\"f<|\\\"|>g\"}}") "]", NULL, "has a control token in it"},
        {"[" USER("x") "]", "[{\"function\":{\"name\":\"a<|\\\"|>\"}}]", "tool 0: the tool's name"},
        {"[" USER("x") "]", "[{\"function\":{\"name\":\"a b\"}}]", "tool 0: the tool's name 'a b' has a space"},
        {"[" USER("x") "]", "[{\"function\":{}}]", "tool 0: a tool without a name"},
        {"[" USER("x") "]", "[7]", "tool 0: no function"},
        {"[" USER("x") "]", TOOL("7"), "tool 0: parameters are no JSON Schema"},
        {"[" USER("x") "]", TOOL("{\"properties\":{\"a\":{\"$ref\":\"http://x\"}}}"), "leads to no schema"},
        {"[" USER("x") "]", TOOL("{\"properties\":{\"a\":{\"$ref\":\"#/properties/a\"}}}"), "references"},
        {"[" USER("x") "]", TOOL("{\"properties\":{\"a\":{\"allOf\":[{\"$ref\":\"#/properties/a\"}]}}}"), "no end"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"file\"}]}]", NULL, "message 0: part 0"},
        {"[{\"role\":\"user\",\"content\":7}]", NULL, "message 0: its content"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(cases[i].messages, cases[i].tools, (gem_chat_options){0}, NULL, cases[i].says);
}

static void test_deep_json_is_refused(void)
{
    char json[1024] = "";

    memset(json, '[', 500);
    expect(json, NULL, (gem_chat_options){0}, NULL, "nested deeper than 64 at byte 64");
}

static void test_many_definitions(void) /* each holds the next twice: doubling, until the ceiling */
{
    char tools[8192], *p = tools;

    p += sprintf(p, "[{\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"$defs\":{");
    for (int i = 0; i < 40; i++)
        p += sprintf(p, "\"d%d\":{\"properties\":{\"a\":{\"$ref\":\"#/$defs/d%d\"},\"b\":{\"$ref\":\"#/$defs/d%d\"}}},",
                     i, i + 1, i + 1);
    sprintf(p, "\"d40\":{}},\"properties\":{\"a\":{\"$ref\":\"#/$defs/d0\"}}}}}]");
    expect("[" USER("x") "]", tools, (gem_chat_options){0}, NULL, "declarations of more than");
}

static void test_many_unions(void) /* the same with unions: what is read doubles, though nothing is written */
{
    char tools[8192], *p = tools;

    p += sprintf(p, "[{\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"$defs\":{");
    for (int i = 0; i < 30; i++)
        p +=
            sprintf(p, "\"d%d\":{\"anyOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]},", i, i + 1, i + 1);
    sprintf(p, "\"d30\":{}},\"properties\":{\"a\":{\"$ref\":\"#/$defs/d0\"}}}}}]");
    expect("[" USER("x") "]", tools, (gem_chat_options){0}, NULL, "more than 4096 schemas");
}

static void test_many_results(void) /* looking for each one's call from its place on would take hours */
{
    enum { N = 300000 };
    static const char call[] = "[" CALL("", F("c", "{}")), result[] = "," RESULT("\"tool_call_id\":\"c\",", "1");
    char *messages = malloc(sizeof call + N * sizeof result + 2), *p = messages;
    gem_chat_prompt *prompt = NULL;

    p = (char *)memcpy(p, call, sizeof call - 1) + sizeof call - 1;
    for (int i = 0; i < N; i++) p = (char *)memcpy(p, result, sizeof result - 1) + sizeof result - 1;
    *p++ = ']';
    CHECK(!gem_chat_prompt_open(&prompt, NULL, GEM_CHAT_GEMMA4_SMALL, messages, (size_t)(p - messages), NULL, 0, NULL,
                                NULL));
    gem_chat_prompt_close(prompt);
    free(messages);
}

static void test_gemma3(void)
{
    static const char messages[] = "[{\"role\":\"system\",\"content\":\"Be brief.\"}," USER(
        " Hi ") ",{\"role\":\"assistant\",\"content\":\"Hello\"}," USER("x") "]";
    const gem_chat_options o = {.format = GEM_CHAT_GEMMA3};

    expect(messages, NULL, o,
           "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
           "<start_of_turn>user\nx<end_of_turn>\n<start_of_turn>model\n",
           NULL);
    expect(messages, TOOL("{}"), o, NULL, "tools: Gemma 3's conversations have none");
    expect("[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]", NULL, o, NULL, "text only");
}

static void test_lower_case(void) /* UnicodeData.txt */
{
    static const uint32_t pairs[][2] = {{'A', 'a'},         {'[', '['},       {0xc9, 0xe9},        {0xd7, 0xd7},
                                        {0x100, 0x101},     {0x101, 0x101},   {0x178, 0xff},       {0x410, 0x430},
                                        {0x1e9e, 0xdf},     {0x2126, 0x3c9},  {0x2160, 0x2170},    {0x10400, 0x10428},
                                        {0x1e921, 0x1e943}, {0x65e5, 0x65e5}, {0x10ffff, 0x10ffff}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) CHECK_EQ(gem_chat_lower(pairs[i][0]), pairs[i][1]);
}

static void test_templates(void)
{
    gem_chat_info info = {.format = GEM_CHAT_GEMMA4_SMALL};

    gem_chat_compare_template(&info, NULL, 0);
    CHECK(!info.has_template && !info.note);
    gem_chat_compare_template(&info, "abc", 3);
    CHECK(info.has_template && !info.known_template && strstr(info.note, "E2B and E4B"));
    CHECK_STR(info.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); /* FIPS 180-4 */
}

/* ---- what models write, more of it ------------------------------------------------------------------------------ */

/* Parses with tools; want_call NULL: malformed, and the raw text comes back. */
static void expect_call(const char *tools, const char *output, const char *want_calls, const char *raw)
{
    static const char messages[] = "[" USER("x") "]";
    gem_chat_prompt *prompt = NULL;
    gem_error err = {0};
    struct heard h;
    char *calls;

    CHECK(!gem_chat_prompt_open(&prompt, NULL, GEM_CHAT_GEMMA4_LARGE, messages, strlen(messages), tools, strlen(tools),
                                NULL, &err));
    parse_text(&h, prompt, output, strlen(output), 100000);
    calls = yyjson_mut_val_write(h.calls, 0, NULL);
    CHECK_STR(calls, want_calls);
    CHECK_STR(h.wrong, raw);
    free(calls);
    heard_end(&h);
    gem_chat_prompt_close(prompt);
}

#define TYPED                                                                                                          \
    TOOL("{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\"},\"i\":{\"type\":\"integer\"},\"b\":{"       \
         "\"type\":"                                                                                                   \
         "\"boolean\"},\"n\":{\"type\":[\"number\",\"null\"]},\"l\":{\"type\":\"array\",\"items\":{\"type\":"          \
         "\"string\"}},"                                                                                               \
         "\"x:y\":{\"type\":\"string\"},\"o\":{\"type\":\"object\"}}}")
#define OUT(args) "<|tool_call>call:f{" args "}<tool_call|>"
#define GOT(args) "[{\"name\":\"f\",\"arguments\":{" args "}}]"

static void test_types_are_those_declared(void)
{
    expect_call(TYPED, OUT("s:12,i:" Q "12" Q ",b:True,n:None,l:[1,true]"),
                GOT("\"s\":\"12\",\"i\":12,\"b\":true,\"n\":null,\"l\":[\"1\",\"true\"]"), "");
    expect_call(TYPED, OUT("i:3.0,n:3.0"), GOT("\"i\":3,\"n\":3.0"), "");
    expect_call(TYPED, OUT("x:y:" Q "v" Q), GOT("\"x:y\":\"v\""), "");
    expect_call(TYPED, OUT("i:many"), "[]", OUT("i:many"));
    expect_call(TYPED, OUT("i:2.5"), "[]", OUT("i:2.5"));
    expect_call(TYPED, OUT("b:" Q "12" Q), "[]", OUT("b:" Q "12" Q));
    expect_call(TYPED, OUT("o:[1]"), "[]", OUT("o:[1]"));
    expect_call(TYPED, OUT("s:{}"), "[]", OUT("s:{}"));
    expect_call(TYPED, OUT("other:[1,{z:2}],s:a b"), GOT("\"other\":[1,{\"z\":2}],\"s\":\"a b\""), "");
}

static void test_malformed(void) /* an event with all that was written, never silence */
{
    static const char *const outputs[] = {
        OUT("a"),
        "<|tool_call>f{a:1}<tool_call|>",
        "<|tool_call><tool_call|>",
        "<|tool_call>call:{a:1}<tool_call|>",
        "<|tool_call>call:f<tool_call|>",
        "<|tool_call>call:f{a:1} and more<tool_call|>",
        OUT("a:"),
        OUT("a:1,:2,b"),
        "<|tool_call>call:f{a:" Q "rm -rf /", /* cut off inside a string: never a call */
        "<|tool_call>call:f{n:12",            /* it may have been 123 */
        "<|tool_call>call:f{",
        "<turn>x<|turn>",
        "<|tool>",
    };

    for (size_t i = 0; i < 11; i++) expect_call(TYPED, outputs[i], "[]", outputs[i]);
    expect_call(TYPED, outputs[11], "[]", "<|turn>");
    expect_call(TYPED, outputs[12], "[]", "<|tool>");
    /* one that is malformed does not take the next with it */
    expect_call(TYPED, "<|tool_call>oops" OUT("s:a"), GOT("\"s\":\"a\""), "<|tool_call>oops");
}

static void test_deep_calls(void)
{
    char output[512] = "<|tool_call>call:f{l2:", *p = output + strlen(output);

    memset(p, '[', 70);
    memset(p + 70, ']', 70);
    strcpy(p + 140, "}<tool_call|>");
    expect_call(TYPED, output, "[]", output);
}

static void test_message(void) /* what goes into the history */
{
    static const char output[] = "<|channel>thought\nHm.\n<channel|>Let me see.<|tool_call>call:f{a:1,b:" Q "x" Q
                                 "}<tool_call|><|tool_call>call:g{}<tool_call|><|tool_response>";
    gem_chat_parser *p;
    const char *json;
    size_t n;

    CHECK(!gem_chat_reader_open(&p, NULL, GEM_CHAT_GEMMA4_LARGE, NULL, NULL, NULL, NULL));
    CHECK(!gem_chat_parser_push_text(p, output, strlen(output), NULL));
    CHECK(!gem_chat_parser_finish(p, NULL));
    CHECK(!gem_chat_parser_message(p, 9, &json, &n, NULL));
    CHECK_STR(json,
              "{\"role\":\"assistant\",\"reasoning\":\"Hm.\",\"content\":\"Let me see.\",\"tool_calls\":[{\"id\":"
              "\"call_9\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1,\"b\":\"x\"}}},"
              "{\"id\":\"call_10\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":{}}}]}");
    CHECK_EQ(n, strlen(json));
    gem_chat_parser_close(p);
}

static void test_bytes_that_are_no_text(void)
{
    struct heard h;

    parse_text(&h, NULL, "a\xff\xf0\x9f\x98z\xc3", 7, 1);
    CHECK_STR(h.text, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd");
    heard_end(&h);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"reference", test_reference},
        {"random", test_random},
        {"text_goes_before_calls", test_text_goes_before_calls},
        {"results", test_results},
        {"schemas", test_schemas},
        {"refusals", test_refusals},
        {"deep_json_is_refused", test_deep_json_is_refused},
        {"many_definitions", test_many_definitions},
        {"many_unions", test_many_unions},
        {"many_results", test_many_results},
        {"gemma3", test_gemma3},
        {"lower_case", test_lower_case},
        {"templates", test_templates},
        {"outputs", test_outputs},
        {"stop_strings", test_stop_strings},
        {"types_are_those_declared", test_types_are_those_declared},
        {"malformed", test_malformed},
        {"deep_calls", test_deep_calls},
        {"message", test_message},
        {"bytes_that_are_no_text", test_bytes_that_are_no_text},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
