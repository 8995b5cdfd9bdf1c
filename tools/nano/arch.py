# SPDX-License-Identifier: Apache-2.0
"""The shape of nano: one place for every dimension, as transformers' Gemma4Config wants it.

All traits of E2B (per-layer embeddings, shared K/V, double-wide feed-forward in the shared layers, four local
layers to a global one, proportional RoPE, layer scalars, clipped linears in both towers), small.
"""
import torch

HIDDEN = 192
LAYERS = 10
HEADS = 4
HEAD_DIM = {'sliding_attention': 32, 'full_attention': 64}
WINDOW = 64
FFN = 256
SHARED = 5
PLE = 32
SOFTCAP = 30.0
LAYER_TYPES = (['sliding_attention'] * 4 + ['full_attention']) * 2
EPS = 1e-6

VISION = dict(hidden=96, heads=3, head_dim=32, ffn=192, layers=3, positions=432, theta=100.0)
AUDIO = dict(hidden=96, heads=3, layers=2, channels=(128, 8), out=128, chunk=12, left=13, kernel=5, cap=50.0)


def donor(i):
    """The layer whose keys and values layer i uses."""
    first = LAYERS - SHARED
    if i < first:
        return i
    return max(j for j in range(first) if LAYER_TYPES[j] == LAYER_TYPES[i])


def ffn(i):
    return FFN * (2 if i >= LAYERS - SHARED else 1)


def bf16(x):
    return torch.tensor(float(x)).to(torch.bfloat16).item()


def config(vocab_size, control):
    """transformers' configuration; `control` maps the names of control tokens to ids."""
    import transformers as tf
    text = dict(vocab_size=vocab_size, vocab_size_per_layer_input=vocab_size, hidden_size=HIDDEN,
                intermediate_size=FFN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=1,
                head_dim=HEAD_DIM['sliding_attention'], global_head_dim=HEAD_DIM['full_attention'],
                sliding_window=WINDOW, layer_types=list(LAYER_TYPES), final_logit_softcapping=SOFTCAP,
                max_position_embeddings=4096, hidden_size_per_layer_input=PLE, num_kv_shared_layers=SHARED,
                use_double_wide_mlp=True)
    v, a = VISION, AUDIO
    vision = dict(hidden_size=v['hidden'], num_attention_heads=v['heads'], num_key_value_heads=v['heads'],
                  head_dim=v['head_dim'], intermediate_size=v['ffn'], num_hidden_layers=v['layers'],
                  use_clipped_linears=True, standardize=False, position_embedding_size=v['positions'])
    audio = dict(hidden_size=a['hidden'], num_attention_heads=a['heads'], num_hidden_layers=a['layers'],
                 subsampling_conv_channels=list(a['channels']), output_proj_dims=a['out'])
    top = dict(image_token_id=control['<|image|>'], video_token_id=control['<|video|>'],
               audio_token_id=control['<|audio|>'], boi_token_id=control['<|image>'],
               eoi_token_id=control['<image|>'], boa_token_id=control['<|audio>'],
               eoa_token_index=control['<audio|>'])
    cfg = tf.Gemma4Config(text_config=text, vision_config=vision, audio_config=audio, **top)
    cfg._attn_implementation = 'eager'
    return cfg
