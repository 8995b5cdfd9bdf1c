#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hold model.py against transformers' own Gemma4ForConditionalGeneration, float32: text longer than the window,
packed documents, an image and a sound. Weights are random and every norm, scalar and bias has a value of its own.

    python tools/nano/test_forward.py
"""
import sys
import torch
import arch
import model

torch.manual_seed(1)
torch.set_grad_enabled(False)
CONTROL = {'<|image|>': 9, '<|video|>': 10, '<|audio|>': 11, '<|image>': 12, '<image|>': 13, '<|audio>': 14, '<audio|>': 15}


def reference(V):
    import transformers as tf
    ref = tf.Gemma4ForConditionalGeneration(arch.config(V, CONTROL)).float().eval()
    for m in ref.modules():
        if hasattr(m, 'embed_scale') and torch.is_tensor(m.embed_scale):
            m.embed_scale.fill_(arch.bf16(m.scalar_embed_scale))
    return ref


def fill(ref, P):
    state = ref.state_dict()
    names = {n[len('model.'):]: t for n, t in state.items() if n.startswith('model.')}
    for n, t in P.items():
        assert names[n].shape == t.shape, (n, names[n].shape, t.shape)
        names[n].copy_(t)
    left = [n for n in names if n not in P and not n.endswith(('_min', '_max'))]
    assert not left, left


def check(what, a, b, limit=2e-5):
    d = (a - b).abs().max().item()
    print(f'{what:28s} difference {d:.1e}, largest {b.abs().max():.2f}')
    return d < limit * max(1.0, b.abs().max().item())


def main():
    V = 512
    model.set_compute(torch.float32)
    P = model.init(V, 3)
    for n, t in P.items():
        if 'norm' in n and 'q_norm' not in n and 'k_norm' not in n or n.endswith(('scalar', 'bias', 'per_dim_scale')):
            t.mul_(1 + 0.3 * torch.randn(t.shape)).add_(0.05 * torch.randn(t.shape))
    P['language_model.embed_tokens_per_layer.weight'].copy_(0.2 * torch.randn(V, 320))
    ref, ok = reference(V), True
    fill(ref, P)
    a, b = torch.randint(20, V, (150,)), torch.randint(20, V, (40,))
    want = [ref(input_ids=t[None]).logits[0] for t in (a, b)]
    ids = torch.cat((a, b))[None]
    doc = torch.tensor([[0] * 150 + [1] * 40])
    pos = torch.tensor([list(range(150)) + list(range(40))])
    got = model.logits(P, model.text(P, ids, pos, model.attention_masks(doc, pos)))[0]
    ok &= check('text, two packed documents', got, torch.cat(want))

    px, at = [], []
    for w, h in ((30, 21), (12, 9)):
        px.append(torch.nn.functional.pad(torch.rand(w * h, 768), (0, 0, 0, 630 - w * h)))
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
        at.append(torch.nn.functional.pad(torch.stack((x, y), -1).view(-1, 2), (0, 0, 0, 630 - w * h), value=-1))
    px, at = torch.stack(px), torch.stack(at)
    want = ref.model.get_image_features(px, at, return_dict=True).pooler_output
    got, counts = model.vision(P, px, at)
    ok &= check('soft tokens of two images', got, torch.cat(list(want))) and counts.tolist() == [70, 12]

    f = torch.randn(2, 173, 128) * 2 - 4
    m = torch.ones(2, 173, dtype=torch.bool)
    m[1, 90:] = False
    f[~m] = 0
    r = ref.model.get_audio_features(f, m, return_dict=True)
    got, counts = model.audio(P, f, m)
    ok &= check('soft tokens of two sounds', got, r.pooler_output[r.attention_mask.bool()])

    n = int(counts[0])
    ids = torch.cat((a[:30], torch.tensor([14]), torch.full((n,), 11), torch.tensor([15]), b))[None]
    types = torch.tensor([[0] * 31 + [3] * n + [0] * 41])
    want = ref(input_ids=ids, mm_token_type_ids=types, input_features=f[:1], input_features_mask=m[:1]).logits[0]
    where = torch.arange(31, 31 + n)
    fed = ids.clone()
    fed[0, where] = 0
    zero = torch.zeros_like(ids)
    masks = model.attention_masks(zero, zero)
    h = model.text(P, fed, torch.arange(ids.shape[1])[None], masks, (where, got[:n]))
    ok &= check('text around a sound', model.logits(P, h)[0], want)
    print('equal' if ok else 'DIFFERENT')
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
