/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/inspect_json.c - gemmule inspect --json. Every add answers false when memory runs out; the answers are
 * collected and looked at once. */
#include "engine.h"
#include "inspect.h"
#include "json_out.h"

static bool add_field(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct gem_cli_field *field,
                      const gem_model_info *info)
{
    const void *value = (const char *)info + field->offset;

    switch (field->kind) {
    case GEM_CLI_FIELD_TEXT: return gem_cli_json_add_text(doc, object, field->key, *(const char *const *)value);
    case GEM_CLI_FIELD_U32: return yyjson_mut_obj_add_uint(doc, object, field->key, *(const uint32_t *)value);
    case GEM_CLI_FIELD_BOOL: return yyjson_mut_obj_add_bool(doc, object, field->key, *(const bool *)value);
    case GEM_CLI_FIELD_COUNT:
    case GEM_CLI_FIELD_BYTES: return yyjson_mut_obj_add_uint(doc, object, field->key, *(const uint64_t *)value);
    }
    return false;
}

static bool add_tokenizer(yyjson_mut_doc *doc, yyjson_mut_val *root, const gem_model *model)
{
    yyjson_mut_val *stops = yyjson_mut_obj_add_arr(doc, root, "stop_tokens");
    const int32_t *ids;
    const size_t n = gem_model_stop_tokens(model, &ids);
    bool ok = stops && yyjson_mut_obj_add_sint(doc, root, "bos_token", gem_model_bos(model));

    for (size_t i = 0; i < n && ok; i++) ok = yyjson_mut_arr_add_sint(doc, stops, ids[i]);
    return ok;
}

static bool add_chat(yyjson_mut_doc *doc, yyjson_mut_val *root, const gem_model *model)
{
    const gem_chat_info *chat = gem_model_get_chat(model);
    const struct gem_cli_chat_format *format = &gem_cli_chat_formats[chat->format];
    yyjson_mut_val *out = yyjson_mut_obj_add_obj(doc, root, "chat");

    return out && yyjson_mut_obj_add_str(doc, out, "format", format->key) &&
           yyjson_mut_obj_add_bool(doc, out, "has_template", chat->has_template) &&
           yyjson_mut_obj_add_bool(doc, out, "known_template", chat->known_template) &&
           yyjson_mut_obj_add_str(doc, out, "template_sha256", chat->sha256) &&
           (!chat->note || yyjson_mut_obj_add_str(doc, out, "note", chat->note)) &&
           yyjson_mut_obj_add_bool(doc, out, "thinking", format->thoughts != NULL) &&
           yyjson_mut_obj_add_bool(doc, out, "tools", format->call != NULL);
}

static bool add_formats(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct gem_cli_inspection *in)
{
    yyjson_mut_val *formats = yyjson_mut_obj_add_arr(doc, root, "formats");
    bool ok = formats;

    for (size_t i = 0; i < in->n_formats && ok; i++) {
        yyjson_mut_val *one = yyjson_mut_arr_add_obj(doc, formats);

        ok = one && yyjson_mut_obj_add_strcpy(doc, one, "role", in->formats[i].role) &&
             yyjson_mut_obj_add_strcpy(doc, one, "type", in->formats[i].type) &&
             yyjson_mut_obj_add_uint(doc, one, "tensors", in->formats[i].n_tensors) &&
             yyjson_mut_obj_add_uint(doc, one, "bytes", in->formats[i].bytes);
    }
    return ok;
}

static bool add_memory(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct gem_cli_inspection *in)
{
    const char *precision = gem_cli_precision_name(gem_model_get_info(in->model)->precision);
    yyjson_mut_val *memory = yyjson_mut_obj_add_obj(doc, root, "memory");
    yyjson_mut_val *sessions = yyjson_mut_obj_add_arr(doc, memory, "sessions");
    bool ok = sessions && yyjson_mut_obj_add_str(doc, memory, "precision", precision) &&
              yyjson_mut_obj_add_uint(doc, memory, "engine_bytes", in->engine_bytes);

    for (size_t i = 0; i < in->n_memory && ok; i++) {
        yyjson_mut_val *one = yyjson_mut_arr_add_obj(doc, sessions);

        ok = one && yyjson_mut_obj_add_uint(doc, one, "context", in->memory[i].context) &&
             yyjson_mut_obj_add_uint(doc, one, "bytes", in->memory[i].bytes);
    }
    return ok;
}

static bool add_tensor(yyjson_mut_doc *doc, yyjson_mut_val *list, const gem_tensor_info *tensor)
{
    yyjson_mut_val *one = yyjson_mut_arr_add_obj(doc, list);
    yyjson_mut_val *shape = yyjson_mut_obj_add_arr(doc, one, "shape");
    bool ok = shape && gem_cli_json_add_text(doc, one, "name", tensor->name) &&
              yyjson_mut_obj_add_strcpy(doc, one, "type", tensor->type) &&
              yyjson_mut_obj_add_uint(doc, one, "bytes", tensor->bytes) &&
              yyjson_mut_obj_add_strcpy(doc, one, "role", tensor->role) &&
              yyjson_mut_obj_add_bool(doc, one, "in_panels", tensor->in_panels);

    for (uint32_t d = 0; d < tensor->n_dims && ok; d++) ok = yyjson_mut_arr_add_uint(doc, shape, tensor->shape[d]);
    return ok;
}

static bool add_tensors(yyjson_mut_doc *doc, yyjson_mut_val *root, const gem_model *model)
{
    yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "tensors");
    gem_tensor_info tensor;
    bool ok = list;

    for (size_t i = 0; ok && gem_model_get_tensor(model, i, &tensor); i++) ok = add_tensor(doc, list, &tensor);
    return ok;
}

int gem_cli_inspect_json(const struct gem_cli_inspection *in, bool tensors)
{
    const gem_model_info *info = gem_model_get_info(in->model);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    bool ok = root && gem_cli_json_add_text(doc, root, "model", in->path);

    yyjson_mut_doc_set_root(doc, root);
    for (size_t i = 0; i < gem_cli_n_model_fields && ok; i++) ok = add_field(doc, root, &gem_cli_model_fields[i], info);
    ok = ok && add_tokenizer(doc, root, in->model) && add_chat(doc, root, in->model) && add_formats(doc, root, in) &&
         add_memory(doc, root, in);
    if (tensors) ok = ok && add_tensors(doc, root, in->model);
    return gem_cli_json_print(doc, ok, true);
}
