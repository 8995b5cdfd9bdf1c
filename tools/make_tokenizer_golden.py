#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/tokenizer: what the `tokenizers` package and llama.cpp make of texts and ids.

    make_tokenizer_golden.py --small small-tokenizer.json --texts encode.json --llama-tokenize PROGRAM
                             [--gemma3 gemma-3-270m.gguf] OUT-FOLDER

Texts come from the shared golden encode.json (only its texts), the tokenizer from a shared golden model. Needs the
packages tokenizers and gguf, and llama.cpp's llama-tokenize.

    small.json, small.gguf          the tokenizer with 1,024 pieces, its merges
    llama.gguf, llama-prefix.gguf   the same pieces with scores (make_tokenizer_gguf.py --llama)
    small-cases.json                of small.*: by `tokenizers`; texts, and ids to decode
    llama-cases.json, llama-prefix-cases.json, gemma3-cases.json    by llama-tokenize

Text cases: [text, ids, ids without control tokens or null when the same]."""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

import tokenizers

MORE = [
    "in the", " in the", "  in the", "the\nthe", "the\n\n\nthe", "\n" * 70, "\t" * 70, " " * 70, "e " * 40, "ee" * 40,
    "<table>x</table>", "<tab", "<tabl", "<tab<table>", "<table", "< table>", "<<table>>", "<s>",
    "<|turn>user\nhi<turn|>\n",
    "<|tool_call>call:f{}<tool_call|>", "<|\"|>", "<bos><bos>", "<unused3>", "<0x41>", "a<pad>b",
    "\u2581\u2581the\u2581", "x   y    z",
    "<start_of_turn>user\nhi<end_of_turn>\n", "<image_soft_token>", "[multimodal]", "caf\u00e9 \u6f22\u5b57 \U0001f600",
]


def read_texts(path):
    with open(path, encoding="utf-8") as f:
        cases = json.load(f)["cases"]
    texts = [c["text"] for c in cases if len(c["text"].encode()) <= 120 and "\0" not in c["text"]]
    return list(dict.fromkeys(MORE + texts))


def write(folder, name, made_by, **what):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write('{"made_by": ' + json.dumps(made_by))
        for key, cases in what.items():
            f.write(f',\n"{key}": [\n' + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "]")
        f.write("}\n")


def case(text, ids, plain):
    return [text, ids, None if plain == ids else plain]


def small_cases(path, texts):
    t = tokenizers.Tokenizer.from_file(path)
    rng = random.Random(5)
    out = []
    for text in texts:
        t.encode_special_tokens = False
        ids = t.encode(text, add_special_tokens=False).ids
        t.encode_special_tokens = True
        out.append(case(text, ids, t.encode(text, add_special_tokens=False).ids))
    first = t.token_to_id("<0x00>")
    decode = []
    for i in range(150):
        ids = [rng.randrange(first, first + 256) if rng.random() < 0.5 else rng.randrange(t.get_vocab_size())
               for _ in range(rng.randint(1, 8))]
        if i % 2:
            at = rng.randint(0, len(ids))
            ids[at:at] = [first + b for b in rng.choice("\u00e9\u20ac\U0001f600").encode()]
        decode.append([ids] + [t.decode(ids, skip_special_tokens=skip) for skip in (True, False)])
    return out, decode


def llama_ids(program, model, text, special):
    with tempfile.NamedTemporaryFile("wb") as f:
        f.write(text.encode())
        f.flush()
        args = [program, "-m", model, "-f", f.name, "--no-escape", "--ids", "--no-bos", "--log-disable"]
        args += [] if special else ["--no-parse-special"]
        run = subprocess.run(args, capture_output=True, text=True, check=True)
    return json.loads(re.search(r"\[[-0-9, ]*\]", run.stdout).group())


def llama_cases(program, model, texts):
    out = []
    for text in texts:
        if not text or "</s>" in text:  # llama-tokenize wants some; llama.cpp makes </s> an end token by its name,
            continue                    # an HTML tag in Gemma's vocabulary, which the reference always matches
        ids = llama_ids(program, model, text, True)
        out.append(case(text, ids, llama_ids(program, model, text, False) if "<" in text else ids))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--llama-tokenize", required=True)
    parser.add_argument("--gemma3")
    parser.add_argument("out")
    args = parser.parse_args()

    texts = read_texts(args.texts)
    make = [sys.executable, os.path.join(os.path.dirname(__file__), "make_tokenizer_gguf.py"), args.small]
    shutil.copyfile(args.small, os.path.join(args.out, "small.json"))
    subprocess.run(make + [os.path.join(args.out, "small.gguf")], check=True)
    encode, decode = small_cases(args.small, texts)
    write(args.out, "small-cases.json", f"tokenizers {tokenizers.__version__}", encode=encode, decode=decode)
    for name, more in (("llama", []), ("llama-prefix", ["--space-prefix"])):
        model = os.path.join(args.out, name + ".gguf")
        subprocess.run(make + [model, "--llama"] + more, check=True)
        some = texts if name == "llama" else texts[::3]
        write(args.out, name + "-cases.json", "llama-tokenize", encode=llama_cases(args.llama_tokenize, model, some))
    if args.gemma3:  # takes minutes
        write(args.out, "gemma3-cases.json", "llama-tokenize, gemma-3-270m-q4_k_m.gguf",
              encode=llama_cases(args.llama_tokenize, args.gemma3, texts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
