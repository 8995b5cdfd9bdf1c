#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train nano: stops and goes on at any moment (checkpoints appear whole or not at all), starts warm from models/nano.

    python tools/nano/train.py --out DIR                          begin, or go on from DIR/last.pt
    python tools/nano/train.py --out DIR --warm models/nano       begin from released weights, optimizer fresh
    python tools/nano/train.py --out DIR --from X.pt --decay 1500 a copy of X.pt, learning rate to zero in 1,500 steps

Steps are numbered; step i sees the data of (seed, i) whatever happened before.
"""
import argparse
import json
import os
import random
import signal
import sys
import time
import torch
import auxiliary
import data
import model
import optim
import sounds
import towers
from checkpoint import STOP, load, save

def by_piece(P, old, encoder, pieces):
    """Copy old parameters; rows of the two embedding tables go by the name of the piece."""
    for n, t in P.items():
        if n not in old or old[n].shape[1:] != t.shape[1:]:
            print('fresh:', n, flush=True)
            continue
        if 'embed_tokens' in n:
            for piece, row in pieces.items():
                if piece in encoder.vocab:
                    t[encoder.vocab[piece]] = old[n][row].float()
        else:
            t.copy_(old[n].float())


def warm(folder, P, encoder):
    from safetensors.torch import load_file
    old = {n[len('model.'):]: t for n, t in load_file(os.path.join(folder, 'model.safetensors')).items()}
    by_piece(P, old, encoder, data.Encoder(os.path.join(folder, 'tokenizer.json')).vocab)


class Gossip:
    """Several processes train copies on different data and draw together: every few steps each leaves its parameters in
    a folder in memory and moves half way to the newest of the others."""

    def __init__(self, folder, name, every=20):
        self.folder, self.name, self.every, self.seen = folder, name, every, {}
        os.makedirs(folder, exist_ok=True)

    @torch.no_grad()
    def meet(self, P):
        path = os.path.join(self.folder, self.name)
        torch.save({n: t.detach() for n, t in P.items()}, path + '.part')
        os.replace(path + '.part', path)
        for other in sorted(os.listdir(self.folder)):
            full = os.path.join(self.folder, other)
            if other == self.name or other.endswith('.part') or self.seen.get(other) == os.stat(full).st_mtime_ns:
                continue
            self.seen[other] = os.stat(full).st_mtime_ns
            if time.time() - os.stat(full).st_mtime > 300:
                continue                                        # of a process that is gone
            for n, t in torch.load(full, weights_only=True).items():
                P[n].lerp_(t, 0.5)


def weight(b, before):
    """How much each scored token counts, 1 in the mean: what an answer or the name of a tool begins with (behind one of the
    pieces in before) counts three times, for from then on carrying over is easy."""
    begins = torch.cat((torch.tensor([True]), b.where[1:] != b.where[:-1] + 1)) | torch.isin(b.ids.reshape(-1)[b.where], before)
    w = 1.0 + 2.0 * begins
    return w / w.mean()


def micro(P, b, before):
    """Summed loss of one batch, how many tokens it scores, the loss of the throw-away heads, and its parts by name."""
    soft, extra, parts = None, 0.0, {}
    if b.ids is None:
        return torch.zeros(()), 0, towers.cell_loss(P, model.vision(P, *b.images)[0], b.cells)[0], parts
    if b.images:
        values, _ = model.vision(P, *b.images[:2])
        soft = (b.images[2], values)
        if b.cells is not None:
            extra, _ = towers.cell_loss(P, values, b.cells)
    elif b.sounds:
        values, counts = model.audio(P, *b.sounds[:2])
        soft = (b.sounds[2], values)
        extra, _ = sounds.spell_loss(P, values, counts, b.scenes)
    kept, entered = {}, {}
    h = model.text(P, b.ids, b.pos, model.attention_masks(b.doc, b.pos), soft, kept, entered)
    if b.labels:
        parts = auxiliary.loss(P, b, entered, kept)
        extra = auxiliary.total(parts)
    z = model.logits(P, h.reshape(-1, h.shape[-1])[b.where])
    return (torch.nn.functional.cross_entropy(z, b.next, reduction='none') * weight(b, before)).sum(), len(b.next), extra, parts


def main():
    a = argparse.ArgumentParser()
    a.add_argument('--out', required=True)
    a.add_argument('--warm')
    a.add_argument('--from', dest='source')
    a.add_argument('--towers', help='PATH[:audio|:vision], a checkpoint of towers.py whose towers replace those of the start')
    a.add_argument('--decay', type=int, default=0)
    a.add_argument('--heads', type=float, default=0.2, help="weight of the loss of the towers' throw-away heads")
    a.add_argument('--gossip', help='FOLDER:NAME, a folder in memory where processes that train together meet')
    a.add_argument('--decay-seconds', type=float, default=0, help='as --decay, by the clock')
    a.add_argument('--decay-after', type=float, default=0, help='seconds before that decay begins')
    a.add_argument('--steps', type=int, default=10 ** 9)
    a.add_argument('--seed', type=int, default=1)
    a.add_argument('--muon', type=float, default=0.02)
    a.add_argument('--adam', type=float, default=3e-3)
    a.add_argument('--mix', help='JSON: shares of text skills')
    a.add_argument('--plan', default='T T U T T U T T L', help='what a step holds, in turn: words of the letters of data.Mixture.batch')
    a.add_argument('--threads', type=int, default=1)
    a.add_argument('--eager', action='store_true')
    a.add_argument('--save-every', type=float, default=150)
    a.add_argument('--max-seconds', type=float, default=1e9)
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    if not o.eager:
        model.compile_layers()
    os.makedirs(o.out, exist_ok=True)
    encoder = data.Encoder()
    P = {**model.init(encoder.size, o.seed), **towers.heads(o.seed, {**towers.HEADS, **auxiliary.HEADS})}
    last, step, tokens = os.path.join(o.out, 'last.pt'), 0, 0
    resume = last if os.path.exists(last) or os.path.exists(last + '.before') else o.source
    state = {}
    if resume:
        c = load(resume)
        by_piece(P, c['params'], encoder, c['pieces'])
        step, tokens = c['step'], c['tokens']
        if c['pieces'] == encoder.vocab:
            state = c['optimizer']
        print(f'going on from {resume}, step {step}', flush=True)
    elif o.warm:
        warm(o.warm, P, encoder)
    if o.towers:
        path, _, prefix = o.towers.partition(':')
        for n, t in load(path)['params'].items():
            if n in P and (prefix in n or n.startswith('head.')):
                P[n].copy_(t)
                state.pop(n, None)
        print(f'towers from {o.towers}', flush=True)
    for t in P.values():
        t.requires_grad_(True)
    opt = optim.Optimizer(P, o.muon, o.adam)
    opt.state = state
    begin = c.get('decay_from', step) if resume and o.decay else step
    mixture = data.Mixture(encoder, json.loads(o.mix) if o.mix else None)
    plan = o.plan.split()
    before = torch.tensor([encoder.vocab[p] for p in ('call:', 'Use')])
    gossip = Gossip(*o.gossip.split(':')) if o.gossip else None
    signal.signal(signal.SIGTERM, lambda *_: STOP.append(1))
    signal.signal(signal.SIGINT, lambda *_: STOP.append(1))
    start = saved = shown = time.time()
    loss_sum, scored, seen, kinds = 0.0, 0, 0, {}

    def checkpoint():
        save(last, {'params': {n: t.detach() for n, t in P.items()}, 'optimizer': opt.state, 'step': step, 'tokens': tokens,
                    'pieces': encoder.vocab, 'decay_from': begin})
    first = step
    while step < o.steps and not STOP and time.time() - start < o.max_seconds:
        rng = random.Random(f'{o.seed}:{step}')
        total, count = [], 0
        batches = []
        for k in plan[step % len(plan)]:
            batches.append((k, mixture.batch(k, rng)))
        n = max(1, sum(len(b.next) for _, b in batches))
        for k, b in batches:
            loss, m, extra, parts = micro(P, b, before)
            (loss / n + o.heads * extra).backward()
            v = loss.item()
            s = kinds.setdefault(k, [0.0, 0])
            s[0] += v
            s[1] += m
            for part, l in parts.items():
                p = kinds.setdefault(part, [0.0, 0])
                p[0] += l.item()
                p[1] += 1
            if b.ids is None:
                s[0] += extra.item()
                s[1] += 1
            live = 0 if b.doc is None else int((b.doc >= 0).sum())
            tokens += live
            seen += live
        scale = min(1.0, (step - first + 1) / 40) if first else min(1.0, (step + 1) / 60)
        if o.decay:
            scale *= max(0.0, 1 - (step - begin) / o.decay)
        if o.decay_seconds:
            scale *= min(1.0, max(0.0, (o.decay_seconds - (time.time() - start)) / (o.decay_seconds - o.decay_after)))
        norm = opt.step(scale)
        step += 1
        if gossip and step % gossip.every == 0:
            gossip.meet(P)
        now = time.time()
        if now - shown > 20:
            print(f'{time.strftime("%H:%M:%S")} step {step} tokens {tokens / 1e6:.2f}M {seen / (now - shown):.0f} tok/s norm {norm:.2f} scale {scale:.2f} ' +
                  ' '.join(f'{k} {s[0] / max(1, s[1]):.4f}' for k, s in sorted(kinds.items())), flush=True)
            shown, seen, kinds = now, 0, {}
        if now - saved > o.save_every:
            checkpoint()
            saved = now
        if o.decay and step - begin >= o.decay or o.decay_seconds and now - start >= o.decay_seconds:
            break
    checkpoint()
    print('stopped at step', step, flush=True)


if __name__ == '__main__':
    sys.exit(main())
