/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes are read off the tensors; what else config.json says must be what is computed here. */
#include "audio/audio.h"

#include "base/json.h"

#include <math.h>

enum { MAX_CONFIG = 1 << 20 };

static const struct {
    const char *key;
    double value;
} numbers[] = {
    {"attention_chunk_size", 12},   {"attention_context_left", GEM_AUDIO_DISTANCES + 1},
    {"attention_context_right", 0}, {"attention_logit_cap", 50},
    {"residual_weight", 0.5},       {"conv_kernel_size", GEM_AUDIO_KERNEL},
    {"rms_norm_eps", 1e-6},         {"audio_embed_dim", GEM_AUDIO_TOKEN},
};

static gem_status check(const char *name, yyjson_val *config, gem_error *err)
{
    yyjson_val *act = yyjson_obj_get(config, "hidden_act");

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        yyjson_val *v = yyjson_obj_get(config, numbers[i].key);
        if (!v || (yyjson_is_num(v) && fabs(yyjson_get_num(v) - numbers[i].value) <= 1e-9)) continue;
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%.120s: audio_config.%s is not %g, which is not supported", name,
                        numbers[i].key, numbers[i].value);
    }
    if (act && !yyjson_equals_str(act, "silu"))
        return gem_fail(err, GEM_E_UNSUPPORTED, 0,
                        "%.120s: audio_config.hidden_act is not \"silu\", which is not supported", name);
    return GEM_OK;
}

gem_status gem_audio_check_config(const char *name, const void *json, size_t n_bytes, gem_error *err)
{
    yyjson_doc *doc;
    gem_status st = gem_json_parse(&doc, name, json, n_bytes, MAX_CONFIG, err);

    if (st) return st;
    st = check(name, yyjson_obj_get(yyjson_doc_get_root(doc), "audio_config"), err);
    yyjson_doc_free(doc);
    return st;
}
