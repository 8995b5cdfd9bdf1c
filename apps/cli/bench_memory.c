/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/bench_memory.c - how fast this machine reads memory: the floor of decoding. */
#include "bench.h"
#include "terminal.h"

#include <pthread.h>
#include <stdlib.h>

enum { BYTES = 256 << 20, PASSES = 5, MOST_THREADS = 64, STEP = 8 };

struct reader {
    const uint64_t *data; /* [n], n a multiple of STEP */
    size_t n;
    uint64_t sum;
};

static void *read_all(void *context)
{
    struct reader *r = context;
    uint64_t sum[STEP] = {0};

    for (size_t i = 0; i < r->n; i += STEP)
        for (int j = 0; j < STEP; j++) sum[j] += r->data[i + (size_t)j];
    for (int j = 0; j < STEP; j++) r->sum += sum[j];
    return NULL;
}

/* Seconds of one pass, or 0. */
static double pass(uint64_t *data, uint32_t n_threads)
{
    const size_t n = BYTES / sizeof *data / n_threads / STEP * STEP;
    struct reader readers[MOST_THREADS];
    pthread_t threads[MOST_THREADS];
    const double start = gem_cli_seconds();
    uint32_t running = 0;

    for (; running < n_threads; running++) {
        readers[running] = (struct reader){.data = data + running * n, .n = n};
        if (pthread_create(&threads[running], NULL, read_all, &readers[running])) break;
    }
    for (uint32_t i = 0; i < running; i++) {
        pthread_join(threads[i], NULL);
        data[0] += readers[i].sum; /* somebody must want it */
    }
    return running == n_threads ? gem_cli_seconds() - start : 0;
}

double gem_cli_read_bandwidth(uint32_t n_threads)
{
    uint64_t *data = malloc(BYTES);
    double best = 0;

    if (!data) return 0;
    if (n_threads > MOST_THREADS) n_threads = MOST_THREADS;
    for (size_t i = 0; i < BYTES / sizeof *data; i++) data[i] = i; /* pages are there before they are timed */
    for (int i = 0; i < PASSES; i++) {
        const double seconds = pass(data, n_threads);
        if (seconds > 0 && BYTES / seconds > best) best = BYTES / seconds;
    }
    free(data);
    return best;
}
