/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/oom.c - out of memory, in the manner of SQLite: an operation is run once to count its requests for memory,
 * mappings and threads; then once for each with that one refused, and once with all from there on refused. Each time
 * it must say so with an error, give back what it had taken, and work again afterwards. */
#include "unit/allocations.h"
#include "unit/check.h"

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/threads.h"
#include "audio/audio.h"
#include "media/sound.h"

#include <dirent.h>
#include <unistd.h>

/* Does its work and undoes all of it. */
typedef gem_status operation_fn(const void *context, gem_error *err);

static size_t open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    if (!dir) return 0;
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static bool gave_all_back(const struct allocations *a)
{
    return a->n_blocks == 0 && a->n_maps == 0 && a->n_threads == 0;
}

/* Runs with request number i refused; false after a complaint. */
static bool survives(const char *what, operation_fn *run, const void *context, size_t i, bool from_there_on)
{
    const size_t files = open_files();
    gem_error err = {0};
    struct allocations a;
    gem_status st;
    bool ok;

    allocations_begin(i, from_there_on);
    st = run(context, &err);
    a = allocations_end();
    ok = a.n_refused > 0 && (st == GEM_E_NOMEM || st == GEM_E_IO) && err.code == st && err.message[0];
    ok &= gave_all_back(&a) && open_files() == files;
    if (!ok)
        printf("%s, request %zu%s refused: %s (%s: \"%s\"), keeps %zu blocks, %zu mappings, %zu threads, %zd files\n",
               what, i, from_there_on ? " and later" : "", gem_status_name(st), gem_status_name(err.code), err.message,
               a.n_blocks, a.n_maps, a.n_threads, (ssize_t)(open_files() - files));
    return ok;
}

/* Refuses each request once. Where there are more than `most`, the first half of them and a sample of the rest. */
static void check_operation(const char *what, operation_fn *run, const void *context, size_t most)
{
    gem_error err = {0};
    struct allocations a;
    gem_status st;
    size_t n, bad = 0, step = 1;

    allocations_begin(SIZE_MAX, false);
    st = run(context, &err);
    a = allocations_end();
    n = a.n_requests;
    if (st || !gave_all_back(&a)) {
        printf("%s: %s, keeps %zu blocks\n", what, st ? err.message : "ok", a.n_blocks);
        check_failures++;
        return;
    }
    CHECK(n > 0);
    for (size_t i = 0; i < n && bad < 5; i += step) {
        if (i >= most / 2) step = 1 + (n - most / 2) / (most / 2);
        bad += !survives(what, run, context, i, false);
        bad += !survives(what, run, context, i, true);
    }
    check_failures += (int)bad;
    st = run(context, &err);
    if (st) printf("%s: does not work any more: %s\n", what, err.message);
    CHECK_EQ(st, GEM_OK);
    printf("       %s: %zu requests\n", what, n);
}

/* ---- the counting itself ----------------------------------------------------------------------------- */

static void test_counting(void) /* a counter that sees nothing would pass everything */
{
    struct allocations a;
    void *volatile p, *volatile q;

    allocations_begin(2, false);
    p = malloc(10);
    q = calloc(3, 4);
    CHECK(p && q);
    CHECK(malloc(1) == NULL);
    p = realloc(p, 20000);
    CHECK(p != NULL);
    free(q);
    a = allocations_end();
    CHECK_EQ(a.n_requests, 4);
    CHECK_EQ(a.n_refused, 1);
    CHECK_EQ(a.n_blocks, 1);
    free(p);

    allocations_begin(1, true);
    p = malloc(1);
    CHECK(p != NULL);
    CHECK(malloc(1) == NULL && calloc(1, 1) == NULL && aligned_alloc(64, 64) == NULL);
    free(p);
    a = allocations_end();
    CHECK_EQ(a.n_refused, 3);
    CHECK(gave_all_back(&a));
}

static void *leaked;

static gem_status leak_on_failure(const void *context, gem_error *err)
{
    void *second;

    (void)context;
    free(leaked);
    leaked = gem_calloc(1, 1, "first", err);
    if (!leaked) return GEM_E_NOMEM;
    second = gem_calloc(1, 1, "second", err);
    if (!second) return GEM_E_NOMEM; /* forgets the first */
    free(second);
    free(leaked);
    leaked = NULL;
    return GEM_OK;
}

