/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/generate.c - whole answers of the small reference model: constraints, forced tokens, stop strings,
 * logprobs, several samples. Its weights are random, so that its wishes are as good as noise. */
#include <gemmule.h>

#include <math.h>
#include <yyjson.h>

#include "unit/check.h"

static gem_model *model;
static gem_engine *engine;

enum { CONTEXT = 256 };
static const int32_t prompt[] = {2, 15, 300, 301, 302, 16};
enum { N_PROMPT = sizeof prompt / sizeof *prompt };

struct answer {
    int32_t tokens[CONTEXT];
    size_t n;
    char text[8192];
    size_t n_text;
    gem_logprob chosen[CONTEXT];
    size_t positions[CONTEXT], n_logprobs, n_top;
    gem_logprob top[CONTEXT][5];
    gem_generate_stats stats;
};

static bool on_token(void *user, int32_t token)
{
    struct answer *a = user;

    a->tokens[a->n++] = token;
    return true;
}

static bool on_text(void *user, const char *text, size_t n)
{
    struct answer *a = user;

    memcpy(a->text + a->n_text, text, n);
    a->n_text += n;
    a->text[a->n_text] = 0;
    return true;
}

static void on_logprobs(void *user, size_t position, const gem_logprob *chosen, const gem_logprob *top, size_t n_top)
{
    struct answer *a = user;

    a->positions[a->n_logprobs] = position;
    a->chosen[a->n_logprobs] = *chosen;
    a->n_top = n_top;
    memcpy(a->top[a->n_logprobs++], top, n_top * sizeof *top);
}

static gem_session *open_session(uint32_t context)
{
    const gem_session_options options = {.context = context};
    gem_session *session;
    gem_error err;

    if (gem_session_open(&session, engine, &options, &err)) printf("%s\n", err.message);
    return session;
}

static gem_status generate(gem_session *session, const gem_generate_options *o, struct answer *a, gem_error *err)
{
    memset(a, 0, sizeof *a);
    return gem_generate(session, prompt, N_PROMPT, o, on_token, a, &a->stats, err);
}

static gem_constraint *schema_of(const char *schema, bool compact)
{
    const gem_constraint_options options = {.compact = compact};
    gem_constraint *c;
    gem_error err;

    if (gem_constraint_open_schema(&c, model, schema, strlen(schema), &options, &err)) {
        printf("%s: %s\n", schema, err.message);
        check_failures++;
    }
    return c;
}

static const char person[] =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":\"integer\",\"minimum\":0},"
    "\"tags\":{\"type\":\"array\",\"items\":{\"enum\":[\"new\",\"old\"]},\"maxItems\":2}},\"required\":[\"name\","
    "\"age\"]}";

