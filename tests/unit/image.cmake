# SPDX-License-Identifier: Apache-2.0
gem_test(image SOURCES unit/image.c PARTS base tensor kernels files model media vision)
