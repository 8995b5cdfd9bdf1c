/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/inspect.c - gemmule inspect: what is in a checkpoint, and what running it takes. */
#include "commands.h"
#include "engine.h"
#include "inspect.h"
#include "terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct args {
    struct gem_cli_common common;
    const char *model, *precision;
    bool tensors, json, verify, int8_cache;
    uint32_t ctx;
};

static const char *const precisions[] = {"exact", "fast", NULL};

static const struct gem_cli_option options[] = {
    {.name = "tensors",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, tensors),
     .help = "also list every tensor"},
    {.name = "json", .kind = GEM_CLI_FLAG, .offset = offsetof(struct args, json), .help = "as one JSON object"},
    {.name = "verify",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, verify),
     .help = "first read all of a native file and compare its checksums"},
    {.name = "ctx",
     .letter = 'c',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, ctx),
     .min = 1,
     .max = UINT32_MAX,
     .value = "N",
     .fallback_shown = "4096, 8192, 32768 and the trained length",
     .help = "the memory of a session of N tokens"},
    {.name = "precision",
     .kind = GEM_CLI_CHOICE,
     .offset = offsetof(struct args, precision),
     .value = "TIER",
     .choices = precisions,
     .fallback = "fast",
     .help = "the tier whose memory is shown"},
    {.name = "int8-cache",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, int8_cache),
     .help = "the memory of sessions with keys and values in 8 bits"},
};

/* In the order of gem_model_info. A field that is 0, or "", says that the model has no such thing. */
const struct gem_cli_field gem_cli_model_fields[] = {
#define FIELD(kind, member, label)                                                                                     \
    {                                                                                                                  \
#member, label, GEM_CLI_FIELD_##kind, offsetof(gem_model_info, member)                                         \
    }
    FIELD(TEXT, architecture, "architecture"),
    FIELD(TEXT, name, "name"),
    FIELD(TEXT, size_label, "size"),
    FIELD(U32, n_layers, "layers"),
    FIELD(U32, n_layers_shared, "layers that share a cache"),
    FIELD(U32, hidden, "hidden width"),
    FIELD(U32, vocab, "vocabulary"),
    FIELD(U32, context, "trained context"),
    FIELD(U32, n_heads, "query heads"),
    FIELD(U32, n_kv_heads, "key/value heads, local"),
    FIELD(U32, n_kv_heads_global, "key/value heads, global"),
    FIELD(U32, head_dim, "head width, local"),
    FIELD(U32, head_dim_global, "head width, global"),
    FIELD(U32, ffn, "feed-forward width"),
    FIELD(U32, ffn_shared, "feed-forward width, sharing layers"),
    FIELD(U32, window, "local window"),
    FIELD(U32, n_experts, "experts"),
    FIELD(U32, n_experts_used, "experts per token"),
    FIELD(U32, ffn_expert, "expert width"),
    FIELD(U32, ple, "per-layer embedding width"),
    FIELD(BOOL, has_vision, "vision tower"),
    FIELD(BOOL, has_audio, "audio tower"),
    FIELD(BOOL, has_tokenizer, "tokenizer"),
    FIELD(COUNT, n_parameters, "parameters"),
    FIELD(COUNT, n_parameters_active, "parameters per token"),
    FIELD(BYTES, file_bytes, "files"),
    FIELD(BYTES, two_stage_bytes, "copy of the head (--two-stage-head)"),
    FIELD(BYTES, ram_bytes, "least ceiling of memory (--ram)"),
#undef FIELD
};
const size_t gem_cli_n_model_fields = GEM_CLI_COUNT(gem_cli_model_fields);

#define THOUGHTS "<|channel>thought ... <channel|>"
#define CALL     "<|tool_call>call:NAME{KEY:VALUE,...}<tool_call|>"
const struct gem_cli_chat_format gem_cli_chat_formats[] = {
    [GEM_CHAT_NONE] = {.key = "none", .label = "none: a base model, which continues text"},
    [GEM_CHAT_GEMMA3] = {.key = "gemma3", .label = "Gemma 3: plain turns"},
    [GEM_CHAT_GEMMA4_SMALL] = {"gemma4-small", "Gemma 4: E2B and E4B, 2026-07-09", THOUGHTS, CALL},
    [GEM_CHAT_GEMMA4_LARGE] = {"gemma4-large", "Gemma 4: 12B, 26B-A4B and 31B, 2026-07-09", THOUGHTS, CALL},
};

/* ---- collecting --------------------------------------------------------------------------------------------- */

