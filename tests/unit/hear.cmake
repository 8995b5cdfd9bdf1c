# SPDX-License-Identifier: Apache-2.0
gem_test(hear SOURCES unit/hear.c PARTS ${GEM_PARTS} LABELS threads)
