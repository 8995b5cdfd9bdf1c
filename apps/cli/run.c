/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/run.c - gemmule run: one answer. */
#include "answer.h"
#include "commands.h"
#include "constraint.h"
#include "media.h"
#include "nano.h"
#include "sampling.h"
#include "talk.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

struct args {
    struct gem_cli_common common;
    const char *model, *text, *file;
    struct gem_cli_list media, stops; /* media: in order */
    uint32_t max_tokens, min_tokens, ctx, budget, frames, samples, logprobs;
    float fps;
    bool raw, stats, json, prompt_logprobs, video_sound;
    struct gem_cli_talk_args talk;
    struct gem_cli_engine_args engine;
    struct gem_cli_sampling_args sampling;
    struct gem_cli_constraint_args constraint;
};

static const struct gem_cli_option options[] = {
    {.name = "image",
     .kind = GEM_CLI_LIST,
     .offset = offsetof(struct args, media),
     .value = "FILE",
     .help = "an image, PNG or JPEG, before the text; once for each. Images, videos and sounds keep their order"},
    {.name = "video",
     .kind = GEM_CLI_LIST,
     .offset = offsetof(struct args, media),
     .value = "FILE",
     .help = "a video, as frames with their times, before the text; once for each"},
    {.name = "audio",
     .kind = GEM_CLI_LIST,
     .offset = offsetof(struct args, media),
     .value = "FILE",
     .help = "a sound, WAV, before the text; once for each"},
    {.name = "video-sound",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, video_sound),
     .help = "each video is followed by its sound"},
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
     .fallback_shown = "what MODEL says, else 280; of a frame 70",
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
    {.name = "stop",
     .kind = GEM_CLI_LIST,
     .offset = offsetof(struct args, stops),
     .value = "TEXT",
     .help = "end the answer before TEXT, which is not shown; once for each text; thoughts and calls do not count"},
    {.name = "min-tokens",
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, min_tokens),
     .max = UINT32_MAX,
     .value = "N",
     .fallback_shown = "0",
     .help = "the model can not stop before N tokens"},
    {.name = "ctx",
     .letter = 'c',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, ctx),
     .min = 1,
     .max = UINT32_MAX,
     .value = "N",
     .fallback_shown = "8192, or what the prompt needs",
     .help = "room for N tokens, prompt and answer together"},
    {.name = "samples",
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, samples),
     .min = 1,
     .max = 256,
     .value = "N",
     .fallback_shown = "1",
     .help = "N answers, each drawn with a seed of its own, computed together and shown one after the other"},
    {.name = "raw",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, raw),
     .help = "continue the text as it is, without the turns of a conversation"},
    {.name = "file",
     .letter = 'f',
     .kind = GEM_CLI_FILE,
     .offset = offsetof(struct args, file),
     .value = "FILE",
     .help = "the prompt is what this file holds"},
    {.name = "json",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, json),
     .help = "write JSON, one event a line: thought, text, call, malformed, and at last end"},
    {.name = "logprobs",
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, logprobs),
     .min = 1,
     .max = 100,
     .value = "N",
     .fallback_shown = "none",
     .help = "with --json also the logarithm of the probability of each token, and of the N likeliest at its place"},
    {.name = "prompt-logprobs",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, prompt_logprobs),
     .help = "with --logprobs also of the prompt's tokens, from the second on"},
    {.name = "stats",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, stats),
     .help = "say on standard error how long it took"},
};

struct run {
    const struct args *args;
    const char *model, *prompt; /* the operands, once it is known which is which */
    struct gem_cli_engine engine;
    struct gem_cli_sampling sampling;
    struct gem_cli_text text;
    struct gem_cli_talk talk;
    gem_constraint *constraint;
    gem_stop_string *stops; /* [args->stops.n] */
};

static int read_text(struct run *r)
{
    const struct args *args = r->args;
    int code;

    if (args->file && r->prompt) return gem_cli_usage("run", "only one of TEXT and --file can be given");
    code = args->file ? gem_cli_read(&r->text, args->file) : gem_cli_read_operand(&r->text, "run", "TEXT", r->prompt);
    if (code || args->raw || !gem_cli_is_blank(&r->text)) return code;
    return gem_cli_usage("run", "the prompt is empty");
}

/* Opens a file for the turn, or, without turns, for the beginning of the text. */
static int show(struct run *r, bool turns, const char *type, const char *path)
{
    if (turns) return gem_cli_talk_show(&r->talk, type, path);
    return gem_cli_attach_path(&r->talk.media, r->engine.model, &r->talk.showing, type, path, NULL);
}

static int begin(struct run *r, bool turns)
{
    const struct args *args = r->args;
    int code = 0;

    if (turns) code = gem_cli_talk_open(&r->talk, &r->engine, &r->sampling.sampling, &args->talk, false);
    r->talk.showing = (struct gem_cli_showing){.budget = args->budget, .frames = args->frames, .fps = args->fps};
    for (size_t i = 0; i < args->media.n && !code; i++) {
        const char *type = args->media.options[i], *path = args->media.items[i];

        code = show(r, turns, type, path);
        if (!code && args->video_sound && !strcmp(type, "video")) code = show(r, turns, "audio", path);
    }
    return code;
}