static struct gem_cli_format *find_format(struct gem_cli_inspection *in, const gem_tensor_info *tensor)
{
    for (size_t i = 0; i < in->n_formats; i++) {
        if (!strcmp(in->formats[i].role, tensor->role) && !strcmp(in->formats[i].type, tensor->type))
            return &in->formats[i];
    }
    if (in->n_formats == GEM_CLI_COUNT(in->formats)) return NULL;
    in->formats[in->n_formats] = (struct gem_cli_format){.role = tensor->role, .type = tensor->type};
    return &in->formats[in->n_formats++];
}

static void collect_formats(struct gem_cli_inspection *in)
{
    gem_tensor_info tensor;

    for (size_t i = 0; gem_model_get_tensor(in->model, i, &tensor); i++) {
        struct gem_cli_format *format = find_format(in, &tensor);

        if (!format) continue; /* there are fewer formats and roles than places */
        format->n_tensors++;
        format->bytes += tensor.bytes;
    }
}

static void add_memory(struct gem_cli_inspection *in, uint32_t context, bool int8_cache)
{
    const gem_session_options session = {.context = context, .int8_cache = int8_cache};

    in->memory[in->n_memory++] =
        (struct gem_cli_memory){.context = context, .bytes = gem_session_bytes(in->model, &session, NULL)};
}

static void collect_memory(struct gem_cli_inspection *in, uint32_t ctx, bool int8_cache)
{
    static const uint32_t usual[] = {4096, 8192, 32768};
    const uint32_t trained = gem_model_get_info(in->model)->context;

    in->engine_bytes = gem_engine_bytes(in->model, NULL);
    if (ctx) {
        add_memory(in, ctx, int8_cache);
        return;
    }
    for (size_t i = 0; i < GEM_CLI_COUNT(usual); i++) {
        if (usual[i] < trained) add_memory(in, usual[i], int8_cache);
    }
    add_memory(in, trained, int8_cache);
}

/* ---- as text ------------------------------------------------------------------------------------------------ */

