/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversations with a model: which format, and the functions of src/chat with the model's tokenizer. */
#include "engine/internal.h"

#include "base/json.h"

/* ---- the template that the files carry -------------------------------------------------------------------------- */

static gem_status compare_file(struct gem_model *m, const char *name, const struct gem_map *map, gem_error *err)
{
    (void)name, (void)err;
    gem_chat_compare_template(&m->chat, (const char *)map->data, (size_t)map->n_bytes);
    return GEM_OK;
}

/* "chat_template" of a JSON file: the text, or a list of named ones. */
static gem_status compare_json(struct gem_model *m, const char *name, const struct gem_map *map, gem_error *err)
{
    enum { CEILING = 64 << 20 };
    yyjson_doc *doc = NULL;
    yyjson_val *v, *one;
    size_t i, max;
    gem_status st = gem_json_parse(&doc, name, map->data, (size_t)map->n_bytes, CEILING, err);

    if (st) return st;
    v = yyjson_obj_get(yyjson_doc_get_root(doc), "chat_template");
    yyjson_arr_foreach(v, i, max, one)
    {
        if (yyjson_equals_str(yyjson_obj_get(one, "name"), "default")) {
            v = yyjson_obj_get(one, "template");
            break;
        }
    }
    if (yyjson_is_str(v)) gem_chat_compare_template(&m->chat, yyjson_get_str(v), yyjson_get_len(v));
    yyjson_doc_free(doc);
    return GEM_OK;
}

static void choose_format(struct gem_model *m) { m->chat.format = gem_chat_detect(m->tokenizer, m->h.ple > 0); }

gem_status gem_chat_from_folder(struct gem_model *m, gem_error *err)
{
    static const struct {
        const char *name;
        gem_status (*compare)(struct gem_model *m, const char *name, const struct gem_map *map, gem_error *err);
    } files[] = {{"chat_template.jinja", compare_file},
                 {"tokenizer_config.json", compare_json},
                 {"chat_template.json", compare_json}};
    gem_status st = GEM_OK;

    choose_format(m);
    for (size_t i = 0; i < sizeof files / sizeof *files && !st && !m->chat.has_template; i++) {
        struct gem_map map;
        char *label;

        st = gem_model_companion(m, files[i].name, &map, &label, err);
        if (!st && label) st = files[i].compare(m, label, &map, err);
        gem_map_close(&map);
        gem_free(label);
    }
    return st;
}

gem_status gem_chat_from_gguf(struct gem_model *m, gem_error *err)
{
    const char *s = NULL;
    size_t n = 0;
    gem_status st;

    choose_format(m);
    if ((st = gem_kv_get_string(&m->archive, "tokenizer.chat_template", false, &s, &n, err))) return st;
    gem_chat_compare_template(&m->chat, s, n);
    return GEM_OK;
}

/* ---- public ----------------------------------------------------------------------------------------------------- */

const gem_chat_info *gem_model_get_chat(const gem_model *m) { return &m->chat; }

static gem_status need_tokenizer(const struct gem_model *m, gem_error *err)
{
    if (m->tokenizer) return GEM_OK;
    if (err) *err = m->no_tokenizer;
    return m->no_tokenizer.code;
}

gem_status gem_chat_render(gem_chat_prompt **out, const gem_model *m, const char *messages, size_t n_messages,
                           const char *tools, size_t n_tools, const gem_chat_options *options, gem_error *err)
{
    const gem_status st = need_tokenizer(m, err);

    *out = NULL;
    if (st) return st;
    return gem_chat_prompt_open(out, m->tokenizer, m->chat.format, messages, n_messages, tools, n_tools, options, err);
}

gem_status gem_chat_parser_open(gem_chat_parser **out, const gem_model *m, const gem_chat_prompt *prompt,
                                gem_chat_event_fn *on_event, void *user, gem_error *err)
{
    const gem_status st = need_tokenizer(m, err);

    *out = NULL;
    return st ? st : gem_chat_reader_open(out, m->tokenizer, m->chat.format, prompt, on_event, user, err);
}
