/* SPDX-License-Identifier: Apache-2.0 */
#include "talk.h"
#include "json_out.h"
#include "output.h"
#include "terminal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const thoughts[] = {"show", "length", "hide", NULL};

const struct gem_cli_option gem_cli_talk_options[6] = {
    {.name = "system",
     .letter = 's',
     .kind = GEM_CLI_STRING,
     .offset = offsetof(struct gem_cli_talk_args, system),
     .value = "TEXT",
     .help = "what the model is told before the conversation"},
    {.name = "tools",
     .kind = GEM_CLI_FILE,
     .offset = offsetof(struct gem_cli_talk_args, tools),
     .value = "FILE",
     .help = "tools that the model may call: a JSON array of declarations in OpenAI's form"},
    {.name = "tool-choice",
     .kind = GEM_CLI_STRING,
     .offset = offsetof(struct gem_cli_talk_args, tool_choice),
     .value = "HOW",
     .fallback_shown = "auto",
     .help = "auto, required, none, or the name of the tool to call: calls are well formed and keep their schemas; "
             "free: nothing is checked"},
    {.name = "one-call",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct gem_cli_talk_args, one_call),
     .help = "an answer has one call at most"},
    {.name = "think",
     .kind = GEM_CLI_STRING,
     .offset = offsetof(struct gem_cli_talk_args, think),
     .value = "HOW",
     .fallback = "off",
     .help = "off, on, or N: the model thinks first, N tokens at most"},
    {.name = "thoughts",
     .kind = GEM_CLI_CHOICE,
     .offset = offsetof(struct gem_cli_talk_args, thoughts),
     .value = "HOW",
     .choices = thoughts,
     .fallback_shown = "show in a chat on a terminal, else hide",
     .help = "thoughts go to standard error, or only their length, or nowhere"},
};

/* ---- the parts of a conversation -------------------------------------------------------------------------------- */

/* *n_tokens is 0 without a limit. false: no way of thinking. */
static bool parse_think(const char *text, bool *thinking, size_t *n_tokens)
{
    uint64_t n = 0;
    const bool number = gem_cli_parse_u64(text, &n) && n > 0 && n <= UINT32_MAX;

    *thinking = strcmp(text, "off") != 0;
    *n_tokens = number ? (size_t)n : 0;
    return number || !*thinking || !strcmp(text, "on");
}

bool gem_cli_talk_think(struct gem_cli_talk *talk, const char *text)
{
    bool thinking;
    size_t n_tokens;

    if (!parse_think(text, &thinking, &n_tokens)) return false;
    talk->thinking = thinking;
    talk->thought_tokens = n_tokens;
    return true;
}

static void drop_tools(struct gem_cli_tools *tools)
{
    yyjson_doc_free(tools->doc);
    gem_cli_text_free(&tools->text);
    *tools = (struct gem_cli_tools){0};
}

static void change_tools(struct gem_cli_talk *talk, struct gem_cli_tools tools)
{
    talk->tools = tools;
    gem_cli_tool_use_forget(&talk->tool_use);
}

int gem_cli_talk_set_tools(struct gem_cli_talk *talk, const char *path)
{
    struct gem_cli_tools tools = {0};
    int code = path ? gem_cli_read_json(&tools.doc, &tools.text, path, YYJSON_READ_NUMBER_AS_RAW) : 0;

    if (!code && path && !yyjson_is_arr(yyjson_doc_get_root(tools.doc))) {
        gem_cli_error("%s: not a JSON array of tools", path);
        code = GEM_CLI_EXIT_FILE;
    }
    if (code) {
        drop_tools(&tools);
        return code;
    }
    drop_tools(&talk->tools);
    change_tools(talk, tools);
    return 0;
}