static void human_bytes(char *out, size_t size, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < GEM_CLI_COUNT(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(out, size, unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
}

/* "4,628,569,379" */
static void human_count(char *out, size_t size, uint64_t count)
{
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRIu64, count);
    size_t used = 0;

    for (int i = 0; i < n && used + 2 < size; i++) {
        if (i && (n - i) % 3 == 0) out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = 0;
}

static void print_field(const struct gem_cli_field *field, const gem_model_info *info)
{
    const void *value = (const char *)info + field->offset;
    char text[64] = "";

    switch (field->kind) {
    case GEM_CLI_FIELD_TEXT:
        printf("%-34s ", field->label);
        gem_cli_put_name(**(const char *const *)value ? *(const char *const *)value : "-");
        putchar('\n');
        return;
    case GEM_CLI_FIELD_U32:
        if (!*(const uint32_t *)value) return;
        snprintf(text, sizeof text, "%" PRIu32, *(const uint32_t *)value);
        break;
    case GEM_CLI_FIELD_BOOL: snprintf(text, sizeof text, "%s", *(const bool *)value ? "yes" : "no"); break;
    case GEM_CLI_FIELD_COUNT: human_count(text, sizeof text, *(const uint64_t *)value); break;
    case GEM_CLI_FIELD_BYTES: human_bytes(text, sizeof text, *(const uint64_t *)value); break;
    }
    printf("%-34s %s\n", field->label, text);
}

static void print_stop_tokens(const gem_model *model)
{
    const int32_t *ids;
    const size_t n = gem_model_stop_tokens(model, &ids);

    printf("%-34s ", "stop tokens");
    for (size_t i = 0; i < n; i++) printf("%s%" PRId32, i ? ", " : "", ids[i]);
    puts(n ? "" : "-");
    printf("%-34s %" PRId32 "\n", "first token of every sequence", gem_model_bos(model));
}

static void print_chat(const gem_model *model)
{
    const gem_chat_info *chat = gem_model_get_chat(model);
    const struct gem_cli_chat_format *format = &gem_cli_chat_formats[chat->format];

    printf("%-34s %s\n", "chat format", format->label);
    if (!chat->has_template)
        printf("%-34s -\n", "chat template");
    else
        printf("%-34s %s, SHA-256 %s\n", "chat template", chat->known_template ? "known" : "not known", chat->sha256);
    if (chat->note) printf("%-34s %s\n", "", chat->note);
    printf("%-34s %s\n", "thoughts", format->thoughts ? format->thoughts : "-");
    printf("%-34s %s\n", "calls of tools", format->call ? format->call : "-");
}

static void print_formats(const struct gem_cli_inspection *in)
{
    printf("\n%-10s %-10s %8s  %s\n", "role", "format", "tensors", "bytes");
    for (size_t i = 0; i < in->n_formats; i++) {
        const struct gem_cli_format *format = &in->formats[i];
        char bytes[32];

        human_bytes(bytes, sizeof bytes, format->bytes);
        printf("%-10s %-10s %8" PRIu64 "  %s\n", format->role, format->type, format->n_tensors, bytes);
    }
}

static void print_memory(const struct gem_cli_inspection *in)
{
    char bytes[32];

    printf("\nmemory beside the weights (%s)\n", gem_cli_precision_name(gem_model_get_info(in->model)->precision));
    human_bytes(bytes, sizeof bytes, in->engine_bytes);
    printf("%-34s %s\n", "engine", bytes);
    for (size_t i = 0; i < in->n_memory; i++) {
        char label[48];

        snprintf(label, sizeof label, "session of %" PRIu32 " tokens", in->memory[i].context);
        human_bytes(bytes, sizeof bytes, in->memory[i].bytes);
        printf("%-34s %s\n", label, bytes);
    }
}

static void print_tensors(const gem_model *model)
{
    gem_tensor_info tensor;

    puts("");
    for (size_t i = 0; gem_model_get_tensor(model, i, &tensor); i++) {
        gem_cli_put_name(tensor.name);
        printf("  %s [", tensor.type);
        for (uint32_t d = 0; d < tensor.n_dims; d++) printf("%s%" PRIu64, d ? ", " : "", tensor.shape[d]);
        printf("]  %" PRIu64 " bytes  %s%s\n", tensor.bytes, tensor.role, tensor.in_panels ? ", panels" : "");
    }
}

static int print_text(const struct gem_cli_inspection *in, bool tensors)
{
    const gem_model_info *info = gem_model_get_info(in->model);

    for (size_t i = 0; i < gem_cli_n_model_fields; i++) print_field(&gem_cli_model_fields[i], info);
    print_stop_tokens(in->model);
    print_chat(in->model);
    print_formats(in);
    print_memory(in);
    if (tensors) print_tensors(in->model);
    return gem_cli_flush();
}

static int verify(const gem_model *model)
{
    gem_error err;

    gem_cli_interrupts_catch();
    if (gem_model_verify(model, gem_cli_progress, NULL, &err)) return gem_cli_fail(&err);
    gem_cli_progress_end();
    return 0;
}

static int run(const void *arguments)
{
    const struct args *args = arguments;
    struct gem_cli_inspection in = {.path = args->model};
    gem_model *model = NULL;
    int code;

    if (args->int8_cache && gem_cli_precision(args->precision) == GEM_PRECISION_EXACT)
        return gem_cli_usage("inspect", "--int8-cache and --precision exact contradict each other");
    if ((code = gem_cli_metadata_open(&model, args->model, args->precision))) return code;
    if (args->verify && (code = verify(model))) goto done;
    in.model = model;
    collect_formats(&in);
    collect_memory(&in, args->ctx, args->int8_cache);
    code = args->json ? gem_cli_inspect_json(&in, args->tensors) : print_text(&in, args->tensors);
done:
    gem_model_close(model);
    return code;
}

const struct gem_cli_command gem_cli_inspect = {
    .name = "inspect",
    .summary = "what is in a model file, and what running it takes",
    .details = "Shows architecture and hyperparameters, the number of parameters that are used (all, and by one "
               "token), tensors by role and format, the tokenizer's stop tokens, how to talk with the model, and the "
               "memory that a session takes beside the weights.\n"
               "A chat template in the files is compared with those that are known, and never executed.\n"
               "Roles: text is the language model; vision and audio are the towers that see and hear; drafter is "
               "recognised but not used by this version; dead tensors are never read.\n"
               "Reads only headers and the tokenizer, so it is quick for files of any size; with --verify, all.",
    .operands = {{"MODEL", false, GEM_CLI_FILE, offsetof(struct args, model),
                  "a native or GGUF file, or a Hugging Face folder"}},
    .n_operands = 1,
    .groups = {GEM_CLI_GROUP("Options", options, 0), GEM_CLI_COMMON_GROUP},
    .n_groups = 2,
    .args_size = sizeof(struct args),
    .run = run,
};
