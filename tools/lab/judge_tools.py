# SPDX-License-Identifier: Apache-2.0
"""Calls of random tools, random logits: each must parse by the grammar of spec/tokenizer-and-chat.md 3.3, and its arguments
must satisfy their schema.

    judge_tools.py PROGRAM TOKENIZER [N] [SEED]"""
import collections
import json
import re
import sys

import jsonschema

from constraint_process import Constraints
from random_schema import Random

Q = '<|"|>'


class Reader:
    """A reader of call text, strict: no white space, bare keys, strings in Q."""

    def __init__(self, text):
        self.s, self.i = text, 0

    def expect(self, word):
        assert self.s.startswith(word, self.i), f"{word!r} is missing at {self.s[self.i:self.i + 30]!r}"
        self.i += len(word)

    def look(self, word):
        return self.s.startswith(word, self.i)

    def value(self):
        if self.look(Q):
            self.expect(Q)
            end = self.s.index(Q, self.i)
            text, self.i = self.s[self.i:end], end + len(Q)
            return text
        if self.look("{"):
            return self.object()
        if self.look("["):
            self.expect("[")
            out = []
            while not self.look("]"):
                if out:
                    self.expect(",")
                out.append(self.value())
            self.expect("]")
            return out
        m = re.compile(r"true|false|null|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?").match(self.s, self.i)
        assert m, f"no value at {self.s[self.i:self.i + 30]!r}"
        self.i = m.end()
        return json.loads(m.group())

    def object(self):
        self.expect("{")
        out = {}
        while not self.look("}"):
            if out:
                self.expect(",")
            m = re.compile(r"[^:}]+").match(self.s, self.i)
            self.i = m.end()
            self.expect(":")
            assert m.group() not in out, "a key twice"
            out[m.group()] = self.value()
        self.expect("}")
        return out

    def calls(self):
        out = []
        while self.i < len(self.s):
            self.expect("<|tool_call>call:")
            m = re.compile(r"[\w.:/-]+").match(self.s, self.i)
            self.i = m.end()
            out.append((m.group(), self.object()))
            self.expect("<tool_call|>")
        return out


def main():
    program, tokenizer = sys.argv[1:3]
    n, seed = (int(x) for x in (sys.argv[3:] + ["1000", "1"][len(sys.argv) - 3:]))
    c = Constraints(program, tokenizer)
    counts, reasons = collections.Counter(), collections.Counter()
    for i in range(n):
        r = Random(seed * 7919 + i)
        tools = {}
        for name in r.r.sample(["get", "set.it", "a-b", "ns:do/it", "x"], r.r.randrange(1, 4)):
            tools[name] = r.obj(1)
        text = json.dumps([{"type": "function", "function": {"name": k, "parameters": v}} for k, v in tools.items()])
        first = c.ask(tools=text, do="generate", seed=0, budget=0)
        if "least" not in first:
            counts["refused"] += 1
            reasons[re.sub(r"^.*?: ", "", first["error"])[:60]] += 1
            continue
        for run in range(2):
            a = c.ask(tools=text, do="generate", seed=i * 2 + run, budget=first["least"] + run * 80, stop=0.5,
                      single=run == 0, thought=run == 1)
            counts["outputs"] += 1
            try:
                assert "error" not in a, a["error"]
                said = a["text"].split("<channel|>")[-1] if run else a["text"]
                calls = Reader(said).calls()
                assert calls and (run or len(calls) == 1)
                counts["calls"] += len(calls)
                for name, arguments in calls:
                    jsonschema.Draft202012Validator(
                        tools[name], format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(arguments)
            except Exception as e:
                counts["BAD"] += 1
                print(str(e).splitlines()[0], "\n   ", a.get("text", "")[:400], "\n   ", text[:600])
    print(dict(counts))
    print("refusals:", dict(reasons))
    return counts["BAD"] > 0


if __name__ == "__main__":
    sys.exit(main())