/* A message of role and text, not yet among the messages. NULL after saying what is wrong. */
static yyjson_mut_val *make_message(struct gem_cli_talk *talk, const char *role, const char *text, size_t n,
                                    const char *name, int *code)
{
    yyjson_mut_val *message = yyjson_mut_obj(talk->doc);
    const size_t bad = gem_cli_utf8_error(text, n);

    if (bad < n) {
        gem_cli_error("%s: not UTF-8 at byte %zu", name, bad);
        *code = GEM_CLI_EXIT_FAILED;
        return NULL;
    }
    if (message && yyjson_mut_obj_add_str(talk->doc, message, "role", role) &&
        yyjson_mut_obj_add_strncpy(talk->doc, message, "content", text, n))
        return message;
    *code = gem_cli_out_of_memory();
    return NULL;
}

static bool has_role(yyjson_mut_val *message, const char *role)
{
    return yyjson_mut_equals_str(yyjson_mut_obj_get(message, "role"), role);
}

int gem_cli_talk_set_system(struct gem_cli_talk *talk, const char *text, size_t n, const char *name)
{
    int code = 0;
    yyjson_mut_val *first = yyjson_mut_arr_get_first(talk->messages);
    yyjson_mut_val *message = n > 0 ? make_message(talk, "system", text, n, name, &code) : NULL;

    if (code) return code;
    if (first && has_role(first, "system")) yyjson_mut_arr_remove_first(talk->messages);
    if (message && !yyjson_mut_arr_prepend(talk->messages, message)) return gem_cli_out_of_memory();
    return 0;
}

/* The content of a message becomes a list: what is shown, then the text. */
static int add_shown(struct gem_cli_talk *talk, yyjson_mut_val *message)
{
    yyjson_mut_val *text = yyjson_mut_obj_remove_key(message, "content"), *part = yyjson_mut_obj(talk->doc);
    const bool ok = text && part && yyjson_mut_obj_add_str(talk->doc, part, "type", "text") &&
                    yyjson_mut_obj_add_val(talk->doc, part, "text", text) && yyjson_mut_arr_append(talk->shown, part) &&
                    yyjson_mut_obj_add_val(talk->doc, message, "content", talk->shown);

    talk->shown = NULL;
    return ok ? 0 : gem_cli_out_of_memory();
}

int gem_cli_talk_show(struct gem_cli_talk *talk, const char *type, const char *path)
{
    yyjson_mut_val *part = gem_cli_attach_file(talk->doc, type, path);
    const int code = part ? gem_cli_attach(&talk->media, talk->engine->model, &talk->showing, part) : 0;

    if (code) return code;
    if (!talk->shown) talk->shown = yyjson_mut_arr(talk->doc);
    return part && yyjson_mut_arr_append(talk->shown, part) ? 0 : gem_cli_out_of_memory();
}

int gem_cli_talk_say(struct gem_cli_talk *talk, const char *text, size_t n, const char *name)
{
    int code = 0;
    yyjson_mut_val *message = make_message(talk, "user", text, n, name, &code);

    if (!code && talk->shown) code = add_shown(talk, message);
    if (code) return code;
    return yyjson_mut_arr_append(talk->messages, message) ? 0 : gem_cli_out_of_memory();
}