static void test_a_leak_is_seen(void)
{
    printf("       (a complaint about a leak is expected here)\n");
    CHECK(!survives("leak", leak_on_failure, NULL, 1, false));
    free(leaked);
    leaked = NULL;
}

/* ---- base -------------------------------------------------------------------------------------------- */

static gem_status json_parse(const void *context, gem_error *err)
{
    const char *json = context;
    yyjson_doc *doc;
    const gem_status st = gem_json_parse(&doc, "config.json", json, strlen(json), 1 << 20, err);

    yyjson_doc_free(doc);
    return st;
}

static gem_status json_load(const void *context, gem_error *err)
{
    yyjson_doc *doc;
    const gem_status st = gem_json_load(&doc, context, 1 << 20, err);

    yyjson_doc_free(doc);
    return st;
}

static void test_json(void)
{
    char json[20000] = "[", path[] = "/tmp/gemmule-oom-XXXXXX";
    size_t n = 1;
    int fd;

    while (n + 8 < sizeof json) n += (size_t)sprintf(json + n, "[1,2],"); /* many values: the document grows */
    json[n - 1] = ']';
    check_operation("gem_json_parse", json_parse, json, 100);

    fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, json, n) == (ssize_t)n);
    close(fd);
    check_operation("gem_json_load", json_load, path, 100);
    unlink(path);
}

static gem_status pool_open(const void *context, gem_error *err)
{
    struct gem_pool *pool;
    const gem_status st = gem_pool_open(&pool, *(const unsigned *)context, err);

    gem_pool_close(pool);
    return st;
}

static void test_pool(void) /* the third thread refused: two must be called back */
{
    static const unsigned n_threads[] = {1, 4};

    for (size_t i = 0; i < 2; i++) check_operation("gem_pool_open", pool_open, &n_threads[i], 100);
}

static gem_status arena_open(const void *context, gem_error *err)
{
    struct gem_arena a;
    const gem_status st = gem_arena_open(&a, 1 << 20, "scratch", err);

    (void)context;
    gem_arena_close(&a);
    return st;
}

static void test_arena(void) { check_operation("gem_arena_open", arena_open, NULL, 100); }

/* ---- engine ------------------------------------------------------------------------------------------ */

struct model_case {
    const char *path;
    gem_model_options options;
    gem_model *model; /* open, for what is above it */
    gem_engine *engine;
};

static const gem_engine_options engine_options = {.n_threads = 3, .chunk = 16};
static const gem_session_options session_options = {.context = 64};
static const char text[] = "The sea, the sea! \xf0\x9f\x8c\x8a 1234567890";

static gem_status model_open(const void *context, gem_error *err)
{
    const struct model_case *c = context;
    gem_model *model;
    const gem_status st = gem_model_open(&model, c->path, &c->options, err);

    CHECK((st == GEM_OK) == (model != NULL));
    gem_model_close(model);
    return st;
}

static gem_status engine_open(const void *context, gem_error *err)
{
    const struct model_case *c = context;
    gem_engine *engine;
    const gem_status st = gem_engine_open(&engine, c->model, &engine_options, err);

    CHECK((st == GEM_OK) == (engine != NULL));
    gem_engine_close(engine);
    return st;
}

static gem_status session_open(const void *context, gem_error *err)
{
    const struct model_case *c = context;
    gem_session *session;
    const gem_status st = gem_session_open(&session, c->engine, &session_options, err);

    CHECK((st == GEM_OK) == (session != NULL));
    if (session) gem_session_close(session);
    return st;
}

static gem_status tokenize(const void *context, gem_error *err)
{
    const struct model_case *c = context;
    int32_t tokens[100];
    size_t n;

    return gem_tokenize(c->model, text, sizeof text - 1, false, tokens, 100, &n, err);
}

static bool ignore_token(void *user, int32_t token)
{
    (void)user;
    return token >= 0;
}

