#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write models/nano from a checkpoint: the official folder, bfloat16, as transformers opens it.

    python tools/nano/export.py CHECKPOINT [FOLDER]

The clip bounds of both towers are measured here: the largest magnitude at each clipped linear over a few hundred
training images and sounds, rounded up by an eighth, so that clipping only meets what training never saw.
"""
import json
import os
import sys
import torch
from safetensors.torch import save_file
import arch
import checkpoint
import data
import model

GENERATION = {'bos_token_id': 2, 'do_sample': True, 'eos_token_id': None, 'pad_token_id': 0, 'temperature': 1.0, 'top_k': 64, 'top_p': 0.95,
              'transformers_version': '5.23.0'}
IMAGE = {'do_convert_rgb': True, 'do_normalize': False, 'do_rescale': True, 'do_resize': True, 'image_mean': [0.0, 0.0, 0.0],
         'image_std': [1.0, 1.0, 1.0], 'image_processor_type': 'Gemma4ImageProcessor', 'image_seq_length': 70, 'max_soft_tokens': 70,
         'patch_size': 16, 'pooling_kernel_size': 3, 'resample': 3, 'rescale_factor': 0.00392156862745098}
SOUND = {'dither': 0.0, 'feature_extractor_type': 'Gemma4AudioFeatureExtractor', 'feature_size': 128, 'fft_length': 512, 'fft_overdrive': False,
         'frame_length': 320, 'hop_length': 160, 'input_scale_factor': 1.0, 'max_frequency': 8000.0, 'mel_floor': 0.001, 'min_frequency': 0.0,
         'padding_side': 'right', 'padding_value': 0.0, 'per_bin_mean': None, 'per_bin_stddev': None, 'preemphasis': 0.0,
         'preemphasis_htk_flavor': True, 'return_attention_mask': True, 'sampling_rate': 16000}
VIDEO = dict({k: v for k, v in IMAGE.items() if k not in ('image_processor_type', 'image_seq_length')}, do_normalize=True, do_sample_frames=True,
             num_frames=32, max_soft_tokens=70, video_processor_type='Gemma4VideoProcessor', return_metadata=False)


def bounds(P, ranges):
    """input_min .. output_max of every clipped linear; the ratio 128:127 is that of an 8-bit grid."""
    out = {}
    for name in [n[:-len('.linear.weight')] for n in P if n.endswith('.linear.weight')]:
        for side, top in zip(('input', 'output'), ranges.get(name, (16.0, 64.0))):
            hi = arch.bf16(top * 1.125 + 1e-3)
            out[f'{name}.{side}_max'] = torch.tensor(hi)
            out[f'{name}.{side}_min'] = torch.tensor(-arch.bf16(hi * 128 / 127))
    return out


def calibrate(P, encoder):
    try:
        import media
    except ImportError:
        return {}
    return media.calibrate(P, encoder)


def half(P):
    return {n: t.detach().to(torch.bfloat16) for n, t in P.items()}


def write_configs(folder, encoder):
    control = {c: encoder.vocab[c] for c in ('<|image|>', '<|video|>', '<|audio|>', '<|image>', '<image|>', '<|audio>', '<audio|>')}
    cfg = arch.config(encoder.size, control)
    cfg.architectures = ['Gemma4ForConditionalGeneration']
    cfg.dtype = torch.bfloat16
    cfg.eos_token_id = [1, encoder.vocab['<turn|>'], encoder.vocab['<|tool_response>']]
    cfg.save_pretrained(folder)
    put = lambda name, what: open(os.path.join(folder, name), 'w').write(json.dumps(what, indent=2) + '\n')
    put('generation_config.json', dict(GENERATION, eos_token_id=cfg.eos_token_id))
    put('preprocessor_config.json', IMAGE)
    put('processor_config.json', {'audio_ms_per_token': 40, 'audio_seq_length': 750, 'feature_extractor': SOUND, 'image_processor': IMAGE,
                                  'image_seq_length': 70, 'processor_class': 'Gemma4Processor', 'video_processor': VIDEO})
    return cfg


def main():
    source, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else data.FOLDER
    encoder = data.Encoder()
    c = checkpoint.load(source)
    if c['pieces'] != encoder.vocab:
        raise SystemExit('the checkpoint was made with another tokenizer')
    P = {n: t.float() for n, t in half(c['params']).items() if not n.startswith('head.')}
    os.makedirs(folder, exist_ok=True)
    write_configs(folder, encoder)
    out = half({**P, **bounds(P, calibrate(P, encoder))})
    path = os.path.join(folder, 'model.safetensors')
    save_file({'model.' + n: t.contiguous() for n, t in sorted(out.items())}, path + '.part', metadata={'format': 'pt'})
    os.replace(path + '.part', path)
    print(f'{path}: step {c["step"]}, {c["tokens"] / 1e6:.1f} M tokens, {sum(t.numel() for t in P.values())} parameters, {os.path.getsize(path)} bytes')


if __name__ == '__main__':
    main()