int gem_cli_talk_result(struct gem_cli_talk *talk, yyjson_mut_val *call, const char *text, size_t n)
{
    yyjson_mut_val *message = yyjson_mut_obj(talk->doc), *id = yyjson_mut_obj_get(call, "id");
    const bool ok =
        message && yyjson_mut_obj_add_str(talk->doc, message, "role", "tool") &&
        yyjson_mut_obj_add_val(talk->doc, message, "tool_call_id", yyjson_mut_val_mut_copy(talk->doc, id)) &&
        yyjson_mut_obj_add_val(talk->doc, message, "content", gem_cli_json_text(talk->doc, text, n)) &&
        yyjson_mut_arr_append(talk->messages, message);

    return ok ? 0 : gem_cli_out_of_memory();
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

/* What a part shows or plays, where the template has its placeholder. */
static int write_media(struct gem_cli_talk *talk, const gem_chat_media *m)
{
    yyjson_mut_val *message = yyjson_mut_arr_get(talk->messages, m->message);
    yyjson_mut_val *part = yyjson_mut_arr_get(yyjson_mut_obj_get(message, "content"), m->part);
    const int code = gem_cli_attach(&talk->media, talk->engine->model, &talk->showing, part);

    return code ? code : gem_cli_media_write(&talk->media, part, talk->engine->model, &talk->sequence);
}

/* The sequence becomes the prompt, each placeholder expanded. */
static int expand_media(struct gem_cli_talk *talk)
{
    const gem_chat_media *media;
    const size_t n_media = gem_chat_prompt_media(talk->prompt, &media);
    const int32_t *tokens = talk->plain.ids;
    size_t at = 0;
    int code;

    gem_cli_media_begin(&talk->media);
    for (size_t i = 0; i < n_media; i++) {
        if ((code = gem_cli_tokens_append(&talk->sequence, tokens + at, media[i].token - at))) return code;
        if ((code = write_media(talk, &media[i]))) return code;
        at = media[i].token + 1;
    }
    code = gem_cli_tokens_append(&talk->sequence, tokens + at, talk->plain.n - at);
    talk->n_prompt = talk->sequence.n;
    return code;
}

/* The tokens of the conversation so far as the template writes them: placeholders not expanded. */
static int take_seen(struct gem_cli_talk *talk)
{
    const size_t n = talk->n_prompt < talk->sequence.n ? talk->n_prompt : talk->sequence.n;

    return gem_cli_tokens_append(&talk->plain, talk->sequence.ids + n, talk->sequence.n - n);
}

static void forget_sequence(struct gem_cli_talk *talk) { talk->sequence.n = talk->plain.n = talk->n_prompt = 0; }

int gem_cli_talk_render(struct gem_cli_talk *talk)
{
    const int seen = take_seen(talk);
    const gem_chat_options options = {.thinking = talk->thinking, .seen = talk->plain.ids, .n_seen = talk->plain.n};
    size_t n = 0;
    char *messages = seen ? NULL : yyjson_mut_val_write(talk->messages, YYJSON_WRITE_NOFLAG, &n);
    const int32_t *tokens;
    gem_status status;
    gem_error err;

    if (!messages) return seen ? seen : gem_cli_out_of_memory();
    gem_chat_prompt_close(talk->prompt);
    status = gem_chat_render(&talk->prompt, talk->engine->model, messages, n, talk->tools.text.data, talk->tools.text.n,
                             &options, &err);
    free(messages);
    forget_sequence(talk);
    if (status) return gem_cli_fail(&err);
    n = gem_chat_prompt_tokens(talk->prompt, &tokens);
    return gem_cli_tokens_append(&talk->plain, tokens, n) ? GEM_CLI_EXIT_FAILED : expand_media(talk);
}

/* The message that the parser has read; in JSON mode it is also the last line. */
static int end_answer(struct gem_cli_talk *talk, gem_chat_parser *parser, const char **json, size_t *n)
{
    gem_error err;

    if (gem_chat_parser_message(parser, talk->n_calls + 1, json, n, &err)) return gem_cli_fail(&err);
    return talk->view.json ? gem_cli_view_json_end(&talk->view, &talk->stats, *json, *n) : 0;
}

static int keep_answer(struct gem_cli_talk *talk, gem_chat_parser *parser, yyjson_mut_val **calls)
{
    yyjson_mut_val *message = NULL;
    yyjson_doc *doc;
    const char *json;
    size_t n;
    const int code = end_answer(talk, parser, &json, &n);

    if (code) return code;
    doc = yyjson_read(json, n, YYJSON_READ_NUMBER_AS_RAW);
    if (doc) message = yyjson_val_mut_copy(talk->doc, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    if (!message || !yyjson_mut_arr_append(talk->messages, message)) return gem_cli_out_of_memory();
    *calls = yyjson_mut_obj_get(message, "tool_calls");
    talk->n_calls += yyjson_mut_arr_size(*calls);
    return 0;
}

/* What the answer may be. */
static int choose_constraint(struct gem_cli_talk *talk, gem_constraint **out)
{
    *out = talk->constraint;
    if (yyjson_arr_size(yyjson_doc_get_root(talk->tools.doc)) == 0) return 0;
    return gem_cli_tool_use_make(out, &talk->tool_use, talk->engine->model, talk->tools.text.data, talk->tools.text.n,
                                 gem_chat_prompt_thought(talk->prompt),
                                 has_role(yyjson_mut_arr_get_last(talk->messages), "tool"));
}

/* Fills the answer; its prompt is then rendered. */
static int prepare_answer(struct gem_cli_talk *talk, struct gem_cli_answer *answer)
{
    const int code = talk->prompt ? 0 : gem_cli_talk_render(talk);

    *answer = (struct gem_cli_answer){
        .engine = talk->engine,
        .sampling = talk->sampling,
        .limits = talk->limits,
        .media = &talk->media,
        .view = &talk->view,
        .sequence = &talk->sequence,
    };
    answer->limits.thought_tokens = talk->thought_tokens;
    return code ? code : choose_constraint(talk, &answer->constraint);
}

/* shows: what it reads comes to the view. */
static int open_parser(struct gem_cli_talk *talk, gem_chat_parser **parser, bool shows)
{
    gem_error err;

    if (gem_chat_parser_open(parser, talk->engine->model, talk->prompt, shows ? gem_cli_view_event : NULL, &talk->view,
                             &err) ||
        gem_chat_parser_set_stop(*parser, talk->limits.stops, talk->limits.n_stops, &err))
        return gem_cli_fail(&err);
    return 0;
}

static void drop_prompt(struct gem_cli_talk *talk)
{
    gem_chat_prompt_close(talk->prompt);
    talk->prompt = NULL;
}

int gem_cli_talk_answer(struct gem_cli_talk *talk, yyjson_mut_val **calls)
{
    struct gem_cli_answer answer;
    int code = prepare_answer(talk, &answer);

    *calls = NULL;
    if (code || (code = open_parser(talk, &answer.parser, true))) goto done;
    if ((code = gem_cli_answer_run(&answer))) goto done;
    talk->stats = answer.stats;
    if (answer.stats.finish == GEM_FINISH_CANCELLED && answer.stats.n_generated == 0 && !talk->view.json) goto done;
    talk->sampling->seed++; /* or every answer would be drawn with the same numbers */
    code = keep_answer(talk, answer.parser, calls);
done:
    gem_chat_parser_close(answer.parser);
    drop_prompt(talk);
    return code;
}

static int show_sample(struct gem_cli_talk *talk, struct gem_cli_answer *answer, const struct gem_cli_sample *sample)
{
    const char *json;
    size_t n;
    int code = open_parser(talk, &answer->parser, true);

    if (code) return code;
    talk->stats = sample->stats;
    talk->view.sample++;
    if (!(code = gem_cli_answer_show(answer, sample))) code = end_answer(talk, answer->parser, &json, &n);
    gem_chat_parser_close(answer->parser);
    answer->parser = NULL;
    return code;
}

int gem_cli_talk_samples(struct gem_cli_talk *talk, size_t n, bool stats)
{
    struct gem_cli_answer answer;
    struct gem_cli_sample *samples = calloc(n, sizeof *samples);
    int code;

    if (!samples) return gem_cli_out_of_memory();
    code = prepare_answer(talk, &answer);
    for (size_t i = 0; i < n && !code; i++) code = open_parser(talk, &samples[i].watch, false);
    if (!code) code = gem_cli_answer_draw(&answer, samples, n);
    for (size_t i = 0; i < n && !code; i++) {
        code = show_sample(talk, &answer, &samples[i]);
        if (!code && stats) gem_cli_answer_stats(talk->engine, &talk->stats);
    }
    gem_cli_samples_free(samples, n);
    drop_prompt(talk);
    return code;
}

bool gem_cli_talk_undo(struct gem_cli_talk *talk, bool keep)
{
    size_t n = yyjson_mut_arr_size(talk->messages), last = n, at, max;
    yyjson_mut_val *message;

    yyjson_mut_arr_foreach(talk->messages, at, max, message)
    {
        if (has_role(message, "user")) last = at;
    }
    if (last == n) return false;
    for (last += keep; n > last; n--) yyjson_mut_arr_remove_last(talk->messages);
    return true;
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

int gem_cli_talk_save(const struct gem_cli_talk *talk, const char *path)
{
    struct gem_cli_output output = {0};
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    char *json = NULL;
    size_t n = 0;
    int code;

    yyjson_mut_doc_set_root(doc, root);
    if (root && yyjson_mut_obj_add_val(doc, root, "messages", yyjson_mut_val_mut_copy(doc, talk->messages)) &&
        (!talk->tools.doc ||
         yyjson_mut_obj_add_val(doc, root, "tools", yyjson_val_mut_copy(doc, yyjson_doc_get_root(talk->tools.doc)))))
        json = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY_TWO_SPACES, &n);
    yyjson_mut_doc_free(doc);
    if (!json) return gem_cli_out_of_memory();
    json[n] = '\n'; /* in place of the zero */
    if (!(code = gem_cli_output_open(&output, path)) && !(code = gem_cli_output_write(&output, json, n + 1, 0)))
        code = gem_cli_output_commit(&output);
    gem_cli_output_close(&output);
    free(json);
    return code;
}

static size_t count_calls(yyjson_mut_val *messages)
{
    size_t n = 0, at, max;
    yyjson_mut_val *message;

    yyjson_mut_arr_foreach(messages, at, max, message)
    {
        n += yyjson_mut_arr_size(yyjson_mut_obj_get(message, "tool_calls"));
    }
    return n;
}

/* A copy of its own of tools that a conversation has. */
static int copy_tools(struct gem_cli_tools *out, yyjson_val *list)
{
    if (!(out->text.data = yyjson_val_write(list, YYJSON_WRITE_NOFLAG, &out->text.n))) return gem_cli_out_of_memory();
    out->doc = yyjson_read(out->text.data, out->text.n, YYJSON_READ_NUMBER_AS_RAW);
    return out->doc ? 0 : gem_cli_out_of_memory();
}

/* What was read becomes the conversation. It is rendered once, so that what is wrong with it shows now; then it stays
 * as it was. */
static int replace(struct gem_cli_talk *talk, yyjson_val *messages, yyjson_val *tools)
{
    yyjson_mut_val *before = talk->messages;
    struct gem_cli_tools tools_before = talk->tools, new_tools = {0};
    int code = tools ? copy_tools(&new_tools, tools) : 0;

    if (!code && tools) change_tools(talk, new_tools);
    talk->messages = yyjson_val_mut_copy(talk->doc, messages);
    if (!code) code = talk->messages ? gem_cli_talk_render(talk) : gem_cli_out_of_memory();
    drop_prompt(talk);
    forget_sequence(talk);
    if (code) {
        change_tools(talk, tools_before);
        talk->messages = before;
    }
    if (tools) drop_tools(code ? &new_tools : &tools_before);
    talk->n_calls = count_calls(talk->messages);
    return code;
}

int gem_cli_talk_load(struct gem_cli_talk *talk, const char *path)
{
    struct gem_cli_text text = {0};
    yyjson_doc *doc = NULL;
    int code = gem_cli_read_json(&doc, &text, path, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *root = yyjson_doc_get_root(doc), *tools = yyjson_obj_get(root, "tools");
    yyjson_val *messages = yyjson_is_obj(root) ? yyjson_obj_get(root, "messages") : root;

    if (!code && (!yyjson_is_arr(messages) || (tools && !yyjson_is_arr(tools)))) {
        gem_cli_error("%s: no array of %s", path, yyjson_is_arr(messages) ? "tools" : "messages");
        code = GEM_CLI_EXIT_FILE;
    }
    if (!code) code = replace(talk, messages, tools);
    yyjson_doc_free(doc);
    gem_cli_text_free(&text);
    return code;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

/* Control tokens that a model may name, but never has a reason to. Those that were asked for keep their bias. */
static int suppress(struct gem_cli_talk *talk, gem_sampling *sampling)
{
    static const char *const names[] = {"<pad>",     "<bos>",          "<unk>",     "<mask>",           "<|tool>",
                                        "<tool|>",   "<|turn>",        "<|think|>", "<tool_response|>", "<|image>",
                                        "<image|>",  "<|image|>",      "<|audio>",  "<audio|>",         "<|audio|>",
                                        "<|video|>", "<start_of_turn>"};
    const size_t before = sampling->n_bias;
    size_t n = before;

    if (!(talk->bias = calloc(before + GEM_CLI_COUNT(names), sizeof *talk->bias))) return gem_cli_out_of_memory();
    if (before) memcpy(talk->bias, sampling->bias, before * sizeof *talk->bias);
    for (size_t i = 0; i < GEM_CLI_COUNT(names); i++) {
        const int32_t id = gem_model_token_id(talk->engine->model, names[i], strlen(names[i]));
        bool given = id < 0;

        for (size_t k = 0; k < before; k++) given |= talk->bias[k].token == id;
        if (!given) talk->bias[n++] = (gem_logit_bias){.token = id, .bias = -INFINITY};
    }
    sampling->bias = talk->bias;
    sampling->n_bias = n;
    return 0;
}

int gem_cli_talk_check(const char *command, const struct gem_cli_talk_args *args)
{
    bool thinking;
    size_t n_tokens;

    if (parse_think(args->think, &thinking, &n_tokens)) return 0;
    return gem_cli_usage(command, "--think is off, on or a number of tokens, not '%s'", args->think);
}

int gem_cli_talk_open(struct gem_cli_talk *talk, struct gem_cli_engine *engine, gem_sampling *sampling,
                      const struct gem_cli_talk_args *args, bool interactive)
{
    const gem_chat_info *chat = gem_model_get_chat(engine->model);
    int code;

    talk->engine = engine;
    talk->sampling = sampling;
    talk->tool_use = (struct gem_cli_tool_use){.choice = args->tool_choice, .single = args->one_call};
    talk->view.thoughts = gem_cli_thoughts_of(args->thoughts, interactive);
    talk->doc = yyjson_mut_doc_new(NULL);
    talk->messages = yyjson_mut_arr(talk->doc);
    if (!talk->messages) return gem_cli_out_of_memory();
    parse_think(args->think, &talk->thinking, &talk->thought_tokens);
    if ((code = suppress(talk, sampling))) return code;
    if (chat->note) gem_cli_note("%s", chat->note);
    if (args->tools && (code = gem_cli_talk_set_tools(talk, args->tools))) return code;
    if (!args->system) return 0;
    return gem_cli_talk_set_system(talk, args->system, strlen(args->system), "--system");
}

void gem_cli_talk_close(struct gem_cli_talk *talk)
{
    gem_chat_prompt_close(talk->prompt);
    drop_tools(&talk->tools);
    gem_cli_tool_use_forget(&talk->tool_use);
    yyjson_mut_doc_free(talk->doc);
    gem_cli_media_free(&talk->media);
    gem_cli_tokens_free(&talk->sequence);
    gem_cli_tokens_free(&talk->plain);
    free(talk->bias);
    *talk = (struct gem_cli_talk){0};
}
