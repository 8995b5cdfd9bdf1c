# SPDX-License-Identifier: Apache-2.0
gem_test(base SOURCES unit/base.c PARTS base)
gem_test(pool SOURCES unit/pool.c PARTS base LABELS threads)