/* Checked by hand, not by the constraint. */
static bool is_person(const char *text, size_t n)
{
    yyjson_doc *doc = yyjson_read(text, n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *tags = yyjson_obj_get(root, "tags"), *tag;
    bool ok = yyjson_is_obj(root) && yyjson_is_str(yyjson_obj_get(root, "name"));
    size_t i, count;

    ok = ok && yyjson_is_int(yyjson_obj_get(root, "age")) && yyjson_get_sint(yyjson_obj_get(root, "age")) >= 0;
    ok = ok && yyjson_obj_size(root) == (tags ? 3u : 2u) &&
         (!tags || (yyjson_is_arr(tags) && yyjson_arr_size(tags) <= 2));
    if (tags)
        yyjson_arr_foreach(tags, i, count, tag) ok =
            ok && (yyjson_equals_str(tag, "new") || yyjson_equals_str(tag, "old"));
    yyjson_doc_free(doc);
    return ok;
}

static void test_answers_satisfy_the_schema_in_any_budget(void)
{
    gem_constraint *c = schema_of(person, false);
    gem_session *session = open_session(CONTEXT);
    gem_error err = {0};
    struct answer a;
    size_t least = 0;

    for (size_t max = 1; max < 60; max += max < 25 ? 1 : 5) {
        const gem_sampling sampling = {.temperature = 1.5f, .seed = max};
        const gem_generate_options o = {.sampling = &sampling, .max_tokens = max, .constraint = c, .on_text = on_text};
        const gem_status st = generate(session, &o, &a, &err);
        if (st) {
            CHECK_EQ(st, GEM_E_LIMIT);
            CHECK(strstr(err.message, "constraint") && least == 0 && a.n == 0);
            continue;
        }
        if (least == 0) least = max;
        CHECK(a.n <= max && a.n == a.stats.n_generated);
        CHECK_EQ(a.stats.finish, GEM_FINISH_STOP);
        if (!is_person(a.text, a.n_text)) {
            printf("max_tokens %zu: %s\n", max, a.text);
            check_failures++;
        }
    }
    CHECK(least > 3 && least < 40);
    gem_session_close(session);

    session = open_session((uint32_t)(N_PROMPT + least - 1)); /* the context is a budget too */
    CHECK_EQ(generate(session, &(gem_generate_options){.constraint = c, .on_text = on_text}, &a, &err), GEM_OK);
    CHECK(is_person(a.text, a.n_text));
    gem_session_close(session);
    session = open_session((uint32_t)(N_PROMPT + least - 2));
    CHECK_EQ(generate(session, &(gem_generate_options){.constraint = c}, &a, &err), GEM_E_LIMIT);
    gem_session_close(session);
    gem_constraint_close(c);
}

struct logits {
    float *of; /* [positions, vocab] */
    size_t vocab;
};

static bool keep_logits(void *user, uint32_t position, const float *logits, size_t vocab)
{
    struct logits *l = user;

    memcpy(l->of + position * vocab, logits, vocab * sizeof *logits);
    l->vocab = vocab;
    return true;
}

/* Forced tokens are computed in one pass; the cache they leave gives the same bits as one pass a token. */
static void test_forced_tokens_leave_the_same_bits(void)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"temperature\":{\"const\":\"between\"},\"humidity\":"
        "{\"type\":\"boolean\"}},\"required\":[\"temperature\",\"humidity\"]}";
    gem_constraint *c = schema_of(schema, true);
    gem_session *session = open_session(CONTEXT), *other = open_session(CONTEXT);
    const gem_generate_options o = {.constraint = c, .max_tokens = 60, .on_text = on_text};
    const size_t vocab = gem_model_get_info(model)->vocab;
    int32_t sequence[CONTEXT];
    gem_advance fast = {.session = session, .tokens = sequence}, slow = {.session = other, .tokens = sequence};
    struct answer a;
    size_t n;

    CHECK_EQ(generate(session, &o, &a, NULL), GEM_OK);
    CHECK(!strcmp(a.text, "{\"temperature\":\"between\",\"humidity\":true}") ||
          !strcmp(a.text, "{\"temperature\":\"between\",\"humidity\":false}"));
    CHECK(a.stats.n_forced >= 5 && a.stats.n_forced < a.n);
    memcpy(sequence, prompt, sizeof prompt);
    memcpy(sequence + N_PROMPT, a.tokens, a.n * sizeof *a.tokens);
    n = N_PROMPT + a.n;
    fast.n_tokens = n;
    CHECK_EQ(gem_engine_advance(engine, &fast, 1, NULL, NULL, NULL), GEM_OK);
    CHECK(fast.n_kept > N_PROMPT + 3); /* so it is what generation left that is looked at */
    for (slow.n_tokens = 1; slow.n_tokens <= n; slow.n_tokens++)
        CHECK_EQ(gem_engine_advance(engine, &slow, 1, NULL, NULL, NULL), GEM_OK);
    CHECK(!memcmp(fast.logits, slow.logits, vocab * sizeof(float)));
    gem_session_close(session);
    gem_session_close(other);
    gem_constraint_close(c);
}

