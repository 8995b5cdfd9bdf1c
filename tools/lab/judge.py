#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Judges the engine by every reference case there is, and says how far from the bounds it stays.

    tools/lab/judge.py PROGRAM shared/golden/models LAB/cases [--same-bits 15] [--cpu avx2] [--only 'e2b-*'] [--quiet]

The comparison and its bounds are those of tests/golden/check_models.py. This adds the table by kind of model: how many
cases, the worst error beside its bound, the reference's own noise there (float32, or 8-bit activations), what failed.
--same-bits 15 (the default here is 3) tries threads 1-4 with chunks 1, 7, 64 and the default, and wants the same bytes.
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'tests', 'golden'))
import check_models as golden  # noqa: E402


def kind_of(case):
    """The row of the table that a case belongs to."""
    family = os.path.basename(case.pack).removeprefix('g-').split('-')[0]
    if case.gguf:
        return f'{family} {os.path.basename(case.model)[:-5].split("-split")[0]}'
    return f'{family} {"calm" if case.calm else "peaked"}'


def noise_of(case, tier):
    """The reference's own: of float32 against float64, of 8-bit activations against float32."""
    if tier == 'fast':
        noise = golden.read_safetensors(case.golden).get('activation_noise')
        return noise.values[0] if noise else 0.0
    with open(case.case) as f:
        return json.load(f).get('noise', 0.0)


class Table:
    def __init__(self):
        self.rows = {}

    def add(self, case, tier, worst, middle, wrong):
        limit = case.bound(tier)
        r = self.rows.setdefault((tier, kind_of(case)), dict(n=0, failed=0, value=0.0, noise=0.0, limit=limit))
        r['n'] += 1
        r['failed'] += bool(wrong)
        r['value'] = max(r['value'], middle if limit and limit.get('median') else worst)
        r['noise'] = max(r['noise'], noise_of(case, tier))

    def show(self):
        print(f'\n{"tier":5s}  {"model":28s} {"cases":>5s}  {"worst":>8s}  {"bound":>8s}  {"noise":>8s}  failed')
        for (tier, kind), r in sorted(self.rows.items()):
            limit = f'{r["limit"]["bound"]:8.1e}' if r['limit'] else '       -'
            row = ' median row' if r['limit'] and r['limit'].get('median') else ''
            print(f'{tier:5s}  {kind:28s} {r["n"]:5d}  {r["value"]:8.1e}  {limit}  {r["noise"]:8.1e}  '
                  f'{r["failed"] or "-"}{row}')


def main():
    p = golden.arguments(__doc__)
    p.add_argument('--quiet', action='store_true', help='name only the cases that fail')
    p.set_defaults(same_bits=3)
    a = p.parse_args()
    table = Table()

    def report(case, tier, worst, middle, wrong):
        table.add(case, tier, worst, middle, wrong)
        if wrong or not a.quiet:
            print(f'{case.name:44s} {tier:5s} {worst:8.1e} median {middle:8.1e}  '
                  f'{"FAIL " + "; ".join(wrong) if wrong else "ok"}', flush=True)
    n, failures = golden.check(a, report)
    table.show()
    print(f'\n{n} checks, {failures} failed')
    sys.exit(1 if failures or not n else 0)


if __name__ == '__main__':
    main()