static gem_status generate(const void *context, gem_error *err)
{
    const struct model_case *c = context;
    const gem_logit_bias bias = {.token = 3, .bias = 1};
    const gem_sampling sampling = {.temperature = 1,
                                   .top_k = 20,
                                   .top_p = 0.9f,
                                   .min_p = 0.01f,
                                   .repetition_penalty = 1.1f,
                                   .frequency_penalty = 0.1f,
                                   .typical_p = 0.9f,
                                   .xtc_probability = 0.5f,
                                   .xtc_threshold = 0.1f,
                                   .dry_multiplier = 0.5f,
                                   .bias = &bias,
                                   .n_bias = 1,
                                   .seed = 1};
    const gem_stop_string stop = {"never", 5};
    const gem_generate_options options = {.sampling = &sampling,
                                          .max_tokens = 3,
                                          .ignore_stop = true,
                                          .min_tokens = 2,
                                          .stop_strings = gem_model_get_info(c->model)->has_tokenizer ? &stop : NULL,
                                          .n_stop_strings = gem_model_get_info(c->model)->has_tokenizer};
    const int32_t prompt[] = {2, 5, 6, 7};
    gem_session *session;
    gem_status st;

    if ((st = gem_session_open(&session, c->engine, &session_options, err))) return st;
    st = gem_generate_samples(session, prompt, 4, 2, &options, ignore_token, NULL, NULL, err);
    gem_session_close(session);
    return st;
}

static gem_status converse(const void *context, gem_error *err)
{
    static const char messages[] = "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":"
                                   "\"image\"}]},{\"role\":\"assistant\","
                                   "\"content\":\"a<channel|>b\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
                                   "\"arguments\":\"{\\\"a\\\":1.5}\"}}]},"
                                   "{\"role\":\"tool\",\"content\":{\"b\":[1,null]}}]";
    static const char tools[] =
        "[{\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":"
        "{\"type\":\"array\",\"items\":{\"type\":\"number\"}}}}}}]";
    static const char output[] =
        "<|channel>thought\nHm\n<channel|>Look.<|tool_call>call:f{a:[1,2],b:\"c\\n\"}<tool_call|>"
        "<|tool_call>oops<tool_call|>";
    static const gem_stop_string stop = {"zzz", 3};
    const struct model_case *c = context;
    gem_chat_prompt *prompt;
    gem_chat_parser *parser = NULL;
    const char *json;
    size_t n;
    gem_status st =
        gem_chat_render(&prompt, c->model, messages, sizeof messages - 1, tools, sizeof tools - 1, NULL, err);

    CHECK((st == GEM_OK) == (prompt != NULL));
    if (!st) st = gem_chat_parser_open(&parser, c->model, prompt, NULL, NULL, err);
    if (!st) st = gem_chat_parser_set_stop(parser, &stop, 1, err);
    if (!st) st = gem_chat_parser_push_text(parser, output, sizeof output - 1, err);
    if (!st) st = gem_chat_parser_finish(parser, err);
    if (!st) st = gem_chat_parser_message(parser, 1, &json, &n, err);
    gem_chat_parser_close(parser);
    gem_chat_prompt_close(prompt);
    return st;
}

struct constraint_case {
    const gem_model *model;
    const char *schema, *tools;
};

/* Compiles, looks at masks, and is thrown away. */
static gem_status constrain(const void *context, gem_error *err)
{
    const struct constraint_case *c = context;
    gem_constraint *constraint;
    gem_matcher *matcher = NULL;
    const uint64_t *allowed;
    int32_t forced[16];
    size_t n = 0;
    bool may_end;
    gem_status st = c->schema
                        ? gem_constraint_open_schema(&constraint, c->model, c->schema, strlen(c->schema), NULL, err)
                        : gem_constraint_open_tools(&constraint, c->model, c->tools, strlen(c->tools), NULL, NULL, err);

    if (st) return st;
    st = gem_matcher_open(&matcher, constraint, err);
    if (!st) st = gem_matcher_mask(matcher, 100, &allowed, &n, &may_end, err);
    if (!st) st = gem_matcher_forced(matcher, 100, forced, 16, &n, err);
    for (size_t i = 0; i < n && !st; i++) st = gem_matcher_accept(matcher, forced[i], err);
    if (!st) st = gem_matcher_mask(matcher, 90, &allowed, &n, &may_end, err);
    gem_matcher_close(matcher);
    gem_constraint_close(constraint);
    return st;
}

