#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Held-out text questions answered greedily by the C engine, and the reference implementation asked the same.

    python tools/nano/evaluate_engine.py GEMMULE FOLDER [--count 20] [--precision exact] [--no-reference] [--skills 'a;b']

The engine (`gemmule probe --greedy`) writes tokens until a stop token. transformers gets prompt and answer in one pass:
it would have written the same if and only if each token of the answer is its most likely one. Where it is not, the
distance of the two logits is printed.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import torch
import arch
import data
import heldout


def ask_engine(program, folder, tokens, n, precision):
    """The greedy answer up to and including the stop token, at most n tokens."""
    from safetensors import safe_open
    with tempfile.TemporaryDirectory() as d:
        case, out = os.path.join(d, 'case.json'), os.path.join(d, 'out.safetensors')
        json.dump({'tokens': tokens, 'media': []}, open(case, 'w'))
        subprocess.run([program, 'probe', '-q', '--precision', precision, '--rows', '16', '--greedy', str(n), '-o', out, folder, case], check=True)
        with safe_open(out, 'pt') as f:
            return f.get_tensor('greedy').tolist()


def reference(folder):
    import transformers as tf
    m = tf.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    for x in m.modules():                               # as every bfloat16 run has it (spec/text-model.md, 2.1)
        if hasattr(x, 'embed_scale') and torch.is_tensor(x.embed_scale):
            x.embed_scale.fill_(arch.bf16(x.scalar_embed_scale))
    return m


@torch.no_grad()
def main():
    a = argparse.ArgumentParser()
    a.add_argument('program')
    a.add_argument('folder')
    a.add_argument('--count', type=int, default=20)
    a.add_argument('--precision', default='exact')
    a.add_argument('--skills')
    a.add_argument('--no-reference', action='store_true')
    o = a.parse_args()
    if heldout.digest(os.path.join(o.folder, 'tokenizer.json')) != heldout.digest():
        raise SystemExit('the model was made with another tokenizer than the held-out set')
    encoder = data.Encoder(os.path.join(o.folder, 'tokenizer.json'))
    stops = {encoder.vocab[t] for t in ('<eos>', '<turn|>', '<|tool_response>')}
    ref = None if o.no_reference else reference(o.folder)
    total = [0, 0, 0]
    for skill in (o.skills.split(';') if o.skills else heldout.SKILLS):
        right = same = n = 0
        for d in heldout.documents(skill, o.count):
            it = heldout.item(skill, d)
            prompt = encoder.tok.encode(it['prompt'], add_special_tokens=False).ids
            want = encoder.tok.encode(it['expected'], add_special_tokens=False).ids
            got = ask_engine(o.program, o.folder, prompt, len(want) + 4, o.precision)
            end = next((i + 1 for i, t in enumerate(got) if t in stops), len(got))
            got = got[:end]
            n += 1
            right += got == want
            if ref is not None:
                z = ref(input_ids=torch.tensor([prompt + got])).logits[0, len(prompt) - 1:-1]
                best = z.argmax(-1).tolist()
                same += best == got
                for i, (x, y) in enumerate(zip(best, got)):
                    if x != y:
                        print(f'   {skill}: token {i}: engine {encoder.tok.id_to_token(y)!r}, transformers {encoder.tok.id_to_token(x)!r}, '
                              f'{(z[i, x] - z[i, y]).item():.2e} apart')
        print(f'{skill:22s} right {right:4d} of {n:4d}' + ('' if ref is None else f'   as transformers {same:4d} of {n:4d}'), flush=True)
        total = [total[0] + right, total[1] + same, total[2] + n]
    print(f'{"all":22s} right {total[0]:4d} of {total[2]:4d}' + ('' if ref is None else f'   as transformers {total[1]:4d} of {total[2]:4d}'))


if __name__ == '__main__':
    sys.exit(main())
