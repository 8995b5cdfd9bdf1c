/* SPDX-License-Identifier: Apache-2.0
 *
 * A loop is published by raising `turn`; workers spin on it for a while and then sleep on a condition variable. Each
 * takes pieces from a shared counter until none is left. The caller works too, and at the end waits only for workers
 * that are inside: one that the system has not let run yet finds the gate closed, so an overloaded machine costs
 * little. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/threads.h"

#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    SPINS = 4000, /* about 20 microseconds: longer than the gap between two loops of a decode step */
    MAX_THREADS = 256,
};

struct worker {
    struct gem_pool *pool;
    pthread_t thread;
    unsigned id;
};

struct gem_pool {
    unsigned n_threads, n_started; /* with the caller; workers that run */
    struct worker *workers;        /* [n_threads - 1] */
    gem_loop_fn *fn;
    void *context;
    size_t n, grain;
    atomic_size_t next;
    atomic_ullong turn;   /* number of the newest loop */
    atomic_ullong open;   /* the loop that workers may enter; 0: none */
    atomic_uint n_inside; /* workers that may be reading the fields above */
    atomic_uint n_asleep;
    atomic_bool running; /* a loop; only to catch one that is started inside another */
    atomic_bool quit;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void work(struct gem_pool *pool, unsigned id)
{
    for (;;) {
        const size_t begin = atomic_fetch_add_explicit(&pool->next, pool->grain, memory_order_relaxed);
        size_t end = begin + pool->grain;

        if (begin >= pool->n) return;
        if (end > pool->n) end = pool->n;
        pool->fn(pool->context, begin, end, id);
    }
}

/* Waits until turn differs from `seen`. */
static unsigned long long wait_turn(struct gem_pool *pool, unsigned long long seen)
{
    unsigned long long turn;

    for (int i = 0; i < SPINS; i++) {
        if ((turn = atomic_load_explicit(&pool->turn, memory_order_acquire)) != seen) return turn;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_asleep, 1);
    while ((turn = atomic_load(&pool->turn)) == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->mutex);
    return turn;
}

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    struct gem_pool *pool = w->pool;
    unsigned long long seen = 0;

    for (;;) {
        seen = wait_turn(pool, seen);
        if (atomic_load(&pool->quit)) return NULL;
        /* Sequentially consistent on both sides: either this sees the gate closed, or the caller sees one inside. */
        atomic_fetch_add(&pool->n_inside, 1);
        if (atomic_load(&pool->open) == seen) work(pool, w->id);
        atomic_fetch_sub(&pool->n_inside, 1);
    }
}

