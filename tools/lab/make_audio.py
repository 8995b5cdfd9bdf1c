#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reference vectors of the audio front ends, from transformers, for tests/golden/audio.

    GEM_SHARED=.../shared tools/lab/make_audio.py OUT [--more]

tower/model.safetensors   a small audio tower and its embedding (bfloat16, released names); mmproj.gguf holds the same weights
                          by llama.cpp's names and transforms (spec/multimodal.md 7.2)
tower-q8/model.gguf       the same by Ollama's names, matrices in Q8_0, and what the dequantised weights give
calm/                     the same with weights as mild as trained ones, wider: what the fast tier is measured with
raw/                      the 12B's embedding
sound/                    a stereo file of 24 bits and 44.1 kHz, and what libsoxr (VHQ) makes of the mean of its channels
CASE.safetensors          features [T, 128], soft [N, H]; of long cases every 25th row. Sound is made by signal() from the
                          case's name: SAMPLES-SEED; `-all` is what pieces() of a long sound gives, one after the other.
--more adds cases that are too large to commit. Needs torch, transformers 5.23, safetensors, gguf, soxr, numpy.
"""
import argparse
import os
import wave

import gguf
import numpy as np
import soxr
import torch
from safetensors.torch import save_file

import reference as ref

ref.shared()
import oracle  # noqa: E402  (from the shared folder)
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor  # noqa: E402
from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import (  # noqa: E402
    Gemma4UnifiedAudioFeatureExtractor)

TEXT = dict(vocab_size=64, vocab_size_per_layer_input=64, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, head_dim=16, global_head_dim=16, sliding_window=8,
            layer_types=['sliding_attention', 'full_attention'], hidden_size_per_layer_input=16, num_kv_shared_layers=0)
VISION = dict(hidden_size=32, num_attention_heads=2, num_key_value_heads=2, head_dim=16, intermediate_size=32,
              num_hidden_layers=1, use_clipped_linears=True, standardize=False, position_embedding_size=16)
PIECE = 480000


def signal(n, seed):
    """Noise and a triangle wave whose period and loudness change: integers only, so that any language makes the same."""
    out = np.zeros(n, np.int64)
    state = seed & 0xffffffff
    for i in range(n):
        state = (state * 1664525 + 1013904223) & 0xffffffff
        period = 20 + 11 * ((i // 3000 + seed) % 17)
        at = i % period
        tone = (2 * at if 2 * at < period else 2 * (period - at)) * 16000 // period - 8000
        out[i] = ((state >> 20) - 2048) // 4 + tone * ((i >> 11) & 3) // 3
    return out.astype(np.float32) / 32768


def pieces(n):
    """30 s each; a rest of up to 10 ms stays with the piece before it."""
    at = 0
    while True:
        left = n - at
        take = left if left <= PIECE + 160 else PIECE
        yield at, take
        at += take
        if at == n:
            return


def tower_model(seed, text_hidden, calm=False, **audio):
    return oracle.build(dict(name='audio', arch='gemma4', seed=seed, calm=calm, vision=VISION, audio=audio,
                             text=dict(TEXT, hidden_size=text_hidden)))


def encode(model, x):
    """Features and soft tokens of one piece."""
    r = Gemma4AudioFeatureExtractor()([x], return_tensors='pt', truncation=False)
    f, m = r['input_features'].float(), r['input_features_mask'].bool()
    o = model.model.get_audio_features(f, m, return_dict=True)
    return f[0][m[0]], o.pooler_output[o.attention_mask.bool()]


def save_case(path, features, soft):
    keep = slice(None) if len(soft) <= 60 else slice(None, None, 25)
    tensors = {'soft': soft[keep].contiguous()}
    if features is not None:
        tensors['features'] = (features if len(soft) <= 60 else features[::100]).contiguous()
    save_file(tensors, path)


def audio_tensors(model):
    return {k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()
            if 'audio' in k and 'softcap' not in k and 'inv_timescales' not in k}


LAYER = [('feed_forward1.pre_layer_norm.weight', 'ffn_norm.weight'),
         ('feed_forward1.post_layer_norm.weight', 'ffn_post_norm.weight'),
         ('feed_forward1.ffw_layer_1', 'ffn_up'), ('feed_forward1.ffw_layer_2', 'ffn_down'),
         ('feed_forward2.pre_layer_norm.weight', 'ffn_norm_1.weight'),
         ('feed_forward2.post_layer_norm.weight', 'ffn_post_norm_1.weight'),
         ('feed_forward2.ffw_layer_1', 'ffn_up_1'), ('feed_forward2.ffw_layer_2', 'ffn_down_1'),
         ('norm_pre_attn.weight', 'attn_pre_norm.weight', 'ln1.weight'),
         ('norm_post_attn.weight', 'attn_post_norm.weight', 'ln2.weight'),
         ('norm_out.weight', 'ln2.weight', 'layer_pre_norm.weight'),
         ('self_attn.q_proj', 'attn_q'), ('self_attn.k_proj', 'attn_k'), ('self_attn.v_proj', 'attn_v'),
         ('self_attn.post', 'attn_out'), ('self_attn.relative_k_proj.weight', 'attn_k_rel.weight', 'linear_pos.weight'),
         ('self_attn.per_dim_scale', 'per_dim_scale.weight'), ('lconv1d.linear_start', 'conv_pw1'),
         ('lconv1d.linear_end', 'conv_pw2'), ('lconv1d.depthwise_conv1d.weight', 'conv_dw.weight'),
         ('lconv1d.pre_layer_norm.weight', 'conv_norm.weight'), ('lconv1d.conv_norm.weight', 'norm_conv.weight')]
WHOLE = [('audio_tower.subsample_conv_projection.layer0.conv.weight', 'a.conv1d.0.weight'),
         ('audio_tower.subsample_conv_projection.layer0.norm.weight', 'a.conv1d.0.norm.weight'),
         ('audio_tower.subsample_conv_projection.layer1.conv.weight', 'a.conv1d.1.weight'),
         ('audio_tower.subsample_conv_projection.layer1.norm.weight', 'a.conv1d.1.norm.weight'),
         ('audio_tower.subsample_conv_projection.input_proj_linear.weight', 'a.input_projection.weight',
          'a.pre_encode.out.weight'),
         ('audio_tower.output_proj.weight', 'a.pre_encode.out.weight', 'mm.a.fc.weight'),
         ('audio_tower.output_proj.bias', 'a.pre_encode.out.bias', 'mm.a.fc.bias'),
         ('embed_audio.embedding_projection.weight', 'mm.a.input_projection.weight')]


def is_matrix(t, name):
    return t.ndim == 2 and 'conv1d' not in name


def q8_0_model(model):
    """The model with every matrix of its tower rounded to Q8_0."""
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, p in model.named_parameters():
        if 'audio' in name and is_matrix(p, name):
            p.copy_(torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(p.numpy(), kind), kind)))
    return model


def gguf_names(tensors, ollama):
    """HF name -> GGUF name."""
    names = {}
    for row in WHOLE:
        names['model.' + row[0]] = row[-1] if ollama else row[1]
    layer = 0
    while f'model.audio_tower.layers.{layer}.norm_out.weight' in tensors:
        for row in LAYER:
            hf, out = f'model.audio_tower.layers.{layer}.{row[0]}', f'a.blk.{layer}.{row[-1] if ollama else row[1]}'
            if hf in tensors:
                names[hf] = out
            else:
                names[hf + '.linear.weight'] = out + '.weight'
                for b in ('input_min', 'input_max', 'output_min', 'output_max'):
                    names[f'{hf}.{b}'] = f'{out}.{b}'
        layer += 1
    return names


def add_to_gguf(w, tensors, ollama, q8=False):
    names = gguf_names(tensors, ollama)
    assert set(names) == set(tensors), set(names) ^ set(tensors)
    for hf in tensors:
        t = tensors[hf]
        if 'per_dim_scale' in hf:
            t = torch.nn.functional.softplus(t.float())
        if 'depthwise' in hf:
            t = t.reshape(t.shape[0], -1)
        if t.ndim < 2 or 'conv' in names[hf] and t.ndim > 2 or 'depthwise' in hf or 'per_dim' in hf:
            w.add_tensor(names[hf], t.float().reshape(t.shape or (1,)).numpy())
        elif q8 and is_matrix(t, hf):
            kind = gguf.GGMLQuantizationType.Q8_0
            w.add_tensor(names[hf], gguf.quants.quantize(t.float().numpy(), kind), raw_dtype=kind)
        else:
            raw = t.to(torch.bfloat16).view(torch.uint16).numpy()
            w.add_tensor(names[hf], raw.view(np.uint8).reshape(*raw.shape[:-1], -1),
                         raw_dtype=gguf.GGMLQuantizationType.BF16)


def save_gguf(path, tensors, ollama, q8=False):
    w = gguf.GGUFWriter(path, 'gemma4' if ollama else 'clip')
    add_to_gguf(w, tensors, ollama, q8)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def tower_pack(out, model, cases, long, features=True):
    os.makedirs(out, exist_ok=True)
    if features:
        save_file(audio_tensors(model), os.path.join(out, 'model.safetensors'))
    for n, seed in cases:
        f, s = encode(model, signal(n, seed))
        save_case(os.path.join(out, f'{n}-{seed}.safetensors'), f if features else None, s)
        print(out, n, seed, tuple(f.shape), tuple(s.shape), 'rms %.3f' % s.pow(2).mean().sqrt())
    for n, seed in long:
        x = signal(n, seed)
        s = torch.cat([encode(model, x[at:at + k])[1] for at, k in pieces(n)])
        save_case(os.path.join(out, f'{n}-{seed}-all.safetensors'), None, s)
        print(out, n, seed, [k for _, k in pieces(n)], tuple(s.shape))


def raw_pack(out):
    os.makedirs(out, exist_ok=True)
    text = dict(vocab_size=64, hidden_size=48, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, head_dim=16, global_head_dim=16, sliding_window=8,
                layer_types=['sliding_attention', 'full_attention'])
    model = oracle.build(dict(name='raw', arch='gemma4_unified', seed=7, text=text, audio={},
                              vision=dict(mm_embed_dim=16, mm_posemb_size=16, output_proj_dims=48)))
    save_file(audio_tensors(model), os.path.join(out, 'model.safetensors'))
    for n, seed in ((1, 1), (160, 2), (640, 3), (7777, 4), (500000, 5)):
        r = Gemma4UnifiedAudioFeatureExtractor()([signal(n, seed)], return_tensors='pt')
        o = model.model.get_audio_features(r['input_features'].float(), r['input_features_mask'].bool(), return_dict=True)
        s = o.pooler_output[o.attention_mask.bool()] if o.attention_mask is not None else o.pooler_output[0]
        save_case(os.path.join(out, f'{n}-{seed}.safetensors'), None, s)
        print(out, n, seed, tuple(s.shape))


def sound_pack(out):
    os.makedirs(out, exist_ok=True)
    t = np.arange(11025) / 44100
    rng = np.random.default_rng(1)
    tones = [(f, rng.uniform(0.05, 0.2), rng.uniform(0, 6)) for f in (97, 440, 1234.5, 3021, 5600, 7100, 9000, 15000)]
    x = np.stack([sum(a * (1 if c else b % 1) * np.sin(2 * np.pi * f * t + b) for f, a, b in tones) for c in range(2)])
    q = np.clip(np.round(x * 8388608 * 0.9), -8388608, 8388607).astype(np.int32)
    with wave.open(os.path.join(out, 'stereo.wav'), 'wb') as f:
        f.setnchannels(2)
        f.setsampwidth(3)
        f.setframerate(44100)
        f.writeframes(b''.join(int(v).to_bytes(3, 'little', signed=True) for v in q.T.reshape(-1)))
    mono = (q / 8388608).mean(0)
    y = soxr.resample(mono, 44100, 16000, quality='VHQ').astype(np.float32)
    save_file({'pcm': torch.from_numpy(y)}, os.path.join(out, 'stereo.safetensors'))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('out')
    p.add_argument('--more', action='store_true')
    a = p.parse_args()
    audio = dict(hidden_size=64, num_attention_heads=4, num_hidden_layers=2, subsampling_conv_channels=[128, 4],
                 output_proj_dims=96)
    model = tower_model(31, 80, **audio)
    tower = os.path.join(a.out, 'tower')
    tower_pack(tower, model, ((161, 1), (1600, 2), (16123, 3)), ((976000, 4), (480100, 5)))
    save_gguf(os.path.join(tower, 'mmproj.gguf'), audio_tensors(model), False)
    q8 = os.path.join(a.out, 'tower-q8')
    os.makedirs(q8, exist_ok=True)
    save_gguf(os.path.join(q8, 'model.gguf'), audio_tensors(model), True, True)
    tower_pack(q8, q8_0_model(model), ((161, 1), (1600, 2), (16123, 3)), (), False)
    raw_pack(os.path.join(a.out, 'raw'))
    sound_pack(os.path.join(a.out, 'sound'))
    if not a.more:
        return
    for seed, audio in enumerate((dict(hidden_size=96, num_attention_heads=3, num_hidden_layers=3, output_proj_dims=40),
                                  dict(hidden_size=40, num_attention_heads=1, num_hidden_layers=1, output_proj_dims=64,
                                       subsampling_conv_channels=[128, 7]),
                                  dict(hidden_size=128, num_attention_heads=8, num_hidden_layers=4, output_proj_dims=33,
                                       subsampling_conv_channels=[128, 16], use_clipped_linears=False))):
        tower_pack(os.path.join(a.out, f'more-{seed}'), tower_model(50 + seed, 24 + 8 * seed, **audio),
                   [(n, n % 97) for n in (161, 320, 321, 800, 801, 1601, 2000, 4321, 21000)], ((976000, 9), (480160, 6)))
    audio = dict(hidden_size=256, num_attention_heads=4, num_hidden_layers=12, output_proj_dims=192)
    tower_pack(os.path.join(a.out, 'calm'), tower_model(77, 128, True, **audio), ((16123, 3), (24000, 8)), ())


if __name__ == '__main__':
    main()
