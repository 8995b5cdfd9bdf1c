#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reference cases with sound, and with sound among images and videos.

    GEM_SHARED=.../shared tools/lab/make_sound_cases.py OUT [--only PATTERN] [--golden] [--llama LLAMA_CPP]

As make_media_cases.py, which this extends by what the shared oracle does not do: several sounds in a case, sounds of more
than 30 s (pieces with markers of their own, where the reference would cut), sounds too short for a token, and files that
are not 16-bit mono. With --llama also mmproj.gguf, and text.gguf, the language model, by its converter, and whole.gguf, both in one.
--golden: only the small ones that are committed in tests/golden/models. Needs torch, transformers 5.23, Pillow.
"""
import json
import os
import shutil
import subprocess
import sys
import wave

import gguf
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

import make_audio
from make_media_cases import ENCODER, SHARED, TOP, WORDS, image, oracle, video, wanted_packs
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import Gemma4UnifiedAudioFeatureExtractor


def sound(samples, bits=16, channels=1, rate=16000):
    """rate other than 16000: `samples` of that rate."""
    return {'kind': 'audio', 'samples': samples, 'bits': bits, 'channels': channels, 'rate': rate}


def pack(name, base, seed, cases, calm=False, golden=False, audio=None, vision=None, text=None, tokens=True):
    """tokens: with the base's vocabulary and tokenizer; else 256 words and no tokenizer."""
    return dict(locals())


EARS = dict(hidden_size=32, num_attention_heads=2, num_hidden_layers=2, output_proj_dims=24, subsampling_conv_channels=[128, 4])
CALM = dict(hidden_size=64, num_attention_heads=4, num_hidden_layers=3, output_proj_dims=48, subsampling_conv_channels=[128, 4])
TEXT = dict(hidden_size=48, intermediate_size=64, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=1, head_dim=16,
            global_head_dim=32, sliding_window=8, hidden_size_per_layer_input=8, num_kv_shared_layers=2,
            layer_types=['sliding_attention', 'sliding_attention', 'full_attention', 'sliding_attention', 'full_attention'])
RAW = dict(vocab_size=256, hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, head_dim=16, global_head_dim=32,
           sliding_window=8, layer_types=['sliding_attention', 'sliding_attention', 'full_attention'])
SECOND = 16000
PACKS = [
    pack('sound-e2b', 'e2b', 9201, {'blip': [sound(160), WORDS, sound(161)], 'pair': [sound(5000), WORDS, sound(330)],
                                    'wide': [sound(4000, 24, 2)], 'disc': [sound(3000, 24, 2, 44100)],
                                    'mixed': [image(40, 30), sound(3000), WORDS, video(30, 30, 2), sound(2000)]},
         golden=True, audio=EARS, vision=ENCODER, text=TEXT),
    pack('sound-12b', '12b', 9202, {'blip': [sound(1), WORDS, sound(641)], 'mixed': [sound(3000), image(40, 30), sound(2000, 8)]},
         golden=True, vision=dict(mm_embed_dim=16, mm_posemb_size=64, output_proj_dims=16), text=RAW, tokens=False),
    pack('sound-calm-e4b', 'e4b', 9203, {'speech': [sound(9000)]}, calm=True, golden=True, audio=CALM, vision=ENCODER,
         text=dict(TEXT, num_key_value_heads=2, vocab_size=256, vocab_size_per_layer_input=256), tokens=False),
    # not committed
    pack('sound-e2b-long', 'e2b', 9211, {'61s': [sound(61 * SECOND)], '30s': [sound(30 * SECOND)], '30s-and': [sound(30 * SECOND + 160)],
                                         '30s-and-more': [sound(30 * SECOND + 161)]}),
    pack('sound-12b-long', '12b', 9212, {'61s': [sound(61 * SECOND)]}),
    pack('sound-e2b-files', 'e2b', 9213, {'cd': [sound(33000, 16, 2, 44100)], 'cd-24': [sound(33000, 24, 2, 44100)],
                                          'phone': [sound(9000, 8, 1, 8000)], 'five': [sound(6000, 32, 5, 48000)],
                                          'one-hundredth': [sound(160)]}),
    pack('sound-e2b-many', 'e2b', 9214, {'six': [sound(161 + 999 * i) for i in range(6)],
                                         'all': [sound(8000), image(50, 60), WORDS, video(64, 48, 4), sound(24000, 24, 2), WORDS]}),
    pack('sound-e4b-seed', 'e4b', 9215, {'speech': [sound(40000)], 'pair': [sound(12345), sound(54321)]}),
    pack('sound-12b-seed', '12b', 9216, {'speech': [sound(40000)], 'all': [video(40, 30, 3), sound(12345), image(30, 30)]}),
    pack('sound-calm-e2b', 'e2b', 9217, {'speech': [sound(48000)], 'short': [sound(4000)]}, calm=True,
         audio=dict(hidden_size=128, num_attention_heads=4, num_hidden_layers=12, output_proj_dims=96,
                    subsampling_conv_channels=[128, 16])),
]


