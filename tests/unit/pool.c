/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/pool.c - the pool of threads: every item once, nothing outlives a loop, sleepers wake, misuse asserts. */
#define _GNU_SOURCE /* nftw */
#include "unit/check.h"

#include "base/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct tally {
    atomic_uint *hits; /* [n] */
    unsigned n_threads;
    atomic_uint bad_thread, too_wide;
    size_t grain;
};

static void count_items(void *context, size_t begin, size_t end, unsigned thread)
{
    struct tally *t = context;

    if (thread >= t->n_threads) atomic_fetch_add(&t->bad_thread, 1);
    if (end - begin > t->grain) atomic_fetch_add(&t->too_wide, 1);
    for (size_t i = begin; i < end; i++) atomic_fetch_add_explicit(&t->hits[i], 1, memory_order_relaxed);
}

static struct gem_pool *open_pool(unsigned n)
{
    struct gem_pool *pool = NULL;
    gem_error err = {0};

    if (gem_pool_open(&pool, n, &err)) {
        printf("cannot open a pool of %u: %s\n", n, err.message);
        exit(EXIT_FAILURE);
    }
    return pool;
}

static void test_every_item_once(void)
{
    static const size_t sizes[] = {0, 1, 2, 3, 7, 64, 1000}, grains[] = {0, 1, 3, 64, 5000};
    static atomic_uint hits[1000];

    for (unsigned n_threads = 1; n_threads <= 4; n_threads++) {
        struct gem_pool *pool = open_pool(n_threads);
        CHECK_EQ(gem_pool_threads(pool), n_threads);
        for (size_t c = 0; c < sizeof sizes / sizeof *sizes * (sizeof grains / sizeof *grains); c++) {
            const size_t n = sizes[c % 7], grain = grains[c / 7];
            struct tally t = {.hits = hits, .n_threads = n_threads, .grain = grain ? grain : 1};
            bool once = true;

            if (n_threads == 1) t.grain = n; /* one thread takes all at once */
            for (size_t i = 0; i < n; i++) atomic_store(&hits[i], 0);
            gem_pool_run(pool, n, grain, count_items, &t);
            for (size_t i = 0; i < n; i++) once &= atomic_load(&hits[i]) == 1;
            CHECK(once);
            CHECK_EQ(atomic_load(&t.bad_thread), 0);
            CHECK_EQ(atomic_load(&t.too_wide), 0);
        }
        gem_pool_close(pool);
    }
}

/* Plain memory, so that ThreadSanitizer sees a loop that outlives its call or starts before it. */
struct relay {
    unsigned values[97];
    unsigned step;
};

static void relay_step(void *context, size_t begin, size_t end, unsigned thread)
{
    struct relay *r = context;

    (void)thread;
    for (size_t i = begin; i < end; i++) r->values[i] += r->step;
}

static void test_loops_follow_each_other(void)
{
    static struct relay r;
    struct gem_pool *pool = open_pool(4); /* more than many machines have cores: workers are descheduled */
    unsigned total = 0;
    bool right = true;

    for (unsigned round = 0; round < 3000; round++) {
        r.step = round;
        total += round;
        gem_pool_run(pool, 97, 1 + round % 9, relay_step, &r);
    }
    for (size_t i = 0; i < 97; i++) right &= r.values[i] == total;
    CHECK(right);
    gem_pool_close(pool);
}

static void test_sleepers_wake(void) /* workers sleep after some microseconds without work */
{
    struct gem_pool *pool = open_pool(3);
    static struct relay r;

    r.step = 1;
    for (int i = 0; i < 40; i++) {
        const struct timespec pause = {.tv_nsec = (i % 4) * 1000 * 1000};
        nanosleep(&pause, NULL);
        gem_pool_run(pool, 97, 1, relay_step, &r);
    }
    CHECK_EQ(r.values[0], 40);
    CHECK_EQ(r.values[96], 40);
    gem_pool_close(pool);
}

static void test_two_pools_do_not_meet(void)
{
    struct gem_pool *a = open_pool(2), *b = open_pool(3);
    static struct relay ra, rb;

    ra.step = 1;
    rb.step = 2;
    for (int i = 0; i < 200; i++) {
        gem_pool_run(a, 97, 4, relay_step, &ra);
        gem_pool_run(b, 97, 4, relay_step, &rb);
    }
    CHECK_EQ(ra.values[50], 200);
    CHECK_EQ(rb.values[50], 400);
    gem_pool_close(a);
    gem_pool_close(b);
}

