# SPDX-License-Identifier: Apache-2.0
"""Talks to tests/unit/constraint_stdin.c: one request, one answer."""
import json
import subprocess


class Constraints:
    def __init__(self, program, tokenizer):
        self.p = subprocess.Popen([program, tokenizer], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True, encoding="utf-8", errors="surrogateescape")

    def ask(self, **request):
        if isinstance(request.get("schema"), (dict, bool)):
            request["schema"] = json.dumps(request["schema"])
        self.p.stdin.write(json.dumps(request) + "\n")
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        if not line:
            raise SystemExit(f"constraint_stdin ended (status {self.p.wait()}) at {json.dumps(request)[:2000]}")
        return json.loads(line)
