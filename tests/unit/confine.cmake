# SPDX-License-Identifier: Apache-2.0
gem_test(confine SOURCES unit/confine.c PARTS base media)
