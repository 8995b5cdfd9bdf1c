/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/chat_turns.c - a long conversation costs, at each turn, only what is new. With a small random model, whose
 * answers are noise: words in tokens that encoding would not choose. */
#include "unit/check.h"

#include <gemmule.h>
#include <math.h>
#include <yyjson.h>

enum { N_TURNS = 50, MAX_IDS = 4096, PER_ANSWER = 8 };

static gem_model *model;
static gem_engine *engine;
static gem_session *session;
static gem_logit_bias bias[2048];
static gem_sampling sampling = {.temperature = 1, .seed = 7, .bias = bias};

struct conversation {
    yyjson_mut_doc *doc;
    yyjson_mut_val *messages;
    int32_t seen[MAX_IDS];
    size_t n_seen;
    gem_chat_parser *parser;
};

static void begin(struct conversation *c)
{
    *c = (struct conversation){.doc = yyjson_mut_doc_new(NULL)};
    c->messages = yyjson_mut_arr(c->doc);
}

static void end(struct conversation *c) { yyjson_mut_doc_free(c->doc); }

static void say(struct conversation *c, const char *json)
{
    yyjson_doc *doc = yyjson_read(json, strlen(json), 0);

    CHECK(yyjson_mut_arr_append(c->messages, yyjson_val_mut_copy(c->doc, yyjson_doc_get_root(doc))));
    yyjson_doc_free(doc);
}

static bool on_token(void *user, int32_t token)
{
    struct conversation *c = user;

    c->seen[c->n_seen++] = token;
    CHECK(!gem_chat_parser_push(c->parser, token, NULL));
    return c->n_seen < MAX_IDS;
}

/* One answer; adds it to the messages. */
static gem_generate_stats answer(struct conversation *c, gem_chat_options o)
{
    const gem_generate_options options = {.sampling = &sampling, .max_tokens = PER_ANSWER};
    gem_generate_stats stats = {0};
    gem_chat_prompt *prompt = NULL;
    const int32_t *tokens;
    const char *text, *json;
    gem_error err = {0};
    size_t n_json, n_text, n, n_decoded;
    char *messages = yyjson_mut_val_write(c->messages, 0, &n_json), decoded[16384];

    o.seen = c->seen;
    o.n_seen = c->n_seen;
    if (gem_chat_render(&prompt, model, messages, n_json, NULL, 0, &o, &err)) {
        printf("%s\n", err.message);
        exit(EXIT_FAILURE);
    }
    free(messages);
    n = gem_chat_prompt_tokens(prompt, &tokens);
    n_text = gem_chat_prompt_text(prompt, &text);
    CHECK(n < MAX_IDS - PER_ANSWER);
    CHECK(!gem_detokenize(model, tokens, n, true, decoded, sizeof decoded, &n_decoded, NULL));
    CHECK(n_decoded == n_text && !memcmp(decoded, text, n_text));
    memcpy(c->seen, tokens, n * sizeof *tokens);
    c->n_seen = n;
    sampling.seed++;
    CHECK(!gem_chat_parser_open(&c->parser, model, prompt, NULL, NULL, NULL));
    CHECK(!gem_generate(session, tokens, n, &options, on_token, c, &stats, NULL));
    CHECK(!gem_chat_parser_finish(c->parser, NULL));
    CHECK(!gem_chat_parser_message(c->parser, 1, &json, &n_json, NULL));
    say(c, json);
    gem_chat_parser_close(c->parser);
    gem_chat_prompt_close(prompt);
    return stats;
}

static void test_small(void) /* nothing but the new turn, and the one token that the session did not compute */
{
    struct conversation c;
    size_t held = 0;

    begin(&c);
    for (int turn = 1; turn <= N_TURNS; turn++) {
        char text[80];
        gem_generate_stats stats;

        snprintf(text, sizeof text, "{\"role\":\"user\",\"content\":\"Question number %d?\"}", turn);
        say(&c, text);
        stats = answer(&c, (gem_chat_options){.format = GEM_CHAT_GEMMA4_SMALL});
        CHECK_EQ(stats.n_kept, held);
        held = stats.n_prompt + stats.n_generated - 1;
    }
    CHECK(held > 800);
    end(&c);
}

static void test_large(void) /* its empty thought is not in the history: the last answer is read again, no more */
{
    struct conversation c;
    size_t held = 0;

    begin(&c);
    for (int turn = 1; turn <= 5; turn++) {
        gem_generate_stats stats;

        say(&c, "{\"role\":\"user\",\"content\":\"And now?\"}");
        stats = answer(&c, (gem_chat_options){.format = GEM_CHAT_GEMMA4_LARGE});
        CHECK_EQ(stats.n_kept, held);
        CHECK_EQ(stats.n_generated, PER_ANSWER);
        held = stats.n_prompt;
        for (size_t i = stats.n_prompt; i-- > 0 && c.seen[i] != gem_model_token_id(model, "<|channel>", 10);) held = i;
        held--; /* the channel's own token */
    }
    end(&c);
}

/* Answers are trimmed in the history, so white space at their ends would be read anew; and noise should not end early.
 */
static void forbid(void)
{
    static const char *const names[] = {"<eos>", "<turn|>", "<|tool_response>", "<|channel>", "<|tool_call>"};

    for (int32_t id = 0; id < (int32_t)gem_model_get_info(model)->vocab; id++) {
        size_t n = 0;
        const char *piece = gem_model_piece(model, id, &n);
        bool bad = !piece || n == 0;

        for (size_t i = 0; i < n && !bad; i++) bad = (unsigned char)piece[i] <= ' ' || piece[i] == '<';
        for (size_t i = 0; i + 3 <= n && !bad; i++) bad = !memcmp(piece + i, "\xe2\x96\x81", 3);
        if (bad) bias[sampling.n_bias++] = (gem_logit_bias){.token = id, .bias = -INFINITY};
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK(gem_model_token_id(model, names[i], strlen(names[i])) >= 0);
    CHECK(sampling.n_bias < sizeof bias / sizeof *bias);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {{"small", test_small}, {"large", test_large}};
    const gem_session_options options = {.context = MAX_IDS};
    gem_error err = {0};
    int code;

    if (gem_model_open(&model, "golden/models/e2b/model", NULL, &err) ||
        gem_engine_open(&engine, model, &(gem_engine_options){.n_threads = 1}, &err) ||
        gem_session_open(&session, engine, &options, &err)) {
        printf("%s\n", err.message);
        return EXIT_FAILURE;
    }
    CHECK(gem_model_get_chat(model)->format == GEM_CHAT_GEMMA4_SMALL);
    forbid();
    code = check_main(tests, sizeof tests / sizeof *tests, argc, argv);
    gem_session_close(session);
    gem_engine_close(engine);
    gem_model_close(model);
    return code;
}