def spec_of(p):
    with open(os.path.join(SHARED, 'golden', 'models', p['base'], 'spec.json')) as f:
        spec = json.load(f)
    spec.update(name=p['name'], seed=p['seed'], calm=p['calm'], assistant=None)
    if not p['tokens']:
        spec['top'] = dict(TOP)
    for key in ('audio', 'vision', 'text'):
        spec[key].update(p[key] or {})
    spec['cases'] = [dict(name=name, seed=p['seed'] * 10 + i, before=5, after=6, greedy=6, parts=parts)
                     for i, (name, parts) in enumerate(p['cases'].items())]
    return spec


# ---- sounds -----------------------------------------------------------------------------------------------------------

def resample(x, rate, to=16000):
    """What src/media/resample.h defines, in double: no reference resamples, and no two libraries do it alike."""
    cut = 0.95 * min(1, to / rate)
    span = int(np.ceil(64 / cut)) + 2
    out = np.empty(-(-len(x) * to // rate))
    for i in range(len(out)):
        at = i * rate / to
        k = np.arange(int(at) - span, int(at) + span + 1)
        u = (k - at) * cut
        w = np.where(abs(u) < 64, np.sinc(u) * np.i0(10.06 * np.sqrt(np.maximum(0, 1 - (u / 64) ** 2))), 0)
        inside = (k >= 0) & (k < len(x))
        out[i] = (w[inside] * x[k[inside]]).sum() / w.sum()
    return out


def samples_of(part, seed):
    """Whole numbers [n, channels] of the file, and what the models hear of it."""
    rate, channels, bits = part['rate'], part['channels'], part['bits']
    if rate == 16000:
        x = np.stack([make_audio.signal(part['samples'], seed + c) for c in range(channels)], 1).astype(np.float64)
    else:
        t = np.arange(part['samples']) / rate
        rng = np.random.default_rng(seed)
        x = np.stack([sum(rng.uniform(.05, .15) * np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) for f in (110, 523, 1234, 2345, 3100))
                      for _ in range(channels)], 1)
    scale = 2 ** (bits - 1)
    q = np.clip(np.round(x * scale), -scale, scale - 1).astype(np.int64)
    mono = (q / scale).mean(1)
    return q, (mono if rate == 16000 else resample(mono, rate)).astype(np.float32)


def save_wav(path, q, bits, rate):
    with wave.open(path, 'wb') as f:
        f.setnchannels(q.shape[1])
        f.setsampwidth(bits // 8)
        f.setframerate(rate)
        f.writeframes(b''.join((int(v) + (128 if bits == 8 else 0)).to_bytes(bits // 8, 'little', signed=bits > 8) for v in q.reshape(-1)))


def hear(model, unified, x):
    """(features, soft tokens) of each piece. A piece that gives no token is not for the reference, which fails there."""
    for at, n in [(0, len(x))] if unified else make_audio.pieces(len(x)):
        hidden = model.config.text_config.hidden_size
        if unified:
            r = Gemma4UnifiedAudioFeatureExtractor()([x], return_tensors='pt')
            o = model.model.get_audio_features(r['input_features'].float(), r['input_features_mask'].bool(), return_dict=True)
            mask = o.attention_mask
            yield torch.empty(0, 128), o.pooler_output[mask.bool()] if mask is not None else o.pooler_output[0]
        elif n <= 160:
            yield torch.empty(0, 128), torch.empty(0, hidden)
        else:
            yield make_audio.encode(model, x[at:at + n])


# ---- a case -----------------------------------------------------------------------------------------------------------

class Case:
    def __init__(self, model, spec, c, out):
        self.model, self.c, self.out, self.top = model, c, out, model.config
        self.unified = spec['arch'] == 'gemma4_unified'
        self.rng = np.random.default_rng(c['seed'])
        t = self.top
        special = {t.image_token_id, t.video_token_id, t.audio_token_id, t.boi_token_id, t.eoi_token_id, t.boa_token_id,
                   t.eoa_token_index, 0, 1}
        self.plain = np.array([i for i in range(3, t.text_config.vocab_size) if i not in special])
        self.ids, self.types, self.media, self.feed = [2], [0], [], {}
        self.images, self.frames, self.sounds = [], [], []  # soft tokens
        self.features = []

    def add(self, tokens, kind=0):
        self.ids += tokens
        self.types += [kind] * len(tokens)

    def words(self, n):
        self.add([int(t) for t in self.rng.choice(self.plain, n)])

    def run_of(self, begin, placeholder, end, n, kind):
        self.add([begin])
        at = len(self.ids)
        self.add([placeholder] * n, kind)
        self.add([end])
        return at

    def path(self, name):
        return os.path.join(self.out, name)

    def show(self, part, k):
        """One image, or the frames of a video, through the reference's own front end."""
        t, film = self.top, part['kind'] == 'video'
        frames = [oracle.picture(part['w'], part['h'], self.c['seed'] * 100 + k * 10 + f) for f in range(part.get('frames', 1))]
        names = [f"{self.c['name']}.{k}.{f}.png" for f in range(len(frames))]
        for px, name in zip(frames, names):
            Image.fromarray(px).save(self.path(name))
        v, pos, n = oracle.image_inputs(self.unified, frames, part['budget'])
        r = self.model.model.get_image_features(v, pos, return_dict=True)
        (self.frames if film else self.images).extend(r.pooler_output if isinstance(r.pooler_output, (list, tuple)) else [r.pooler_output])
        at = []
        for f in range(len(frames)):
            if film:
                self.words(3)
            at.append(self.run_of(t.boi_token_id, t.video_token_id if film else t.image_token_id, t.eoi_token_id, n[f], 2 if film else 1))
        self.media.append({'kind': 'video', 'frames': names, 'budget': part['budget'], 'soft_tokens': n, 'at': at} if film else
                          {'kind': 'image', 'file': names[0], 'budget': part['budget'], 'soft_tokens': n[0], 'at': at[0]})

    def play(self, part, k):
        t = self.top
        q, x = samples_of(part, self.c['seed'] * 100 + k)
        name = f"{self.c['name']}.{k}.wav"
        save_wav(self.path(name), q, part['bits'], part['rate'])
        at = []
        for features, soft in hear(self.model, self.unified, x):
            self.features.append(features)
            self.sounds.append(soft)
            at.append(self.run_of(t.boa_token_id, t.audio_token_id, t.eoa_token_index, len(soft), 3))
        self.media.append({'kind': 'audio', 'file': name, 'at': at if len(at) > 1 else at[0]})

    def forward(self, ids, types):
        """The soft tokens in the places of their placeholders: what the model does with what its towers gave."""
        model, soft = self.model, {1: self.images, 2: self.frames, 3: self.sounds}
        embeds = {kind: torch.cat([s.reshape(-1, s.shape[-1]) for s in list_]) if list_ else None for kind, list_ in soft.items()}
        returns = {}
        for kind, name in ((1, 'get_image_features'), (2, 'get_video_features'), (3, 'get_audio_features')):
            returns[name] = (embeds[kind], getattr(model.model, name))
            setattr(model.model, name, lambda *a, e=embeds[kind], kind=kind, **kw: Output(e, kind))
        feed = {}
        if self.images:
            feed.update(pixel_values=torch.zeros(1, 1, 1), image_position_ids=torch.zeros(1, 1, 2, dtype=torch.long))
        if self.frames:
            feed.update(pixel_values_videos=torch.zeros(1, 1, 1), video_position_ids=torch.zeros(1, 1, 2, dtype=torch.long),
                        num_frames_per_video=torch.tensor([1]))
        if self.sounds and len(embeds[3]):
            feed.update(input_features=torch.zeros(1, len(embeds[3]), 1), input_features_mask=torch.ones(1, len(embeds[3]), dtype=torch.bool))
        try:
            return model(input_ids=torch.tensor([ids]), mm_token_type_ids=torch.tensor([types]), use_cache=False,
                         output_hidden_states=True, **feed)
        finally:
            for name, (_, method) in returns.items():
                setattr(model.model, name, method)


class Output:
    """What the get_*_features return, all rows real."""

    def __init__(self, soft, kind):
        self.pooler_output = soft if kind == 3 else [soft]
        self.attention_mask = None if soft is None else torch.ones(len(soft), dtype=torch.bool)


def make_case(model, spec, c, out):
    k = Case(model, spec, c, out)
    k.words(c['before'])
    for i, part in enumerate(c['parts'], 1):
        {'text': lambda: k.words(part['n']), 'image': lambda: k.show(part, i), 'video': lambda: k.show(part, i),
         'audio': lambda: k.play(part, i)}[part['kind']]()
    k.words(c['after'])
    o = k.forward(k.ids, k.types)
    T = len(k.ids)
    rows = list(range(T)) if T <= 64 else sorted(set(list(range(0, T, max(1, T // 16))) + list(range(T - 8, T))))
    hidden = k.top.text_config.hidden_size
    tensors = {'rows': torch.tensor(rows, dtype=torch.int32), 'logits': o.logits[0, rows], 'hidden': torch.stack([h[0, rows] for h in o.hidden_states]),
               'soft': torch.cat([s.reshape(-1, hidden) for s in k.images + k.frames + k.sounds])}
    if sum(map(len, k.features)):
        tensors['features'] = torch.cat(k.features)
    ids, types, greedy, margin = list(k.ids), list(k.types), [], 1e9
    for _ in range(c['greedy']):
        top = (o.logits if not greedy else k.forward(ids, types).logits)[0, -1].topk(2)
        gap = (top.values[0] - top.values[1]).item()
        if gap < 0.02:
            break
        margin = min(margin, gap)
        greedy.append(int(top.indices[0]))
        ids.append(greedy[-1])
        types.append(0)
    save_file({n: v.float().contiguous() if v.is_floating_point() else v for n, v in tensors.items()}, k.path(c['name'] + '.safetensors'))
    with open(k.path(c['name'] + '.json'), 'w') as f:
        json.dump({'tokens': k.ids, 'media': k.media, 'greedy': greedy, 'greedy_min_margin': round(margin, 5)}, f)
    print(f"  {spec['name']} {c['name']}: {T} tokens, {len(greedy)} greedy, soft rms {tensors['soft'].pow(2).mean().sqrt():.3f}", flush=True)


def convert(folder, llama):
    """The towers, and the language model, by llama.cpp's own converter."""
    for words in (['--mmproj', '--outtype', 'f16', '--outfile', os.path.join(folder, 'mmproj.gguf')],
                  ['--outtype', 'bf16', '--outfile', os.path.join(folder, 'text.gguf')]):
        subprocess.run([sys.executable, os.path.join(llama, 'convert_hf_to_gguf.py'), *words, os.path.join(folder, 'model')], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def one_file(folder, model):
    """whole.gguf: language model and towers in one file, as Ollama has them (spec/multimodal.md 7.2)."""
    text, towers = (gguf.GGUFReader(os.path.join(folder, name)) for name in ('text.gguf', 'mmproj.gguf'))
    w = gguf.GGUFWriter(os.path.join(folder, 'whole.gguf'), 'gemma4')
    for key, field in text.fields.items():
        if not key.startswith('GGUF.') and key != 'general.architecture':
            w.add_key_value(key, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for key in ('block_count', 'attention.head_count'):
        w.add_uint32('gemma4.vision.' + key, int(towers.fields['clip.vision.' + key].contents()))
    for t in text.tensors:
        w.add_tensor(t.name, t.data, raw_dtype=t.tensor_type)
    for t in towers.tensors:
        if t.name.startswith('v.') or t.name == 'mm.input_projection.weight':
            w.add_tensor(t.name, t.data, raw_dtype=t.tensor_type)
    make_audio.add_to_gguf(w, make_audio.audio_tensors(model), True)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    for a, p, folder, spec in wanted_packs(__doc__, PACKS, spec_of):
        model = oracle.build(spec)
        for c in spec['cases']:
            make_case(model, spec, c, folder)
        model.to(torch.bfloat16).save_pretrained(os.path.join(folder, 'model'))
        for name in ('tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json') if p['tokens'] else ():
            shutil.copy(os.path.join(SHARED, 'golden', 'models', p['base'], 'model', name), os.path.join(folder, 'model'))
        if a.llama and p['tokens'] and spec['arch'] == 'gemma4':
            convert(folder, a.llama)
            one_file(folder, model)


if __name__ == '__main__':
    main()
