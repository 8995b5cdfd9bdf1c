# SPDX-License-Identifier: Apache-2.0
gem_test(video SOURCES unit/video.c PARTS ${GEM_PARTS})
