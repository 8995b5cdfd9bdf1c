# SPDX-License-Identifier: Apache-2.0
"""Pictures, sounds and videos as conversations: batches for training, the held-out set, calibration of clip bounds.

A document's media are recipes (scenes); placeholders in the rendered text are expanded to soft tokens here, as
transformers' processor does it."""
import random
import numpy as np
import torch
import chat
import data
import model as net
import pictures
import sounds
from words import *

IMAGE, SOUND, VIDEO = {'type': 'image'}, {'type': 'audio'}, {'type': 'video'}


def ask(part, questions):
    """Messages: the medium with the first question, the others after it."""
    out = []
    for k, (_, q, a) in enumerate(questions):
        require(a, q)
        out += [user([part, {'type': 'text', 'text': q}] if k == 0 else q), model(a)]
    return out


def expand(text, counts):
    """Placeholders, in order, become markers and soft tokens; a video's count is a list of (timestamp, n)."""
    out, k = '', 0
    while text:
        at = min((i for i in (text.find('<|image|>'), text.find('<|audio|>'), text.find('<|video|>')) if i >= 0), default=-1)
        if at < 0:
            return out + text
        name, n = text[at:at + 9], counts[k]
        k += 1
        if name == '<|image|>':
            body = '<|image>' + name * n + '<image|>'
        elif name == '<|audio|>':
            body = '<|audio>' + name * n + '<audio|>'
        else:
            body = ' '.join(f'{t} <|image>' + name * m + '<image|>' for t, m in n)
        out, text = out + text[:at] + body, text[at + 9:]
    return out


def encode(encoder, d, counts):
    """ids, wanted, and which positions are soft tokens (their ids are the pad id)."""
    ids, wanted = [], []
    soft = {encoder.vocab[n] for n in ('<|image|>', '<|audio|>', '<|video|>')}
    counts = list(counts)
    for text, want in chat.render(d['messages'], d['tools'], False, d['thinking']):
        here = [c for c in ('<|image|>', '<|audio|>', '<|video|>') for _ in range(text.count(c))]
        t = encoder.piece(text) if not here else encoder.tok.encode(expand(text, counts), add_special_tokens=False).ids
        counts = counts[len(here):]
        ids += t
        wanted += [want] * len(t)
    at = [i for i, t in enumerate(ids) if t in soft]
    return [0 if t in soft else t for t in ids], wanted, at


def picture_document(s, rng, test, n, most=400, budget=70):
    """A conversation about one picture with as many questions as fit; None when the scene answers none."""
    qs, length = [], n + 20
    for _ in range(12):
        if qs and length > most - 14:
            break
        some = pictures.questions(s, rng, test)
        rng.shuffle(some)
        for q in some:
            cost = len(q[1].split()) + len(q[1]) // 8 + 16
            if (not qs or length + cost < most) and len(qs) < 10 and q[1] not in [x[1] for x in qs]:
                qs.append(q)
                length += cost
    if not qs:
        return None
    rng.shuffle(qs)
    return document(qs[0][0], ask(IMAGE, qs), media=[dict(s, budget=budget)])


def assemble(encoder, docs, rows, length, filler):
    """One document a row as far as they go, the rest of the rows filled by others."""
    B = len(docs)
    packed, flat = [], []
    for r, (ids, wanted, at) in enumerate(docs):
        packed.append([(ids, wanted)])
        flat += [r * length + i for i in at]
    rest = rows - B
    if rest > 0:
        packed += data.pack(filler, rest, length)
    return data.Batch(packed, length), torch.tensor(flat)


MIXTURE = []


