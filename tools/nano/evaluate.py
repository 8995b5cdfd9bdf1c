#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Held-out accuracy by skill: the text of whole answers, thought and calls included, must come out as expected under
greedy decoding. Computed by teacher forcing in float32 from bfloat16 weights: greedy decoding writes an answer if and only
if each of its tokens is the likeliest one. Where one is not, but begins as the text goes on (" qu" where " que" is a piece),
decoding goes on from there; for pictures and sounds such an answer counts as wrong here (evaluate_engine.py decodes all).

    python tools/nano/evaluate.py CHECKPOINT.pt | FOLDER [--count 200] [--skills 'a;b'] [--show N] [--markdown]
"""
import argparse
import os
import sys
import torch
import checkpoint
import data
import heldout
import model


def weights(path, encoder):
    if path.endswith('.pt'):
        c = checkpoint.load(path)
        if c['pieces'] != encoder.vocab:
            raise SystemExit('the checkpoint was made with another tokenizer than the held-out set')
        return {n: t.to(torch.bfloat16).float() for n, t in c['params'].items() if not n.startswith('head.')}
    if heldout.digest(os.path.join(path, 'tokenizer.json')) != heldout.digest():
        raise SystemExit('the model was made with another tokenizer than the held-out set')
    from safetensors.torch import load_file
    return {n[len('model.'):]: t.float() for n, t in load_file(os.path.join(path, 'model.safetensors')).items()}


def last_stretch(wanted):
    """Only the last run of wanted tokens counts."""
    end = max(i for i, w in enumerate(wanted) if w)
    start = end
    while start and wanted[start - 1]:
        start -= 1
    return [start <= i <= end for i in range(len(wanted))]


def write_on(P, encoder, ids, at, token, want):
    """The text that ids[at:] become when `token` stands at their place and greedy decoding goes on, as long as the text `want`
    begins with it."""
    ids = ids[:at] + [token]
    while (text := encoder.text(ids[at:])) != want and want.startswith(text.rstrip('\ufffd')):     # of a character in bytes, some may be missing
        b = data.Batch([[(ids, [True] * len(ids))]], len(ids))
        h = model.text(P, b.ids, b.pos, model.attention_masks(b.doc, b.pos))
        ids.append(int(model.logits(P, h[0, -1:]).argmax()))
    return text


@torch.no_grad()
def judge(P, encoder, docs):
    """For each document whether the wanted text is written, what is written until it departs from that, and the wanted text."""
    out = []
    for at in range(0, len(docs), 16):
        rows = [[(i, last_stretch(w))] for i, w in map(encoder.document, docs[at:at + 16])]
        b = data.Batch(rows, max(len(r[0][0]) for r in rows))
        h = model.text(P, b.ids, b.pos, model.attention_masks(b.doc, b.pos))
        best = model.logits(P, h.reshape(-1, h.shape[-1])[b.where]).argmax(-1)
        row = b.where // b.ids.shape[1]
        for k in range(len(rows)):
            got, want, (ids, wanted) = best[row == k].tolist(), b.next[row == k].tolist(), rows[k][0]
            said = encoder.text(got)
            if got != want:
                j = next(j for j, (x, y) in enumerate(zip(got, want)) if x != y)
                said = encoder.text(want[:j]) + write_on(P, encoder, ids, wanted.index(True) + j, got[j], encoder.text(want[j:]))
            out.append((said == encoder.text(want), said, encoder.text(want)))
    return out


def main():
    a = argparse.ArgumentParser()
    a.add_argument('model')
    a.add_argument('--count', type=int, default=200)
    a.add_argument('--skills')
    a.add_argument('--show', type=int, default=0)
    a.add_argument('--markdown', action='store_true', help='rows of a table')
    a.add_argument('--fast', action='store_true', help='bfloat16 products')
    o = a.parse_args()
    torch.set_num_threads(1)
    model.set_compute(torch.bfloat16 if o.fast else torch.float32)
    encoder = data.Encoder()
    P = weights(o.model, encoder)
    for skill in (o.skills.split(';') if o.skills else list(heldout.SKILLS) + list(heldout.MEDIA)):
        if skill in heldout.MEDIA:
            try:
                import media
            except ImportError:
                continue
            docs = list(heldout.documents(skill, o.count))
            got = media.judge(P, encoder, docs)
        else:
            docs = list(heldout.documents(skill, o.count))
            got = judge(P, encoder, docs)
        right = sum(g[0] for g in got)
        print(f'| {skill} | {right} of {len(got)} | {100 * right / len(got):.1f} % |' if o.markdown else
              f'{skill:22s} {right:4d} of {len(got):4d}  {100 * right / len(got):5.1f} %', flush=True)
        for d, g in [x for x in zip(docs, got) if not x[1][0]][:o.show]:
            print('   asked', repr(next(m['content'] for m in reversed(d['messages']) if m['role'] == 'user'))[:150], '\n   wrote', repr(g[1]), '\n   right', repr(g[2]))


if __name__ == '__main__':
    sys.exit(main())