static void check_constraints(gem_model *model)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":30},\"x\":{\"type\":"
        "\"integer\",\"minimum\":3,\"maximum\":77},\"p\":{\"pattern\":\"^[a-z]+$\",\"maxLength\":4},\"l\":{\"type\":"
        "\"array\",\"items\":{\"anyOf\":[{\"$ref\":\"#\"},{\"enum\":[1,\"a\"]}]}}},\"required\":[\"name\"],"
        "\"additionalProperties\":true}";
    static const char tools[] =
        "[{\"name\":\"get\",\"parameters\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":"
        "\"integer\"}},\"required\":[\"n\"]}}]";
    const struct constraint_case with_schema = {.model = model, .schema = schema};
    const struct constraint_case with_tools = {.model = model, .tools = tools};
    gem_constraint *first = NULL;

    /* The model keeps its tree of tokens: made in peace first, so that it is nobody's leak. */
    CHECK_EQ(gem_constraint_open_regex(&first, model, "a", 1, NULL, NULL), GEM_OK);
    gem_constraint_close(first);
    check_operation("constraint from a schema", constrain, &with_schema, 1000);
    check_operation("constraint from tools", constrain, &with_tools, 1000);
}

static gem_status measure_speed(const void *context, gem_error *err) { return gem_measure_speed(context, NULL, err); }

static void test_measure_speed(void)
{
    const gem_speed_options options = {.cpu = "c", .n_threads = 3};

    check_operation("gem_measure_speed", measure_speed, &options, 100);
}

/* ---- media ------------------------------------------------------------------------------------------- */

static gem_status look_at(const void *context, gem_error *err)
{
    static const char *const files[] = {"golden/media/files/photo-progressive.jpg", "golden/media/files/palette.png"};
    const struct model_case *c = context;
    const struct gem_engine_options options = {.n_threads = 2, .chunk = 16}; /* fewer rows than an image has tokens */
    gem_media *media[2] = {NULL, NULL};
    gem_engine *engine = NULL;
    gem_session *session = NULL;
    gem_media_at at[2];
    int32_t tokens[300];
    size_t n = 0;
    gem_status st;

    for (int i = 0; i < 2; i++) {
        const gem_image_source source = {.path = files[i], .budget = 70};
        gem_media_info info;

        if ((st = gem_media_open_image(&media[i], c->model, &source, err))) goto out;
        gem_media_get_info(media[i], &info);
        tokens[n++] = 5;
        at[i] = (gem_media_at){media[i], n};
        for (uint32_t t = 0; t < info.n_tokens; t++) tokens[n++] = info.placeholder;
    }
    tokens[n++] = 6;
    const gem_session_options room = {.context = 300};
    if ((st = gem_engine_open(&engine, c->model, &options, err))) goto out;
    if ((st = gem_session_open(&session, engine, &room, err))) goto out;
    gem_advance it = {.session = session, .tokens = tokens, .n_tokens = n, .media = at, .n_media = 2};
    st = gem_engine_advance(engine, &it, 1, NULL, NULL, err);
out:
    gem_session_close(session);
    gem_engine_close(engine);
    for (int i = 0; i < 2; i++) gem_media_close(media[i]);
    return st;
}

static gem_status listen(const void *context, gem_error *err)
{
    const struct model_case *c = context;
    const struct gem_engine_options options = {.n_threads = 2, .chunk = 16};
    const gem_audio_source source = {.path = "golden/models/sound-e2b/disc.1.wav"};
    const gem_session_options room = {.context = 300};
    gem_model *model = NULL;
    gem_media **media = NULL;
    gem_engine *engine = NULL;
    gem_session *session = NULL;
    int32_t tokens[100] = {5};
    size_t n_media = 0, n = 1;
    gem_media_info info;
    gem_media_at at;
    gem_status st;

    if ((st = gem_model_open(&model, c->path, &c->options, err))) return st;
    st = gem_media_open_audio(&media, &n_media, model, &source, err);
    CHECK((st == GEM_OK) == (media != NULL));
    if (st) goto out;
    gem_media_get_info(media[0], &info);
    at = (gem_media_at){media[0], n};
    for (uint32_t t = 0; t < info.n_tokens; t++) tokens[n++] = info.placeholder;
    tokens[n++] = 6;
    if ((st = gem_engine_open(&engine, model, &options, err))) goto out;
    if ((st = gem_session_open(&session, engine, &room, err))) goto out;
    gem_advance it = {.session = session, .tokens = tokens, .n_tokens = n, .media = &at, .n_media = 1};
    st = gem_engine_advance(engine, &it, 1, NULL, NULL, err);
out:
    gem_session_close(session);
    gem_engine_close(engine);
    gem_media_close_all(media, n_media);
    gem_model_close(model);
    return st;
}

