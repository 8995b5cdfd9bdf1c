# SPDX-License-Identifier: Apache-2.0
# A thin layer over CMakePresets.json: `make` alone builds the release preset, `make help` lists the rest.
PRESET ?= release
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
SECONDS ?= 60

export CTEST_PARALLEL_LEVEL ?= $(JOBS)

configure = cmake --preset $(1) $(CMAKE_FLAGS)
compile = cmake --build --preset $(1) -j $(JOBS)

.DEFAULT_GOAL := build
.PHONY: build demo demo-gemma3 test debug asan tsan fuzz bench bench-peer format format-check tidy check install clean help

build: ## build the library, the program and the tests into build/release
	scripts/setup build
	$(call configure,$(PRESET))
	$(call compile,$(PRESET))

demo: ## a conversation with nano, the trained model in the repository
	scripts/setup build
	$(call configure,release)
	$(call compile,release) --target gemmule_cli
	scripts/demo build/release/gemmule

demo-gemma3: ## fetch the smallest real model there is (253 MB) and let it write
	scripts/setup demo
	$(call configure,release)
	$(call compile,release) --target gemmule_cli
	scripts/demo build/release/gemmule gemma3

test: ## build everything and run all tests
	scripts/setup test
	$(call configure,$(PRESET))
	$(call compile,$(PRESET))
	ctest --preset $(PRESET)

debug: ## the tests with assertions
	$(MAKE) test PRESET=debug

asan: ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(MAKE) test PRESET=asan

tsan: ## the tests of threads under ThreadSanitizer
	$(MAKE) test PRESET=tsan

fuzz: ## run each fuzz target for SECONDS (60)
	scripts/setup ci
	$(call configure,fuzz)
	$(call compile,fuzz)
	scripts/fuzz build/fuzz/tests/fuzz $(SECONDS)

bench: ## time each kernel beside what limits it on this machine
	scripts/setup build
	$(call configure,release)
	$(call compile,release) --target gemmule_cli
	build/release/gemmule bench --kernels

bench-peer: ## the whole program beside llama.cpp, which is built first (WORK=build/peer, GEM_SHARED)
	scripts/setup build
	$(call configure,release)
	$(call compile,release) --target gemmule_cli
	tools/lab/bench_peer.py build/release/gemmule --work $(or $(WORK),build/peer)

format: ## reformat all C files
	scripts/format

format-check: ## fail where a C file is not formatted
	scripts/format --check

tidy: ## clang-tidy, warnings are errors
	scripts/setup ci
	$(call configure,tidy)
	scripts/tidy build/tidy

check: ## what no compiler checks: order of folders, licences, names
	scripts/check-tree

install: build ## install under PREFIX (/usr/local); DESTDIR is honoured
	cmake --install build/$(PRESET) --prefix $(PREFIX)

clean: ## remove build/
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
