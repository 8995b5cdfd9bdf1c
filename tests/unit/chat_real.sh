#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# chat_real.sh TEST-PROGRAM WORK-FOLDER: unpacks the released tokenizer and runs the test with it. 77: skipped.
set -eu
program=$1 work=$2
if [ -z "${GEM_SHARED:-}" ] || [ ! -f "$GEM_SHARED/data/gemma4-tokenizer.json.xz" ]; then
    echo "skipped: GEM_SHARED does not name the shared folder, which has the released tokenizer"
    exit 77
fi
command -v xz >/dev/null || { echo "skipped: there is no xz"; exit 77; }
mkdir -p "$work"
json=$work/tokenizer.json
if [ ! -f "$json" ]; then
    xz -dc "$GEM_SHARED/data/gemma4-tokenizer.json.xz" >"$json.tmp"
    mv "$json.tmp" "$json"
fi
exec "$program" "$json"
