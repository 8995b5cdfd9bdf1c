# SPDX-License-Identifier: Apache-2.0
# Every allocation of an operation fails once.
gem_test(oom SOURCES unit/oom.c PARTS ${GEM_PARTS} LABELS threads)
gem_wrap_allocations(oom)
