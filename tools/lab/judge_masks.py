# SPDX-License-Identifier: Apache-2.0
"""Masks beside those of llguidance (pip install llguidance), where both mean the same language.

    judge_masks.py PROGRAM tokenizer.json [--n 500] [--seed 1]

For each regular expression or schema a text is made by our constraint; at each of its tokens both masks must have the same
tokens, and both must agree whether the text may end. Known differences are taken out by the table KNOWN, and counted."""
import argparse
import collections
import json
import random
import sys

from llguidance import LLMatcher, LLTokenizer

from constraint_process import Constraints

REGEXES = [r"[a-z]+", r"\d{3}-\d{4}", r"(foo|bar)+", r"(a|b)*c", r"[A-Z]{2,5}", r"x\.y", r"[^,;]*", r"a{3,70}b",
           r"(ab){2,3}", r"hello( world)?!*", r"[äöü]+ß?", r"0|-?[1-9][0-9]*", r"\w+@\w+\.(com|org)", r"(\d\d:){2}\d\d",
           r"[\x20-\x7e]{5,40}", r"\"[^\"\\\n]*\"", r"(the|a) (cat|dog)( and (the|a) (cat|dog))*", r"[一-龥]{1,4}。",
           r"[^a-zA-Z]{4}", r"\s+\S+", r"(?:a|ab|abc)+d?", r"(a?){5}b", r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}"]
ATOMS = ["a", "b", "xyz", "[a-f]", "[^x]", r"\d", r"[A-Z]", " ", "é", "漢", r"\.", "[ab]", "(foo|ba)", r"\w", "0"]
QUANTIFIERS = ["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,4}", "{2,}"]


def random_regex(r, depth=0):
    parts = []
    for _ in range(r.randrange(1, 5)):
        atom = r.choice(ATOMS) if depth > 1 or r.random() < 0.7 else "(%s)" % random_regex(r, depth + 1)
        parts.append(atom + r.choice(QUANTIFIERS))
    s = "".join(parts)
    return s + "|" + random_regex(r, depth + 1) if depth < 2 and r.random() < 0.25 else s


def random_schema(r, depth=0):
    k = r.random()
    if depth > 2:
        k *= 0.5
    if k < 0.15:
        s = {"type": "string"}
        if r.random() < 0.4:
            s["minLength"] = r.randrange(4)
        if r.random() < 0.4:
            s["maxLength"] = s.get("minLength", 0) + r.choice([0, 2, 9, 60])
        return s
    if k < 0.25:
        return {"type": r.choice(["integer", "number"])}
    if k < 0.3:
        return {"type": "integer", "minimum": r.choice([0, 5, -20]), "maximum": r.choice([7, 50, 999])}
    if k < 0.38:
        return {"type": r.choice(["boolean", "null"])}
    if k < 0.5:
        return {"enum": r.sample(["red", "green", "gre en", "näher", 1, 22, None, True], r.randrange(1, 5))}
    if k < 0.75:
        names = r.sample(["a", "b", "name", "value", "nested", "name2"], r.randrange(0, 4))
        s = {"type": "object", "properties": {n: random_schema(r, depth + 1) for n in names}, "additionalProperties": False}
        s["required"] = [n for n in names if r.random() < 0.6]
        return s
    if k < 0.93:
        s = {"type": "array", "items": random_schema(r, depth + 1)}
        if r.random() < 0.5:
            s["minItems"] = r.randrange(3)
        if r.random() < 0.5:
            s["maxItems"] = s.get("minItems", 0) + r.randrange(1, 4)
        return s
    return {"anyOf": [random_schema(r, depth + 1), {"type": "null"}]}


# Their classes are Unicode's, ours ECMA-262's.
CLASSES = {r"\d": "[0-9]", r"\w": "[0-9A-Za-z_]", r"\S": r"[^\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]",
           r"\s": r"[\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"}


