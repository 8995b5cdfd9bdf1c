/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/chat_real.c - the reference's conversations id for id, and its outputs token by token, with the released
 * tokenizer. Driven by chat_real.sh.
 *   test_chat_real tokenizer.json */
#include "unit/chat_cases.h"
#include "unit/tokenizer_cases.h"

static bool same_ids(const int32_t *ids, size_t n, yyjson_val *want)
{
    size_t i, max;
    yyjson_val *v;

    if (n != yyjson_arr_size(want)) return false;
    yyjson_arr_foreach(want, i, max, v)
    {
        if (ids[i] != (int32_t)strtol(yyjson_get_raw(v), NULL, 10)) return false;
    }
    return true;
}

/* Whether text of the messages or tools spells a control token: there the reference lets it become one, and we do not.
 */
static bool spells_control(yyjson_val *c)
{
    char *messages = yyjson_val_write(yyjson_obj_get(c, "messages"), 0, NULL);
    char *tools = yyjson_val_write(yyjson_obj_get(c, "tools"), 0, NULL);
    bool found = false;

    for (const char *s = strchr(messages, '<'); s && !found; s = strchr(s + 1, '<'))
        found = gem_chat_find_control(s, strlen(s)) == 0;
    for (const char *s = strchr(tools, '<'); s && !found; s = strchr(s + 1, '<'))
        found = gem_chat_find_control(s, strlen(s)) == 0;
    free(messages);
    free(tools);
    return found;
}

struct context {
    const struct gem_tokenizer *t;
    size_t n_same, n_spelled;
};

/* The marks say which control tokens are meant: each of those, and no other. */
static void check_controls(const struct gem_tokenizer *t, const gem_chat_prompt *prompt)
{
    size_t n = 0;

    for (size_t i = 0; i < prompt->n_tokens; i++) n += gem_tokenizer_is_control(t, prompt->tokens[i]);
    CHECK_EQ(n, prompt->text.n_marks);
}

static void check_size(struct context *cx, yyjson_val *c, gem_chat_format format, yyjson_val *text, yyjson_val *ids)
{
    gem_error err;
    gem_chat_prompt *prompt = chat_render_case(cx->t, format, c, true, &err);
    size_t n = 0, n_decoded = 0;
    int32_t *whole;
    char *decoded;

    CHECK(prompt && chat_same_text(prompt, text));
    if (!prompt) return;
    whole = cases_encode(cx->t, yyjson_get_str(text), yyjson_get_len(text), true, &n);
    CHECK(same_ids(whole, n, ids));
    check_controls(cx->t, prompt);
    decoded = cases_decode(cx->t, prompt->tokens, prompt->n_tokens, true, &n_decoded);
    CHECK(yyjson_equals_strn(text, decoded, n_decoded));
    free(decoded);
    if (same_ids(prompt->tokens, prompt->n_tokens, ids)) {
        cx->n_same++;
    } else {
        CHECK(spells_control(c));
        cx->n_spelled++;
    }
    free(whole);
    gem_chat_prompt_close(prompt);
}

static void check_case(void *user, yyjson_val *c)
{
    struct context *cx = user;
    yyjson_val *text = yyjson_obj_get(c, "expected"), *ids = yyjson_obj_get(c, "expected_ids");
    const int before = check_failures;

    if (!yyjson_is_str(text)) return;
    check_size(cx, c, GEM_CHAT_GEMMA4_LARGE, text, ids);
    if (!chat_flag(c, "small_is_same")) {
        text = yyjson_obj_get(c, "expected_small");
        ids = yyjson_obj_get(c, "expected_small_ids");
    }
    check_size(cx, c, GEM_CHAT_GEMMA4_SMALL, text, ids);
    if (check_failures != before) printf("%s\n", yyjson_get_str(yyjson_obj_get(c, "name")));
}

/* ---- what models write ------------------------------------------------------------------------------------------ */

struct heard {
    char all[8192]; /* every event, kind first */
    int last;
};

static void hear(void *user, const gem_chat_event *e)
{
    struct heard *h = user;
    const size_t n = strlen(h->all);

    CHECK(n + e->n_text + e->n_name + 8 < sizeof h->all);
    if (h->last != (int)e->kind || e->kind == GEM_CHAT_CALL)
        snprintf(h->all + n, sizeof h->all - n, "\n%d %.*s: ", (int)e->kind, (int)e->n_name, e->name ? e->name : "");
    h->last = (int)e->kind;
    snprintf(h->all + strlen(h->all), sizeof h->all - strlen(h->all), "%.*s", (int)e->n_text, e->text);
}

/* Token by token the same is heard as from the text. */
static void check_output(void *user, yyjson_val *c)
{
    const struct context *cx = user;
    yyjson_val *output = yyjson_obj_get(c, "output");
    struct heard by_token = {0}, by_text = {0};
    gem_chat_parser *p;
    size_t n = 0;
    int32_t *ids = cases_encode(cx->t, yyjson_get_str(output), yyjson_get_len(output), true, &n);

    CHECK(!gem_chat_reader_open(&p, cx->t, GEM_CHAT_GEMMA4_LARGE, NULL, hear, &by_token, NULL));
    for (size_t i = 0; i < n; i++) CHECK(!gem_chat_parser_push(p, ids[i], NULL));
    CHECK(!gem_chat_parser_finish(p, NULL));
    gem_chat_parser_close(p);
    CHECK(!gem_chat_reader_open(&p, NULL, GEM_CHAT_GEMMA4_LARGE, NULL, hear, &by_text, NULL));
    CHECK(!gem_chat_parser_push_text(p, yyjson_get_str(output), yyjson_get_len(output), NULL));
    CHECK(!gem_chat_parser_finish(p, NULL));
    gem_chat_parser_close(p);
    CHECK_STR(by_token.all, by_text.all);
    CHECK(by_token.all[0]);
    free(ids);
}

int main(int argc, char **argv)
{
    struct context cx = {.t = argc > 1 ? cases_open(argv[1]) : NULL};

    if (!cx.t) return EXIT_FAILURE;
    CHECK_EQ(chat_cases("golden/chat/render.jsonl", check_case, &cx), 105);
    CHECK_EQ(chat_cases("golden/chat/parse.jsonl", check_output, &cx), 62);
    printf("%zu prompts with the reference's ids, %zu with control tokens spelled in their text\n", cx.n_same,
           cx.n_spelled);
    CHECK_EQ(cx.n_same + cx.n_spelled, 2 * 103);
    CHECK_EQ(cx.n_spelled, 2);
    gem_tokenizer_close((struct gem_tokenizer *)(uintptr_t)cx.t);
    printf("%s\n", check_failures ? "FAILED" : "ok");
    return check_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
