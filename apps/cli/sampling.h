/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/sampling.h - the options about sampling, laid over what the checkpoint recommends. */
#ifndef GEM_CLI_SAMPLING_H
#define GEM_CLI_SAMPLING_H

#include "options.h"

#include <gemmule.h>

struct gem_cli_sampling_args {
    float temperature, top_p, min_p, typical_p, xtc_probability, xtc_threshold, dry, dry_base;
    float repeat_penalty, presence_penalty, frequency_penalty;
    uint32_t top_k, dry_allowed;
    uint64_t seed;
    bool greedy;
    struct gem_cli_list logit_bias;
};

extern const struct gem_cli_option gem_cli_sampling_options[16];

struct gem_cli_sampling {
    gem_sampling sampling;
    gem_logit_bias *bias; /* the model's and the caller's; freed by gem_cli_sampling_free */
};

/* Only options that were given replace the checkpoint's. The seed is a new one each time unless it was given.
 * Returns 0, or an exit code after saying what is wrong. */
int gem_cli_sampling_make(struct gem_cli_sampling *out, const gem_model *model, const char *command,
                          const struct gem_cli_common *common, const struct gem_cli_sampling_args *args);
void gem_cli_sampling_free(struct gem_cli_sampling *sampling);

#endif