/* The tower is bound once: opening the model again each time would hide that under what the model takes. */
static gem_status look_first(const void *context, gem_error *err)
{
    struct model_case c = *(const struct model_case *)context;
    gem_status st = gem_model_open(&c.model, c.path, &c.options, err);

    if (!st) st = look_at(&c, err);
    gem_model_close(c.model);
    return st;
}

static void test_media(void)
{
    struct model_case e2b = {.path = "golden/models/media-e2b/model",
                             .options = {.n_threads = 2, .mmproj = "golden/models/media-e2b/mmproj.gguf"}};
    struct model_case calm = {.path = "golden/models/media-calm-e4b/model",
                              .options = {.n_threads = 2, .mmproj = "golden/models/media-calm-e4b/mmproj-q8_0.gguf"}};
    struct model_case hears = {.path = "golden/models/sound-e2b/text.gguf",
                               .options = {.n_threads = 2, .mmproj = "golden/models/sound-e2b/mmproj.gguf"}};
    struct model_case big = {.path = "golden/models/media-12b/model", .options = {.precision = GEM_PRECISION_EXACT}};
    gem_error err;

    check_operation("images, first of a model", look_first, &e2b, 300);
    check_operation("images, a quantised tower", look_first, &calm, 300);
    check_operation("sound, first of a model", listen, &hears, 300);
    if (gem_model_open(&big.model, big.path, &big.options, &err) || look_at(&big, &err)) { /* which keeps the tower */
        printf("%s\n", err.message);
        check_failures++;
        return;
    }
    check_operation("images whose tokens see each other", look_at, &big, 300);
    gem_model_close(big.model);
}

/* Everything that a program does with a model; each step on the ones before it, opened in peace. */
static void check_model(const char *what, const char *path, gem_model_options options)
{
    struct model_case c = {.path = path, .options = options};
    gem_error err = {0};

    c.options.n_threads = 2;
    c.options.ram = UINT64_C(1) << 30;
    printf("       %s\n", what);
    check_operation("gem_model_open", model_open, &c, 1000);
    c.options.metadata_only = true;
    check_operation("gem_model_open, metadata only", model_open, &c, 200);
    c.options.metadata_only = false;
    if (gem_model_open(&c.model, path, &c.options, &err) ||
        gem_engine_open(&c.engine, c.model, &engine_options, &err)) {
        printf("%s: %s\n", path, err.message);
        check_failures++;
    } else {
        check_operation("gem_engine_open", engine_open, &c, 1000);
        check_operation("gem_session_open", session_open, &c, 1000);
        check_operation("gem_generate_samples", generate, &c, 1000);
        check_operation("gem_tokenize", tokenize, &c, 1000);
        if (gem_model_get_chat(c.model)->format >= GEM_CHAT_GEMMA4_SMALL)
            check_operation("gem_chat_render and a parser", converse, &c, 1000);
        if (gem_model_token_id(c.model, "<|tool_call>", 12) >= 0) check_constraints(c.model);
    }
    gem_engine_close(c.engine);
    gem_model_close(c.model);
}

struct pack_case {
    const char *source, *type, *mmproj;
    char path[64];
};

static gem_status pack(const void *context, gem_error *err)
{
    const struct pack_case *c = context;
    const gem_pack_options options = {.type = c->type, .mmproj = c->mmproj, .n_threads = 2};
    const gem_status st = gem_pack(c->source, c->path, &options, err);

    CHECK_EQ(unlink(c->path) == 0, st == GEM_OK); /* whole or not at all */
    return st;
}

