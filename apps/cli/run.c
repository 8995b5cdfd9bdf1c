/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/run.c - gemmule run: one answer. */
#include "answer.h"
#include "commands.h"
#include "sampling.h"
#include "terminal.h"

struct args {
    struct gem_cli_common common;
    const char *model, *text;
    struct gem_cli_list images, videos;
    uint32_t max_tokens, ctx, budget, frames;
    float fps;
    bool raw, stats;
    struct gem_cli_engine_args engine;
    struct gem_cli_sampling_args sampling;
};

static const struct gem_cli_option options[] = {
    {.name = "image",
     .kind = GEM_CLI_LIST,
     .offset = offsetof(struct args, images),
     .value = "FILE",
     .help = "an image, PNG or JPEG, before the text; once for each image"},
    {.name = "video",
     .kind = GEM_CLI_LIST,
     .offset = offsetof(struct args, videos),
     .value = "FILE",
     .help = "a video, as frames with their times, after the images; once for each video"},
    {.name = "frames",
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, frames),
     .min = 1,
     .max = 4096,
     .value = "N",
     .fallback_shown = "32",
     .help = "frames of a video, evenly over its length"},
    {.name = "fps",
     .kind = GEM_CLI_F32,
     .offset = offsetof(struct args, fps),
     .min = 0.001,
     .max = 1000,
     .value = "X",
     .fallback_shown = "not used",
     .help = "frames of a video per second, instead of --frames"},
    {.name = "budget",
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, budget),
     .min = 1,
     .max = UINT32_MAX,
     .value = "N",
     .fallback_shown = "280, of a frame 70",
     .help = "most tokens that an image may take: 70, 140, 280, 560 or 1120"},
    {.name = "max-tokens",
     .letter = 'n',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, max_tokens),
     .min = 1,
     .max = UINT32_MAX,
     .value = "N",
     .fallback_shown = "until the model stops",
     .help = "end the answer after N tokens"},
    {.name = "ctx",
     .letter = 'c',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, ctx),
     .min = 1,
     .max = UINT32_MAX,
     .value = "N",
     .fallback_shown = "8192, or what the prompt needs",
     .help = "room for N tokens, prompt and answer together"},
    {.name = "raw",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, raw),
     .help = "continue the text as it is, without the turns of a conversation"},
    {.name = "stats",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, stats),
     .help = "say on standard error how long it took"},
};

static int check_text(const struct gem_cli_text *text, bool raw)
{
    const char *body = text->data;

    if (raw || gem_cli_strip(&body, text->n)) return 0;
    return gem_cli_usage("run", "the prompt is empty");
}

static int make_prompt(struct gem_cli_tokens *prompt, const gem_model *model, const struct gem_cli_dialect *dialect,
                       struct gem_cli_media *media, const struct gem_cli_text *text)
{
    int code = gem_cli_prompt_begin(prompt, model);

    for (size_t i = 0; i < media->n && !dialect && !code; i++) code = gem_cli_media_write(media, i, model, "", prompt);
    if (code) return code;
    if (!dialect) return gem_cli_tokens_encode(prompt, model, text->data, text->n, false);
    code = gem_cli_prompt_media_turn(prompt, model, dialect, media, text->data, text->n);
    return code ? code : gem_cli_prompt_answer(prompt, model, dialect);
}

static int open_media(struct gem_cli_media *media, const gem_model *model, const struct args *args)
{
    int code = 0;

    for (size_t i = 0; i < args->images.n && !code; i++) {
        const gem_image_source source = {.path = args->images.items[i], .budget = args->budget};
        code = gem_cli_media_add(media, model, &source, 0);
    }
    for (size_t i = 0; i < args->videos.n && !code; i++) {
        const gem_video_source source = {
            .path = args->videos.items[i], .budget = args->budget, .n_frames = args->frames, .fps = args->fps};
        code = gem_cli_media_add_video(media, model, &source);
    }
    return code;
}

/* A long prompt gets the context that it needs and room for an answer, as far as the model was trained for it. */
static uint32_t choose_context(const struct args *args, const gem_model *model, size_t n_prompt)
{
    const size_t room = args->max_tokens ? args->max_tokens : 1024, trained = gem_model_get_info(model)->context;
    const size_t needed = n_prompt + room;

    if (args->ctx || needed <= 8192) return args->ctx;
    return (uint32_t)(needed < trained ? needed : trained);
}

