# SPDX-License-Identifier: Apache-2.0
gem_test(media SOURCES unit/media.c PARTS ${GEM_PARTS} LABELS threads)
