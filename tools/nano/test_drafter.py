#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A drafter's folder through transformers beside drafter.py, on nano's states: the same drafts, logits and states. transformers 5.23
refuses to build a drafter, since all of its layers share their keys and values; that is mended here, in memory.

    python tools/nano/test_drafter.py FOLDER [CHECKPOINT]     a checkpoint is exported to FOLDER first
"""
import argparse
import sys
import torch
import transformers as tf
import arch
import data
import drafter
import heldout
import model
from evaluate import weights


def mend(cls):
    modes = cls.kv_sharing_modes.fget
    cls.kv_sharing_modes = property(lambda c: ['reuse'] * c.num_hidden_layers if c.num_kv_shared_layers == c.num_hidden_layers else modes(c))


@torch.no_grad()
def reference(nano, small, ids, n):
    o = nano(input_ids=torch.tensor([ids[:-1]]), use_cache=False, output_hidden_states=True, return_shared_kv_states=True)
    h, last, out = o.hidden_states[-1][:, -1:], torch.tensor([[ids[-1]]]), []
    for _ in range(n):
        e = torch.cat((nano.get_input_embeddings()(last), h), -1)
        r = small(inputs_embeds=e, attention_mask=torch.ones(1, len(ids) - 1, dtype=torch.long), position_ids=torch.tensor([[len(ids) - 1]]),
                  shared_kv_states=o.shared_kv_states, use_cache=False)
        last, h = r.logits.argmax(-1), r.last_hidden_state
        out.append((int(last), r.logits[0, 0], h[0, 0]))
    return out


@torch.no_grad()
def ours(P, ordering, target, ids, n):
    b = data.Batch([[(ids, [False] * (len(ids) - 1) + [True])]], len(ids))
    h, _, kv, mask, tables = drafter.read(target, b)
    token, out = b.ids, []
    for _ in range(n):
        o, h = drafter.step(P, target, token, h, kv, mask, tables)
        z = model.linear(o, P['model.embed_tokens.weight']).float()[0, -1]
        token = drafter.propose(P, ordering, o, True)
        out.append((int(token[0, -1]), z, h[0, -1]))
    return out


def main():
    folder = sys.argv[1]
    if len(sys.argv) > 2:
        drafter.export(argparse.Namespace(source=sys.argv[2], folder=folder))
    torch.set_num_threads(1)
    model.set_compute(torch.float32)
    mend(tf.Gemma4TextConfig)
    encoder = data.Encoder()
    nano = tf.AutoModelForImageTextToText.from_pretrained(data.FOLDER, dtype=torch.float32, attn_implementation='eager').eval()
    small = tf.Gemma4AssistantForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation='eager').eval()
    for m in nano.modules():                                    # as in bfloat16, in which the weights are kept
        if hasattr(m, 'embed_scale') and torch.is_tensor(m.embed_scale):
            m.embed_scale.fill_(arch.bf16(m.scalar_embed_scale))
    P, ordering = drafter.open_drafter(folder, encoder)
    target = weights(data.FOLDER, encoder)
    worst, drafts = 0.0, 0
    for skill in ('thought: to 3 digits', 'copy', 'manual', 'tools'):
        for d in heldout.documents(skill, 8):
            ids = encoder.document(d)[0][:60]                  # inside a window: beyond it transformers keeps one key more
            for (t, z, h), (u, y, g) in zip(reference(nano, small, ids, drafter.SLOTS), ours(P, ordering, target, ids, drafter.SLOTS)):
                among = z > z.min()                             # candidates; the others have one value below all
                scale = y.abs().max()
                worst = max(worst, ((z - y)[among].abs().max() / scale).item(), ((h - g).abs().max() / g.abs().max()).item())
                assert t == u, (skill, ids, t, u)
                drafts += 1
    assert worst < 2e-5, worst
    print(f'{drafts} drafts as transformers makes them; logits and states at most {worst:.1e} apart')


if __name__ == '__main__':
    main()
