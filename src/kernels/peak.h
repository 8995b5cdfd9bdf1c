/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak.h - loops that do one thing as fast as a core can with an instruction set: what its kernels are
 * measured against (gem_measure_speed). */
#ifndef GEM_KERNELS_PEAK_H
#define GEM_KERNELS_PEAK_H

#include "kernels/kernels.h"

enum gem_peak { GEM_PEAK_INT8, GEM_PEAK_BF16, GEM_PEAK_F32, GEM_N_PEAKS };

enum { GEM_PEAK_BYTES = 256, GEM_PEAK_STEP = 512 };

/* Multiplies and adds, `rounds` times. data [GEM_PEAK_BYTES] begins with factors, all different floats between 0.5 and
 * 1, and its second half takes a result that somebody may want: so no compiler leaves anything of the loop out. */
typedef void gem_peak_fn(size_t rounds, void *data);
/* Reads n_bytes, a multiple of GEM_PEAK_STEP, from a 64-byte aligned address; the result goes to sum [64]. */
typedef void gem_peak_read_fn(const void *data, size_t n_bytes, void *sum);

struct gem_peaks {
    gem_peak_fn *run[GEM_N_PEAKS]; /* NULL: the instruction set has nothing of the kind */
    double ops[GEM_N_PEAKS];       /* of a round; a multiply-add is two */
    gem_peak_read_fn *read;
};

/* As gem_kernels_init: C first, then what better instruction sets do faster. */
void gem_peaks_init(struct gem_peaks *p, unsigned cpu);

/* Called by gem_peaks_init; each is the end of a file. */
void gem_peaks_avx2(struct gem_peaks *p);
void gem_peaks_avxvnni(struct gem_peaks *p);
void gem_peaks_avx512(struct gem_peaks *p);
void gem_peaks_avx512bf16(struct gem_peaks *p);

#endif
