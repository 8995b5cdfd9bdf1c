/* SPDX-License-Identifier: Apache-2.0
 * src/media/confine.h - runs a decoder in a process of its own that can do nothing but read what it was given and send
 * what it made: files are hostile, and FFmpeg is a million lines. The child has no other open files, can open none, can
 * neither start programs nor reach the network (seccomp, on x86-64 and 64-bit Arm), and leaves no core. Where it
 * crashes, the caller gets an error; what it sends is checked. */
#ifndef GEM_MEDIA_CONFINE_H
#define GEM_MEDIA_CONFINE_H

#include "base/status.h"

/* What a child sends: a picture or samples, and how many bytes of it. */
struct gem_parcel {
    uint32_t width, height, rate;
    double seconds;
    uint64_t n_bytes;
};

/* The way out of the child. false: nobody reads any more, and there is nothing left to do. */
struct gem_outlet {
    int fd;
};
bool gem_outlet_send(const struct gem_outlet *out, const struct gem_parcel *parcel, const void *data);

/* In the child: may use memory and the descriptor that was kept. */
typedef gem_status gem_confined_fn(void *context, const struct gem_outlet *out, gem_error *err);
/* In the caller, for each parcel: data is the callee's to read until it returns. Anything but GEM_OK ends the child. */
typedef gem_status gem_parcel_fn(void *user, const struct gem_parcel *parcel, const void *data, gem_error *err);

struct gem_confinement {
    const char *name;    /* of what is decoded, for messages */
    int keep;            /* a descriptor that the child needs, or -1 */
    uint64_t max_parcel; /* bytes; more from a child is an error */
    uint32_t seconds;    /* of processor time that the child may take; 0: GEM_CONFINE_SECONDS */
    gem_confined_fn *run;
    void *context;
    gem_parcel_fn *on_parcel;
    void *user;
};

/* Hours of film take less; a decoder that a damaged file keeps busy for ever ends some time. */
enum { GEM_CONFINE_SECONDS = 3600 };

/* GEM_E_FORMAT when the child crashed, GEM_E_LIMIT when it took too long, GEM_E_NOMEM when there could be none; else
 * what `run` or `on_parcel` returned. */
gem_status gem_confine(const struct gem_confinement *c, gem_error *err);

#endif
