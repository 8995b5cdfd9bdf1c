/* SPDX-License-Identifier: Apache-2.0
 * tests/kernels/check.c - runs the checks tier by tier. */
#include "check.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    MAX_BUFS = 64,
    MAX_SEEN = 256,
    MAX_MESSAGES = 5, /* per function: the first few tell it all */
    FENCE = 64,       /* bytes before a buffer that are compared */
    FENCE_BYTE = 0xa5
};

struct buf {
    uint8_t *map, *data; /* mapped bytes of which the last page has no access; n_bytes of data, then slack */
    size_t mapped, n_bytes, slack;
};

static struct {
    struct gem_kernels definition;
    const char *tier, *filter;
    char func[64], at[160]; /* what is being checked */
    struct {
        check_fn *fn;
        const char *tier;
    } seen[MAX_SEEN];
    struct buf bufs[MAX_BUFS];
    size_t n_seen, n_bufs, n_funcs, n_failed, n_messages;
    uint64_t random;
} state;

const struct gem_kernels *check_definition(void) { return &state.definition; }

/* ---- functions and cases ------------------------------------------------------------------------------------- */

/* False when a lower tier had the function; one tier may name it more than once. */
static bool is_new(check_fn *fn)
{
    for (size_t i = 0; i < state.n_seen; i++)
        if (state.seen[i].fn == fn) return state.seen[i].tier == state.tier;
    if (state.n_seen == MAX_SEEN) abort();
    state.seen[state.n_seen].fn = fn;
    state.seen[state.n_seen++].tier = state.tier;
    return true;
}

bool check_func(const char *name, check_fn *fn)
{
    if ((state.filter && !strstr(name, state.filter)) || !is_new(fn)) return false;
    snprintf(state.func, sizeof state.func, "%s", name);
    state.at[0] = '\0';
    state.n_messages = 0;
    state.n_funcs++;
    return true;
}

void check_case(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(state.at, sizeof state.at, format, args);
    va_end(args);
}

static void failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void failed(const char *format, ...)
{
    va_list args;

    state.n_failed++;
    if (state.n_messages++ >= MAX_MESSAGES) return;
    printf("FAILED %s %s %s: ", state.tier, state.func, state.at);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void check_near(size_t i, double got, double want, double bound)
{
    if (isnan(got) && isnan(want)) return;
    if (got == want || fabs(got - want) <= bound) return; /* ==: infinities */
    failed("[%zu] is %.9g, want %.9g, off by %.3g, bound %.3g", i, got, want, fabs(got - want), bound);
}

void check_bits(const void *got, const void *want, size_t n, size_t size)
{
    const uint8_t *g = got, *w = want;

    for (size_t i = 0; i < n; i++) {
        uint32_t a = 0, b = 0;
        float x, y;

        if (!memcmp(g + i * size, w + i * size, size)) continue;
        memcpy(&a, g + i * size, size < sizeof a ? size : sizeof a);
        memcpy(&b, w + i * size, size < sizeof b ? size : sizeof b);
        memcpy(&x, &a, sizeof x);
        memcpy(&y, &b, sizeof y);
        if (size == sizeof x)
            failed("[%zu] has other bits: %08" PRIx32 " (%.9g), want %08" PRIx32 " (%.9g)", i, a, (double)x, b,
                   (double)y);
        else
            failed("[%zu] has other bits: %" PRIx32 ", want %" PRIx32, i, a, b);
        return;
    }
}

void check_true(bool ok, const char *what)
{
    if (!ok) failed("not %s", what);
}

/* ---- buffers ------------------------------------------------------------------------------------------------- */

void *check_buf_aligned(size_t n_bytes, size_t align)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t used = (FENCE + n_bytes + align + page - 1) / page * page;
    struct buf *b = &state.bufs[state.n_bufs];

    if (state.n_bufs == MAX_BUFS) abort();
    state.n_bufs++;
    b->mapped = used + page;
    b->map = mmap(NULL, b->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->map == MAP_FAILED || mprotect(b->map + used, page, PROT_NONE)) {
        perror("mmap");
        exit(EXIT_FAILURE);
    }
    b->n_bytes = n_bytes;
    b->slack = (align - n_bytes % align) % align;
    b->data = b->map + used - n_bytes - b->slack;
    memset(b->data - FENCE, FENCE_BYTE, FENCE);
    memset(b->data + n_bytes, FENCE_BYTE, b->slack);
    return b->data;
}

