#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gemmule beside llama.cpp: the same files, the same machine, alternating, medians. Standard library only.

    tools/lab/bench_peer.py PROGRAM --work FOLDER [--shared FOLDER] [--models e2b,e4b,e2b-Q4_K_M] [--runs 5]
                            [--prompt 512] [--generate 64] [--threads N] [--alone] [--json OUT]

Makes what is missing in FOLDER: llama.cpp from the npm package node-llama-cpp (its source as a git bundle), built for
this machine, and full-size models of random weights by shared/tools/synth_gguf.py (Python with gguf and numpy), which
llama-quantize turns into other formats. NAME or NAME-FORMAT, e.g. e4b or e2b-Q8_0. --alone: at real-time priority, so
that a busy machine counts for little (root). A model that takes more than the free memory is left out, which is said.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

TARGETS = ['llama-bench', 'llama-quantize']


def run(command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def say(text):
    print(text, file=sys.stderr, flush=True)


def build_peer(work):
    build = os.path.join(work, 'llama-build')
    if not all(os.path.exists(os.path.join(build, 'bin', t)) for t in TARGETS):
        say('building llama.cpp')
        npm, source = os.path.join(work, 'npm'), os.path.join(work, 'llama.cpp')
        os.makedirs(npm, exist_ok=True)
        run(['npm', 'install', '--prefix', npm, '--ignore-scripts', 'node-llama-cpp'])
        bundle = os.path.join(npm, 'node_modules', 'node-llama-cpp', 'llama', 'gitRelease.bundle')
        if not os.path.isdir(source):
            run(['git', 'clone', '--quiet', bundle, source])
        run(['cmake', '-S', source, '-B', build, '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=Release', '-DGGML_NATIVE=ON',
             '-DLLAMA_CURL=OFF', '-DLLAMA_OPENSSL=OFF'])
        run(['cmake', '--build', build, '--target', *TARGETS])
    return os.path.join(build, 'bin')


def make_model(name, work, shared, peer):
    path = os.path.join(work, name + '.gguf')
    size, _, kind = name.partition('-')
    if os.path.exists(path):
        return path
    if not kind:
        say(f'writing {path}')
        run([sys.executable, os.path.join(shared, 'tools', 'synth_gguf.py'), size, path + '.part'])
    else:
        source = make_model(size, work, shared, peer)
        say(f'quantising {path}')
        run([os.path.join(peer, 'llama-quantize'), '--allow-requantize', source, path + '.part', kind],
            stderr=subprocess.DEVNULL)
    os.rename(path + '.part', path)
    return path


def free_bytes():
    with open('/proc/meminfo') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('MemAvailable')) * 1024


class Contest:
    def __init__(self, a, peer):
        self.a, self.peer = a, peer
        self.before = ['chrt', '-f', '10'] if a.alone else []

    def ours(self, model):
        a = self.a
        r = json.loads(run([*self.before, a.program, 'bench', model, '-p', str(a.prompt), '-n', str(a.generate), '-r',
                            '1', '--json', '-q', *(['-t', str(a.threads)] if a.threads else [])]))
        return r['prompt_tokens_per_second']['median'], r['generate_tokens_per_second']['median']

    def theirs(self, model):
        a = self.a
        rows = json.loads(run([*self.before, os.path.join(self.peer, 'llama-bench'), '-m', model, '-t',
                               str(a.threads or os.cpu_count()), '-r', '1', '-o', 'json', '-p', str(a.prompt), '-n',
                               str(a.generate)], stderr=subprocess.DEVNULL))
        speed = {bool(r['n_gen']): r['avg_ts'] for r in rows}
        return speed[False], speed[True]

    def model(self, name, path):
        samples = {'ours': [], 'theirs': []}
        for i in range(self.a.runs):
            for who in ('ours', 'theirs'):
                samples[who].append(getattr(self, who)(path))
            say(f'{name} {i + 1}/{self.a.runs}: ours {samples["ours"][-1]}, theirs {samples["theirs"][-1]}')
        middle = {who: [statistics.median(s[i] for s in rows) for i in (0, 1)] for who, rows in samples.items()}
        return dict(model=name, samples=samples, prompt=[middle['ours'][0], middle['theirs'][0]],
                    generate=[middle['ours'][1], middle['theirs'][1]])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('program')
    p.add_argument('--work', required=True)
    p.add_argument('--shared', default=os.environ.get('GEM_SHARED', '../shared'))
    p.add_argument('--models', default='e2b,e2b-Q8_0,e2b-Q4_K_M,e2b-BF16,e4b')
    p.add_argument('--runs', type=int, default=5)
    p.add_argument('--prompt', type=int, default=512)
    p.add_argument('--generate', type=int, default=64)
    p.add_argument('--threads', type=int, default=0)
    p.add_argument('--alone', action='store_true')
    p.add_argument('--json')
    a = p.parse_args()
    os.makedirs(a.work, exist_ok=True)
    peer = build_peer(a.work)
    contest, results = Contest(a, peer), []
    for name in a.models.split(','):
        path = make_model(name, a.work, a.shared, peer)
        if os.path.getsize(path) > free_bytes():
            say(f'{name}: left out, its {os.path.getsize(path) >> 20} MiB do not fit the free memory')
            continue
        results.append(contest.model(name, path))
    print(f'{platform.processor() or platform.machine()}, prompt {a.prompt}, generated {a.generate}, median of {a.runs}')
    print('| model | prompt t/s, ours | theirs | ratio | decoding t/s, ours | theirs | ratio |\n|---|---|---|---|---|---|---|')
    for r in results:
        print('| {} | {:.1f} | {:.1f} | {:.2f} | {:.1f} | {:.1f} | {:.2f} |'.format(
            r['model'], *r['prompt'], r['prompt'][0] / r['prompt'][1], *r['generate'],
            r['generate'][0] / r['generate'][1]))
    if a.json:
        with open(a.json, 'w') as f:
            json.dump(results, f, indent=1)


if __name__ == '__main__':
    main()