/* Where a complete text cannot go on within the budget it ends, though no stop token is wanted. */
static void test_a_complete_text_ends_without_stop_tokens(void)
{
    static const char pattern[] = "ab( and so on and so forth)*";
    gem_session *session = open_session(CONTEXT);
    gem_constraint *c;
    struct answer a;

    CHECK_EQ(gem_constraint_open_regex(&c, model, pattern, strlen(pattern), NULL, NULL), GEM_OK);
    for (size_t max = 2; max < 40; max++) {
        const gem_generate_options o = {.max_tokens = max, .constraint = c, .ignore_stop = true, .on_text = on_text};
        CHECK_EQ(generate(session, &o, &a, NULL), GEM_OK);
        CHECK(a.stats.finish == GEM_FINISH_STOP && a.n <= max && a.n_text % 23 == 2);
    }
    gem_constraint_close(c);
    gem_session_close(session);
}

/* By name, for the ids differ from vocabulary to vocabulary. */
static int32_t token_id(const char *piece) { return gem_model_token_id(model, piece, strlen(piece)); }

static void test_tools_and_thoughts(void)
{
    static const char tools[] =
        "[{\"type\":\"function\",\"function\":{\"name\":\"get\",\"parameters\":{\"type\":\"object\",\"properties\":{"
        "\"n\":"
        "{\"type\":\"integer\"},\"unit\":{\"enum\":[\"C\",\"F\"]}},\"required\":[\"n\",\"unit\"]}}}]";
    const gem_tool_options required = {.choice = GEM_TOOL_REQUIRED, .single = true};
    const gem_constraint_options think = {.thought = GEM_THOUGHT_OPEN};
    const int32_t open = token_id("<|tool_call>"), close = token_id("<tool_call|>"), thought = token_id("<channel|>");
    gem_session *session = open_session(CONTEXT);
    gem_constraint *c;

    CHECK_EQ(gem_constraint_open_tools(&c, model, tools, strlen(tools), &required, &think, NULL), GEM_OK);
    for (uint64_t seed = 0; seed < 20; seed++) {
        const gem_sampling sampling = {.temperature = 1, .seed = seed};
        const gem_generate_options o = {.sampling = &sampling, .max_tokens = 40, .constraint = c, .on_text = on_text};
        struct answer a;
        const char *call;
        size_t end = 0;
        int number;
        char unit;
        CHECK_EQ(generate(session, &o, &a, NULL), GEM_OK);
        CHECK_EQ(a.stats.finish, GEM_FINISH_STOP);
        while (end < a.n && a.tokens[end] != thought) end++;
        CHECK(end + 1 < a.n && a.tokens[end + 1] == open); /* the thought ends, and the call follows at once */
        CHECK_EQ(a.tokens[a.n - 1], close);
        call = strstr(a.text, "call:get{n:"); /* control tokens are no text: the quotes are not there */
        CHECK(call && sscanf(call, "call:get{n:%d,unit:%c}", &number, &unit) == 2 && (unit == 'C' || unit == 'F'));
    }
    gem_constraint_close(c);
    gem_session_close(session);
}

