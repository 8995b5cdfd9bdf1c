#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Open models/nano as a stranger would (transformers' AutoProcessor and AutoModelForImageTextToText) and hold its logits on
held-out pictures, sounds and text against model.py with the weights of the file.

    python tools/nano/test_folder.py [FOLDER]
"""
import random
import sys
import numpy as np
import torch
import data
import evaluate
import evaluate_engine
import heldout
import media
import model
import pictures
import sounds


@torch.no_grad()
def main():
    import transformers as tf
    folder = sys.argv[1] if len(sys.argv) > 1 else data.FOLDER
    model.set_compute(torch.float32)
    encoder = data.Encoder()
    P, ref, processor = evaluate.weights(folder, encoder), evaluate_engine.reference(folder), tf.AutoProcessor.from_pretrained(folder)
    worst, n = {}, 0
    for skill in ('copy', 'image-colour', 'image-count', 'sound-digits', 'sound-beeps'):
        for d in heldout.documents(skill, 4):
            s = d['media'][0] if d['media'] else None
            messages = [dict(m) for m in d['messages'][:1]]
            options = {}
            if skill.startswith('image'):
                part = {'type': 'image', 'image': pictures.paint(s, random.Random(s['seed']))}
                options = {'images_kwargs': {'max_soft_tokens': s['budget']}}
                messages[0]['content'] = [part, messages[0]['content'][1]]
            elif skill.startswith('sound'):
                messages[0]['content'] = [{'type': 'audio', 'audio': sounds.wave(s).astype(np.float32) / 32768}, messages[0]['content'][1]]
            else:
                messages[0]['content'] = [{'type': 'text', 'text': messages[0]['content']}]
            x = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors='pt', processor_kwargs=options)
            want = ref(**x).logits[0]
            soft = None
            if s:
                values, counts = media.soft_tokens(P, d)
                ids, _, at = media.encode(encoder, d, counts.tolist())
                soft = (torch.tensor(at), values)
            else:
                ids = encoder.document(d)[0]
            ids = torch.tensor(ids[:len(want)])[None]
            zero = torch.zeros_like(ids)
            h = model.text(P, ids, torch.arange(ids.shape[1])[None], model.attention_masks(zero, zero), soft)
            gap = (model.logits(P, h)[0] - want).abs().max().item()
            worst[skill], n = max(worst.get(skill, 0.0), gap), n + 1
    print(f'{n} prompts through the processor; logits differ at most by', ', '.join(f'{k} {v:.1e}' for k, v in worst.items()))
    return 0 if max(worst.values()) < 5e-2 else 1          # pictures: its resampler is torchvision's, here it is Pillow's


if __name__ == '__main__':
    sys.exit(main())
