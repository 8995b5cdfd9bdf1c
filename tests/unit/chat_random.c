/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/chat_random.c - calls of random tools with random arguments: rendered as history, then parsed as if a
 * model had written them. Nothing may change on the way. */
#include "unit/check.h"

#include "chat/chat.h"

enum { N_CALLS = 100000, PER_PROMPT = 100 };

static uint64_t state = 20260709;

static uint32_t below(uint32_t n)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 32) * n >> 32);
}

/* Characters of keys and of strings; strings have all that the notation uses itself. */
static yyjson_mut_val *random_text(yyjson_mut_doc *doc, bool key)
{
    static const char *const in_keys[] = {"a", "B", "c", "Z", "_", "-", ".", "$", "7", "é", "日", "É"};
    static const char *const in_text[] = {"a", " ", "{", "}", "[",    "]",    ":",           ",",    "\"",
                                          "'", "|", "<", ">", "\n",   "\\",   "\t",          "é",    "日",
                                          "😀", "7", "-", "",  "true", "null", "call:f{a:1}", "\x01", "thought\n"};
    char s[128] = "";
    const uint32_t n = key ? 1 + below(6) : below(12);

    for (uint32_t i = 0; i < n; i++) strcat(s, key ? in_keys[below(12)] : in_text[below(27)]);
    return yyjson_mut_strcpy(doc, s);
}

static yyjson_mut_val *random_number(yyjson_mut_doc *doc)
{
    static const char *const raw[] = {"0",        "-1",     "12",        "-7.25",
                                      "0.1",      "1e+20",  "1e-07",     "123456789012345678901",
                                      "1.5e+300", "-0.001", "1000000.0", "2.5e-10"};
    const char *s = raw[below(12)];

    return yyjson_mut_raw(doc, s);
}

static yyjson_mut_val *random_value(yyjson_mut_doc *doc, uint32_t depth);

static yyjson_mut_val *random_object(yyjson_mut_doc *doc, uint32_t depth)
{
    yyjson_mut_val *object = yyjson_mut_obj(doc);

    for (uint32_t n = below(5); n > 0; n--)
        yyjson_mut_obj_put(object, random_text(doc, true), random_value(doc, depth + 1));
    return object;
}

static yyjson_mut_val *random_value(yyjson_mut_doc *doc, uint32_t depth)
{
    yyjson_mut_val *array;

    switch (below(depth < 4 ? 7 : 4)) {
    case 0: return random_number(doc);
    case 1: return yyjson_mut_bool(doc, below(2));
    case 2: return yyjson_mut_null(doc);
    case 3:
    case 4: return random_text(doc, false);
    case 5: return random_object(doc, depth);
    default:
        array = yyjson_mut_arr(doc);
        for (uint32_t n = below(4); n > 0; n--) yyjson_mut_arr_append(array, random_value(doc, depth + 1));
        return array;
    }
}

/* One assistant's message with many calls. */
static yyjson_mut_val *random_calls(yyjson_mut_doc *doc)
{
    yyjson_mut_val *calls = yyjson_mut_arr(doc);

    for (int i = 0; i < PER_PROMPT; i++) {
        yyjson_mut_val *call = yyjson_mut_arr_add_obj(doc, calls);
        yyjson_mut_val *function = yyjson_mut_obj_add_obj(doc, call, "function");
        yyjson_mut_obj_add_val(doc, function, "name", random_text(doc, true));
        yyjson_mut_obj_add_val(doc, function, "arguments", random_object(doc, 0));
    }
    return calls;
}

struct heard {
    yyjson_val *calls; /* as they went in */
    size_t n;
};

