/* SPDX-License-Identifier: Apache-2.0 */
#include "view.h"
#include "json_out.h"
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char dim[] = "\033[2m", bold[] = "\033[1m", plain[] = "\033[0m";

/* https://no-color.org: attributes count as colour. */
static bool styled(int fd)
{
    const char *no = getenv("NO_COLOR");

    return isatty(fd) && !(no && *no);
}

const char *gem_cli_finish_name(gem_finish finish)
{
    static const char *const names[] = {"stop", "length", "context", "cancelled"};

    return names[finish & 3];
}

enum gem_cli_thoughts gem_cli_thoughts_of(const char *name, bool shown)
{
    if (!name) return shown && isatty(STDERR_FILENO) ? GEM_CLI_THOUGHTS_SHOW : GEM_CLI_THOUGHTS_HIDE;
    if (!strcmp(name, "show")) return GEM_CLI_THOUGHTS_SHOW;
    return strcmp(name, "length") ? GEM_CLI_THOUGHTS_HIDE : GEM_CLI_THOUGHTS_LENGTH;
}

static void flush(struct gem_cli_view *view)
{
    const int code = gem_cli_flush();

    if (!view->code) view->code = code;
}

/* ---- Markdown --------------------------------------------------------------------------------------------------- */

/* Nothing is taken away, so that the text reads the same without a terminal: headings and what stands between ** are
 * bold, code is dim. Markers of two and three characters may come apart, so counts are kept between pieces. */
static void restyle(const struct gem_cli_view *view)
{
    fputs(plain, stdout);
    if (view->code_block || view->code_word) fputs(dim, stdout);
    if (view->bold && !view->code_block && !view->code_word) fputs(bold, stdout);
}

static void end_markers(struct gem_cli_view *view)
{
    if (view->n_ticks >= 3)
        view->code_block = !view->code_block;
    else if (view->n_ticks > 0 && !view->code_block)
        view->code_word = !view->code_word;
    else if (view->n_stars == 2 && !view->code_block && !view->code_word)
        view->bold = !view->bold;
    else
        return;
    restyle(view);
}

/* What is not written yet, before attributes change at i. */
static void put_up_to(const char *text, size_t *done, size_t i)
{
    gem_cli_put_text(text + *done, i - *done);
    *done = i;
}

static void put_markdown(struct gem_cli_view *view, const char *text, size_t n)
{
    size_t done = 0;

    for (size_t i = 0; i < n; i++) {
        const char c = text[i];

        if (c == '*' || c == '`') {
            view->n_stars += c == '*';
            view->n_ticks += c == '`';
        } else if (view->n_stars + view->n_ticks > 0) {
            put_up_to(text, &done, i);
            end_markers(view);
            view->n_stars = view->n_ticks = 0;
        }
        if (c == '\n' && (view->bold || view->code_word)) {
            put_up_to(text, &done, i);
            view->bold = view->code_word = false;
            restyle(view);
        }
        if (c == '#' && view->line_begin && !view->code_block) {
            put_up_to(text, &done, i);
            view->bold = true;
            restyle(view);
        }
        view->line_begin = c == '\n';
    }
    gem_cli_put_text(text + done, n - done);
}

/* ---- for people ------------------------------------------------------------------------------------------------- */

static void end_thought(struct gem_cli_view *view)
{
    if (!view->in_thought) return;
    view->in_thought = false;
    if (view->thoughts == GEM_CLI_THOUGHTS_SHOW) {
        if (styled(STDERR_FILENO)) fputs(plain, stderr);
        fputs("\n\n", stderr);
    } else if (view->thoughts == GEM_CLI_THOUGHTS_LENGTH) {
        fprintf(stderr, "(thought: %zu token%s", view->n_thought, view->n_thought == 1 ? "" : "s");
        if (view->thought_seconds > 0) fprintf(stderr, ", %.1f s", view->thought_seconds);
        fputs(")\n", stderr);
    }
    fflush(stderr);
}

static void show_thought(struct gem_cli_view *view, const char *text, size_t n)
{
    if (!view->in_thought && view->thoughts == GEM_CLI_THOUGHTS_SHOW && styled(STDERR_FILENO)) fputs(dim, stderr);
    view->in_thought = true;
    if (view->thoughts != GEM_CLI_THOUGHTS_SHOW) return;
    gem_cli_put_remark(text, n);
    fflush(stderr);
}

static void show_text(struct gem_cli_view *view, const char *text, size_t n)
{
    if (!n) return;
    end_thought(view);
    if (styled(STDOUT_FILENO))
        put_markdown(view, text, n);
    else
        gem_cli_put_text(text, n);
    view->open_line = text[n - 1] != '\n';
    flush(view);
}

static void end_line(struct gem_cli_view *view)
{
    end_thought(view);
    if (view->bold || view->code_word || view->code_block) {
        view->bold = view->code_word = view->code_block = false;
        restyle(view);
    }
    if (view->open_line) fputc('\n', stdout);
    view->open_line = false;
    flush(view);
}

