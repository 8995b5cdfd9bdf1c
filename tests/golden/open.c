/* SPDX-License-Identifier: Apache-2.0
 *
 * Models that do not fit together, calls that make no sense, and files that change: what the error says. Each case is a
 * copy of a committed model with one thing altered.
 *   test_open MODELS_FOLDER SCRATCH_FOLDER */
#include <gemmule.h>

#include <sys/stat.h>
#include <unistd.h>

#include "unit/check.h"

static const char *models, *scratch;

struct bytes {
    char *data;
    size_t n;
};

static struct bytes read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct bytes b = {0};

    if (!f) {
        printf("cannot read %s\n", path);
        exit(1);
    }
    fseek(f, 0, SEEK_END);
    b.n = (size_t)ftell(f);
    rewind(f);
    b.data = malloc(b.n + 1);
    if (fread(b.data, 1, b.n, f) != b.n) exit(1);
    b.data[b.n] = 0;
    fclose(f);
    return b;
}

static void write_file(const char *path, struct bytes b)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(b.data, 1, b.n, f) != b.n || fclose(f)) exit(1);
}

static char *find(struct bytes b, const char *what)
{
    const size_t n = strlen(what);

    for (size_t i = 0; i + n <= b.n; i++)
        if (!memcmp(b.data + i, what, n)) return b.data + i;
    printf("the model does not hold \"%s\"\n", what);
    exit(1);
}

/* Replaces the first `what` by text of the same length. */
static void replace(struct bytes b, const char *what, const char *by)
{
    if (strlen(what) != strlen(by)) exit(1);
    memcpy(find(b, what), by, strlen(by));
}

