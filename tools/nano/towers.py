#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Teach the towers to see and hear before the language model reads them: every soft token of a picture learns what
stands in its cell (shape, colour, character, whether the middle of one), the soft tokens of a sound learn to spell it (CTC). The small heads
for that are thrown away. Language-model training starts from the result (train.py --towers).

    python tools/nano/towers.py --out DIR [--what I|S|IS]
"""
import argparse
import os
import random
import signal
import time
import numpy as np
import torch
import torch.nn.functional as F
import data
import model
import optim
import sounds
from checkpoint import STOP, load, save

CELLS = {'head.shape': 9, 'head.colour': 12, 'head.char': 63, 'head.middle': 2, 'head.across': 11, 'head.down': 11}     # rows of labels
HEADS = {**CELLS, 'head.sound': None}


def picture_batch(rng, n=8, budget=70, kind=None, shift=0):
    """patches [n,9*budget,768], positions, labels [6, all cells], scenes. shift: the most cells that a picture lies
    off the corner, as if it were a piece of a larger one."""
    import pictures
    px, at = torch.zeros(n, 9 * budget, 768), torch.full((n, 9 * budget, 2), -1)
    cells, scenes = [], []
    for k in range(n):
        s = pictures.scene(rng, False, kind, budget)
        a, p = pictures.patches(pictures.paint(s, rng), budget)
        cells.append(pictures.labels(s, p))
        off = np.array([rng.randint(0, shift), rng.randint(0, shift)])
        p = p + 3 * off
        px[k, :len(a)], at[k, :len(a)] = torch.from_numpy(a), torch.from_numpy(p)
        if off.any():
            cells[-1][4:] = -100                                # where the border is can not be seen then
        scenes.append(s)
    return px, at, torch.from_numpy(np.concatenate(cells, 1)), scenes


def heads(seed, rows=HEADS):
    gen = torch.Generator().manual_seed(seed)
    return {n: torch.randn(k or sounds.CLASSES, 192, generator=gen) * 192 ** -0.5 for n, k in rows.items()}


def picture_loss(P, px, at, cells):
    return cell_loss(P, model.vision(P, px, at)[0], cells)


def cell_loss(P, soft, cells):
    total, right = 0.0, []
    for y, name in zip(cells, CELLS):
        z = model.linear(soft, P[name]).float()
        weight = torch.where(y > 0, 1.0, 0.15) * (y >= 0)   # a colour without a name has no label
        total = total + (F.cross_entropy(z, y, reduction='none') * weight).sum() / weight.sum().clamp(min=1)
        live = y > 0
        right.append((z.argmax(1)[live] == y[live]).float().mean().item() if live.any() else float('nan'))
    return total, right


def main():
    a = argparse.ArgumentParser()
    a.add_argument('--out', required=True)
    a.add_argument('--what', default='I')
    a.add_argument('--seed', type=int, default=2)
    a.add_argument('--muon', type=float, default=0.02)
    a.add_argument('--adam', type=float, default=3e-3)
    a.add_argument('--whole', type=float, default=0.15, help='share of steps with pictures of full size')
    a.add_argument('--decay', type=int, default=0)
    a.add_argument('--eager', action='store_true')
    o = a.parse_args()
    torch.set_num_threads(1)
    if not o.eager:
        model.compile_layers()
    encoder = data.Encoder()
    P = {n: t for n, t in model.init(encoder.size, o.seed).items() if not n.startswith('language_model.')}
    P.update(heads(o.seed))
    os.makedirs(o.out, exist_ok=True)
    last, step, state = os.path.join(o.out, 'last.pt'), 0, {}
    if os.path.exists(last):
        c = load(last)
        for n, t in c['params'].items():
            if P[n].shape == t.shape:
                P[n].copy_(t)
        step, state = c['step'], {n: s for n, s in c['optimizer'].items() if s['m'].shape == P[n].shape}
    for t in P.values():
        t.requires_grad_(True)
    opt = optim.Optimizer(P, o.muon, o.adam)
    opt.state = state
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, lambda *_: STOP.append(1))
    shown = saved = time.time()
    sums, first, n = {}, step, 0

    def checkpoint():
        save(last, {'params': {k: t.detach() for k, t in P.items()}, 'optimizer': opt.state, 'step': step, 'tokens': 0, 'pieces': encoder.vocab})
    while not STOP:
        rng = random.Random(f'towers:{o.seed}:{step}')
        for what in o.what:
            if what == 'I':
                k = rng.random()                       # mostly small pictures: many more of them in the same time
                n_, budget, shift = (8, 70, 0) if k < o.whole else (3, 140, 0) if k < o.whole * 1.2 else (28, 20, 10)
                px, at, cells, _ = picture_batch(rng, n_, budget, None, shift)
                loss, right = picture_loss(P, px, at, cells)
                got = dict(zip((n.removeprefix('head.') for n in CELLS), right), loss=loss.item())
            else:

                loss, got = sounds.tower_loss(P, rng)
            loss.backward()
            for k, v in got.items():
                if v == v:
                    s = sums.setdefault(what + '.' + k, [0.0, 0])
                    s[0] += v
                    s[1] += 1
        scale = min(1.0, (step - first + 1) / 50)
        if o.decay:
            scale *= max(0.0, 1 - (step - first) / o.decay)
        opt.step(scale)
        step += 1
        n += 1
        now = time.time()
        if now - shown > 20:
            print(f'{time.strftime("%H:%M:%S")} step {step} {n / (now - shown):.2f} steps/s ' + ' '.join(f'{k} {s[0] / s[1]:.3f}' for k, s in sorted(sums.items())), flush=True)
            shown, sums, n = now, {}, 0
        if now - saved > 120:
            checkpoint()
            saved = now
        if o.decay and step - first >= o.decay:
            break
    checkpoint()


if __name__ == '__main__':
    main()
