#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The drafter: a small assistant that proposes what nano will write next, in the released format (Gemma4Assistant: four
layers without keys and values of their own, which read nano's; a head that looks at the tokens of the likeliest centroids only).
It learns nano's own choices: the label of a position is the token that nano finds most likely there, and a
sequence counts as long as nano itself would have written it.

    python tools/nano/drafter.py train --out DIR [--seconds 1500] [--target models/nano]      goes on from DIR/last.pt
    python tools/nano/drafter.py judge CHECKPOINT|FOLDER [--count 40]                         on held-out questions
    python tools/nano/drafter.py export CHECKPOINT [models/nano-assistant]
"""
import argparse
import json
import os
import random
import signal
import sys
import time
import torch
import torch.nn.functional as F
import arch
import data
import model
import optim
from checkpoint import STOP, load, save
from evaluate import last_stretch, weights

HIDDEN, FFN, LAYERS = 96, 128, 4
KINDS = ['sliding_attention'] * 3 + ['full_attention']
CENTROIDS, TOP = 64, 8
SLOTS = 4                                                      # tokens drafted before nano checks them
FOLDER = data.FOLDER + '-assistant'
TARGET = {k: max(i for i in range(arch.LAYERS - arch.SHARED) if arch.LAYER_TYPES[i] == k) for k in arch.HEAD_DIM}


def init(vocab, seed):
    gen = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=gen) * shape[-1] ** -0.5
    P = {'model.embed_tokens.weight': normal(vocab, HIDDEN), 'model.norm.weight': torch.ones(HIDDEN), 'pre_projection.weight': normal(HIDDEN, 2 * arch.HIDDEN),
         'post_projection.weight': normal(arch.HIDDEN, HIDDEN), 'masked_embedding.centroids.weight': normal(CENTROIDS, HIDDEN)}
    for i, kind in enumerate(KINDS):
        d, n = arch.HEAD_DIM[kind], f'model.layers.{i}.'
        for s, full in model.SHORT.items():
            shape = {'q': (arch.HEADS * d, HIDDEN), 'o': (HIDDEN, arch.HEADS * d), 'gate': (FFN, HIDDEN), 'up': (FFN, HIDDEN), 'down': (HIDDEN, FFN)}.get(s)
            if shape:
                P[n + full] = normal(*shape)
            elif s == 'q_norm':
                P[n + full] = torch.full((d,), d ** -0.25)
            elif s in ('in', 'pre_ff'):
                P[n + full] = torch.ones(HIDDEN)
            elif s in ('post_attn', 'post_ff'):
                P[n + full] = torch.full((HIDDEN,), 0.3)
            elif s == 'scalar':
                P[n + full] = torch.ones(1)
    return P


def balanced(table, groups):
    """token_ordering: clusters of equal size of the rows of a table (k-means with the same room for each), one after the other."""
    gen = torch.Generator().manual_seed(1)
    x = F.normalize(table.float(), dim=1)
    room = len(x) // groups
    middle = x[torch.randperm(len(x), generator=gen)[:groups]]
    for _ in range(12):
        near = x @ middle.T
        order = (near.topk(2, 1).values @ torch.tensor([1.0, -1.0])).argsort(descending=True).tolist()   # who has most to lose first
        left, where = [room] * groups, [0] * len(x)
        choice = near.argsort(1, descending=True).tolist()
        for i in order:
            g = next(g for g in choice[i] if left[g])
            left[g] -= 1
            where[i] = g
        where = torch.tensor(where)
        middle = F.normalize(torch.stack([x[where == g].mean(0) for g in range(groups)]), dim=1)
    return where.argsort(stable=True)


def masks(doc, pos):
    """[B,T,1,T]: the token at p is not in the cache yet, so its query sees what is before it."""
    index = torch.arange(doc.shape[1])
    gap = index[:, None] - index[None, :]
    same = (doc[:, :, None] == doc[:, None, :]) & (gap >= 1)
    out = {}
    for kind, m in (('sliding_attention', same & (gap < arch.WINDOW)), ('full_attention', same)):
        out[kind] = torch.zeros(m.shape, dtype=model.COMPUTE).masked_fill_(~m, -30000.0)[:, :, None, :]
    return out


def step(P, target, token, h, kv, mask, tables):
    """One draft for every position: token [B,T] and h [B,T,H] -> state before the head [B,T,D], next h."""
    e = F.embedding(token, target['language_model.embed_tokens.weight']) * arch.bf16(arch.HIDDEN ** 0.5)
    x = model.linear(torch.cat((e, h.float()), -1), P['pre_projection.weight']).float()
    for i, kind in enumerate(KINDS):
        w = {s: P[f'model.layers.{i}.{n}'] for s, n in model.SHORT.items() if f'model.layers.{i}.{n}' in P}
        x, _ = model.layer_fn(x, None, w, *tables[kind], mask[kind], kv[TARGET[kind]])
    o = model.rms(x, P['model.norm.weight'])
    return o, model.linear(o, P['post_projection.weight']).float()


@torch.no_grad()
def read(target, b):
    """What nano makes of a batch: its states, keys and values, and the token it finds likeliest after each position."""
    kept = {}
    h = model.text(target, b.ids, b.pos, model.attention_masks(b.doc, b.pos), None, kept)
    best = model.logits(target, h.reshape(-1, h.shape[-1])).argmax(-1).view(b.ids.shape)
    tables = {k: model.rope(k, b.pos) for k in arch.HEAD_DIM}
    before = torch.cat((torch.zeros_like(h[:, :1]), h[:, :-1]), 1)
    return before, best, kept, masks(b.doc, b.pos), tables


def later(x, s):
    """x[:, p + s] at p; zeros beyond the end."""
    return x if s == 0 else torch.cat((x[:, s:], torch.zeros_like(x[:, :s])), 1)


def loss_of(P, target, b, cluster):
    h, best, kv, mask, tables = read(target, b)
    wanted = torch.zeros(b.ids.shape, dtype=torch.bool).view(-1).index_fill(0, b.where, True).view(b.ids.shape)
    live, total, right = wanted, 0.0, []
    for s in range(SLOTS):
        o, h = step(P, target, later(b.ids, s), h, kv, mask, tables)
        x, y = o[live], later(best, s)[live]
        z = model.linear(x, P['model.embed_tokens.weight']).float()
        c = model.linear(x, P['masked_embedding.centroids.weight']).float()
        total = total + 0.8 ** s * (F.cross_entropy(z, y) + 0.3 * F.cross_entropy(c, cluster[y]))
        right.append((z.argmax(1) == y).float().mean().item())
        # the next slot counts where nano itself would have written what stands there
        live = live & later(wanted, s + 1) & (later(best, s) == later(b.ids, s + 1))
    return total, right


def train(o):
    torch.set_num_threads(o.threads)
    model.compile_layers()
    encoder = data.Encoder()
    target = weights(o.target, encoder)
    P, n, state = init(encoder.size, o.seed), 0, {}
    ordering = balanced(target['language_model.embed_tokens.weight'], CENTROIDS)
    os.makedirs(o.out, exist_ok=True)
    last = os.path.join(o.out, 'last.pt')
    if os.path.exists(last):
        c = load(last)
        P, n, state, ordering = c['params'], c['step'], c['optimizer'], c['ordering']
    cluster = torch.empty_like(ordering)
    cluster[ordering] = torch.arange(len(ordering)) // (len(ordering) // CENTROIDS)
    for t in P.values():
        t.requires_grad_(True)
    opt = optim.Optimizer(P)
    opt.state = state
    mixture = data.Mixture(encoder)
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, lambda *_: STOP.append(1))
    start = shown = saved = time.time()
    first, sums = n, []
    keep = lambda: save(last, {'params': {k: t.detach() for k, t in P.items()}, 'optimizer': opt.state, 'step': n, 'ordering': ordering, 'pieces': encoder.vocab})
    while not STOP and time.time() - start < o.seconds:
        rng = random.Random(f'drafter:{o.seed}:{n}')
        b = mixture.batch('TTU'[n % 3], rng)
        loss, right = loss_of(P, target, b, cluster)
        loss.backward()
        opt.step(min(1.0, (n - first + 1) / 40, max(0.05, 2 * (1 - (time.time() - start) / o.seconds))))
        sums.append(right)
        n += 1
        now = time.time()
        if now - shown > 20:
            print(f'{time.strftime("%H:%M:%S")} step {n} loss {loss.item():.3f} slots ' + ' '.join(f'{sum(r[s] for r in sums) / len(sums):.3f}' for s in range(SLOTS)), flush=True)
            shown, sums = now, []
        if now - saved > 120:
            keep()
            saved = now
    keep()


def propose(P, ordering, o, sparse):
    z = model.linear(o, P['model.embed_tokens.weight']).float()
    if not sparse:
        return z.argmax(-1)
    top = model.linear(o, P['masked_embedding.centroids.weight']).float().topk(TOP, -1).indices
    ids = ordering.view(CENTROIDS, -1)[top].flatten(-2)
    return ids.gather(-1, z.gather(-1, ids).argmax(-1, keepdim=True))[..., 0]


@torch.no_grad()
def judge_documents(P, ordering, target, encoder, docs, sparse=True):
    """(tokens written, passes of nano, accepted by slot, offered by slot) when each answer is drafted SLOTS tokens at a time."""
    out = [0, 0, [0] * SLOTS, [0] * SLOTS]
    for d in docs:
        ids, wanted = encoder.document(d)
        b = data.Batch([[(ids, last_stretch(wanted))]], len(ids))
        h, best, kv, mask, tables = read(target, b)
        if not bool((best.view(-1)[b.where] == b.next).all()):
            continue                                            # nano writes something else; then its own text is not at hand
        drafts, token = [], b.ids
        for _ in range(SLOTS):
            o, h = step(P, target, token, h, kv, mask, tables)
            token = propose(P, ordering, o, sparse)
            drafts.append(token[0])
        p, end = int(b.where[0]) + 1, int(b.where[-1])          # the first token comes with the prompt; p holds the newest
        while p <= end:
            m = 0
            while m < SLOTS and p + m <= end:
                out[3][m] += 1
                if int(drafts[m][p]) != int(best[0, p + m]):
                    break
                out[2][m] += 1
                m += 1
            took = min(m + 1, end + 1 - p)
            out[0] += took
            out[1] += 1
            p += took
    return out


def open_drafter(path, encoder):
    if path.endswith('.pt'):
        c = load(path)
        return {n: t.to(torch.bfloat16).float() for n, t in c['params'].items()}, c['ordering']
    from safetensors.torch import load_file
    t = load_file(os.path.join(path, 'model.safetensors'))
    return {n: v.float() for n, v in t.items() if 'ordering' not in n}, t['masked_embedding.token_ordering']


def judge(o):
    import heldout
    torch.set_num_threads(o.threads)
    model.set_compute(torch.float32)
    encoder = data.Encoder()
    P, ordering = open_drafter(o.source, encoder)
    target = weights(o.target, encoder)
    whole = [0, 0, [0] * SLOTS, [0] * SLOTS]
    print(f'| skill | tokens a pass | accepted by slot |\n|---|---|---|')
    show = lambda name, r: print(f'| {name} | {r[0] / max(1, r[1]):.2f} | ' + ' '.join(f'{100 * a / b:.0f} %' if b else '-' for a, b in zip(r[2], r[3])) + ' |', flush=True)
    for skill in heldout.SKILLS:
        r = judge_documents(P, ordering, target, encoder, list(heldout.documents(skill, o.count)), not o.dense)
        show(skill, r)
        whole = [whole[0] + r[0], whole[1] + r[1], [a + b for a, b in zip(whole[2], r[2])], [a + b for a, b in zip(whole[3], r[3])]]
    show('all', whole)


def config(vocab):
    import transformers as tf
    text = dict(vocab_size=vocab, vocab_size_per_layer_input=0, hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=LAYERS, num_attention_heads=arch.HEADS,
                num_key_value_heads=1, head_dim=arch.HEAD_DIM['sliding_attention'], global_head_dim=arch.HEAD_DIM['full_attention'], sliding_window=arch.WINDOW,
                layer_types=KINDS, final_logit_softcapping=None, max_position_embeddings=4096, hidden_size_per_layer_input=0, num_kv_shared_layers=LAYERS)
    c = tf.Gemma4AssistantConfig(text_config=tf.Gemma4TextConfig(**text), backbone_hidden_size=arch.HIDDEN, use_ordered_embeddings=True,
                                 num_centroids=CENTROIDS, centroid_intermediate_top_k=TOP)
    c.architectures = ['Gemma4AssistantForCausalLM']
    c.dtype = torch.bfloat16
    return c


def export(o):
    from safetensors.torch import save_file
    encoder = data.Encoder()
    c = load(o.source)
    if c['pieces'] != encoder.vocab:
        raise SystemExit('the checkpoint was made with another tokenizer')
    folder = o.folder or FOLDER
    os.makedirs(folder, exist_ok=True)
    config(encoder.size).save_pretrained(folder)
    json.dump({'bos_token_id': 2, 'eos_token_id': [1, encoder.vocab['<turn|>'], encoder.vocab['<|tool_response>']], 'num_assistant_tokens': SLOTS, 'pad_token_id': 0,
               'transformers_version': '5.23.0'}, open(os.path.join(folder, 'generation_config.json'), 'w'), indent=2)
    out = {n: t.detach().to(torch.bfloat16).contiguous() for n, t in c['params'].items()}
    out['masked_embedding.token_ordering'] = c['ordering'].long()
    path = os.path.join(folder, 'model.safetensors')
    save_file(out, path + '.part', metadata={'format': 'pt'})
    os.replace(path + '.part', path)
    print(f'{path}: step {c["step"]}, {sum(t.numel() for t in c["params"].values())} parameters, {os.path.getsize(path)} bytes')


def main():
    a = argparse.ArgumentParser()
    a.add_argument('what', choices=('train', 'judge', 'export'))
    a.add_argument('source', nargs='?')
    a.add_argument('folder', nargs='?')
    a.add_argument('--out')
    a.add_argument('--target', default=data.FOLDER)
    a.add_argument('--seconds', type=float, default=1500)
    a.add_argument('--seed', type=int, default=5)
    a.add_argument('--threads', type=int, default=1)
    a.add_argument('--count', type=int, default=40)
    a.add_argument('--dense', action='store_true', help='judge with logits of all tokens')
    o = a.parse_args()
    if o.what == 'train' and not o.out or o.what != 'train' and not o.source:
        a.error('train needs --out, judge and export a checkpoint')
    return {'train': train, 'judge': judge, 'export': export}[o.what](o)


if __name__ == '__main__':
    sys.exit(main())