static const char *at(const char *folder, const char *name)
{
    static char path[4][1024];
    static int turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

/* A copy of a model folder: config and weights, each with at most one replacement. */
struct alteration {
    const char *in_config, *config_by, *in_weights, *weights_by;
};

static const char *make_folder(const char *name, struct alteration a)
{
    static const char *const others[] = {"tokenizer.json", "generation_config.json"};
    char from[512];
    struct bytes config, weights;

    snprintf(from, sizeof from, "%s/%s/model", models, name);
    config = read_file(at(from, "config.json"));
    weights = read_file(at(from, "model.safetensors"));
    if (a.in_config) replace(config, a.in_config, a.config_by);
    if (a.in_weights) replace(weights, a.in_weights, a.weights_by);
    mkdir(scratch, 0700);
    write_file(at(scratch, "config.json"), config);
    write_file(at(scratch, "model.safetensors"), weights);
    free(config.data);
    free(weights.data);
    for (size_t i = 0; i < 2; i++) {
        unlink(at(scratch, others[i]));
        if (access(at(from, others[i]), R_OK)) continue;
        struct bytes b = read_file(at(from, others[i]));
        write_file(at(scratch, others[i]), b);
        free(b.data);
    }
    return scratch;
}

/* Opening fails with this status, and the message holds both texts. */
static void refused(const char *path, gem_status expected, const char *says, const char *also)
{
    gem_error err = {0};
    gem_model *m;

    CHECK_EQ(gem_model_open(&m, path, NULL, &err), expected);
    CHECK_EQ(err.code, expected);
    CHECK(m == NULL);
    if (!strstr(err.message, says) || !strstr(err.message, also)) {
        printf("the message \"%s\" lacks \"%s\" or \"%s\"\n", err.message, says, also);
        check_failures++;
    }
    gem_model_close(m);
}

static void test_tensors_are_refused_by_name(void)
{
    refused(make_folder(
                "e2b", (struct alteration){.in_weights = "layers.0.mlp.up_proj", .weights_by = "layers.0.mlp.xx_proj"}),
            GEM_E_FORMAT, "'model.language_model.layers.0.mlp.up_proj.weight' is missing", "model.safetensors");
    refused(make_folder("e2b", (struct alteration){"\"intermediate_size\": 80", "\"intermediate_size\": 81", 0, 0}),
            GEM_E_FORMAT, "mlp.gate_proj.weight' has shape [80, 64], expected [81, 64]", "model.safetensors");
    refused(
        make_folder("e2b", (struct alteration){"\"use_double_wide_mlp\": true", "\"use_double_wide_mlp\":false", 0, 0}),
        GEM_E_FORMAT, "layers.3.mlp.gate_proj.weight' has shape [160, 64], expected [80, 64]", "model.safetensors");
}

static void test_an_unknown_tensor_is_refused(void)
{
    struct bytes gguf = read_file(at(models, "mixed-e2b/mixed.gguf"));

    replace(gguf, "rope_freqs.weight", "rope_freqx.weight");
    mkdir(scratch, 0700);
    write_file(at(scratch, "unknown.gguf"), gguf);
    refused(at(scratch, "unknown.gguf"), GEM_E_FORMAT, "'rope_freqx.weight' is unknown", "unknown.gguf");
    free(gguf.data);
}

static void test_configurations_are_refused_by_key(void)
{
    const struct {
        struct alteration a;
        gem_status status;
        const char *says;
    } cases[] = {
        {{"\"model_type\": \"gemma4\"", "\"model_type\": \"llama7\"", 0, 0},
         GEM_E_UNSUPPORTED,
         "this is llama7, not gemma4"},
        {{"\"hidden_size\": 64", "\"hidden_sizf\": 64", 0, 0}, GEM_E_FORMAT, "'hidden_size' is missing"},
        {{"\"hidden_size\": 64", "\"hidden_size\":-64", 0, 0}, GEM_E_FORMAT, "'hidden_size' is not a whole number"},
        {{"\"num_attention_heads\": 4", "\"num_attention_heads\": 0", 0, 0},
         GEM_E_FORMAT,
         "number of attention heads is 0"},
        {{"\"num_kv_shared_layers\": 2", "\"num_kv_shared_layers\": 5", 0, 0},
         GEM_E_FORMAT,
         "num_kv_shared_layers is 5 of 5"},
        {{"\"num_kv_shared_layers\": 2", "\"num_kv_shared_layers\": 4", 0, 0},
         GEM_E_FORMAT,
         "no global layer owns one"},
        {{"gelu_pytorch_tanh", "gelu_pytorch_xxxx", 0, 0},
         GEM_E_UNSUPPORTED,
         "'hidden_activation' is \"gelu_pytorch_xxxx\""},
        {{"\"attention_bias\": false", "\"attention_bias\": true ", 0, 0}, GEM_E_UNSUPPORTED, "'attention_bias'"},
        {{"\"rope_type\": \"proportional\"", "\"rope_type\": \"longrope0000\"", 0, 0},
         GEM_E_UNSUPPORTED,
         "longrope0000"},
        {{"\"head_dim\": 32", "\"head_din\": 32", 0, 0},
         GEM_E_UNSUPPORTED,
         "'per_layer_config' of layer 2 sets 'head_din'"},
        {{"\"sliding_attention\",", "\"sliding_attentiom\",", 0, 0}, GEM_E_FORMAT, "'layer_types' entry 0"},
        {{"\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": 2e+06", 0, 0}, GEM_E_FORMAT, "rms_norm_eps"},
        {{"\"dtype\": \"bfloat16\",", "\"dtype\": \"bfloat16\";", 0, 0}, GEM_E_FORMAT, "not JSON at byte"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(make_folder("e2b", cases[i].a), cases[i].status, cases[i].says, "config.json");
}

static void test_a_tokenizer_larger_than_the_table_is_refused(void)
{
    struct bytes tokenizer = read_file(at(models, "e2b/model/tokenizer.json"));

    make_folder("12b", (struct alteration){0}); /* of fewer rows, if the pieces outnumber them */
    write_file(at(scratch, "tokenizer.json"), tokenizer);
    refused(scratch, GEM_E_FORMAT, "the tokenizer has", "rows");
    free(tokenizer.data);
}

/* Where the values of a bfloat16 tensor begin: after the header, at its first offset. */
static size_t values_of(struct bytes b, const char *tensor)
{
    uint64_t header;
    const char *entry = find(b, tensor), *offsets = strstr(entry, "\"data_offsets\":[");

    memcpy(&header, b.data, 8);
    return 8 + (size_t)header + strtoull(offsets + strlen("\"data_offsets\":["), NULL, 10);
}

static void poison(const char *tensor)
{
    struct bytes b;
    const uint16_t nan = 0x7fc0;

    make_folder("e2b", (struct alteration){0});
    b = read_file(at(scratch, "model.safetensors"));
    memcpy(b.data + values_of(b, tensor) + 6, &nan, 2);
    write_file(at(scratch, "model.safetensors"), b);
    free(b.data);
}

struct opened {
    gem_model *model;
    gem_engine *engine;
    gem_session *session;
};

static struct opened open_all(const char *path)
{
    const gem_engine_options engine = {.n_threads = 2, .chunk = 16};
    const gem_session_options session = {.context = 128, .local_slack = 32};
    struct opened o = {0};
    gem_error err;

    if (gem_model_open(&o.model, path, NULL, &err) || gem_engine_open(&o.engine, o.model, &engine, &err) ||
        gem_session_open(&o.session, o.engine, &session, &err)) {
        printf("%s\n", err.message);
        exit(1);
    }
    return o;
}

static void close_all(struct opened *o)
{
    gem_session_close(o->session);
    gem_engine_close(o->engine);
    gem_model_close(o->model);
}

static void test_nan_in_weights_is_named(void)
{
    static const int32_t tokens[] = {2, 5, 9, 11};
    gem_error err = {0};

    poison("model.language_model.layers.1.input_layernorm.weight");
    refused(scratch, GEM_E_NONFINITE, "layers.1.input_layernorm.weight' holds NaN", "element 3");

    poison("model.language_model.layers.1.mlp.up_proj.weight");
    struct opened o = open_all(scratch);
    gem_advance it = {.session = o.session, .tokens = tokens, .n_tokens = 4};
    CHECK_EQ(gem_engine_advance(o.engine, &it, 1, NULL, NULL, &err), GEM_E_NONFINITE);
    CHECK(strstr(err.message, "layers.1.mlp.up_proj.weight' holds NaN"));
    const int32_t *kept;
    CHECK_EQ(gem_session_tokens(o.session, &kept), 0); /* nothing poisoned stays */
    close_all(&o);
}

static void test_a_file_that_shrinks_is_noticed(void)
{
    static const int32_t tokens[] = {2, 5, 9, 11};
    gem_error err = {0};

    make_folder("e2b", (struct alteration){0});
    struct opened o = open_all(scratch);
    gem_advance it = {.session = o.session, .tokens = tokens, .n_tokens = 4};
    CHECK_EQ(gem_engine_advance(o.engine, &it, 1, NULL, NULL, &err), GEM_OK);
    CHECK_EQ(truncate(at(scratch, "model.safetensors"), 5000), 0);
    CHECK_EQ(gem_engine_advance(o.engine, &it, 1, NULL, NULL, &err), GEM_E_IO);
    CHECK(strstr(err.message, "model.safetensors") && strstr(err.message, "shrank"));
    close_all(&o);
}

static bool cancel(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    (void)total;
    return done < *(uint64_t *)user;
}

static void test_calls_are_checked_before_work_begins(void)
{
    const int32_t good[40] = {2, 5, 9, 11}, bad[] = {2, 5, 1 << 20}, negative[] = {-1};
    int32_t many[200] = {2};
    struct opened o, other;
    gem_error err = {0};
    uint64_t stop = 16;

    make_folder("e2b", (struct alteration){0});
    o = open_all(scratch);
    other = open_all(scratch);
    gem_advance it = {.session = o.session, .tokens = good, .n_tokens = 4};
    CHECK_EQ(gem_engine_advance(o.engine, &it, 1, NULL, NULL, &err), GEM_OK);
    CHECK(it.logits != NULL);

    const struct {
        gem_advance item;
        gem_status status;
        const char *says;
    } cases[] = {
        {{.session = o.session, .tokens = bad, .n_tokens = 3}, GEM_E_LIMIT, "token 2 is 1048576, the vocabulary has"},
        {{.session = o.session, .tokens = negative, .n_tokens = 1}, GEM_E_LIMIT, "token 0 is -1"},
        {{.session = o.session, .tokens = many, .n_tokens = 200},
         GEM_E_LIMIT,
         "200 tokens do not fit a context of 128"},
        {{.session = o.session, .tokens = good, .n_tokens = 0}, GEM_E_ARGUMENT, "no tokens"},
        {{.session = other.session, .tokens = good, .n_tokens = 4}, GEM_E_ARGUMENT, "another engine"},
    };
    const int32_t *tokens;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gem_advance item = cases[i].item;
        CHECK_EQ(gem_engine_advance(o.engine, &item, 1, NULL, NULL, &err), cases[i].status);
        CHECK(strstr(err.message, cases[i].says));
        CHECK_EQ(gem_session_tokens(o.session, &tokens), 4); /* as it was */
    }
    gem_advance twice[] = {it, it};
    CHECK_EQ(gem_engine_advance(o.engine, twice, 2, NULL, NULL, &err), GEM_E_ARGUMENT);
    CHECK(strstr(err.message, "named twice"));

    gem_advance longer = {.session = o.session, .tokens = good, .n_tokens = 40};
    CHECK_EQ(gem_engine_advance(o.engine, &longer, 1, cancel, &stop, &err), GEM_E_CANCELLED);
    CHECK_EQ(gem_session_tokens(o.session, &tokens), 20); /* four kept, one chunk of 16 done */
    CHECK_EQ(gem_engine_advance(o.engine, &longer, 1, NULL, NULL, &err), GEM_OK);
    CHECK_EQ(longer.n_kept, 20);
    close_all(&other);
    close_all(&o);
}

static void test_options_are_checked(void)
{
    const gem_model_options cpu = {.cpu = "mmx"}, metadata = {.metadata_only = true};
    const gem_engine_options chunk = {.chunk = 5000}, threads = {.n_threads = 100000};
    const gem_session_options context = {.context = 100000};
    gem_error err = {0};
    gem_engine *engine;
    gem_session *session;
    gem_model *model;

    make_folder("e2b", (struct alteration){0});
    CHECK_EQ(gem_model_open(&model, scratch, &cpu, &err), GEM_E_ARGUMENT);
    CHECK(strstr(err.message, "mmx"));
    CHECK_EQ(gem_model_open(&model, scratch, &metadata, &err), GEM_OK);
    CHECK_EQ(gem_engine_open(&engine, model, NULL, &err), GEM_E_ARGUMENT);
    gem_model_close(model);
    struct opened o = open_all(scratch);
    CHECK_EQ(gem_engine_open(&engine, o.model, &chunk, &err), GEM_E_ARGUMENT);
    CHECK(strstr(err.message, "chunk"));
    CHECK_EQ(gem_engine_open(&engine, o.model, &threads, &err), GEM_E_ARGUMENT);
    CHECK(strstr(err.message, "threads"));
    CHECK_EQ(gem_session_open(&session, o.engine, &context, &err), GEM_E_LIMIT);
    CHECK(strstr(err.message, "100000") && strstr(err.message, "4096"));
    close_all(&o);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"tensors_are_refused_by_name", test_tensors_are_refused_by_name},
        {"an_unknown_tensor_is_refused", test_an_unknown_tensor_is_refused},
        {"configurations_are_refused_by_key", test_configurations_are_refused_by_key},
        {"a_tokenizer_larger_than_the_table_is_refused", test_a_tokenizer_larger_than_the_table_is_refused},
        {"nan_in_weights_is_named", test_nan_in_weights_is_named},
        {"a_file_that_shrinks_is_noticed", test_a_file_that_shrinks_is_noticed},
        {"calls_are_checked_before_work_begins", test_calls_are_checked_before_work_begins},
        {"options_are_checked", test_options_are_checked},
    };

    if (argc < 3) {
        printf("usage: test_open MODELS SCRATCH [TEST...]\n");
        return EXIT_FAILURE;
    }
    models = argv[1];
    scratch = argv[2];
    return check_main(tests, sizeof tests / sizeof *tests, argc - 2, argv + 2);
}
