/* SPDX-License-Identifier: Apache-2.0
 * A set of live blocks, rather than a counter, so that a block of the C library that comes to free() is not
 * mistaken for one of ours. */
#include "unit/allocations.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { SLOTS = 1 << 16 }; /* open addressing; far more than the blocks of any test */

static struct {
    pthread_mutex_t mutex;
    bool counting, from_there_on;
    size_t refuse;
    struct allocations now;
    const void *live[SLOTS]; /* NULL: never used; &gone: used before */
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static const char gone;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void __real_free(void *p);
void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *p, size_t n);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __real_pthread_join(pthread_t t, void **result);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void __wrap_free(void *p);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *p, size_t n);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_join(pthread_t t, void **result);

static void lock(void) { pthread_mutex_lock(&state.mutex); }

static void unlock(void) { pthread_mutex_unlock(&state.mutex); }

/* Whether this request is to be refused. */
static bool request(void)
{
    bool refused = false;

    lock();
    if (state.counting) {
        const size_t i = state.now.n_requests++;
        refused = i == state.refuse || (state.from_there_on && i > state.refuse);
        state.now.n_refused += refused;
    }
    unlock();
    if (refused) errno = ENOMEM;
    return refused;
}

static size_t first_slot(const void *p) { return (size_t)(((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15ULL >> 48) % SLOTS; }

static void *born(void *p)
{
    lock();
    if (p && state.counting) {
        size_t i = first_slot(p);
        while (state.live[i] && state.live[i] != &gone) i = (i + 1) % SLOTS;
        state.live[i] = p;
        state.now.n_blocks++;
    }
    unlock();
    return p;
}

/* Whether p was ours. */
static bool died(const void *p)
{
    bool found = false;

    lock();
    for (size_t i = first_slot(p); p && state.live[i]; i = (i + 1) % SLOTS) {
        if (state.live[i] != p) continue;
        state.live[i] = &gone;
        state.now.n_blocks--;
        found = true;
        break;
    }
    unlock();
    return found;
}

void *__wrap_malloc(size_t n) { return request() ? NULL : born(__real_malloc(n)); }

void *__wrap_calloc(size_t n, size_t size) { return request() ? NULL : born(__real_calloc(n, size)); }

void *__wrap_aligned_alloc(size_t align, size_t n) { return request() ? NULL : born(__real_aligned_alloc(align, n)); }

void *__wrap_realloc(void *p, size_t n)
{
    void *q;

    if (request()) return NULL;
    died(p);
    q = __real_realloc(p, n);
    born(q ? q : p); /* on failure the old block lives on */
    return q;
}

void __wrap_free(void *p)
{
    died(p);
    __real_free(p);
}

static void add(size_t *counter, int change)
{
    lock();
    if (state.counting) *counter += (size_t)change;
    unlock();
}

void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    void *p;

    if (request()) return MAP_FAILED;
    p = __real_mmap(at, n, prot, flags, fd, offset);
    if (p != MAP_FAILED) add(&state.now.n_maps, 1);
    return p;
}

int __wrap_munmap(void *p, size_t n)
{
    add(&state.now.n_maps, -1);
    return __real_munmap(p, n);
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    int rc;

    if (request()) return EAGAIN;
    rc = __real_pthread_create(t, attr, fn, arg);
    if (rc == 0) add(&state.now.n_threads, 1);
    return rc;
}

int __wrap_pthread_join(pthread_t t, void **result)
{
    add(&state.now.n_threads, -1);
    return __real_pthread_join(t, result);
}

void allocations_begin(size_t refuse, bool from_there_on)
{
    lock();
    for (size_t i = 0; i < SLOTS; i++) state.live[i] = NULL;
    state.now = (struct allocations){0};
    state.refuse = refuse;
    state.from_there_on = from_there_on;
    state.counting = true;
    unlock();
}

struct allocations allocations_end(void)
{
    struct allocations result;

    lock();
    state.counting = false;
    result = state.now;
    unlock();
    return result;
}