static int answer_prompt(const struct args *args, struct gem_cli_engine *engine, const struct gem_cli_dialect *dialect,
                         const struct gem_cli_tokens *prompt, const struct gem_cli_media *media)
{
    struct gem_cli_sampling sampling;
    struct gem_cli_answer answer = {
        .engine = engine, .dialect = dialect, .max_tokens = args->max_tokens, .media = media};
    int code = gem_cli_sampling_make(&sampling, engine->model, "run", &args->common, &args->sampling);

    if (code) goto done;
    if ((code = gem_cli_session_open(engine, &args->engine, choose_context(args, engine->model, prompt->n)))) goto done;
    answer.sampling = &sampling.sampling;
    if ((code = gem_cli_answer_run(&answer, prompt))) goto done;
    if (args->stats) gem_cli_answer_stats(&answer);
    if (answer.stats.finish == GEM_FINISH_CANCELLED) code = gem_cli_interrupt_code();
done:
    gem_cli_tokens_free(&answer.tokens);
    gem_cli_sampling_free(&sampling);
    return code;
}

static int run(const void *arguments)
{
    const struct args *args = arguments;
    struct gem_cli_text text = {0};
    struct gem_cli_tokens prompt = {0};
    struct gem_cli_engine engine = {0};
    struct gem_cli_media media = {0};
    struct gem_cli_dialect dialect;
    int code;

    if ((code = gem_cli_read_operand(&text, "run", "TEXT", args->text))) goto done;
    if ((code = check_text(&text, args->raw))) goto done;
    if ((code = gem_cli_model_open(&engine, args->model, &args->engine))) goto done;
    const bool turns = !args->raw && gem_cli_dialect_find(&dialect, engine.model);
    if ((code = open_media(&media, engine.model, args))) goto done;
    if ((code = make_prompt(&prompt, engine.model, turns ? &dialect : NULL, &media, &text))) goto done;
    code = answer_prompt(args, &engine, turns ? &dialect : NULL, &prompt, &media);
done:
    gem_cli_media_free(&media);
    gem_cli_engine_close(&engine);
    gem_cli_tokens_free(&prompt);
    gem_cli_text_free(&text);
    return code;
}

static const char *const examples[] = {
    "gemmule run gemma-4-E2B-it-Q4_0.gguf \"Why is the sky blue?\"",
    "gemmule run --image cat.jpg gemma-4-E2B-it \"What is on the picture?\"",
    "gemmule run --max-tokens 200 --seed 7 MODEL - < question.txt",
    "gemmule run --raw --greedy -n 40 MODEL \"Once upon a time\"",
    NULL,
};

const struct gem_cli_command gem_cli_run = {
    .name = "run",
    .summary = "answer one prompt",
    .details =
        "Streams the answer to standard output, and nothing else.\n"
        "For a model with the control tokens of a conversation the text is one user turn, and white space at "
        "its ends does not count; control tokens spelled in the text stay text. With --raw, and for models "
        "without such tokens, the text is continued as it is.\n"
        "Images come before the text. Models in GGUF files keep the part that sees in a file of its own: --mmproj.\n"
        "The prompt is read from standard input when TEXT is \"-\", or when it is missing and standard input "
        "is no terminal.",
    .examples = examples,
    .operands = {{"MODEL", false, GEM_CLI_FILE, offsetof(struct args, model), "a GGUF file or a Hugging Face folder"},
                 {"TEXT", true, GEM_CLI_STRING, offsetof(struct args, text), "the prompt"}},
    .n_operands = 2,
    .groups = {GEM_CLI_GROUP("Options", options, 0),
               GEM_CLI_GROUP("Sampling", gem_cli_sampling_options, offsetof(struct args, sampling)),
               GEM_CLI_GROUP("Computing", gem_cli_fast_options, offsetof(struct args, engine)), GEM_CLI_COMMON_GROUP},
    .n_groups = 4,
    .args_size = sizeof(struct args),
    .run = run,
};
