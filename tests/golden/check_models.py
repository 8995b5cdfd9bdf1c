#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs `gemmule probe` on reference cases and fails when a distance is above its bound. Standard library only.

    check_models.py PROGRAM FOLDER...|--shared [--only PATTERN] [--tier exact|fast] [--cpu c|avx2|avx512]
                    [--same-bits N]

A pack is a folder with spec.json (README.md beside this file). Its `model/` is judged by CASE.safetensors: logits and
each hidden state, and the greedy continuation of CASE.json; each FILE.gguf by FILE.CASE.safetensors. Cases with images,
videos and sounds are judged by their soft tokens and log-mel features too, and once more with each mmproj*.gguf in the place
of the model's own towers (a quantised one by the soft tokens of mmproj*.CASE.safetensors), and beside text.gguf, which holds
the same language model. whole.gguf holds both. The error of a tensor is rms(ours - reference) / rms(reference); BOUNDS are those of the project's first
issue.
--same-bits: the output file must also come out byte for byte alike for N other numbers of threads and sizes of chunks.
Exit 0: all within bounds; 1: not; 77: no pack found.
"""
import argparse
import array
import fnmatch
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import tempfile

# Peaked models amplify errors from layer to layer on purpose; `calm` ones are as mild as trained models.
# `median`: the median row is judged, since one flipped expert may change a row altogether.
BOUNDS = {
    ('exact', 'peaked'): dict(bound=2e-4),
    ('exact', 'calm'): dict(bound=1e-5),
    ('fast', 'gguf'): dict(bound=5e-2, median=True),
    ('fast', 'folder'): dict(bound=1.5e-2),
    ('fast', 'folder of experts'): dict(bound=1.5e-2, median=True),
    ('fast', 'soft'): dict(bound=2e-2),
}
FEATURES = 1e-5  # of both tiers
# Threads and chunk against one thread and the default chunk, the most telling first.
VARIANTS = [(4, 7), (2, 1), (3, 64), (2, None), (3, None), (4, None), (1, 1), (1, 7), (1, 64), (2, 7), (2, 64), (3, 1),
            (3, 7), (4, 1), (4, 64)]


class Tensor:
    """Values of a tensor, flat, and its shape."""

    def __init__(self, values, shape):
        self.values, self.shape = values, shape

    def rows(self, *index):
        """The rows (last axis) behind the given leading indices; the whole when there are none."""
        width = self.shape[-1]
        at = 0
        for i, n in zip(index, self.shape):
            at = at * n + i
        count = math.prod(self.shape[len(index):-1])
        return [self.values[(at * count + r) * width:(at * count + r + 1) * width] for r in range(count)]


def read_safetensors(path):
    """{name: Tensor} of a little-endian file of F32 and I32."""
    with open(path, 'rb') as f:
        data = f.read()
    size, = struct.unpack_from('<Q', data)
    header = json.loads(data[8:8 + size])
    out = {}
    for name, t in header.items():
        if name == '__metadata__':
            continue
        values = array.array({'F32': 'f', 'I32': 'i'}[t['dtype']])
        begin, end = t['data_offsets']
        values.frombytes(data[8 + size + begin:8 + size + end])
        if sys.byteorder == 'big':
            values.byteswap()
        if len(values) != math.prod(t['shape']):
            raise ValueError(f'{path}: {name} has {len(values)} values for shape {t["shape"]}')
        out[name] = Tensor(values, t['shape'])
    return out


def square(row):
    return math.fsum(x * x for x in row)


def error_of(ours, reference):
    """Relative error of all rows together, and of the median row. NaN and infinity give infinity."""
    d2, r2 = [], []
    for a, b in zip(ours, reference):
        d2.append(math.fsum((x - y) * (x - y) for x, y in zip(a, b)) if all(map(math.isfinite, a)) else math.inf)
        r2.append(square(b))
    if not r2 or math.inf in d2:
        return math.inf, math.inf
    whole = math.sqrt(sum(d2) / max(sum(r2), 1e-60))
    return whole, statistics.median(math.sqrt(d / max(r, 1e-60)) for d, r in zip(d2, r2))


class Case:
    """One model file or folder and one text: what to run and by what to judge it."""

    def __init__(self, pack, spec, model, case, golden, gguf, mmproj=None):
        self.pack, self.model, self.case, self.golden, self.gguf = pack, model, case, golden, gguf
        self.mmproj = mmproj
        self.calm = bool(spec.get('calm'))
        self.experts = bool(spec.get('text', {}).get('enable_moe_block'))
        with open(case) as f:
            content = json.load(f)
        self.media = bool(content.get('media'))
        self.quantised_tower = bool(mmproj) and 'q8_0' in os.path.basename(mmproj)
        self.greedy = [] if gguf or self.quantised_tower else content['greedy']
        files = os.path.basename(mmproj or model) + (' text.gguf' if mmproj and model.endswith('.gguf') else '')
        self.name = f'{os.path.basename(pack)}/{files} {os.path.basename(case)[:-5]}'

    def bound(self, tier):
        """The bound of a tier, or None where there is none."""
        if self.media and tier == 'fast':
            return BOUNDS['fast', 'soft'] if self.calm else None
        if tier == 'exact':
            return BOUNDS['exact', 'calm' if self.calm else 'peaked']
        if not self.calm:
            return None
        return BOUNDS['fast', 'gguf' if self.gguf else 'folder of experts' if self.experts else 'folder']


def judged_cases(pack):
    """(name, whether it has media)"""
    for name in sorted(os.listdir(pack)):
        if not name.endswith('.json') or name == 'spec.json':
            continue
        with open(os.path.join(pack, name)) as f:
            case = json.load(f)
        if 'tokens' in case:
            yield name[:-5], bool(case.get('media'))


def cases_of(pack):
    with open(os.path.join(pack, 'spec.json')) as f:
        spec = json.load(f)
    at = lambda *p: os.path.join(pack, *p)
    for case, media in judged_cases(pack):
        if os.path.isdir(at('model')) and os.path.exists(at(case + '.safetensors')):
            yield Case(pack, spec, at('model'), at(case + '.json'), at(case + '.safetensors'), False)
        if media and os.path.exists(at('whole.gguf')):
            yield Case(pack, spec, at('whole.gguf'), at(case + '.json'), at(case + '.safetensors'), False)
        for name in sorted(os.listdir(pack)):
            golden = at(f'{name[:-5]}.{case}.safetensors')
            if name.startswith('mmproj') and name.endswith('.gguf'):
                own = golden if os.path.exists(golden) else at(case + '.safetensors')
                for model in ('model', 'text.gguf') if media else ():
                    if os.path.exists(at(model)):
                        yield Case(pack, spec, at(model), at(case + '.json'), own, False, at(name))
            elif name.endswith('.gguf') and os.path.exists(golden):
                yield Case(pack, spec, at(name), at(case + '.json'), golden, True)


def find_cases(folders, only='*'):
    for folder in folders:
        for root, dirs, files in sorted(os.walk(folder)):
            dirs.sort()
            if 'spec.json' in files:
                dirs.clear()
                for case in cases_of(root):
                    if fnmatch.fnmatch(case.name, only) or fnmatch.fnmatch(os.path.basename(root), only):
                        yield case


class Probe:
    """The program under test; outputs go to one temporary folder."""

    def __init__(self, program, folder, cpu=None):
        self.program, self.folder, self.cpu = program, folder, cpu

    def run(self, case, tier, threads=1, chunk=None):
        """The output's path, or None and the program's words."""
        out = os.path.join(self.folder, f'{threads}-{chunk}.safetensors')
        if os.path.exists(out):
            os.remove(out)
        command = [self.program, 'probe', case.model, case.case, '-o', out]
        command += ['--precision', tier, '--threads', str(threads)]
        command += ['--rows', '16'] if case.gguf else ['--hidden']
        command += ['--greedy', str(len(case.greedy))] if case.greedy else []
        command += ['--chunk', str(chunk)] if chunk else []
        command += ['--cpu', self.cpu] if self.cpu else []
        command += ['--mmproj', case.mmproj] if case.mmproj else []
        r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if r.returncode or not os.path.exists(out):
            return None, f'exit {r.returncode}: {r.stdout.decode(errors="replace").strip()[-300:]}'
        return out, ''


def compare(case, tier, out):
    """(worst relative error, worst median row, [what is wrong])."""
    ours, ref = read_safetensors(out), read_safetensors(case.golden)
    limit, wrong, worst, middle = case.bound(tier), [], 0.0, 0.0
    if 'rows' in ref and list(ours['rows'].values) != list(ref['rows'].values):
        return math.inf, math.inf, ['rows differ']
    parts = [('soft', ())] if 'soft' in ref else []
    if not parts or not (case.quantised_tower or tier == 'fast'):
        parts += [('logits', ())]
        if 'hidden' in ref and not case.gguf:
            parts += [('hidden', (i,)) for i in range(ref['hidden'].shape[0])]
    if 'features' in ref:
        value = error_of(ours['features'].rows(), ref['features'].rows())[0] if 'features' in ours and \
            ours['features'].shape == ref['features'].shape else math.inf
        if not value <= FEATURES:
            wrong.append(f'features {value:.2e} above {FEATURES:g}')
    for name, index in parts:
        if name not in ours or ours[name].shape != ref[name].shape:
            wrong.append(f'{name}: shape {ours[name].shape if name in ours else "missing"}, not {ref[name].shape}')
            continue
        if ref[name].shape[0] == 0:  # a sound too short for a token
            continue
        whole, median = error_of(ours[name].rows(*index), ref[name].rows(*index))
        worst, middle = max(worst, whole), max(middle, median)
        value = median if limit and limit.get('median') else whole
        if limit and not value <= limit['bound']:
            wrong.append(f'{name}{list(index) or ""} {value:.2e} above {limit["bound"]:g}')
    if tier == 'exact' and case.greedy and list(ours['greedy'].values) != case.greedy:
        wrong.append(f'greedy {list(ours["greedy"].values)}, not {case.greedy}')
    return worst, middle, wrong


def judge(probe, case, tier, n_variants=0):
    """As compare(), and whether other threads and chunks give the same bytes."""
    out, said = probe.run(case, tier)
    if not out:
        return math.inf, math.inf, [said]
    worst, middle, wrong = compare(case, tier, out)
    with open(out, 'rb') as f:
        expected = f.read()
    for threads, chunk in VARIANTS[:n_variants]:
        other, said = probe.run(case, tier, threads, chunk)
        if not other:
            wrong.append(f'threads {threads}, chunk {chunk}: {said}')
            continue
        with open(other, 'rb') as f:
            if f.read() != expected:
                wrong.append(f'threads {threads}, chunk {chunk or "default"}: other bytes')
    return worst, middle, wrong


def arguments(description=__doc__):
    a = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('program')
    a.add_argument('folders', nargs='*')
    a.add_argument('--shared', action='store_true', help='golden/models of the folder that GEM_SHARED names')
    a.add_argument('--only', default='*', help='packs or "PACK/FILE CASE" that match')
    a.add_argument('--tier', choices=['exact', 'fast'], help='this one only')
    a.add_argument('--cpu', help='kernels: c, avx2, avx512')
    a.add_argument('--same-bits', type=int, default=0, metavar='N', help=f'try N of {len(VARIANTS)} threads and chunks')
    return a


def check(a, report):
    """Judges all cases; report(case, tier, worst, middle, wrong) is told of each. Returns (cases, failures)."""
    n = failures = 0
    with tempfile.TemporaryDirectory() as folder:
        probe = Probe(a.program, folder, a.cpu)
        for case in find_cases(a.folders, a.only):
            for tier in [a.tier] if a.tier else ['exact', 'fast']:
                if tier == 'fast' and not case.bound(tier) and not a.same_bits:
                    continue
                worst, middle, wrong = judge(probe, case, tier, a.same_bits)
                n, failures = n + 1, failures + bool(wrong)
                report(case, tier, worst, middle, wrong)
    return n, failures


def main():
    a = arguments().parse_args()
    if a.shared:
        if not os.environ.get('GEM_SHARED'):
            print('skipped: GEM_SHARED does not name the folder of reference models')
            sys.exit(77)
        a.folders.append(os.path.join(os.environ['GEM_SHARED'], 'golden', 'models'))

    def report(case, tier, worst, middle, wrong):
        verdict = 'FAIL ' + '; '.join(wrong) if wrong else 'ok'
        print(f'{case.name:42s} {tier:5s} {worst:8.1e} median {middle:8.1e}  {verdict}', flush=True)
    n, failures = check(a, report)
    print(f'{n} checks, {failures} failed' if n else 'skipped: no pack found in ' + ' '.join(a.folders))
    sys.exit(1 if failures else 0 if n else 77)


if __name__ == '__main__':
    main()
