#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tokenizer_real.sh TEST-PROGRAM WORK-FOLDER MAKE-GGUF: unpacks the released tokenizer, makes a GGUF of it where Python
# has the gguf package (GEM_PYTHON: which Python), and runs the test. 77: skipped.
set -eu
program=$1 work=$2 make_gguf=$3
if [ -z "${GEM_SHARED:-}" ] || [ ! -f "$GEM_SHARED/data/gemma4-tokenizer.json.xz" ]; then
    echo "skipped: GEM_SHARED does not name the shared folder, which has the released tokenizer"
    exit 77
fi
command -v xz >/dev/null || { echo "skipped: there is no xz"; exit 77; }
mkdir -p "$work"
json=$work/tokenizer.json gguf=$work/tokenizer.gguf
if [ ! -f "$json" ]; then
    xz -dc "$GEM_SHARED/data/gemma4-tokenizer.json.xz" >"$json.tmp"
    mv "$json.tmp" "$json"
fi
if [ ! -f "$gguf" ]; then
    rm -f "$gguf.tmp"
    ! "${GEM_PYTHON:-python3}" "$make_gguf" "$json" "$gguf.tmp" || mv "$gguf.tmp" "$gguf"
fi
[ -f "$gguf" ] || gguf=
exec "$program" "$GEM_SHARED/golden/tokenizer" "$json" ${gguf:+"$gguf"}