/* Numbers are compared as values, objects without order. */
static bool same(yyjson_val *a, yyjson_val *b)
{
    size_t i, max;
    yyjson_val *key, *v;

    if (yyjson_is_num(a) && yyjson_is_num(b)) return yyjson_get_num(a) == yyjson_get_num(b);
    if (yyjson_get_type(a) != yyjson_get_type(b) || yyjson_get_len(a) != yyjson_get_len(b)) return false;
    if (yyjson_is_arr(a)) {
        yyjson_arr_foreach(a, i, max, v) if (!same(v, yyjson_arr_get(b, i))) return false;
        return true;
    }
    if (!yyjson_is_obj(a)) return yyjson_equals(a, b);
    yyjson_obj_foreach(a, i, max, key,
                       v) if (!same(v, yyjson_obj_getn(b, yyjson_get_str(key), yyjson_get_len(key)))) return false;
    return true;
}

static void hear(void *user, const gem_chat_event *e)
{
    struct heard *h = user;
    yyjson_val *function = yyjson_obj_get(yyjson_arr_get(h->calls, h->n++), "function");
    yyjson_doc *got;

    if (e->kind != GEM_CHAT_CALL) {
        printf("%.*s: %.*s\n", (int)e->n_name, e->name ? e->name : "", (int)e->n_text, e->text);
        check_failures++;
        return;
    }
    got = yyjson_read(e->text, e->n_text, 0);
    CHECK(yyjson_equals_strn(yyjson_obj_get(function, "name"), e->name, e->n_name));
    if (!same(yyjson_doc_get_root(got), yyjson_obj_get(function, "arguments"))) {
        char *want = yyjson_val_write(yyjson_obj_get(function, "arguments"), 0, NULL);
        printf("got  %.*s\nwant %s\n", (int)e->n_text, e->text, want);
        free(want);
        check_failures++;
    }
    yyjson_doc_free(got);
}

/* From the first call to the end of the last: what a model would have written. The marks say which quotes are tokens;
 * text that spells none can be parsed from the text. */
static void run_one(void)
{
    static const char begin[] = "<bos><|turn>model\n";
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *messages = yyjson_mut_arr(doc), *message = yyjson_mut_arr_add_obj(doc, messages);
    gem_chat_prompt *prompt = NULL;
    struct heard heard = {0};
    gem_chat_parser *p = NULL;
    gem_error err = {0};
    yyjson_doc *went_in;
    const char *text = "";
    size_t n_json = 0, n;
    char *json;

    yyjson_mut_obj_add_str(doc, message, "role", "assistant");
    yyjson_mut_obj_add_val(doc, message, "tool_calls", random_calls(doc));
    json = yyjson_mut_val_write(messages, 0, &n_json);
    went_in = yyjson_read(json, n_json, 0);
    heard.calls = yyjson_obj_get(yyjson_arr_get(yyjson_doc_get_root(went_in), 0), "tool_calls");
    gem_chat_prompt_open(&prompt, NULL, GEM_CHAT_GEMMA4_LARGE, json, n_json, NULL, 0,
                         &(gem_chat_options){.history_only = true}, &err);
    CHECK(prompt && heard.calls);
    n = prompt ? gem_chat_prompt_text(prompt, &text) : 0;
    CHECK(n > sizeof begin && !memcmp(text, begin, sizeof begin - 1));
    CHECK(!gem_chat_reader_open(&p, NULL, GEM_CHAT_GEMMA4_LARGE, NULL, hear, &heard, NULL));
    if (n > sizeof begin) CHECK(!gem_chat_parser_push_text(p, text + sizeof begin - 1, n - (sizeof begin - 1), NULL));
    CHECK(!gem_chat_parser_finish(p, NULL));
    CHECK_EQ(heard.n, PER_PROMPT);
    gem_chat_parser_close(p);
    gem_chat_prompt_close(prompt);
    yyjson_doc_free(went_in);
    yyjson_mut_doc_free(doc);
    free(json);
}

static void test_round_trip(void)
{
    for (int i = 0; i < N_CALLS / PER_PROMPT && check_failures < 10; i++) run_one();
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {{"round_trip", test_round_trip}};

    return check_main(tests, 1, argc, argv);
}
