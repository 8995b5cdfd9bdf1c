# SPDX-License-Identifier: Apache-2.0
"""Random schemas, random logits: every output must be JSON that jsonschema accepts, within its budget.

    judge_schema.py PROGRAM TOKENIZER [--n 2000] [--seed 1]

PROGRAM is build/release/tests/constraint_stdin. Prints what went wrong and a summary; ends with 1 if anything did."""
import argparse
import collections
import json
import re
import sys

try:
    import jsonschema
except ImportError:
    print("skipped: Python has no jsonschema (Debian: python3-jsonschema)")
    sys.exit(77)

from constraint_process import Constraints
from random_schema import Random

# Refusals that random schemas deserve: contradictions, and unions that overlap.
MAY_REFUSE = re.compile(r"oneOf: branches|no value of enum|no branch|no type|without end|no text satisfies|above max|"
                        r"required property|enum: (together|of lists)|no value satisfies|begins with itself")


def no_duplicates(pairs):
    return dict(pairs)


def check(schema, text):
    value = json.loads(text, object_pairs_hook=no_duplicates)
    v = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    v.validate(value)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("tokenizer")
    p.add_argument("--n", type=int, default=2000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--runs", type=int, default=2)
    p.add_argument("--teeth", action="store_true", help="check against the next schema: many outputs must then fail")
    p.add_argument("--slow", type=float, help="show schemas with masks slower than so many microseconds")
    a = p.parse_args()
    sys.setrecursionlimit(10000)
    c = Constraints(a.program, a.tokenizer)
    counts = collections.Counter()
    compile_us, mask_us, reasons = [], [], collections.Counter()
    for i in range(a.n):
        schema = Random(a.seed * 1000003 + i).document()
        jsonschema.Draft202012Validator.check_schema(schema)
        tight = c.ask(schema=schema, do="generate", seed=i, budget=0)
        least = tight.get("least")
        if least is None:
            counts["refused"] += 1
            reasons[re.sub(r"^.*?: ", "", tight["error"])[:60]] += 1
            if not MAY_REFUSE.search(tight["error"]):
                counts["BAD refusal"] += 1
                print("refused:", tight["error"], json.dumps(schema))
            continue
        counts["schemas"] += 1
        compile_us.append(tight["compile_us"])
        for run in range(a.runs):
            budget = [least, least + 20, least + 300][(i + run) % 3]
            r = c.ask(schema=schema, do="generate", seed=i * 7 + run, budget=budget, stop=0.3, compact=i % 2 == 0,
                      no_forced=run == 0)
            counts["outputs"] += 1
            mask_us += r.get("mask_us", [])
            if a.slow and max(r.get("mask_us") or [0]) > a.slow:
                slow = [int(t) for t in r["mask_us"] if t > a.slow]
                print("slow:", len(slow), "of", len(r["mask_us"]), slow[:8], budget - least, r["text"][:150], json.dumps(schema)[:400])
            if "error" in r or r["tokens"] > budget:
                counts["BAD generation"] += 1
                print("generation:", r.get("error"), r.get("tokens"), budget, json.dumps(schema))
                continue
            counts["forced tokens"] += r["forced"]
            counts["tokens"] += r["tokens"]
            try:
                check(Random(a.seed * 1000003 + i + 1).document() if a.teeth else schema, r["text"])
            except Exception as e:  # whatever the judge says
                counts["BAD output"] += 1
                print("output:", str(e).splitlines()[0], "\n   ", r["text"][:300], "\n   ", json.dumps(schema)[:600])
    mask_us.sort()
    compile_us.sort()
    print(dict(counts))
    print("refusals:", dict(reasons))
    at = lambda v, q: v[min(len(v) - 1, int(q * len(v)))]
    print("mask, us: median %.1f, 99th percentile %.1f, most %.1f over %d" %
          (at(mask_us, 0.5), at(mask_us, 0.99), mask_us[-1], len(mask_us)))
    print("compile, us: median %.0f, 99th percentile %.0f, most %.0f" %
          (at(compile_us, 0.5), at(compile_us, 0.99), compile_us[-1]))
    return any(k.startswith("BAD") for k in counts)


if __name__ == "__main__":
    sys.exit(main())
