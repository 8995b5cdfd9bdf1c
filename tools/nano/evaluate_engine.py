#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Held-out questions answered greedily by the C engine, and the reference implementation asked the same.

    python tools/nano/evaluate_engine.py GEMMULE FOLDER [--count 20] [--precision exact] [--no-reference] [--skills 'a;b'] [--markdown]

All skills that the engine has: text, pictures, videos; sounds where `gemmule probe` takes them. The engine
(`gemmule probe --greedy`) gets tokens and files and writes tokens until a stop token. transformers gets prompt, what its
own processor makes of the files, and the engine's answer in one pass: it would have written the same if and only if each
token of the answer is its most likely one. Where it is not, the distance of the two logits is printed.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import wave
import numpy as np
import torch
import arch
import data
import evaluate
import heldout
import media
import pictures
import sounds


def probe(program, folder, case, n, precision):
    """The n most likely tokens, one after the other; None where the engine does not take such media."""
    from safetensors import safe_open
    out = os.path.join(os.path.dirname(case), 'out.safetensors')
    got = subprocess.run([program, 'probe', '-q', '--precision', precision, '--rows', '16', '--greedy', str(n), '-o', out, folder, case],
                         capture_output=True, text=True)
    if got.returncode:
        if 'kind' in got.stderr:
            return None
        raise SystemExit(got.stderr)
    with safe_open(out, 'pt') as f:
        return f.get_tensor('greedy').tolist()


def reference(folder):
    import transformers as tf
    m = tf.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    for x in m.modules():                               # as every bfloat16 run has it (spec/text-model.md, 2.1)
        if hasattr(x, 'embed_scale') and torch.is_tensor(x.embed_scale):
            x.embed_scale.fill_(arch.bf16(x.scalar_embed_scale))
    return m


def starts(ids, token):
    return [i for i, t in enumerate(ids) if t == token and ids[i - 1] != token]