/* A long prompt gets the context that it needs and room for an answer, as far as the model was trained for it. */
static int open_session(struct run *r, size_t n_prompt)
{
    const size_t room = r->args->max_tokens ? r->args->max_tokens : 1024;
    const size_t trained = gem_model_get_info(r->engine.model)->context, needed = n_prompt + room;
    uint32_t context = r->args->ctx;

    if (!context && needed > 8192) context = (uint32_t)(needed < trained ? needed : trained);
    return gem_cli_session_open(&r->engine, &r->args->engine, context);
}

static struct gem_cli_answer_limits limits_of(const struct run *r)
{
    return (struct gem_cli_answer_limits){
        .max_tokens = r->args->max_tokens,
        .min_tokens = r->args->min_tokens,
        .stops = r->stops,
        .n_stops = r->args->stops.n,
        .logprobs = r->args->logprobs,
        .prompt_logprobs = r->args->prompt_logprobs,
    };
}

static int answer_turn(struct run *r)
{
    struct gem_cli_talk *talk = &r->talk;
    yyjson_mut_val *calls;
    int code;

    talk->limits = limits_of(r);
    talk->view.json = r->args->json;
    talk->constraint = r->constraint;
    if ((code = gem_cli_talk_say(talk, r->text.data, r->text.n, "the prompt"))) return code;
    if ((code = gem_cli_talk_render(talk)) || (code = open_session(r, talk->sequence.n))) return code;
    if (r->args->samples > 1) return gem_cli_talk_samples(talk, r->args->samples, r->args->stats);
    code = gem_cli_talk_answer(talk, &calls);
    if (!code && r->args->stats) gem_cli_answer_stats(&r->engine, &talk->stats);
    return code;
}

/* Shows what an answer is beside its text. */
static int end_plain(const struct run *r, const struct gem_cli_answer *answer)
{
    const int code = r->args->json ? gem_cli_view_json_end(answer->view, &answer->stats, NULL, 0) : 0;

    if (!code && r->args->stats) gem_cli_answer_stats(&r->engine, &answer->stats);
    return code;
}

static int draw_plain(const struct run *r, struct gem_cli_answer *answer)
{
    const size_t n = r->args->samples;
    struct gem_cli_sample *samples = calloc(n, sizeof *samples);
    int code = samples ? gem_cli_answer_draw(answer, samples, n) : gem_cli_out_of_memory();

    for (size_t i = 0; i < n && !code; i++) {
        answer->view->sample++;
        if (!(code = gem_cli_answer_show(answer, &samples[i]))) code = end_plain(r, answer);
    }
    gem_cli_samples_free(samples, n);
    return code;
}

/* Continues the text as it is. */
static int continue_text(struct run *r)
{
    struct gem_cli_tokens sequence = {0};
    struct gem_cli_view view = {.json = r->args->json};
    struct gem_cli_answer answer = {
        .engine = &r->engine,
        .sampling = &r->sampling.sampling,
        .limits = limits_of(r),
        .constraint = r->constraint,
        .media = &r->talk.media,
        .view = &view,
        .sequence = &sequence,
    };
    const int32_t bos = gem_model_bos(r->engine.model);
    int code = bos < 0 ? 0 : gem_cli_tokens_push(&sequence, bos);

    if (!code) code = gem_cli_media_write(&r->talk.media, NULL, r->engine.model, &sequence);
    if (code || (code = gem_cli_tokens_encode(&sequence, r->engine.model, r->text.data, r->text.n, false))) goto done;
    if ((code = open_session(r, sequence.n))) goto done;
    if (r->args->samples > 1)
        code = draw_plain(r, &answer);
    else if (!(code = gem_cli_answer_run(&answer)))
        code = end_plain(r, &answer);
done:
    gem_cli_tokens_free(&sequence);
    return code;
}

/* What only a conversation can honour is refused without one. */
static int check_raw(const struct args *args)
{
    const char *why = args->raw ? "--raw" : "a model without turns of a conversation";

    if (args->talk.system) return gem_cli_usage("run", "--system can not be used with %s", why);
    if (args->talk.tools) return gem_cli_usage("run", "--tools can not be used with %s", why);
    if (strcmp(args->talk.think, "off")) return gem_cli_usage("run", "--think can not be used with %s", why);
    return 0;
}

static int check_logprobs(const struct args *args)
{
    if (args->prompt_logprobs && !args->logprobs) return gem_cli_usage("run", "--prompt-logprobs needs --logprobs");
    if (args->logprobs && !args->json) return gem_cli_usage("run", "--logprobs needs --json");
    if (args->logprobs && args->samples > 1) return gem_cli_usage("run", "--logprobs can not be used with --samples");
    return 0;
}