static void show(struct gem_cli_view *view, const gem_chat_event *e)
{
    switch (e->kind) {
    case GEM_CHAT_THOUGHT: show_thought(view, e->text, e->n_text); break;
    case GEM_CHAT_TEXT: show_text(view, e->text, e->n_text); break;
    case GEM_CHAT_CALL:
        end_line(view);
        gem_cli_put_text(e->name, e->n_name);
        fputc(' ', stdout);
        gem_cli_put_text(e->text, e->n_text);
        fputc('\n', stdout);
        flush(view);
        break;
    case GEM_CHAT_MALFORMED:
        end_line(view);
        gem_cli_error("the model wrote something malformed, %.*s: %.*s", (int)e->n_name, e->name,
                      e->n_text < 800 ? (int)e->n_text : 800, e->text);
        break;
    }
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

static bool add_sample(const struct gem_cli_view *view, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
    return view->sample == 0 || yyjson_mut_obj_add_uint(doc, root, "sample", view->sample);
}

static int show_json(struct gem_cli_view *view, const gem_chat_event *e)
{
    static const char *const types[] = {[GEM_CHAT_THOUGHT] = "thought",
                                        [GEM_CHAT_TEXT] = "text",
                                        [GEM_CHAT_CALL] = "call",
                                        [GEM_CHAT_MALFORMED] = "malformed"};
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    bool ok = root && yyjson_mut_obj_add_str(doc, root, "type", types[e->kind]) && add_sample(view, doc, root);

    yyjson_mut_doc_set_root(doc, root);
    if (e->kind == GEM_CHAT_CALL) {
        yyjson_doc *arguments = yyjson_read(e->text, e->n_text, YYJSON_READ_NUMBER_AS_RAW);
        ok = ok && arguments && yyjson_mut_obj_add_strncpy(doc, root, "name", e->name, e->n_name) &&
             yyjson_mut_obj_add_val(doc, root, "arguments", yyjson_val_mut_copy(doc, yyjson_doc_get_root(arguments)));
        yyjson_doc_free(arguments);
    } else {
        ok = ok && yyjson_mut_obj_add_val(doc, root, "text", gem_cli_json_text(doc, e->text, e->n_text));
        if (e->kind == GEM_CHAT_MALFORMED)
            ok = ok && yyjson_mut_obj_add_strncpy(doc, root, "reason", e->name, e->n_name);
    }
    const int code = gem_cli_json_print(doc, ok, false);
    flush(view);
    return code;
}

static bool add_logprob(yyjson_mut_doc *doc, yyjson_mut_val *object, const gem_model *model, const gem_logprob *one)
{
    char text[GEM_TEXT_STREAM_MAX];
    size_t n = 0;

    if (gem_detokenize(model, &one->token, 1, true, text, sizeof text, &n, NULL) || n > sizeof text) n = 0;
    return object && yyjson_mut_obj_add_int(doc, object, "token", one->token) &&
           yyjson_mut_obj_add_val(doc, object, "text", gem_cli_json_text(doc, text, n)) &&
           yyjson_mut_obj_add_real(doc, object, "logprob", (double)one->logprob);
}

int gem_cli_view_logprobs(struct gem_cli_view *view, const gem_model *model, size_t position, const gem_logprob *chosen,
                          const gem_logprob *top, size_t n_top)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *list;
    bool ok = root && yyjson_mut_obj_add_str(doc, root, "type", "logprobs") &&
              yyjson_mut_obj_add_uint(doc, root, "position", position) && add_logprob(doc, root, model, chosen);

    yyjson_mut_doc_set_root(doc, root);
    list = yyjson_mut_obj_add_arr(doc, root, "top");
    for (size_t i = 0; i < n_top && ok; i++) ok = add_logprob(doc, yyjson_mut_arr_add_obj(doc, list), model, &top[i]);
    const int code = gem_cli_json_print(doc, ok && list, false);
    flush(view);
    return code;
}

int gem_cli_view_json_end(const struct gem_cli_view *view, const gem_generate_stats *stats, const char *message,
                          size_t n)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_doc *said = message ? yyjson_read(message, n, YYJSON_READ_NUMBER_AS_RAW) : NULL;
    bool ok = root && yyjson_mut_obj_add_str(doc, root, "type", "end") && add_sample(view, doc, root) &&
              yyjson_mut_obj_add_str(doc, root, "finish", gem_cli_finish_name(stats->finish)) &&
              yyjson_mut_obj_add_uint(doc, root, "n_prompt", stats->n_prompt) &&
              yyjson_mut_obj_add_uint(doc, root, "n_kept", stats->n_kept) &&
              yyjson_mut_obj_add_uint(doc, root, "n_generated", stats->n_generated) &&
              yyjson_mut_obj_add_uint(doc, root, "seed", stats->seed);

    yyjson_mut_doc_set_root(doc, root);
    if (said)
        ok = ok && yyjson_mut_obj_add_val(doc, root, "message", yyjson_val_mut_copy(doc, yyjson_doc_get_root(said)));
    yyjson_doc_free(said);
    return gem_cli_json_print(doc, ok && (said || !message), false);
}

/* ----------------------------------------------------------------------------------------------------------------- */

void gem_cli_view_begin(struct gem_cli_view *view)
{
    *view = (struct gem_cli_view){
        .thoughts = view->thoughts, .json = view->json, .sample = view->sample, .line_begin = true};
}

void gem_cli_view_event(void *user, const gem_chat_event *event)
{
    struct gem_cli_view *view = user;

    if (view->code) return;
    if (event->kind == GEM_CHAT_CALL) view->n_calls++;
    if (!view->json) {
        show(view, event);
        return;
    }
    const int code = show_json(view, event);
    if (!view->code) view->code = code;
}

int gem_cli_view_end(struct gem_cli_view *view)
{
    if (!view->json) end_line(view);
    return view->code;
}
