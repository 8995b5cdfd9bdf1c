# SPDX-License-Identifier: Apache-2.0
gem_test(audio SOURCES unit/audio.c PARTS base tensor kernels files media model audio LABELS threads)
gem_test(sound SOURCES unit/sound.c PARTS base tensor kernels files media)