void *check_buf(size_t n_bytes) { return check_buf_aligned(n_bytes, 1); }

static bool intact(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != FENCE_BYTE) return false;
    return true;
}

void check_release(void)
{
    while (state.n_bufs) {
        const struct buf *b = &state.bufs[--state.n_bufs];

        if (!intact(b->data - FENCE, FENCE)) failed("wrote before a buffer of %zu bytes", b->n_bytes);
        if (!intact(b->data + b->n_bytes, b->slack)) failed("wrote past a buffer of %zu bytes", b->n_bytes);
        munmap(b->map, b->mapped);
    }
}

/* ---- random numbers ------------------------------------------------------------------------------------------ */

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint32_t check_rnd(void)
{
    uint64_t z = state.random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

size_t check_rnd_below(size_t n) { return check_rnd() % n; }

static float unit(void) { return (float)(check_rnd() >> 8) * 0x1p-24f; }

float check_rnd_f32(enum check_sign sign)
{
    if (sign == CHECK_ONE_SIGN) return 0.5f + 1.5f * unit();
    return 2.0f * (unit() + unit() + unit() - unit() - unit() - unit()); /* about normal: variance 2 */
}

void check_fill_f32(float *x, size_t n, enum check_sign sign)
{
    for (size_t i = 0; i < n; i++) x[i] = check_rnd_f32(sign);
}

void check_fill_bf16(uint16_t *x, size_t n, enum check_sign sign)
{
    for (size_t i = 0; i < n; i++) x[i] = gem_f32_to_bf16(check_rnd_f32(sign));
}

void check_fill_f16(uint16_t *x, size_t n, enum check_sign sign)
{
    for (size_t i = 0; i < n; i++) x[i] = gem_f32_to_f16(check_rnd_f32(sign));
}

void check_fill_bytes(void *x, size_t n)
{
    for (size_t i = 0; i < n; i++) ((uint8_t *)x)[i] = (uint8_t)check_rnd();
}

/* ---- main ---------------------------------------------------------------------------------------------------- */

/* A kernel read or wrote beyond a buffer: say where. No printf: it is not safe here. */
static void on_fault(int signal_number)
{
    const char *parts[] = {
        "FAULT ", state.tier,
        " ",      state.func,
        " ",      state.at,
        ": ",     signal_number == SIGSEGV ? "reads or writes outside its buffers\n" : "illegal instruction\n"};

    for (size_t i = 0; i < COUNT(parts); i++)
        if (write(STDOUT_FILENO, parts[i], strlen(parts[i])) < 0) break;
    _exit(EXIT_FAILURE);
}

static unsigned runnable(void)
{
#if defined(GEM_SIMDE)
    return GEM_CPU_AVX2 | GEM_CPU_VNNI256 | GEM_CPU_AVX512 | GEM_CPU_BF16;
#else
    return gem_cpu_flags();
#endif
}

static void run_tier(const char *tier, unsigned cpu)
{
    const size_t failures = state.n_failed, funcs = state.n_funcs;
    struct gem_kernels k;

    state.tier = tier;
    gem_kernels_init(&k, cpu);
    check_float(&k);
    check_attention(&k);
    check_packed(&k);
    check_pairs(&k);
    printf("%-6s %s: %zu functions\n", state.n_failed == failures ? "ok" : "FAILED", tier, state.n_funcs - funcs);
    fflush(stdout);
}

static int usage(void)
{
    printf("usage: test_kernels [--seed N] [--tier NAME] [part of a function's name]\n");
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const char *only = NULL;

    for (int a = 1; a < argc; a++) {
        if (!strcmp(argv[a], "--seed") && a + 1 < argc)
            state.random = strtoull(argv[++a], NULL, 10);
        else if (!strcmp(argv[a], "--tier") && a + 1 < argc)
            only = argv[++a];
        else if (argv[a][0] == '-' || state.filter)
            return usage();
        else
            state.filter = argv[a];
    }
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    signal(SIGILL, on_fault);
    gem_kernels_init(&state.definition, 0);
    for (const struct gem_kernel_tier *t = gem_kernel_tiers; t < gem_kernel_tiers + GEM_N_KERNEL_TIERS; t++) {
        if (only && strcmp(only, t->name)) continue;
        if ((runnable() & t->flags) == t->flags)
            run_tier(t->name, t->flags);
        else
            printf("skipped %s: this machine cannot run it\n", t->name);
    }
    if (!state.n_funcs) return usage(); /* a filter that fits nothing checks nothing */
    return state.n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