/* A thought that the prompt opened, or that begins in the answer, ends where it was told to. */
static void test_long_thoughts_are_closed(void)
{
    const int32_t opens = token_id("<|channel>"), closes = token_id("<channel|>"), newline = token_id("\n");
    const gem_constraint_options think[] = {{.thought = GEM_THOUGHT_OPEN}, {.thought = GEM_THOUGHT_OPTIONAL}};
    gem_session *session = open_session(CONTEXT);
    const int32_t start[] = {2, 300, opens, 301};

    CHECK(opens >= 0 && closes >= 0 && newline >= 0);
    for (uint64_t seed = 0; seed < 24; seed++) {
        const size_t most = 4 + seed % 5;
        const bool prompted = seed % 2 == 0, constrained = seed % 3 != 0;
        const gem_logit_bias bias[] = {{opens, 100}, {closes, -INFINITY}}; /* it would begin one, and never end it */
        const gem_sampling sampling = {.temperature = 1, .seed = seed, .bias = bias, .n_bias = 2};
        gem_constraint *c = NULL;
        gem_generate_options o = {
            .sampling = &sampling, .max_tokens = 30, .max_thought_tokens = most, .ignore_stop = true};
        struct answer a = {.n = 0};
        size_t end = 0, begin = 0;
        if (constrained)
            CHECK_EQ(gem_constraint_open_regex(&c, model, "(yes|no)", 8, prompted ? &think[0] : &think[1], NULL),
                     GEM_OK);
        o.constraint = c;
        CHECK_EQ(gem_generate(session, start, prompted ? 4 : 2, &o, on_token, &a, &a.stats, NULL), GEM_OK);
        if (!prompted) CHECK_EQ(a.tokens[begin++], opens);
        while (end < a.n && a.tokens[end] != closes) end++;
        CHECK(end < a.n);
        CHECK(end - begin >= most && end - begin <= most + 4); /* the newline, and a character that had begun */
        CHECK(end > 0 && (a.tokens[end - 1] == newline || end - begin != most + 1));
        CHECK(!constrained || (a.stats.finish == GEM_FINISH_STOP && a.n > end + 1));
        gem_constraint_close(c);
    }
    gem_session_close(session);
}

static void test_stop_strings(void)
{
    gem_session *session = open_session(CONTEXT);
    const gem_sampling sampling = {.temperature = 1, .seed = 5};
    gem_generate_options o = {.sampling = &sampling, .max_tokens = 40, .on_text = on_text, .ignore_stop = true};
    struct answer plain, a;
    gem_stop_string stop[2];
    gem_error err;

    CHECK_EQ(generate(session, &o, &plain, &err), GEM_OK);
    CHECK(plain.n_text > 30);
    /* Wherever a stop string lies, and however tokens cut it: the text before it and nothing of it. */
    for (size_t n = 1; n < 12; n++)
        for (size_t at = 0; at + n < plain.n_text; at += 5) {
            const char *first;
            char string[16] = "";
            memcpy(string, plain.text + at, n);
            if (((uint8_t)string[0] & 0xc0) == 0x80) continue; /* the middle of a character */
            first = strstr(plain.text, string);
            stop[0] = (gem_stop_string){"\x01never", 6};
            stop[1] = (gem_stop_string){string, n};
            o.stop_strings = stop;
            o.n_stop_strings = 2;
            CHECK_EQ(generate(session, &o, &a, &err), GEM_OK);
            CHECK_EQ(a.stats.finish, GEM_FINISH_STOP);
            CHECK_EQ(a.stats.stop_string, 1);
            CHECK_EQ(a.n_text, first - plain.text);
            CHECK(!memcmp(a.text, plain.text, a.n_text) && a.n <= plain.n);
        }
    stop[1] = stop[0];
    CHECK_EQ(generate(session, &o, &a, &err), GEM_OK); /* never found: all text comes out */
    CHECK(a.n_text == plain.n_text && !memcmp(a.text, plain.text, a.n_text));
    CHECK_EQ(a.stats.stop_string, -1);
    stop[0].n = 0;
    CHECK_EQ(generate(session, &o, &a, &err), GEM_E_ARGUMENT);
    gem_session_close(session);
}

/* Against a plain definition over all positions' logits. */
static void check_logprobs(const struct answer *a, const float *logits, size_t vocab, const int32_t *sequence)
{
    for (size_t i = 0; i < a->n_logprobs; i++) {
        const float *row = logits + (a->positions[i] - 1) * vocab;
        double sum = 0;
        for (size_t t = 0; t < vocab; t++) sum += exp((double)row[t]);
        CHECK_EQ(a->chosen[i].token, sequence[a->positions[i]]);
        CHECK(fabs(a->chosen[i].logprob - (row[a->chosen[i].token] - log(sum))) < 1e-4);
        for (size_t k = 0; k < a->n_top; k++) {
            size_t better = 0;
            for (size_t t = 0; t < vocab; t++) better += row[t] > row[a->top[i][k].token];
            CHECK(better <= k && fabs(a->top[i][k].logprob - (row[a->top[i][k].token] - log(sum))) < 1e-4);
        }
    }
}

