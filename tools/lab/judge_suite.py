# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema Test Suite (json/tests/draft2020-12 of jsonschema's source package), as far as schemas are supported.

    judge_suite.py PROGRAM TOKENIZER FOLDER

No instance that the suite calls invalid may be accepted, and what we generate must be valid. Valid instances that are not
accepted are counted: schema.h says where texts are fewer than the schema allows."""
import collections
import glob
import itertools
import json
import os
import re
import sys

import jsonschema

from constraint_process import Constraints


def spellings(value):
    """An instance with the keys of its objects in any order (few of them)."""
    if isinstance(value, dict):
        for order in itertools.islice(itertools.permutations(value), 6):
            yield "{" + ",".join(json.dumps(k, ensure_ascii=False) + ":" + next(spellings(value[k])) for k in order) + "}"
        return
    if isinstance(value, list):
        for parts in itertools.islice(itertools.product(*(list(spellings(v)) for v in value)), 24):
            yield "[" + ",".join(parts) + "]"
        return
    yield json.dumps(value, ensure_ascii=False)


def main():
    program, tokenizer, folder = sys.argv[1:]
    c = Constraints(program, tokenizer)
    counts, refused, narrower = collections.Counter(), collections.Counter(), collections.Counter()
    for path in sorted(glob.glob(os.path.join(folder, "*.json")) + glob.glob(os.path.join(folder, "optional/format/*.json"))):
        for group in json.load(open(path, encoding="utf-8")):
            schema = group["schema"]
            name = os.path.basename(path) + ": " + group["description"]
            first = c.ask(schema=schema, compact=True, do="generate", seed=1, budget=0)
            if "least" not in first:
                counts["schemas refused"] += 1
                refused[re.sub(r"^.*?, \S+: ", "", first["error"])[:70]] += 1
                continue
            counts["schemas"] += 1
            for test in group["tests"]:
                texts = list(spellings(test["data"]))
                try:
                    json.dumps(test["data"], ensure_ascii=False).encode()
                except UnicodeEncodeError:
                    continue
                took = any(c.ask(schema=schema, compact=True, do="accepts", texts=texts)["accepts"])
                if took and not test["valid"]:
                    counts["BAD: invalid instance accepted"] += 1
                    print("accepts:", name, "/", test["description"], texts[0], json.dumps(schema)[:300])
                elif test["valid"] and not took:
                    counts["valid instances not accepted"] += 1
                    narrower[name] += 1
                else:
                    counts["instances as the suite says"] += 1
            for seed in range(4):
                r = c.ask(schema=schema, compact=seed % 2 == 0, do="generate", seed=seed, budget=first["least"] + 40, stop=0.3)
                counts["outputs"] += 1
                try:
                    assert "error" not in r, r["error"]
                    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(json.loads(r["text"]))
                except Exception as e:
                    counts["BAD output"] += 1
                    print("output:", name, str(e).splitlines()[0], r.get("text"), json.dumps(schema)[:300])
    print(dict(counts))
    print("refused:", refused.most_common(40))
    print("narrower:", narrower.most_common(60))
    return any(k.startswith("BAD") for k in counts)


if __name__ == "__main__":
    sys.exit(main())