static void test_pack(void)
{
    static const struct pack_case cases[] = {
        {.source = "golden/models/e2b/model", .type = "q4_0"},
        {.source = "golden/models/mixed-26b/mixed.gguf"},
        {.source = "golden/models/sound-e2b/text.gguf", .mmproj = "golden/models/sound-e2b/mmproj.gguf"},
    };
    char folder[] = "/tmp/gemmule-oom-XXXXXX";

    CHECK(mkdtemp(folder) != NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pack_case c = cases[i];
        snprintf(c.path, sizeof c.path, "%s/x.gem", folder);
        check_operation("gem_pack", pack, &c, 1000);
    }
    CHECK_EQ(rmdir(folder), 0); /* no temporary file is left either */
}

static const gem_model_options exact = {.precision = GEM_PRECISION_EXACT}, fast = {.precision = GEM_PRECISION_FAST};

static void test_packed_models(void)
{
    char folder[] = "/tmp/gemmule-oom-XXXXXX", path[64];
    gem_error err = {0};

    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/x.gem", folder);
    CHECK_EQ(gem_pack("golden/models/e2b/model", path, NULL, &err), GEM_OK);
    check_model("native, fast", path, fast);
    CHECK_EQ(gem_pack("golden/models/mixed-26b/mixed.gguf", path, NULL, &err), GEM_OK);
    check_model("native, exact", path, exact);
    unlink(path);
    CHECK_EQ(rmdir(folder), 0);
}

static void test_models(void) /* tests run in tests/ */
{
    check_model("folder, exact", "golden/models/e2b/model", exact);
    check_model("GGUF, exact", "golden/models/mixed-e2b/mixed.gguf", exact);
    check_model("GGUF with experts, fast", "golden/models/mixed-26b/mixed.gguf", fast);
    check_model("folder, output head in two stages", "golden/models/e2b/model",
                (gem_model_options){.precision = GEM_PRECISION_FAST, .two_stage_head = true});
    check_model("Gemma 3, fast", "golden/models/quantised-gemma3/Q4_K_M.gguf", fast);
}

/* ---- sound ------------------------------------------------------------------------------------------- */

static gem_status sound_open(const void *context, gem_error *err)
{
    const char *path = context;
    struct gem_sound sound = {0};
    struct gem_map map = {0};
    gem_status st = gem_map_open(&map, path, err);

    if (!st) st = gem_sound_from_wav(&sound, path, map.data, map.n_bytes, err);
    gem_sound_close(&sound);
    gem_map_close(&map);
    return st;
}

static gem_status audio_encode(const void *context, gem_error *err)
{
    struct gem_archive archive = {0};
    struct gem_audio_encoder encoder = {0};
    struct gem_audio_weights weights = {0};
    struct gem_pool *pool = NULL;
    struct gem_kernels kern;
    float pcm[1000] = {1}, soft[80];
    gem_status st;

    gem_kernels_init(&kern, gem_cpu_flags());
    if ((st = gem_gguf_open(&archive, context, err))) return st;
    if ((st = gem_pool_open(&pool, 2, err))) goto out;
    if ((st = gem_audio_bind(&weights, &archive, 80, err))) goto out;
    if ((st = gem_audio_pack(&weights, &kern, pool, err))) goto out;
    if ((st = gem_audio_open(&encoder, &weights, &kern, pool, 8, err))) goto out;
    st = gem_audio_encode(&encoder, pcm, 161, soft, err);
out:
    gem_audio_close(&encoder);
    gem_audio_weights_close(&weights);
    gem_pool_close(pool);
    gem_archive_close(&archive);
    return st;
}

static void test_sound(void)
{
    check_operation("gem_sound_from_wav", sound_open, "golden/audio/sound/stereo.wav", 100);
    check_operation("gem_audio_encode", audio_encode, "golden/audio/tower-q8/model.gguf", 1000);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"counting", test_counting}, {"leak", test_a_leak_is_seen},  {"json", test_json},
        {"pool", test_pool},         {"arena", test_arena},          {"models", test_models},
        {"pack", test_pack},         {"packed", test_packed_models}, {"sound", test_sound},
        {"media", test_media},       {"speed", test_measure_speed},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