static void test_logprobs(void)
{
    gem_constraint *c = schema_of(person, true);
    gem_session *session = open_session(CONTEXT), *other = open_session(CONTEXT);
    const size_t vocab = gem_model_get_info(model)->vocab;
    struct logits l = {.of = malloc(CONTEXT * vocab * sizeof(float))};
    int32_t sequence[CONTEXT];

    for (int with = 0; with < 4;
         with++) { /* with a constraint, whose forced tokens have logprobs too; with the prompt */
        const gem_sampling sampling = {.temperature = 1, .seed = 3};
        const gem_generate_options o = {.sampling = &sampling,
                                        .max_tokens = 30,
                                        .ignore_stop = true,
                                        .on_logprobs = on_logprobs,
                                        .top_logprobs = 5,
                                        .prompt_logprobs = with & 2,
                                        .constraint = with & 1 ? c : NULL};
        struct answer a;
        gem_advance all = {.session = other, .tokens = sequence, .on_logits = keep_logits, .user = &l};
        const size_t first = with & 2 ? 1 : N_PROMPT;
        CHECK_EQ(generate(session, &o, &a, NULL), GEM_OK);
        memcpy(sequence, prompt, sizeof prompt);
        memcpy(sequence + N_PROMPT, a.tokens, a.n * sizeof *a.tokens);
        all.n_tokens = N_PROMPT + a.n;
        CHECK_EQ(gem_engine_advance(engine, &all, 1, NULL, NULL, NULL), GEM_OK);
        CHECK_EQ(a.n_logprobs, N_PROMPT + a.n - first);
        for (size_t i = 0; i < a.n_logprobs; i++) CHECK_EQ(a.positions[i], first + i);
        CHECK_EQ(a.n_top, 5);
        check_logprobs(&a, l.of, vocab, sequence);
        CHECK(!(with & 1) || a.stats.n_forced > 0);
    }
    free(l.of);
    gem_session_close(session);
    gem_session_close(other);
    gem_constraint_close(c);
}

