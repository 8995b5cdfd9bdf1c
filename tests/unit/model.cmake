# SPDX-License-Identifier: Apache-2.0
gem_test(sampler SOURCES unit/sampler.c PARTS base tensor kernels files tokenizer generate)
gem_test(cache SOURCES unit/cache.c PARTS base tensor kernels files model)
gem_test(coarse SOURCES unit/coarse.c PARTS base tensor kernels files model LABELS threads)
gem_test(linear SOURCES unit/linear.c PARTS base tensor kernels files model LABELS threads)
