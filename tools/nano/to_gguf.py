#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""GGUF files of nano by llama.cpp's converter, kept out of the repository, and a check that Gemmule answers from them as
from the folder, text and picture, tier exact.

    python tools/nano/to_gguf.py OUT [--model models/nano] [--llama FOLDER] [--check GEMMULE]

Writes OUT/nano-bf16.gguf and OUT/nano-mmproj-bf16.gguf. Without --llama the source of llama.cpp is taken from the npm
package node-llama-cpp, which carries it as a git bundle, into OUT.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT = ['What is 348 + 275?', 'Reverse "garden".', 'Hello, my name is Clara.', 'What does --threads do?', 'Sort the letters of "window".']
PICTURE = ['What shape is this?', 'What colour is the figure?', 'Describe this picture.']


def source(out):
    """The converter's source, from the npm registry."""
    npm, folder = os.path.join(out, 'npm'), os.path.join(out, 'llama.cpp')
    if not os.path.exists(os.path.join(folder, 'convert_hf_to_gguf.py')):
        os.makedirs(npm, exist_ok=True)
        subprocess.run(['npm', 'install', '--silent', '--prefix', npm, '--ignore-scripts', 'node-llama-cpp'], check=True)
        bundle = os.path.join(npm, 'node_modules', 'node-llama-cpp', 'llama', 'gitRelease.bundle')
        subprocess.run(['git', 'clone', '--quiet', bundle, folder], check=True)
    return folder


def convert(llama, model, out):
    files = []
    for name, extra in (('nano-bf16.gguf', []), ('nano-mmproj-bf16.gguf', ['--mmproj'])):
        path = os.path.join(out, name)
        got = subprocess.run([sys.executable, os.path.join(llama, 'convert_hf_to_gguf.py'), model, '--outfile', path, '--outtype', 'bf16'] + extra,
                             capture_output=True, text=True)
        if got.returncode:
            raise SystemExit(f'{name}: the converter failed\n' + got.stderr[-2000:])
        files.append(path)
        print(f'{path}: {os.path.getsize(path)} bytes')
    return files


def answers(program, model, extra, picture):
    run = lambda *words: subprocess.run([program, 'run', '-q', '--greedy', '--precision', 'exact', '--max-tokens', '60', *extra, *words], check=True,
                                        capture_output=True, text=True).stdout
    return [run(model, q) for q in TEXT] + [run('--image', picture, '--budget', '70', model, q) for q in PICTURE]


def logits(program, model, extra, case, folder):
    from safetensors.numpy import load_file
    path = os.path.join(folder, 'out.safetensors')
    subprocess.run([program, 'probe', '-q', '--precision', 'exact', *extra, '-o', path, model, case], check=True)
    return load_file(path)['logits']


def check(program, model, gguf, mmproj):
    import json
    import numpy as np
    import pictures
    with tempfile.TemporaryDirectory() as d:
        picture, case = os.path.join(d, 'figure.png'), os.path.join(d, 'case.json')
        pictures.paint(pictures.scene(random.Random(5), False, 'one'), random.Random(5)).save(picture)
        json.dump({'tokens': [2] + list(range(300, 360)), 'media': []}, open(case, 'w'))
        a, b = answers(program, model, [], picture), answers(program, gguf, ['--mmproj', mmproj], picture)
        for q, x, y in zip(TEXT + PICTURE, a, b):
            print(f'{"same" if x == y else "OTHER"}: {q} {x!r}' + ('' if x == y else f' {y!r}'))
        x, y = logits(program, model, [], case, d), logits(program, gguf, [], case, d)
        print(f'logits of {x.shape[0]} positions: largest difference {np.abs(x - y).max():.1e}')
        return a == b


def main():
    a = argparse.ArgumentParser()
    a.add_argument('out')
    a.add_argument('--model', default=os.path.join(HERE, '../../models/nano'))
    a.add_argument('--llama')
    a.add_argument('--check', metavar='GEMMULE')
    o = a.parse_args()
    os.makedirs(o.out, exist_ok=True)
    files = convert(o.llama or source(o.out), o.model, o.out)
    return 0 if not o.check or check(o.check, o.model, *files) else 1


if __name__ == '__main__':
    sys.exit(main())
