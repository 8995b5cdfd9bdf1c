#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random texts and ids through our tokenizer and through the `tokenizers` package; every difference is printed.

    check_tokenizer.py TOKENIZER_STDIN tokenizer.json [--file OURS] [--count 20000] [--seed 1]

TOKENIZER_STDIN is tests/unit/tokenizer_stdin.c built. OURS, when it is another file with the same tokenizer (a GGUF),
is what our side opens. Texts are words of the vocabulary, runs, control tokens whole and broken, characters of all
planes, and mixtures; each is encoded with and without control tokens. Ids are random, many of them byte pieces."""

import argparse
import json
import random
import subprocess
import sys

import tokenizers


def text(rng, pieces, added):
    def character():
        top = rng.choice([0x7f, 0x7f, 0x17f, 0x2ff, 0x10ff, 0xd7ff, 0xffff, 0x1f9ff, 0x10ffff])
        c = rng.randint(0, top)
        return "a" if 0xd800 <= c < 0xe000 else chr(c)

    def piece():
        return rng.choice(pieces).replace("\u2581", rng.choice([" ", " ", " ", "\u2581"]))

    kinds = [
        lambda: piece(),
        lambda: piece(),
        lambda: " " + piece(),
        lambda: rng.choice(" \n\t\r-=a<>\u2581") * rng.randint(1, 70),
        lambda: "".join(character() for _ in range(rng.randint(1, 6))),
        lambda: "".join(rng.choice("abcdefgh ") for _ in range(rng.randint(1, 90))),
        lambda: "".join(rng.choice(">\u2581</ \n\t") for _ in range(rng.randint(1, 12))),
        lambda: str(rng.randint(0, 10 ** rng.randint(1, 12))),
        lambda: rng.choice(added),
        lambda: rng.choice(added)[: rng.randint(1, 9)],
        lambda: rng.choice(added)[rng.randint(1, 4):],
    ]
    return "".join(rng.choice(kinds)() for _ in range(rng.choice([1, 1, 2, 3, 5, 8, 13, 40])))


def ids(rng, n_vocab, byte_ids):
    def one():
        return rng.choice(byte_ids) if rng.random() < 0.6 else rng.randrange(n_vocab)

    out = [one() for _ in range(rng.randint(1, 12))]
    for c in rng.sample("é€😀漢a", 2):  # whole characters by bytes, so that valid runs come up
        at = rng.randint(0, len(out))
        out[at:at] = [byte_ids[b] for b in c.encode()]
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("tokenizer")
    parser.add_argument("--file")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    rng = random.Random(args.seed)
    with open(args.tokenizer, encoding="utf-8") as f:
        source = json.load(f)
    vocab = source["model"]["vocab"]
    pieces = list(vocab)
    added = [t["content"] for t in source["added_tokens"]]
    byte_ids = [vocab[f"<0x{b:02X}>"] for b in range(256)]
    theirs = tokenizers.Tokenizer.from_file(args.tokenizer)

    requests, expected = [], []
    for _ in range(args.count):
        t = text(rng, pieces, added)
        for control in (True, False):
            theirs.encode_special_tokens = not control
            got = theirs.encode(t, add_special_tokens=False).ids
            requests.append(f"{int(control)} {t.encode().hex()}")
            expected += [got, theirs.decode(got, skip_special_tokens=False)]
    for _ in range(args.count // 2):
        some = ids(rng, len(vocab), byte_ids)
        requests.append("d " + " ".join(map(str, some)))
        expected += [theirs.decode(some, skip_special_tokens=skip) for skip in (True, False)]

    run = subprocess.run([args.program, args.file or args.tokenizer], input="\n".join(requests) + "\n",
                         capture_output=True, text=True, check=True)
    lines = run.stdout.split("\n")
    bad = 0
    for i, want in enumerate(expected):
        got = bytes.fromhex(lines[i]).decode() if isinstance(want, str) else [int(x) for x in lines[i].split()]
        if got != want:
            bad += 1
            if bad <= 10:
                print(f"{requests[i // 2][:300]}\n  ours   {got!r:.400}\n  theirs {want!r:.400}")
    print(f"{len(expected)} answers compared, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