def batch(kind, encoder, rng):
    if not MIXTURE:
        MIXTURE.append(data.Mixture(encoder))
    m = MIXTURE[0]
    filler = lambda: encoder.document(rng.choices(m.makers, m.weights)[0](rng, False))
    if kind in 'IJ':
        big = kind == 'I' and rng.random() < 0.1
        budget, n, rows, length, shift = (20, 24, 24, 128, 5) if kind == 'J' else (140, 3, 8, 256, 0) if big else (70, 8, 8, 256, 0)
        px, at = torch.zeros(n, 9 * budget, 768), torch.full((n, 9 * budget, 2), -1)
        docs, cells = [], []
        while len(docs) < n:
            s = pictures.scene(rng, False, budget=budget)
            a, p = pictures.patches(pictures.paint(s, rng), budget)
            d = picture_document(s, rng, False, len(a) // 9, 125 if kind == 'J' else 225, budget)
            e = d and encode(encoder, d, [len(a) // 9])
            if not e or len(e[0]) > length:
                continue
            k = len(docs)
            px[k, :len(a)], at[k, :len(a)] = torch.from_numpy(a), torch.from_numpy(p)
            docs.append(e)
            if s['kind'] == 'read':                             # where places are asked for, the border must be where it is
                at[k, :len(a)] += 3 * torch.tensor([rng.randint(0, shift), rng.randint(0, shift)])
            cells.append(pictures.labels(s, p))
        b, flat = assemble(encoder, docs, rows, length, filler)
        b.images = (px, at, flat)
        b.cells = torch.from_numpy(np.concatenate(cells, 1))
        return b
    if kind == 'K':
        import towers
        px, at, cells, _ = towers.picture_batch(rng, 28, 20, 'read' if rng.random() < 0.5 else None, 10)
        b = data.Batch(None, 0, images=(px, at))
        b.cells = cells
        return b
    if kind == 'S':
        x, mask, scenes = sounds.batch(rng, 12)
        docs = []
        for k, s in enumerate(scenes):
            q = sounds.question(s, rng, False)
            docs.append(encode(encoder, document(q[0], ask(SOUND, [q])), [sounds.soft_count(int(mask[k].sum()))]))
        docs_ok = [len(d[0]) <= 128 for d in docs]
        keep = [k for k, ok in enumerate(docs_ok) if ok]
        b, flat = assemble(encoder, [docs[k] for k in keep], 24, 128, filler)
        b.sounds = (x[keep], mask[keep], flat)
        b.scenes = [scenes[k] for k in keep]
        return b
    if kind == 'V':
        budget, n, length = (20, 6, 256) if rng.random() < 0.6 else (70, 2, 448)
        px, at, docs, cells = torch.zeros(4 * n, 9 * budget, 768), torch.full((4 * n, 9 * budget, 2), -1), [], []
        while len(docs) < n:
            s = pictures.video_scene(rng, False, budget)
            qs = pictures.video_questions(s, rng, False) + pictures.video_questions(s, rng, False) + pictures.video_colours(s, rng)
            rng.shuffle(qs)
            frames = [pictures.patches(pictures.paint(f, random.Random(s['seed'])), budget) for f in s['frames']]
            counts = [[(t, len(a) // 9) for t, (a, _) in zip(s['times'], frames)]]
            while len((e := encode(encoder, document('video', ask(VIDEO, qs)), counts))[0]) > length:
                qs.pop()
            for k, (a, p) in enumerate(frames):
                px[4 * len(docs) + k, :len(a)], at[4 * len(docs) + k, :len(a)] = torch.from_numpy(a), torch.from_numpy(p)
                cells.append(pictures.labels(s['frames'][k], p))
            docs.append(e)
        b, flat = assemble(encoder, docs, n, length, filler)
        b.images = (px, at, flat)
        b.cells = torch.from_numpy(np.concatenate(cells, 1))
        return b
    raise ValueError(kind)


# ---- held out

def heldout(skill, count, seed):
    made = 0
    k = 0
    while made < count:
        rng = random.Random(f'{seed}:{skill}:{k}')
        k += 1
        if skill.startswith('image'):
            budget = 140 if rng.random() < 0.2 else 70
            kind = {'image-read': 'read', 'image-count': 'count', 'image-place': 'two'}.get(skill) or rng.choice(('one', 'two') if skill == 'image-colour' else ('one',))
            s = pictures.scene(rng, True, kind, budget)
            qs = [q for q in pictures.questions(s, rng, True) if q[0] == skill]
            if not qs:
                continue
            yield document(skill, ask(IMAGE, [rng.choice(qs)]), media=[dict(s, budget=budget, seed=k)])
        elif skill.startswith('sound'):
            s = sounds.scene(rng, True, skill.split('-')[1])
            yield document(skill, ask(SOUND, [sounds.question(s, rng, True)]), media=[s])
        else:
            s = pictures.video_scene(rng, True)
            yield document(skill, ask(VIDEO, [rng.choice(pictures.video_questions(s, rng, True))]), media=[s])
        made += 1


@torch.no_grad()
def soft_tokens(P, d):
    """(soft tokens, counts) of a document's media."""
    s = d['media'][0]
    if d['skill'] == 'video':
        parts = [pictures.patches(pictures.paint(f, random.Random(s['seed'])), 70) for f in s['frames']]
        soft, counts = net.vision(P, torch.from_numpy(np.stack([a for a, _ in parts])), torch.from_numpy(np.stack([p for _, p in parts])))
        return soft, [list(zip(s['times'], counts.tolist()))]
    if d['skill'].startswith('image'):
        a, p = pictures.patches(pictures.paint(s, random.Random(s['seed'])), s['budget'])
        return net.vision(P, torch.from_numpy(a)[None], torch.from_numpy(p)[None])
    f = torch.from_numpy(sounds.features(sounds.wave(s)))
    return net.audio(P, f[None], torch.ones(1, len(f), dtype=torch.bool))


@torch.no_grad()
def judge(P, encoder, docs):
    import evaluate
    out = []
    for d in docs:
        soft, counts = soft_tokens(P, d)
        ids, wanted, at = encode(encoder, d, counts if isinstance(counts, list) else counts.tolist())
        b = data.Batch([[(ids, evaluate.last_stretch(wanted))]], len(ids))
        h = net.text(P, b.ids, b.pos, net.attention_masks(b.doc, b.pos), (torch.tensor(at), soft))
        best = net.logits(P, h[0][b.where]).argmax(-1)
        show = lambda t: encoder.text(t.tolist())
        out.append((bool((best == b.next).all()), show(best), show(b.next)))
    return out


@torch.no_grad()
def calibrate(P, encoder, n=40):
    """Largest magnitude at the input and output of each clipped linear, over training media."""
    ranges, plain = {}, net.clipped

    def watch(p, name, x):
        y = plain(p, name, x)
        key = next(k for k, t in P.items() if t is p[name + '.linear.weight'])[:-len('.linear.weight')]
        a, b = ranges.get(key, (0.0, 0.0))
        ranges[key] = (max(a, x.abs().max().item()), max(b, y.abs().max().item()))
        return y
    kept = net.COMPUTE
    net.set_compute(torch.float32)
    net.clipped = watch
    try:
        for k in range(n):
            rng = random.Random(f'calibrate:{k}')
            s = pictures.scene(rng, False, budget=140 if k % 5 == 0 else 70)
            a, p = pictures.patches(pictures.paint(s, rng), 140 if k % 5 == 0 else 70)
            net.vision(P, torch.from_numpy(a)[None], torch.from_numpy(p)[None])
            f = torch.from_numpy(sounds.features(sounds.wave(sounds.scene(rng, False))))
            net.audio(P, f[None], torch.ones(1, len(f), dtype=torch.bool))
    finally:
        net.clipped = plain
        net.set_compute(kept)
    return ranges