static int make_stops(struct run *r)
{
    const struct gem_cli_list *list = &r->args->stops;

    if (list->n == 0) return 0;
    if (r->constraint) return gem_cli_usage("run", "--stop can not be used with --schema, --grammar or --regex");
    if (!(r->stops = calloc(list->n, sizeof *r->stops))) return gem_cli_out_of_memory();
    for (size_t i = 0; i < list->n; i++)
        r->stops[i] = (gem_stop_string){.text = list->items[i], .n = strlen(list->items[i])};
    return 0;
}

static int make_constraint(struct run *r, bool thinking)
{
    const struct gem_cli_talk_args *talk = &r->args->talk;
    const int code = gem_cli_constraint_make(&r->constraint, r->engine.model, "run", &r->args->constraint, thinking);

    if (!code && !talk->tools && (talk->tool_choice || talk->one_call))
        return gem_cli_usage("run", "--%s needs --tools", talk->tool_choice ? "tool-choice" : "one-call");
    if (!code && r->constraint && talk->tools)
        return gem_cli_usage("run", "--tools can not be used with --schema, --grammar or --regex");
    return code;
}

static int run(const void *arguments)
{
    const struct args *args = arguments;
    struct run r = {.args = args, .model = args->model, .prompt = args->text};
    int code = args->raw ? check_raw(args) : 0;
    bool turns;

    if (code || (code = gem_cli_talk_check("run", &args->talk)) || (code = check_logprobs(args)) ||
        (code = gem_cli_choose_model(&r.model, &r.prompt)) || (code = read_text(&r)))
        goto done;
    if ((code = gem_cli_model_open(&r.engine, r.model, &args->engine))) goto done;
    code = gem_cli_sampling_make(&r.sampling, r.engine.model, "run", &args->common, &args->sampling);
    turns = !args->raw && gem_model_get_chat(r.engine.model)->format != GEM_CHAT_NONE;
    if (!code && !turns) code = check_raw(args);
    if (!code) code = begin(&r, turns);
    if (!code) code = make_constraint(&r, turns && strcmp(args->talk.think, "off"));
    if (!code) code = make_stops(&r);
    if (!code) code = turns ? answer_turn(&r) : continue_text(&r);
    if (!code && gem_cli_interrupted()) code = gem_cli_interrupt_code();
done:
    free(r.stops);
    gem_constraint_close(r.constraint);
    gem_cli_talk_close(&r.talk);
    gem_cli_sampling_free(&r.sampling);
    gem_cli_engine_close(&r.engine);
    gem_cli_text_free(&r.text);
    return code;
}

static const char *const examples[] = {
    "gemmule run \"What is 12 + 35?\"",
    "gemmule run gemma-4-E2B-it-Q4_0.gguf \"Why is the sky blue?\"",
    "gemmule run --think 500 --thoughts length MODEL - < question.txt",
    "gemmule run --json --tools tools.json MODEL \"What is the weather in Paris?\"",
    "gemmule run --image cat.jpg --budget 560 MODEL \"What is on the picture?\"",
    "gemmule run --audio speech.wav MODEL \"What is said?\"",
    "gemmule run --schema person.json MODEL \"Who wrote Faust?\"",
    "gemmule run --raw --greedy -n 40 MODEL \"Once upon a time\"",
    NULL,
};

const struct gem_cli_command gem_cli_run = {
    .name = "run",
    .summary = "answer one prompt",
    .details =
        "Streams the answer to standard output, and nothing else; a call of a tool is a line with its name and its "
        "arguments as JSON.\n"
        "Without MODEL, nano answers, a tiny model that comes with the program; a single word or text that names no "
        "file "
        "is TEXT.\n"
        "For a model with the control tokens of a conversation the text is one user turn, and white space at "
        "its ends does not count; control tokens spelled in the text stay text. With --raw, and for models "
        "without such tokens, the text is continued as it is.\n"
        "The prompt is read from standard input when TEXT is \"-\", or when it is missing and standard input "
        "is no terminal.\n"
        "With --schema, --grammar or --regex the answer is text of that kind, whole, and ends within --max-tokens; a "
        "model that thinks may do so before.",
    .examples = examples,
    .operands = {{"MODEL", true, GEM_CLI_FILE, offsetof(struct args, model),
                  "a native or GGUF file, or a Hugging Face folder"},
                 {"TEXT", true, GEM_CLI_STRING, offsetof(struct args, text), "the prompt"}},
    .n_operands = 2,
    .groups = {GEM_CLI_GROUP("Options", options, 0),
               GEM_CLI_GROUP("Conversation", gem_cli_talk_options, offsetof(struct args, talk)),
               GEM_CLI_GROUP("Sampling", gem_cli_sampling_options, offsetof(struct args, sampling)),
               GEM_CLI_GROUP("The answer is", gem_cli_constraint_options, offsetof(struct args, constraint)),
               GEM_CLI_GROUP("Computing", gem_cli_fast_options, offsetof(struct args, engine)), GEM_CLI_COMMON_GROUP},
    .n_groups = 6,
    .args_size = sizeof(struct args),
    .run = run,
};