static void test_open_and_close(void) /* also before any worker has come up, and with none */
{
    gem_error err = {0};
    struct gem_pool *pool = NULL;

    for (unsigned i = 0; i < 100; i++) gem_pool_close(open_pool(1 + i % 5));
    gem_pool_close(NULL);
    CHECK(gem_physical_cores() >= 1);
    pool = open_pool(0);
    CHECK_EQ(gem_pool_threads(pool), gem_physical_cores());
    gem_pool_close(pool);
    CHECK_EQ(gem_pool_open(&pool, 100000, &err), GEM_E_ARGUMENT);
    CHECK(pool == NULL && strstr(err.message, "100000"));
}

/* ---- cores ---------------------------------------------------------------------------------------------------- */

static void put_file(const char *root, const char *path, const char *text)
{
    char full[512];
    FILE *f;

    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = full + strlen(root); (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        CHECK(mkdir(full, 0700) == 0 || errno == EEXIST);
    }
    f = fopen(full, "w");
    CHECK(f && fprintf(f, "%s\n", text) > 0);
    if (f) fclose(f);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static unsigned cores(const char *root, unsigned mask)
{
    bool usable[16];

    for (int i = 0; i < 16; i++) usable[i] = mask >> i & 1;
    return gem_count_cores(root, usable, 16);
}

static void test_cores(void)
{
    char root[] = "/tmp/gemmule-cores-XXXXXX", path[128], text[32];

    CHECK(mkdtemp(root) != NULL);
    CHECK_EQ(cores(root, 0xf), 4); /* a tree that says nothing */
    CHECK_EQ(cores(root, 0), 0);
    for (int cpu = 0; cpu < 8; cpu++) { /* CPUs 0 to 7 are two to a core, 8 to 11 one */
        snprintf(path, sizeof path, "system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        snprintf(text, sizeof text, "%d-%d", cpu / 2 * 2, cpu / 2 * 2 + 1);
        put_file(root, path, text);
    }
    CHECK_EQ(cores(root, 0xfff), 8);
    CHECK_EQ(cores(root, 0xaa), 4); /* second CPUs of four cores */
    put_file(root, "cpu_atom/cpus", "8-9,11");
    CHECK_EQ(cores(root, 0xfff), 5);
    CHECK_EQ(cores(root, 0xb00), 3); /* small ones alone */
    put_file(root, "cpu_atom/cpus", "");
    for (int cpu = 0; cpu < 12; cpu++) {
        snprintf(path, sizeof path, "system/cpu/cpu%d/cpu_capacity", cpu);
        put_file(root, path, cpu < 8 ? "398" : cpu < 11 ? "871" : "1024");
    }
    CHECK_EQ(cores(root, 0xfff), 4);
    CHECK_EQ(cores(root, 0x0ff), 4); /* all alike among those that may be used */
    CHECK_EQ(nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

#ifndef NDEBUG
static struct gem_pool *nested_pool;

static void run_inside(void *context, size_t begin, size_t end, unsigned thread)
{
    static struct relay r;

    (void)context;
    (void)begin;
    (void)end;
    (void)thread;
    gem_pool_run(nested_pool, 97, 1, relay_step, &r);
}

/* Whether a loop started inside a loop over n items ends by an assertion. A child takes the fall. */
static bool nesting_asserts(size_t n, unsigned n_threads)
{
    int status = 0;
    const pid_t child = fork();

    if (child == 0) {
        const int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        alarm(20); /* undetected, it would wait for itself forever */
        nested_pool = open_pool(n_threads);
        gem_pool_run(nested_pool, n, 1, run_inside, NULL);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_nesting_asserts(void)
{
    CHECK(nesting_asserts(97, 3));
    CHECK(nesting_asserts(1, 3)); /* the short way, without workers */
    CHECK(nesting_asserts(97, 1));
}
#endif

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"every_item_once", test_every_item_once}, {"loops_follow_each_other", test_loops_follow_each_other},
        {"sleepers_wake", test_sleepers_wake},     {"two_pools", test_two_pools_do_not_meet},
        {"open_and_close", test_open_and_close},   {"cores", test_cores},
#ifndef NDEBUG
        {"nesting_asserts", test_nesting_asserts},
#endif
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