/* Together they give what each gives alone, in as many batches as one of them needs. */
static void test_samples_share_the_prompt(void)
{
    enum { N = 70 }; /* more than are computed in one batch */
    static struct answer together[N], alone;
    gem_session *session = open_session(CONTEXT), *other = open_session(CONTEXT);
    gem_sampling sampling = {.temperature = 2, .seed = 11};
    gem_generate_options o = {.sampling = &sampling,
                              .max_tokens = 9,
                              .ignore_stop = true,
                              .on_text = on_text,
                              .on_logprobs = on_logprobs,
                              .top_logprobs = 2};
    gem_generate_stats stats[N];
    gem_engine_stats before, after;
    void *users[N];
    size_t different = 0;

    for (int with = 0; with < 3; with++) {
        gem_constraint *c = with == 1 ? schema_of("{\"enum\":[\"tomorrow\",\"today\",[1,2,3]]}", true) : NULL;
        const size_t n = with == 0 ? N : 5;
        o.constraint = c;
        o.prompt_logprobs = with == 2;
        memset(together, 0, sizeof together);
        for (size_t i = 0; i < n; i++) users[i] = &together[i];
        gem_engine_get_stats(engine, &before);
        CHECK_EQ(gem_generate_samples(session, prompt, N_PROMPT, n, &o, on_token, users, stats, NULL), GEM_OK);
        gem_engine_get_stats(engine, &after);
        if (with == 0) { /* the prompt, the row of it that the others need, 8 tokens; chunks of 16 rows */
            CHECK_EQ(after.n_batches - before.n_batches, 1 + 5 + 8 * 5);
            CHECK_EQ(after.n_rows - before.n_rows, N_PROMPT + (N - 1) + 8 * N);
        }
        for (size_t i = 0; i < n; i++) {
            sampling.seed = stats[i].seed;
            o.prompt_logprobs = with == 2 && i == 0;
            CHECK_EQ(generate(other, &o, &alone, NULL), GEM_OK);
            CHECK(alone.n == together[i].n && !memcmp(alone.tokens, together[i].tokens, sizeof alone.tokens));
            CHECK_EQ(alone.n_logprobs, together[i].n_logprobs);
            for (size_t k = 0; k < alone.n_logprobs; k++)
                CHECK(alone.chosen[k].token == together[i].chosen[k].token &&
                      alone.chosen[k].logprob == together[i].chosen[k].logprob); /* the same bits */
            CHECK(!strcmp(alone.text, together[i].text));
            CHECK_EQ(alone.stats.finish, stats[i].finish);
            CHECK_EQ(alone.stats.n_forced, stats[i].n_forced);
            CHECK_EQ(stats[i].n_generated, together[i].n);
            if (i > 0) CHECK_EQ(stats[i].n_kept, N_PROMPT - 1); /* all but the row whose logits are wanted */
            different += with == 0 && memcmp(together[0].tokens, together[i].tokens, sizeof alone.tokens) != 0;
        }
        sampling.seed = 11;
        gem_constraint_close(c);
    }
    CHECK(different > N - 5);
    CHECK_EQ(stats[0].seed, 11);
    gem_session_close(session);
    gem_session_close(other);
}

/* Answers that begin at different times, of different prompts, in one batch: each is what it would be alone. */
static void test_generations_may_come_and_go(void)
{
    enum { N = 4 };
    static struct answer together[N], alone;
    gem_session *session = open_session(CONTEXT), *sessions[N];
    gem_generation *items[N];
    gem_generate_stats stats;
    size_t n = 0, n_left;

    for (size_t step = 0; step < 60; step++) {
        const gem_sampling sampling = {.temperature = 1, .seed = n};
        const gem_generate_options o = {.sampling = &sampling, .max_tokens = 10 + 3 * n, .ignore_stop = true};
        if (step % 3 == 0 && n < N) {
            sessions[n] = open_session(CONTEXT);
            memset(&together[n], 0, sizeof together[n]);
            CHECK_EQ(
                gem_generation_open(&items[n], sessions[n], prompt, N_PROMPT - n, &o, on_token, &together[n], NULL),
                GEM_OK);
            n++;
        }
        CHECK_EQ(gem_engine_generate(engine, items, n, &n_left, NULL), GEM_OK);
        if (n_left == 0 && n == N) break;
    }
    for (size_t i = 0; i < N; i++) {
        const gem_sampling sampling = {.temperature = 1, .seed = i};
        const gem_generate_options o = {.sampling = &sampling, .max_tokens = 10 + 3 * i, .ignore_stop = true};
        memset(&alone, 0, sizeof alone);
        CHECK(gem_generation_get_stats(items[i], &stats));
        CHECK_EQ(stats.n_generated, 10 + 3 * i);
        CHECK_EQ(gem_generate(session, prompt, N_PROMPT - i, &o, on_token, &alone, NULL, NULL), GEM_OK);
        CHECK(alone.n == together[i].n && !memcmp(alone.tokens, together[i].tokens, sizeof alone.tokens));
        gem_generation_close(items[i]);
        gem_session_close(sessions[i]);
    }
    gem_session_close(session);
}

/* A copy goes on with the bits that the original goes on with, also where the rings have wrapped around, and in a
 * session of another size. */
