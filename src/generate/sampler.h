/* SPDX-License-Identifier: Apache-2.0
 * src/generate/sampler.h - beside gem_sample of gemmule.h. */
#ifndef GEM_GENERATE_SAMPLER_H
#define GEM_GENERATE_SAMPLER_H

#include <gemmule.h>

/* How many of the largest logits, of tokens that have no bias, gem_sample looks at beside those that have one; 0: at
 * any of them, or a setting is out of range. `allowed` does not count. */
uint32_t gem_sampling_best(const gem_sampling *s, size_t vocab);
/* Log-probabilities of a token and of the n likeliest ones (of equal ones the lower id first). Returns how many. */
size_t gem_logprobs(const float *logits, size_t vocab, int32_t token, gem_logprob *chosen, gem_logprob *top, size_t n);
/* The seed of one of several samples; that of the first is the seed itself. */
uint64_t gem_sample_seed(uint64_t seed, size_t sample);

#endif
