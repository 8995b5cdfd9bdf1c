/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/bench.h - what gemmule bench measured, for its two ways of showing it. */
#ifndef GEM_CLI_BENCH_H
#define GEM_CLI_BENCH_H

#include <gemmule.h>

enum { GEM_CLI_BENCH_MAX = 1000, GEM_CLI_BENCH_SESSIONS = 64 };

struct gem_cli_sample {
    double prompt_rate, generate_rate; /* tokens per second; 0: not measured */
    double first_token_seconds;
    double ple_share; /* of the time of generating, what reading per-layer embeddings took */
};

struct gem_cli_bench {
    const char *path;
    const gem_model_info *info;
    uint32_t threads; /* in use */
    uint32_t n_prompt, n_gen, n_samples, n_sessions;
    double open_seconds;
    double bandwidth; /* bytes per second that as many threads read from memory; 0: could not be measured */
    uint64_t peak_bytes;
    gem_engine_stats engine; /* of all repetitions */
    struct gem_cli_sample samples[GEM_CLI_BENCH_MAX];
};

/* These return 0 or an exit code. */
int gem_cli_bench_text(const struct gem_cli_bench *bench);
int gem_cli_bench_json(const struct gem_cli_bench *bench);
/* Times the kernels of `cpu` (NULL: the best this machine has). */
int gem_cli_bench_kernels(const char *cpu, uint32_t n_threads, bool json);

#endif