/* Publishes what the pool's fields say to all workers. */
static void next_turn(struct gem_pool *pool)
{
    atomic_fetch_add(&pool->turn, 1); /* sequentially consistent: before the load of n_asleep */
    if (atomic_load(&pool->n_asleep) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

gem_status gem_pool_open(struct gem_pool **out, unsigned n_threads, gem_error *err)
{
    gem_status st = GEM_E_NOMEM;
    struct gem_pool *pool = NULL;

    *out = NULL;
    if (n_threads > MAX_THREADS)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "threads: %u, at most %d", n_threads, MAX_THREADS);
    if (n_threads == 0) n_threads = gem_physical_cores();
    if (!(pool = gem_calloc(1, sizeof *pool, "a thread pool", err))) return st;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->n_threads = n_threads;
    if (!(pool->workers = gem_calloc(n_threads - 1, sizeof *pool->workers, "threads", err))) goto fail;
    for (unsigned i = 0; i + 1 < n_threads; i++) {
        struct worker *w = &pool->workers[i];
        *w = (struct worker){.pool = pool, .id = i + 1};
        if (pthread_create(&w->thread, NULL, worker_main, w)) {
            st = gem_fail(err, GEM_E_NOMEM, 0, "cannot start thread %u of %u", i + 2, n_threads);
            goto fail;
        }
        pool->n_started++;
    }
    *out = pool;
    return GEM_OK;
fail:
    gem_pool_close(pool);
    return st;
}

void gem_pool_close(struct gem_pool *pool)
{
    if (!pool) return;
    atomic_store(&pool->quit, true);
    next_turn(pool);
    for (unsigned i = 0; i < pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    gem_free(pool->workers);
    gem_free(pool);
}

unsigned gem_pool_threads(const struct gem_pool *pool) { return pool->n_threads; }

/* The caller works too, then closes the gate and waits for those who came in. */
static void run_shared(struct gem_pool *pool, size_t n, size_t grain, gem_loop_fn *fn, void *context)
{
    pool->fn = fn;
    pool->context = context;
    pool->n = n;
    pool->grain = grain;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store(&pool->open, atomic_load(&pool->turn) + 1);
    next_turn(pool);
    work(pool, 0);
    atomic_store(&pool->open, 0);
    for (unsigned i = 0; atomic_load(&pool->n_inside) > 0; i++) {
        if (i < SPINS)
            relax();
        else
            sched_yield(); /* it was descheduled in the middle of a piece: do not burn its core */
    }
}

void gem_pool_run(struct gem_pool *pool, size_t n, size_t grain, gem_loop_fn *fn, void *context)
{
    const bool was_running = atomic_exchange(&pool->running, true);

    assert(!was_running); /* one loop at a time: neither inside another nor from two threads */
    (void)was_running;
    if (grain == 0) grain = 1;
    if (n > 0 && (pool->n_threads == 1 || n <= grain))
        fn(context, 0, n, 0);
    else if (n > 0)
        run_shared(pool, n, grain, fn, context);
    atomic_store(&pool->running, false);
}

/* ---- cores ------------------------------------------------------------------------------------------------------- */

/* The first number of a small file; fallback where there is none. */
static int read_number(const char *path, int fallback)
{
    FILE *f = fopen(path, "r");
    int n = fallback;

    if (f && fscanf(f, "%d", &n) != 1) n = fallback;
    if (f) fclose(f);
    return n;
}

static int cpu_number(const char *sys, int cpu, const char *name, int fallback)
{
    char path[512];

    snprintf(path, sizeof path, "%s/system/cpu/cpu%d/%s", sys, cpu, name);
    return read_number(path, fallback);
}

/* Clears the CPUs of a list like "0-3,8" in a file. */
static void clear_listed(const char *sys, const char *name, bool *set, int n)
{
    char path[512];
    FILE *f;
    int from, to, next = 0;

    snprintf(path, sizeof path, "%s/%s", sys, name);
    if (!(f = fopen(path, "r"))) return;
    do {
        if (fscanf(f, "%d", &from) != 1) break;
        to = from;
        if ((next = fgetc(f)) == '-' && fscanf(f, "%d", &to) == 1) next = fgetc(f);
        for (int cpu = from < 0 ? 0 : from; cpu <= to && cpu < n; cpu++) set[cpu] = false;
    } while (next == ',');
    fclose(f);
}

/* Leaves the large cores in the set: Linux lists Intel's small ones, and tells the capacity of Arm's, of which small
 * ones have less than half. */
static void clear_small(const char *sys, bool *set, int n)
{
    int most = 0;

    clear_listed(sys, "cpu_atom/cpus", set, n);
    for (int cpu = 0; cpu < n; cpu++) {
        const int capacity = set[cpu] ? cpu_number(sys, cpu, "cpu_capacity", 0) : 0;
        if (capacity > most) most = capacity;
    }
    for (int cpu = 0; cpu < n && most > 0; cpu++)
        if (set[cpu] && cpu_number(sys, cpu, "cpu_capacity", most) < most / 2) set[cpu] = false;
}

enum { MAX_CPUS = 1024 };

unsigned gem_count_cores(const char *sys, const bool *usable, int n)
{
    bool large[MAX_CPUS] = {false};
    unsigned n_large = 0, n_all = 0;

    if (n > MAX_CPUS) n = MAX_CPUS;
    memcpy(large, usable, (size_t)n * sizeof *large);
    clear_small(sys, large, n);
    for (int cpu = 0; cpu < n; cpu++) { /* a core is counted at the first of its CPUs that may be used */
        const int first = usable[cpu] ? cpu_number(sys, cpu, "topology/thread_siblings_list", cpu) : -1;
        if (first < 0 || (first != cpu && first < n && usable[first])) continue;
        n_all++;
        n_large += large[cpu];
    }
    return n_large ? n_large : n_all;
}

unsigned gem_physical_cores(void)
{
    unsigned n = 0;
#if defined(__linux__)
    bool usable[MAX_CPUS] = {false};
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int cpu = 0; cpu < MAX_CPUS && cpu < CPU_SETSIZE; cpu++) usable[cpu] = CPU_ISSET(cpu, &set);
        n = gem_count_cores("/sys/devices", usable, MAX_CPUS);
    }
#endif
    if (n == 0) {
        const long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online > 0 ? (unsigned)online : 1;
    }
    return n > MAX_THREADS ? MAX_THREADS : n;
}
