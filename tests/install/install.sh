#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/install/install.sh static|shared FOLDER [BUILD LIBDIR] - installs the library of that kind into FOLDER from BUILD,
# or from a build of its own made there, looks at what was installed, and builds a C and a C++ program on it, through
# pkg-config and through find_package.
set -euo pipefail
kind=$1
mkdir -p "$2"
work=$(realpath "$2")
source=$(realpath "$(dirname "$0")/../..")
here=$source/tests/install
prefix=$work/prefix
shared=OFF
[ "$kind" = shared ] && shared=ON

fail() {
    echo "install ($kind): $*" >&2
    exit 1
}

build=${3:-$work/build}
lib=$prefix/${4:-lib}
if [ $# -lt 3 ]; then
    cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGEM_TESTS=OFF -DBUILD_SHARED_LIBS=$shared \
        -DCMAKE_INSTALL_LIBDIR=lib >/dev/null
    cmake --build "$build" -j 2 >/dev/null
fi
rm -rf "$prefix"
DESTDIR='' cmake --install "$build" --prefix "$prefix" >/dev/null

# ---- the tree ----
library=$lib/libgemmule.a
[ "$kind" = shared ] && library=$lib/libgemmule.so
for file in "$library" "$prefix/include/gemmule.h" "$lib/pkgconfig/gemmule.pc" "$prefix/bin/gemmule" \
    "$lib/cmake/gemmule/gemmuleConfig.cmake" "$prefix/share/doc/gemmule/LICENSE" \
    "$prefix/share/doc/gemmule/NOTICE" "$prefix/share/man/man1/gemmule.1" \
    "$prefix/share/bash-completion/completions/gemmule" "$prefix/share/zsh/site-functions/_gemmule" \
    "$prefix/share/fish/vendor_completions.d/gemmule.fish"; do
    [ -s "$file" ] || fail "$file was not installed"
done
if grep -rIl -e "$source" -e "$work" "$prefix"; then
    fail "these files name the folder they were built in"
fi

# ---- the symbols ----
# Functions of the header; a pointer type ends in "_fn" and is followed by no name in a prototype of GEM_API.
grep -v '^ \*' "$prefix/include/gemmule.h" | grep -oE '^GEM_API [^(]*\(' | grep -oE 'gem_[a-z0-9_]+\($' |
    tr -d '(' | sort -u >"$work/declared"
[ -s "$work/declared" ] || fail "no functions found in the header"
if [ "$kind" = shared ]; then
    nm -D --defined-only "$library" | awk '{ print $3 }' | sort -u >"$work/defined"
    if ! diff "$work/declared" "$work/defined"; then
        fail "the library exports other symbols (>) than the header declares (<)"
    fi
else
    nm -g --defined-only "$library" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u >"$work/defined"
    if comm -23 "$work/declared" "$work/defined" | grep .; then
        fail "the header declares these, the library has none of them"
    fi
    if grep -vE '^(gem_|(unsafe_)?yyjson_)' "$work/defined"; then
        fail "these symbols have no prefix of ours"
    fi
fi

# ---- programs ----
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
version=$(pkg-config --modversion gemmule)
read -ra flags <<<"$(pkg-config --cflags --libs gemmule)"
strict=(-Wall -Wextra -Werror -pedantic)
check() { # check PROGRAM: it prints the version that the package has
    local said
    said=$("$1") || fail "$1 failed: $said"
    [ "$said" = "$version" ] || fail "$1 says $said, not $version"
}
"$CC" -std=c11 "${strict[@]}" "$here/consumer/main.c" "${flags[@]}" -o "$work/c11"
check "$work/c11"
# shellcheck disable=SC2016 # backticks of Markdown
sed -n '/^```c$/,/^```$/{/^```/d;p}' "$source/README.md" >"$work/readme.c"
[ -s "$work/readme.c" ] || fail "README.md has no example"
"$CC" -std=c11 "${strict[@]}" "$work/readme.c" "${flags[@]}" -o "$work/readme"
if [ -x "${CXX:-}" ]; then
    "$CXX" -std=c++17 "${strict[@]}" "$here/consumer/main.cc" "${flags[@]}" -o "$work/cxx17"
    check "$work/cxx17"
fi
rm -rf "$work/consumer"
cmake -S "$here/consumer" -B "$work/consumer" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/consumer" >/dev/null
check "$work/consumer/consumer"

# The program finds its library without help.
said=$(env -u LD_LIBRARY_PATH "$prefix/bin/gemmule" version)
case $said in
*"$version"*) ;;
*) fail "gemmule version says $said" ;;
esac
echo "install ($kind): $(wc -l <"$work/declared") functions, version $version"
