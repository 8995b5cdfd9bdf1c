/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* O_TMPFILE, fallocate */
#include "base/output.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static gem_status fail_errno(const struct gem_output *o, gem_error *err)
{
    return gem_fail(err, GEM_E_IO, 0, "%s: %s", o->path, strerror(errno));
}

/* "dir/" of the path, or "./"; gem_free it. */
static char *folder_of(const char *path, gem_error *err)
{
    const char *slash = strrchr(path, '/');

    return slash ? gem_strndup(path, (size_t)(slash - path + 1), err) : gem_strndup("./", 2, err);
}

/* Hidden names beside the target, one after the other, until `make` of one does not fail for being there already. */
static gem_status make_temporary(struct gem_output *o, bool (*make)(struct gem_output *o), gem_error *err)
{
    const char *slash = strrchr(o->path, '/'), *name = slash ? slash + 1 : o->path;
    const size_t size = strlen(o->path) + 32;

    if (!(o->temporary = gem_calloc(size, 1, "a path", err))) return GEM_E_NOMEM;
    for (unsigned i = 0; i < 64; i++) {
        snprintf(o->temporary, size, "%.*s.%s.%lx-%u", (int)(name - o->path), o->path, name, (unsigned long)getpid(),
                 i);
        if (make(o)) return GEM_OK;
        if (errno != EEXIST) break;
    }
    gem_free(o->temporary);
    o->temporary = NULL;
    return fail_errno(o, err);
}

static bool create_named(struct gem_output *o)
{
    o->fd = open(o->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666) + 1;
    return o->fd > 0;
}

/* link() takes no name that exists, rename() does: so a file without a name gets a temporary one first. */
static bool link_unnamed(struct gem_output *o)
{
    char self[64];

    snprintf(self, sizeof self, "/proc/self/fd/%d", o->fd - 1);
    return linkat(AT_FDCWD, self, AT_FDCWD, o->temporary, AT_SYMLINK_FOLLOW) == 0;
}

static gem_status open_file(struct gem_output *o, gem_error *err)
{
#if defined(O_TMPFILE)
    char *folder = folder_of(o->path, err);
    int fd;

    if (!folder) return GEM_E_NOMEM;
    fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    gem_free(folder);
    if (fd >= 0) {
        o->fd = fd + 1;
        return GEM_OK;
    }
#endif
    return make_temporary(o, create_named, err);
}

static gem_status reserve(const struct gem_output *o, uint64_t n_bytes, gem_error *err)
{
#if defined(__linux__)
    if (n_bytes == 0 || fallocate(o->fd - 1, 0, 0, (off_t)n_bytes) == 0) return GEM_OK;
    if (errno == ENOSPC || errno == EFBIG || errno == EDQUOT) return fail_errno(o, err);
#endif
    return ftruncate(o->fd - 1, (off_t)n_bytes) ? fail_errno(o, err) : GEM_OK;
}

gem_status gem_output_open(struct gem_output *o, const char *path, uint64_t n_bytes, gem_error *err)
{
    struct stat info;
    const bool exists = stat(path, &info) == 0;
    char *target = exists ? realpath(path, NULL) : NULL;
    gem_status st = GEM_E_NOMEM;

    *o = (struct gem_output){0};
    o->path = gem_strndup(target ? target : path, strlen(target ? target : path), err);
    free(target);
    if (!o->path) return st;
    if (exists && !S_ISREG(info.st_mode)) {
        st = gem_fail(err, GEM_E_IO, 0, "%s: %s", path, S_ISDIR(info.st_mode) ? "is a folder" : "is no regular file");
        goto fail;
    }
    if ((st = open_file(o, err))) goto fail;
    if ((st = reserve(o, n_bytes, err))) goto fail;
    return GEM_OK;
fail:
    gem_output_close(o);
    return st;
}

gem_status gem_output_write(struct gem_output *o, const void *data, uint64_t n, uint64_t offset, gem_error *err)
{
    enum { MOST = 1 << 30 }; /* the system writes at most 2 GiB at once */
    const uint8_t *p = data;

    while (n) {
        const ssize_t wrote = pwrite(o->fd - 1, p, n < MOST ? (size_t)n : MOST, (off_t)offset);

        if (wrote < 0 && errno == EINTR) continue;
        if (wrote == 0) errno = EIO;
        if (wrote <= 0) return fail_errno(o, err);
        p += wrote;
        offset += (uint64_t)wrote;
        n -= (uint64_t)wrote;
    }
    return GEM_OK;
}

/* A rename is durable once its folder is. Some file systems cannot synchronise folders, so this is best effort. */
static void sync_folder(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

gem_status gem_output_commit(struct gem_output *o, gem_error *err)
{
    char *folder = folder_of(o->path, err);
    gem_status st = GEM_E_NOMEM;

    if (!folder) return st;
    if (fsync(o->fd - 1)) {
        st = fail_errno(o, err);
    } else if (o->temporary || !(st = make_temporary(o, link_unnamed, err))) {
        st = rename(o->temporary, o->path) ? fail_errno(o, err) : GEM_OK;
    }
    if (!st) {
        gem_free(o->temporary);
        o->temporary = NULL;
        sync_folder(folder);
        gem_output_close(o);
    }
    gem_free(folder);
    return st;
}

void gem_output_close(struct gem_output *o)
{
    if (o->fd) close(o->fd - 1);
    if (o->temporary) unlink(o->temporary);
    gem_free(o->temporary);
    gem_free(o->path);
    *o = (struct gem_output){0};
}