static void test_copied_sessions(void)
{
    enum { LONG = 2500 };
    static int32_t tokens[LONG + 8];
    const size_t vocab = gem_model_get_info(model)->vocab;
    gem_session *from = open_session(LONG + 8), *to;
    gem_error err;

    for (size_t i = 0; i < LONG + 8; i++) tokens[i] = (int32_t)(300 + i * 7 % 500);
    for (size_t n = 100; n <= LONG; n += 600) {
        const gem_session_options sizes[] = {{.context = LONG + 8}, {.context = (uint32_t)n + 8, .local_slack = 1}};
        gem_advance a = {.session = from, .tokens = tokens, .n_tokens = n, .no_logits = true}, b = a;
        for (size_t i = 0; i < 2; i++) {
            a.n_tokens = n;
            a.no_logits = true;
            CHECK_EQ(gem_engine_advance(engine, &a, 1, NULL, NULL, NULL), GEM_OK);
            CHECK_EQ(gem_session_open(&to, engine, &sizes[i], &err), GEM_OK);
            CHECK_EQ(gem_session_copy(to, from, NULL), GEM_OK);
            a.n_tokens = n + 5;
            a.no_logits = false;
            b = a;
            b.session = to;
            CHECK_EQ(gem_engine_advance(engine, &b, 1, NULL, NULL, NULL), GEM_OK);
            CHECK_EQ(gem_engine_advance(engine, &a, 1, NULL, NULL, NULL), GEM_OK);
            CHECK_EQ(b.n_kept, n);
            CHECK(!memcmp(a.logits, b.logits, vocab * sizeof(float)));
            gem_session_close(to);
        }
    }
    to = open_session(64);
    CHECK_EQ(gem_session_copy(to, from, &err), GEM_E_LIMIT);
    gem_session_close(to);
    gem_session_close(from);
}

static void test_min_tokens(void)
{
    gem_session *session = open_session(CONTEXT);
    int32_t stop[400]; /* so many that the model soon draws one */
    struct answer a;
    bool any = false;

    for (int32_t i = 0; i < 400; i++) stop[i] = i + 400;
    for (uint64_t seed = 0; seed < 10; seed++) {
        const gem_sampling sampling = {.temperature = 1, .seed = seed};
        gem_generate_options o = {.sampling = &sampling, .max_tokens = 40, .stop = stop, .n_stop = 400};
        CHECK_EQ(generate(session, &o, &a, NULL), GEM_OK);
        any |= a.n < 12;
        o.min_tokens = 12;
        CHECK_EQ(generate(session, &o, &a, NULL), GEM_OK);
        CHECK(a.n >= 12);
        for (size_t i = 0; i < a.n; i++) CHECK(a.tokens[i] < 400 || a.tokens[i] >= 800);
    }
    CHECK(any);
    gem_session_close(session);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"budgets", test_answers_satisfy_the_schema_in_any_budget},
        {"forced_bits", test_forced_tokens_leave_the_same_bits},
        {"complete", test_a_complete_text_ends_without_stop_tokens},
        {"tools", test_tools_and_thoughts},
        {"thoughts", test_long_thoughts_are_closed},
        {"stop_strings", test_stop_strings},
        {"logprobs", test_logprobs},
        {"samples", test_samples_share_the_prompt},
        {"come_and_go", test_generations_may_come_and_go},
        {"copies", test_copied_sessions},
        {"min_tokens", test_min_tokens},
    };
    const gem_model_options options = {.precision = GEM_PRECISION_EXACT};
    const gem_engine_options engine_options = {.n_threads = 2, .chunk = 16};
    gem_error err;
    int result;

    if (gem_model_open(&model, "golden/models/e2b/model", &options, &err) ||
        gem_engine_open(&engine, model, &engine_options, &err)) {
        printf("%s\n", err.message);
        return EXIT_FAILURE;
    }
    result = check_main(tests, sizeof tests / sizeof *tests, argc, argv);
    gem_engine_close(engine);
    gem_model_close(model);
    return result;
}
