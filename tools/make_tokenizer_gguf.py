#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A GGUF file that holds just a tokenizer, written with the `gguf` package.

    make_tokenizer_gguf.py tokenizer.json OUT.gguf            as llama.cpp's converter writes Gemma 4's: merges
    make_tokenizer_gguf.py tokenizer.json OUT.gguf --llama    a SentencePiece one with the same pieces: scores

Exits with 77, which tests take for "skipped", when the package is not installed."""

import argparse
import json
import sys

try:
    import gguf
except ImportError:
    print("skipped: the Python package gguf is not installed")
    sys.exit(77)

# What the converter marks user-defined, so that text parsers see it.
VISIBLE = {"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>"}


def types_of(pieces, added, llama):
    kinds = gguf.TokenType
    types = []
    for p in pieces:
        if p in VISIBLE and not llama:
            types.append(kinds.USER_DEFINED)
        elif p in added:
            types.append(kinds.CONTROL if added[p]["special"] else kinds.USER_DEFINED)
        elif len(p) == 6 and p.startswith("<0x") and p.endswith(">"):
            types.append(kinds.BYTE)
        else:
            types.append(kinds.NORMAL)
    return types


def make_llama(pieces, types):
    """Scores with many ties, and user-defined pieces of the kinds that Gemma 3 has: what SentencePiece BPE and whole
    matching can get wrong. A user-defined run of spaces is spelled with spaces, as converters do."""
    scores = [-float(i // 5) for i in range(len(pieces))]
    for i, p in enumerate(pieces):
        if types[i] == gguf.TokenType.NORMAL and len(p) > 1 and p.strip("\n") == "":
            types[i] = gguf.TokenType.USER_DEFINED
    unused = [i for i, p in enumerate(pieces) if p.startswith("<unused")]
    for i, p in zip(unused, ["  ", "   ", "<table>", "</table>", "<tab"]):
        pieces[i], types[i], scores[i] = p, gguf.TokenType.USER_DEFINED, -1000.0
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer")
    parser.add_argument("out")
    parser.add_argument("--llama", action="store_true")
    parser.add_argument("--space-prefix", action="store_true")
    args = parser.parse_args()

    with open(args.tokenizer, encoding="utf-8") as f:
        source = json.load(f)
    vocab = source["model"]["vocab"]
    pieces = sorted(vocab, key=vocab.get)
    types = types_of(pieces, {t["content"]: t for t in source["added_tokens"]}, args.llama)

    w = gguf.GGUFWriter(args.out, "gemma3" if args.llama else "gemma4")
    w.add_tokenizer_model("llama" if args.llama else "gemma4")
    scores = make_llama(pieces, types) if args.llama else [-1000.0] * len(pieces)
    w.add_token_list(pieces)
    w.add_token_scores(scores)
    w.add_token_types(types)
    if not args.llama:
        w.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in source["model"]["merges"]])
    for name, add in (("<bos>", w.add_bos_token_id), ("<eos>", w.add_eos_token_id), ("<unk>", w.add_unk_token_id),
                      ("<pad>", w.add_pad_token_id)):
        add(pieces.index(name))
    w.add_add_bos_token(True)
    w.add_add_space_prefix(args.space_prefix)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
