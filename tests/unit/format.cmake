# SPDX-License-Identifier: Apache-2.0
gem_test(format SOURCES unit/format.c PARTS tensor)
