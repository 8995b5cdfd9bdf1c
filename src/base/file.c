/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

gem_status gem_map_open(struct gem_map *map, const char *path, gem_error *err)
{
    gem_status st = GEM_E_IO;
    struct stat info;
    void *p = NULL;
    int fd;

    *map = (struct gem_map){0};
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return gem_fail(err, GEM_E_IO, 0, "%s: %s", path, strerror(errno));
    if (fstat(fd, &info)) {
        gem_fail(err, st, 0, "%s: %s", path, strerror(errno));
        goto fail;
    }
    if (!S_ISREG(info.st_mode)) {
        gem_fail(err, st, 0, "%s: not a regular file", path);
        goto fail;
    }
    if (info.st_size > 0) {
        p = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            gem_fail(err, st, 0, "%s: cannot map %lld bytes: %s", path, (long long)info.st_size, strerror(errno));
            goto fail;
        }
    }
    *map = (struct gem_map){.data = p, .n_bytes = (uint64_t)info.st_size, .fd = fd + 1};
    return GEM_OK;
fail:
    close(fd);
    return st;
}

void gem_map_close(struct gem_map *map)
{
    if (map->data && map->fd) munmap((void *)(uintptr_t)map->data, (size_t)map->n_bytes);
    if (map->fd) close(map->fd - 1);
    *map = (struct gem_map){0};
}

gem_status gem_map_check(const struct gem_map *map, const char *path, gem_error *err)
{
    struct stat info;

    if (!map->fd) return GEM_OK; /* borrowed memory */
    if (fstat(map->fd - 1, &info)) return gem_fail(err, GEM_E_IO, 0, "%s: %s", path, strerror(errno));
    if ((uint64_t)info.st_size < map->n_bytes)
        return gem_fail(err, GEM_E_IO, (uint64_t)info.st_size,
                        "%s: the file shrank from %llu to %lld bytes while in use", path,
                        (unsigned long long)map->n_bytes, (long long)info.st_size);
    return GEM_OK;
}

/* The whole pages inside [p, p + n). */
static void advise(const void *p, uint64_t n, int advice)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t from = ((uintptr_t)p + page - 1) / page * page, to = ((uintptr_t)p + n) / page * page;

    if (to > from) (void)madvise((void *)from, to - from, advice); /* only advice: failing changes nothing */
}

void gem_map_release(const void *p, uint64_t n) { advise(p, n, MADV_DONTNEED); }

void gem_map_release_around(const struct gem_map *map, const void *p, uint64_t n)
{
    const uint64_t huge = 2 << 20;
    const uintptr_t base = (uintptr_t)map->data, last = base + map->n_bytes;
    uintptr_t from = (uintptr_t)p / huge * huge, to = ((uintptr_t)p + n + huge - 1) / huge * huge;

    if (!map->fd || n == 0) return;
    if (from < base) from = base;
    if (to > last) to = last;
    advise((const void *)from, to - from, MADV_DONTNEED);
}

void gem_map_prefetch(const void *p, uint64_t n) { advise(p, n, MADV_WILLNEED); }

void gem_map_advise_huge(const void *p, uint64_t n)
{
#if defined(MADV_HUGEPAGE)
    advise(p, n, MADV_HUGEPAGE);
#else
    (void)p, (void)n;
#endif
}

gem_status gem_map_read(const struct gem_map *map, const char *path, uint64_t offset, void *out, size_t n,
                        gem_error *err)
{
    uint8_t *p = out;

    assert(offset <= map->n_bytes && n <= map->n_bytes - offset);
    if (!map->fd) { /* borrowed memory */
        memcpy(out, map->data + offset, n);
        return GEM_OK;
    }
    while (n) {
        const ssize_t got = pread(map->fd - 1, p, n, (off_t)offset);

        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return gem_fail(err, GEM_E_IO, offset, "%s: %s", path, strerror(errno));
        if (got == 0)
            return gem_fail(err, GEM_E_IO, offset, "%s: the file shrank while in use: no byte %llu", path,
                            (unsigned long long)offset);
        p += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return GEM_OK;
}

gem_status gem_map_read_all(const struct gem_map *map, const char *path, uint64_t ceiling, uint8_t **out,
                            gem_error *err)
{
    gem_status st;

    *out = NULL;
    if (map->n_bytes > ceiling)
        return gem_fail(err, GEM_E_LIMIT, 0, "%s: %llu bytes, at most %llu are read", path,
                        (unsigned long long)map->n_bytes, (unsigned long long)ceiling);
    if (map->n_bytes == 0) return GEM_OK;
    if (!(*out = gem_realloc(NULL, (size_t)map->n_bytes, 1, "a file", err))) return GEM_E_NOMEM;
    if (!(st = gem_map_read(map, path, 0, *out, (size_t)map->n_bytes, err))) return GEM_OK;
    gem_free(*out);
    *out = NULL;
    return st;
}

void gem_map_will_read(const struct gem_map *map, uint64_t offset, uint64_t n)
{
#if defined(POSIX_FADV_WILLNEED)
    if (map->fd) (void)posix_fadvise(map->fd - 1, (off_t)offset, (off_t)n, POSIX_FADV_WILLNEED);
#else
    (void)map, (void)offset, (void)n;
#endif
}

bool gem_path_is_directory(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool gem_path_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

char *gem_path_join(const char *dir, const char *name, gem_error *err)
{
    const size_t n = strlen(dir), m = strlen(name);
    char *path = gem_calloc(n + m + 2, 1, "a path", err);

    if (!path) return NULL;
    memcpy(path, dir, n);
    path[n] = '/';
    memcpy(path + n + 1, name, m);
    return path;
}

const char *gem_path_base(const char *path, size_t *n)
{
    size_t end = strlen(path), begin;

    while (end > 1 && path[end - 1] == '/') end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/'; begin--) {}
    *n = end - begin;
    return path + begin;
}