def grammar_of(case):
    if "regex" in case:
        regex = case["regex"]
        for ours, theirs in CLASSES.items():
            regex = regex.replace(ours, theirs)
        return LLMatcher.grammar_from_regex(regex)
    schema = dict(case["schema"])
    schema["x-guidance"] = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
    return LLMatcher.grammar_from_json_schema(json.dumps(schema))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("tokenizer")
    p.add_argument("--n", type=int, default=500)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--show", type=int, default=40)
    a = p.parse_args()
    sys.setrecursionlimit(10000)
    with open(a.tokenizer, encoding="utf-8") as f:
        text = f.read()
    vocabulary = json.loads(text)["model"]["vocab"]
    pieces = {i: s for s, i in vocabulary.items()}
    tok = LLTokenizer(text, eos_token=[1, 106, 50])
    eos = {1, 106, 50}
    c = Constraints(a.program, a.tokenizer)
    # In JSON strings they take neither DEL nor the escape of a slash; both are JSON (RFC 8259, 7).
    known = {"a string with U+007F": sum(1 << i for i, s in pieces.items() if "\x7f" in s or s == "<0x7F>"),
             "a string with \\/": sum(1 << i for i, s in pieces.items() if "\\/" in s)}
    r = random.Random(a.seed)
    counts, kinds = collections.Counter(), collections.Counter()
    n_vocab = len(pieces)
    for i in range(a.n):
        if i < len(REGEXES):
            case = {"regex": REGEXES[i]}
        elif i % 2:
            case = {"regex": random_regex(r)}
        else:
            case = {"schema": random_schema(r)}
        ours = c.ask(do="generate", seed=i, budget=40 + 60 * (i % 2), stop=0.2, no_forced=True, compact=True, **case)
        if "ids" not in ours:
            counts["not ours: " + ours["error"][:60]] += 1
            print("ours:", ours["error"], case)
            continue
        if "error" in ours:
            ours["ids"] = ours["ids"][:10]
        ids = ours["ids"][:24]
        walk = c.ask(do="walk", ids=ids, compact=True, **case)
        m = LLMatcher(tok, grammar_of(case))
        if m.is_error():
            counts["not theirs"] += 1
            print("theirs:", m.get_error(), case)
            continue
        counts["regex" if "regex" in case else "schema"] += 1
        for k in range(len(ids) + 1):
            if m.is_stopped():
                counts["they stopped"] += 1
                break
            theirs = int.from_bytes(m.compute_bitmask()[: (n_vocab + 7) // 8], "little")
            mine = int.from_bytes(b"".join(bytes.fromhex(walk["masks"][k][j:j + 16])[::-1]
                                           for j in range(0, len(walk["masks"][k]), 16)), "little")
            accepting = m.is_accepting()
            counts["masks"] += 1
            if accepting != walk["done"][k]:
                counts["BAD end"] += 1
                print("end: theirs", accepting, "ours", walk["done"][k], case, ids[:k])
            difference = theirs ^ mine
            for e in eos:
                difference &= ~(1 << e)
            if difference and not difference & theirs and m.compute_ff_bytes():
                counts["masks: text is forced, theirs has one spelling of it"] += 1
                difference = 0
            if "schema" in case:
                for name, ids_known in known.items():
                    if difference & mine & ids_known:
                        counts["masks: " + name] += 1
                        difference &= ~(mine & ids_known)
            n = 0
            while difference and n < 200000:
                low = (difference & -difference).bit_length() - 1
                difference &= difference - 1
                n += 1
                if n <= 3:
                    side = "theirs" if theirs >> low & 1 else "ours"
                    kinds[side + " " + repr(pieces[low])] += 1
                    if counts["shown"] < a.show:
                        counts["shown"] += 1
                        print("only", side, repr(pieces[low]), low, json.dumps(case, ensure_ascii=False)[:300], "after",
                              repr("".join(pieces[x] for x in ids[:k]))[-80:])
                if n > 50:
                    break
            if n:
                counts["masks that differ"] += 1
            if k < len(ids) and not m.consume_token(ids[k]):
                counts["BAD: refuses our token"] += 1
                break
    print(dict(counts))
    print(kinds.most_common(30))
    return 0


if __name__ == "__main__":
    sys.exit(main())