class Question:
    """One held-out question: tokens of the prompt, expected answer, files of its media and what transformers makes of them."""

    def __init__(self, encoder, processor, d, folder):
        self.media, self.inputs = [], {}
        if not d['media']:
            it = heldout.item(d['skill'], d)
            self.prompt = encoder.tok.encode(it['prompt'], add_special_tokens=False).ids
            self.want = encoder.tok.encode(it['expected'], add_special_tokens=False).ids
            return
        make = self.sound if d['skill'].startswith('sound') else self.frames if d['skill'] == 'video' else self.picture
        counts, name = make(d['media'][0], processor, folder)
        ids, wanted, at = media.encode(encoder, d, counts)
        for i in at:
            ids[i] = encoder.vocab[name]
        last = evaluate.last_stretch(wanted)
        self.prompt, self.want = ids[:last.index(True)], [t for t, w in zip(ids, last) if w]
        places = starts(ids, encoder.vocab[name])
        self.media[0]['at'] = places if d['skill'] == 'video' else places[0]

    def picture(self, s, processor, folder):
        path = os.path.join(folder, 'picture.png')
        im = pictures.paint(s, random.Random(s['seed']))
        im.save(path)
        self.media = [{'kind': 'image', 'file': 'picture.png', 'budget': s['budget']}]
        x = processor.image_processor(images=[im], max_soft_tokens=s['budget'], return_tensors='pt')
        self.inputs = {k: x[k] for k in ('pixel_values', 'image_position_ids')}
        return [len(pictures.patches(im, s['budget'])[0]) // 9], '<|image|>'

    def frames(self, s, processor, folder):
        images = [pictures.paint(f, random.Random(s['seed'])) for f in s['frames']]
        for k, im in enumerate(images):
            im.save(os.path.join(folder, f'{k}.png'))
        self.media = [{'kind': 'video', 'frames': [f'{k}.png' for k in range(len(images))], 'budget': 70}]
        x = processor.image_processor(images=images, max_soft_tokens=70, return_tensors='pt')
        self.inputs = {'pixel_values_videos': x['pixel_values'], 'video_position_ids': x['image_position_ids'], 'num_frames_per_video': torch.tensor([len(images)])}
        return [[(t, len(pictures.patches(im, 70)[0]) // 9) for t, im in zip(s['times'], images)]], '<|video|>'

    def sound(self, s, processor, folder):
        w = sounds.wave(s)
        with wave.open(os.path.join(folder, 'sound.wav'), 'wb') as f:
            f.setnchannels(1)
            f.setsampwidth(2)
            f.setframerate(16000)
            f.writeframes(w.astype('<i2').tobytes())
        self.media = [{'kind': 'audio', 'file': 'sound.wav'}]
        x = processor.feature_extractor([w.astype(np.float32) / 32768], return_tensors='pt')
        self.inputs = {'input_features': x['input_features'], 'input_features_mask': x['input_features_mask']}
        return [sounds.soft_count(len(sounds.features(w)))], '<|audio|>'


@torch.no_grad()
def compare(ref, q, got):
    """Which tokens of an answer transformers would have written otherwise: (index, its choice, distance of the logits)."""
    z = ref(input_ids=torch.tensor([q.prompt + got]), **q.inputs).logits[0, len(q.prompt) - 1:-1]
    best = z.argmax(-1).tolist()
    return [(i, x, (z[i, x] - z[i, y]).item()) for i, (x, y) in enumerate(zip(best, got)) if x != y]


def ask(o, skill, encoder, processor, ref, stops):
    """(right, as transformers, asked) of a skill; None where the engine does not take it."""
    right = same = n = 0
    with tempfile.TemporaryDirectory() as folder:
        for d in heldout.documents(skill, o.count):
            q = Question(encoder, processor, d, folder)
            case = os.path.join(folder, 'case.json')
            with open(case, 'w') as f:
                json.dump({'tokens': q.prompt, 'media': q.media}, f)
            got = probe(o.program, o.folder, case, len(q.want) + 8, o.precision)
            if got is None:
                return None
            got = got[:next((i + 1 for i, t in enumerate(got) if t in stops), len(got))]
            n += 1
            right += encoder.text(got) == encoder.text(q.want)
            other = compare(ref, q, got) if ref else []
            same += not other
            for i, x, gap in other:
                print(f'   {skill}: token {i}: engine {encoder.tok.id_to_token(got[i])!r}, transformers {encoder.tok.id_to_token(x)!r}, {gap:.2e} apart')
    return right, same, n


def main():
    a = argparse.ArgumentParser()
    a.add_argument('program')
    a.add_argument('folder')
    a.add_argument('--count', type=int, default=20)
    a.add_argument('--precision', default='exact')
    a.add_argument('--skills')
    a.add_argument('--no-reference', action='store_true')
    a.add_argument('--markdown', action='store_true', help='rows of a table')
    o = a.parse_args()
    torch.set_num_threads(1)
    if heldout.digest(os.path.join(o.folder, 'tokenizer.json')) != heldout.digest():
        raise SystemExit('the model was made with another tokenizer than the held-out set')
    import transformers as tf
    encoder, processor = data.Encoder(os.path.join(o.folder, 'tokenizer.json')), tf.AutoProcessor.from_pretrained(o.folder)
    stops = {encoder.vocab[t] for t in ('<eos>', '<turn|>', '<|tool_response>')}
    ref = None if o.no_reference else reference(o.folder)
    total = [0, 0, 0]
    for skill in (o.skills.split(';') if o.skills else [*heldout.SKILLS, *heldout.MEDIA]):
        got = ask(o, skill, encoder, processor, ref, stops)
        if got is None:
            print(f'   {skill}: not in this engine', flush=True)
            continue
        right, same, n = got
        agree = '' if ref is None else f'{same} of {n}'
        print(f'| {skill} | {right} of {n} | {100 * right / n:.1f} % | {agree} |' if o.markdown else
              f'{skill:22s} right {right:4d} of {n:4d}  {100 * right / n:5.1f} %' + (agree and f'   as transformers {agree}'), flush=True)
        total = [t + v for t, v in zip(total, got)]
    print(f'all: right {total[0]} of {total[2]}' + ('' if ref is None else f'; as transformers {total[1]} of {total[2]}'))


if __name__ == '__main__':
    sys.exit(main())
