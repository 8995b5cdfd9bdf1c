# SPDX-License-Identifier: Apache-2.0
"""nano's forward pass for training: the reference model's own parameters (same names, same shapes), computed in
whole packed batches. test_forward.py holds it against transformers.

Parameters live in a flat dict, name -> tensor, named as in the released files less the leading "model.".
Several documents share a row of a batch; they do not see each other (`Batch.mask`), and positions restart.
"""
import math
import torch
import torch.nn.functional as F
import arch

COMPUTE = torch.bfloat16        # the type of matrix products; float32 for tests and for exact evaluation


def set_compute(dtype):
    global COMPUTE
    COMPUTE = dtype


def linear(x, w):
    return F.linear(x.to(COMPUTE), w.to(COMPUTE))


def rms(x, w=None):
    x = x.float()
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + arch.EPS)
    return x if w is None else x * w


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def rope_tables(n, kind):
    d = arch.HEAD_DIM[kind]
    if kind == 'full_attention':
        rotated = int(0.25 * d // 2)
        freq = torch.zeros(d // 2)
        freq[:rotated] = 1.0 / (1e6 ** (torch.arange(0, 2 * rotated, 2).float() / d))
    else:
        freq = 1.0 / (1e4 ** (torch.arange(0, d, 2).float() / d))
    angle = torch.arange(n).float()[:, None] * freq
    angle = torch.cat((angle, angle), -1)
    return angle.cos(), angle.sin()


ROPE = {}


def rope(kind, pos):
    n = 4096
    if kind not in ROPE:
        ROPE[kind] = rope_tables(n, kind)
    cos, sin = ROPE[kind]
    return cos[pos][:, :, None, :], sin[pos][:, :, None, :]


def attention_masks(doc, pos):
    """Additive masks [B,T,1,T] of both kinds: same document, not later, and for local layers inside the window."""
    index = torch.arange(doc.shape[1])
    gap = index[:, None] - index[None, :]
    same = (doc[:, :, None] == doc[:, None, :]) & (gap >= 0)
    local = same & (gap < arch.WINDOW)
    out = {}
    for kind, m in (('sliding_attention', local), ('full_attention', same)):
        out[kind] = torch.zeros(m.shape, dtype=COMPUTE).masked_fill_(~m, -30000.0)[:, :, None, :]
    return out


def attend(q, k, v, mask):
    """q [B,T,N,D], k and v [B,T,D] (one head of keys for all): rows are (position, head) pairs."""
    B, T, N, D = q.shape
    s = torch.bmm(q.reshape(B, T * N, D).to(COMPUTE), k.to(COMPUTE).transpose(1, 2)).view(B, T, N, T)
    p = torch.softmax((s + mask).float(), -1).to(COMPUTE)
    return torch.bmm(p.view(B, T * N, T), v.to(COMPUTE)).view(B, T, N * D)


def layer(x, ple, w, cos, sin, mask, kv):
    """One decoder layer. w: its parameters by short name. kv: shared keys and values, or None. Returns x, kv."""
    B, T, H = x.shape
    D = w['q_norm'].shape[0]
    h = rms(x, w['in'])
    if kv is None:
        qkv = linear(h, torch.cat((w['q'], w['k'], w['v'])))
        q, k, v = qkv.split((arch.HEADS * D, D, D), -1)
        kv = (rotate(rms(k, w['k_norm'])[:, :, None], cos, sin)[:, :, 0].to(COMPUTE), rms(v).to(COMPUTE))
    else:
        q = linear(h, w['q'])
    q = rotate(rms(q.view(B, T, arch.HEADS, D), w['q_norm']), cos, sin)
    x = x + rms(linear(attend(q, kv[0], kv[1], mask), w['o']), w['post_attn'])
    gate, up = linear(rms(x, w['pre_ff']), torch.cat((w['gate'], w['up']))).chunk(2, -1)
    x = x + rms(linear(F.gelu(gate.float(), approximate='tanh') * up.float(), w['down']), w['post_ff'])
    if ple is not None:                                     # the drafter has none
        g = F.gelu(linear(x, w['ple_gate']).float(), approximate='tanh') * ple
        x = x + rms(linear(g, w['ple_proj']), w['post_ple'])
    return x * w['scalar'], kv


SHORT = {'in': 'input_layernorm.weight', 'post_attn': 'post_attention_layernorm.weight',
         'pre_ff': 'pre_feedforward_layernorm.weight', 'post_ff': 'post_feedforward_layernorm.weight',
         'post_ple': 'post_per_layer_input_norm.weight', 'q': 'self_attn.q_proj.weight',
         'k': 'self_attn.k_proj.weight', 'v': 'self_attn.v_proj.weight', 'o': 'self_attn.o_proj.weight',
         'q_norm': 'self_attn.q_norm.weight', 'k_norm': 'self_attn.k_norm.weight', 'gate': 'mlp.gate_proj.weight',
         'up': 'mlp.up_proj.weight', 'down': 'mlp.down_proj.weight', 'ple_gate': 'per_layer_input_gate.weight',
         'ple_proj': 'per_layer_projection.weight', 'scalar': 'layer_scalar'}

layer_fn = layer


def compile_layers():
    global layer_fn, vision_layer_fn
    torch._dynamo.config.cache_size_limit = 64
    layer_fn = torch.compile(layer, dynamic=False)
    vision_layer_fn = torch.compile(vision_layer, dynamic=False)


def text(P, ids, pos, masks, soft=None, kept=None, entered=None):
    """Final hidden states [B,T,H]. soft: (flat indices, values [n,H]) of soft tokens, which replace embeddings;
    ids there must be the pad id already. kept: a dict that takes the keys and values of each layer that has some;
    entered: one that takes what goes into the layers of global attention."""
    L = 'language_model.'
    B, T = ids.shape
    x = F.embedding(ids, P[L + 'embed_tokens.weight']) * arch.bf16(arch.HIDDEN ** 0.5)
    if soft is not None:
        x = x.reshape(B * T, -1).index_copy(0, soft[0], soft[1].float()).view(B, T, -1)
    token = F.embedding(ids, P[L + 'embed_tokens_per_layer.weight']) * arch.bf16(arch.PLE ** 0.5)
    context = linear(x, P[L + 'per_layer_model_projection.weight']).view(B, T, arch.LAYERS, arch.PLE)
    context = rms(context.float() * arch.HIDDEN ** -0.5, P[L + 'per_layer_projection_norm.weight'])
    ple = ((context + token.view(B, T, arch.LAYERS, arch.PLE)) * 2 ** -0.5).to(COMPUTE).unbind(2)
    tables = {k: rope(k, pos) for k in arch.HEAD_DIM}
    kvs = {}
    for i, kind in enumerate(arch.LAYER_TYPES):
        w = {s: P[f'{L}layers.{i}.{n}'] for s, n in SHORT.items() if f'{L}layers.{i}.{n}' in P}
        d = arch.donor(i)
        if entered is not None and kind == 'full_attention':
            entered[i] = x
        x, kv = (layer if T > 400 else layer_fn)(x, ple[i], w, *tables[kind], masks[kind], kvs.get(d) if d != i else None)
        if d == i:
            kvs[i] = kv
    if kept is not None:
        kept.update(kvs)
    return rms(x, P[L + 'norm.weight'])


def logits(P, h):
    z = linear(h, P['language_model.embed_tokens.weight']).float()
    return arch.SOFTCAP * torch.tanh(z / arch.SOFTCAP)


# ---- images

def clipped(P, name, x):
    """A linear whose inputs and outputs are clamped, when bounds are in P."""
    lo = P.get(name + '.input_min')
    if lo is not None:
        x = x.clamp(lo, P[name + '.input_max'])
    x = linear(x, P[name + '.linear.weight'])
    if lo is not None:
        x = x.clamp(P[name + '.output_min'].to(x.dtype), P[name + '.output_max'].to(x.dtype))
    return x


def below(P, name):
    """The parameters under a name, by the rest of theirs."""
    return {k[len(name):]: t for k, t in P.items() if k.startswith(name)}


def vision_layer(x, P, cos, sin, mask):
    B, N, _ = x.shape
    a, D = arch.VISION, arch.VISION['head_dim']
    h = rms(x, P['input_layernorm.weight'])
    s = 'self_attn.'
    q, k, v = (clipped(P, s + p, h).view(B, N, a['heads'], D) for p in ('q_proj', 'k_proj', 'v_proj'))
    def turn(t):
        return torch.cat((rotate(t[..., :D // 2], cos[..., :D // 2], sin[..., :D // 2]),
                          rotate(t[..., D // 2:], cos[..., D // 2:], sin[..., D // 2:])), -1)
    q, k = turn(rms(q, P[s + 'q_norm.weight'])), turn(rms(k, P[s + 'k_norm.weight']))
    q, k, v = (t.transpose(1, 2).reshape(B * a['heads'], N, D).to(COMPUTE) for t in (q, k, rms(v)))
    z = torch.bmm(q, k.transpose(1, 2)).view(B, a['heads'], N, N)
    p = torch.softmax((z + mask).float(), -1).to(COMPUTE)
    o = torch.bmm(p.view(B * a['heads'], N, N), v).view(B, a['heads'], N, D).transpose(1, 2).reshape(B, N, -1)
    x = x + rms(clipped(P, s + 'o_proj', o), P['post_attention_layernorm.weight'])
    h = rms(x, P['pre_feedforward_layernorm.weight'])
    m = 'mlp.'
    g = F.gelu(clipped(P, m + 'gate_proj', h).float(), approximate='tanh') * clipped(P, m + 'up_proj', h).float()
    return x + rms(clipped(P, m + 'down_proj', g), P['post_feedforward_layernorm.weight'])


vision_layer_fn = vision_layer


def vision(P, patches, where):
    """patches [B,N,768] in 0..1, padded with zeros; where [B,N,2] patch positions (x, y), -1 for padding.
    Returns soft tokens [n,H] of all images, one after the other, and how many each has."""
    a = arch.VISION
    B, N, _ = patches.shape
    pad = (where < 0).all(-1)
    at = where.clamp(min=0)
    table = P['vision_tower.patch_embedder.position_embedding_table']
    x = linear(2 * (patches - 0.5), P['vision_tower.patch_embedder.input_proj.weight']).float()
    place = F.embedding(at[..., 0], table[0]) + F.embedding(at[..., 1], table[1])
    x = x + place.masked_fill(pad[..., None], 0.0)
    half = a['head_dim'] // 2
    freq = 1.0 / (a['theta'] ** (torch.arange(0, half, 2).float() / half))
    angle = at[..., None].float() * freq
    angle = torch.cat((angle[:, :, 0], angle[:, :, 0], angle[:, :, 1], angle[:, :, 1]), -1)[:, :, None]
    cos, sin = angle.cos(), angle.sin()
    mask = torch.zeros(B, 1, 1, N, dtype=COMPUTE).masked_fill_(pad[:, None, None], -30000.0)
    for i in range(a['layers']):
        x = vision_layer_fn(x, below(P, f'vision_tower.encoder.layers.{i}.'), cos, sin, mask)
    corner = where.masked_fill(pad[..., None], 1 << 20).amin(1, keepdim=True)     # 0, but in training on pieces
    spot = (at - corner).clamp(min=0) // 3
    cell = spot[..., 0] + (spot[..., 0].amax(1) + 1)[:, None] * spot[..., 1]
    counts = (~pad).sum(1) // 9
    start = torch.cumsum(counts, 0) - counts
    flat = (cell + start[:, None])[~pad]
    total = int(counts.sum())
    pooled = torch.zeros(total, a['hidden']).index_add(0, flat, x[~pad].float()) * (a['hidden'] ** 0.5 / 9)
    return linear(rms(pooled), P['embed_vision.embedding_projection.weight']), counts


# ---- sound

def conv_stage(x, P, name, mask):
    """x [B,C,T,F], channels last in memory: the norm over channels then needs no copy."""
    x = (x.to(COMPUTE) * mask[:, None, :, None].to(COMPUTE)).contiguous(memory_format=torch.channels_last)
    x = F.conv2d(x, P[name + 'conv.weight'].to(COMPUTE), stride=2, padding=1).permute(0, 2, 3, 1)
    x = F.relu(F.layer_norm(x, x.shape[-1:], P[name + 'norm.weight'].to(COMPUTE), None, arch.EPS))
    return x.permute(0, 3, 1, 2), mask[:, ::2]


def audio_ff(x, P, name):
    h = rms(x, P[name + 'pre_layer_norm.weight'])
    h = clipped(P, name + 'ffw_layer_2', F.silu(clipped(P, name + 'ffw_layer_1', h).float()))
    return x + 0.5 * rms(h, P[name + 'post_layer_norm.weight'])


def audio_layer(x, P, table, gap, mask):
    a = arch.AUDIO
    B, T, H = x.shape
    D = H // a['heads']
    x = audio_ff(x, P, 'feed_forward1.')
    h = rms(x, P['norm_pre_attn.weight'])
    s = 'self_attn.'
    q, k, v = (clipped(P, s + p, h).float().view(B, T, a['heads'], D).transpose(1, 2) for p in ('q_proj', 'k_proj', 'v_proj'))
    q = q * (D ** -0.5 / math.log(2)) * F.softplus(P[s + 'per_dim_scale'])
    k = k * (math.log(1 + math.e) / math.log(2))
    r = linear(table, P[s + 'relative_k_proj.weight']).float().view(-1, a['heads'], D)
    z = q.to(COMPUTE) @ k.to(COMPUTE).transpose(2, 3)
    near = torch.einsum('bntd,wnd->bntw', q.to(COMPUTE), r.to(COMPUTE))
    z = z.float() + near.float().gather(-1, gap.clamp(0, a['left'] - 2).expand(B, a['heads'], T, T))
    z = a['cap'] * torch.tanh(z / a['cap'])
    p = torch.softmax(z.masked_fill(mask, -1e9), -1)
    o = (p.to(COMPUTE) @ v.to(COMPUTE)).transpose(1, 2).reshape(B, T, H)
    x = x + rms(clipped(P, s + 'post', o), P['norm_post_attn.weight'])
    c = 'lconv1d.'
    h = F.glu(clipped(P, c + 'linear_start', rms(x, P[c + 'pre_layer_norm.weight'])).float(), -1)
    h = F.pad(h, (0, 0, a['kernel'] - 1, 0))
    w = P[c + 'depthwise_conv1d.weight'][:, 0]
    h = sum(h[:, i:i + T] * w[:, i] for i in range(a['kernel']))
    h = F.silu(rms(h, P[c + 'conv_norm.weight']))
    x = x + clipped(P, c + 'linear_end', h)
    x = audio_ff(x, P, 'feed_forward2.')
    return rms(x, P['norm_out.weight'])


def audio(P, features, mask):
    """features [B,T,128], zero where mask [B,T] is False. Soft tokens [n,H] of all sounds, and how many each has."""
    a = arch.AUDIO
    live = mask.float()
    t = 'audio_tower.subsample_conv_projection.'
    x, live = conv_stage(features[:, None], P, t + 'layer0.', live)
    x, live = conv_stage(x, P, t + 'layer1.', live)
    B, _, T, _ = x.shape
    x = linear(x.permute(0, 2, 3, 1).reshape(B, T, -1), P[t + 'input_proj_linear.weight']).float()
    n = a['hidden'] // 2
    rate = torch.exp(torch.arange(n) * -(math.log(1e4) / (n - 1)))
    angle = torch.arange(a['left'] - 1).float()[:, None] * rate
    table = torch.cat((angle.sin(), angle.cos()), -1)
    i = torch.arange(T)
    gap = i[:, None] - i[None, :]
    live = live.bool()
    shut = ((gap < 0) | (gap >= a['left'] - 1)) | ~live[:, None, None, :]
    for j in range(a['layers']):
        x = audio_layer(x, below(P, f'audio_tower.layers.{j}.'), table, gap, shut)
    x = linear(x[live], P['audio_tower.output_proj.weight']).float() + P['audio_tower.output_proj.bias']
    return linear(rms(x), P['embed_audio.embedding_projection.weight']), live.sum(1)


# ---- parameters

def shapes(vocab):
    """Names and shapes of all parameters, clip bounds left out."""
    H, P, out = arch.HIDDEN, arch.PLE, {}
    L = 'language_model.'
    out[L + 'embed_tokens.weight'] = (vocab, H)
    out[L + 'embed_tokens_per_layer.weight'] = (vocab, arch.LAYERS * P)
    out[L + 'per_layer_model_projection.weight'] = (arch.LAYERS * P, H)
    out[L + 'per_layer_projection_norm.weight'] = (P,)
    out[L + 'norm.weight'] = (H,)
    for i, kind in enumerate(arch.LAYER_TYPES):
        D, f = arch.HEAD_DIM[kind], arch.ffn(i)
        s = {'in': (H,), 'post_attn': (H,), 'pre_ff': (H,), 'post_ff': (H,), 'post_ple': (H,), 'q': (arch.HEADS * D, H),
             'o': (H, arch.HEADS * D), 'q_norm': (D,), 'gate': (f, H), 'up': (f, H), 'down': (H, f),
             'ple_gate': (P, H), 'ple_proj': (H, P), 'scalar': (1,)}
        if arch.donor(i) == i:
            s.update({'k': (D, H), 'v': (D, H), 'k_norm': (D,)})
        for n, v in s.items():
            out[f'{L}layers.{i}.{SHORT[n]}'] = v
    v = arch.VISION
    h, d = v['hidden'], v['heads'] * v['head_dim']
    out['vision_tower.patch_embedder.input_proj.weight'] = (h, 768)
    out['vision_tower.patch_embedder.position_embedding_table'] = (2, v['positions'], h)
    for i in range(v['layers']):
        n = f'vision_tower.encoder.layers.{i}.'
        for k in ('input_layernorm', 'post_attention_layernorm', 'pre_feedforward_layernorm', 'post_feedforward_layernorm'):
            out[n + k + '.weight'] = (h,)
        for k, s in (('q_proj', (d, h)), ('k_proj', (d, h)), ('v_proj', (d, h)), ('o_proj', (h, d))):
            out[n + f'self_attn.{k}.linear.weight'] = s
        for k in ('q_norm', 'k_norm'):
            out[n + f'self_attn.{k}.weight'] = (v['head_dim'],)
        for k, s in (('gate_proj', (v['ffn'], h)), ('up_proj', (v['ffn'], h)), ('down_proj', (h, v['ffn']))):
            out[n + f'mlp.{k}.linear.weight'] = s
    out['embed_vision.embedding_projection.weight'] = (H, h)
    a = arch.AUDIO
    h, (c0, c1) = a['hidden'], a['channels']
    t = 'audio_tower.subsample_conv_projection.'
    out[t + 'layer0.conv.weight'], out[t + 'layer0.norm.weight'] = (c0, 1, 3, 3), (c0,)
    out[t + 'layer1.conv.weight'], out[t + 'layer1.norm.weight'] = (c1, c0, 3, 3), (c1,)
    out[t + 'input_proj_linear.weight'] = (h, c0 // 4 * c1)
    for i in range(a['layers']):
        n = f'audio_tower.layers.{i}.'
        for ff in ('feed_forward1.', 'feed_forward2.'):
            out[n + ff + 'ffw_layer_1.linear.weight'], out[n + ff + 'ffw_layer_2.linear.weight'] = (4 * h, h), (h, 4 * h)
            out[n + ff + 'pre_layer_norm.weight'] = out[n + ff + 'post_layer_norm.weight'] = (h,)
        for k in ('q_proj', 'k_proj', 'v_proj', 'post'):
            out[n + f'self_attn.{k}.linear.weight'] = (h, h)
        out[n + 'self_attn.relative_k_proj.weight'] = (h, h)
        out[n + 'self_attn.per_dim_scale'] = (h // a['heads'],)
        c = n + 'lconv1d.'
        out[c + 'linear_start.linear.weight'], out[c + 'linear_end.linear.weight'] = (2 * h, h), (h, h)
        out[c + 'depthwise_conv1d.weight'] = (h, 1, a['kernel'])
        out[c + 'pre_layer_norm.weight'] = out[c + 'conv_norm.weight'] = (h,)
        for k in ('norm_pre_attn', 'norm_post_attn', 'norm_out'):
            out[n + k + '.weight'] = (h,)
    out['audio_tower.output_proj.weight'], out['audio_tower.output_proj.bias'] = (a['out'], h), (a['out'],)
    out['embed_audio.embedding_projection.weight'] = (H, a['out'])
    return out


def init(vocab, seed):
    """Fresh parameters: matrices at unit gain, unit-size embeddings, small post-norms (each branch starts quiet)."""
    gen, P = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes(vocab).items():
        normal = lambda std: torch.randn(shape, generator=gen) * std
        if 'q_norm' in name or 'k_norm' in name:
            P[name] = torch.full(shape, shape[0] ** -0.25)
        elif name.endswith(('post_attention_layernorm.weight', 'post_feedforward_layernorm.weight',
                            'post_per_layer_input_norm.weight', 'norm_post_attn.weight', 'post_layer_norm.weight')):
            P[name] = torch.full(shape, 0.3)
        elif 'norm' in name or name.endswith('layer_scalar'):
            P[name] = torch.ones(shape)
        elif name.endswith(('bias', 'per_dim_scale')):
            P[name] = torch.zeros(shape)
        elif 'position_embedding_table' in name:
            P[name] = normal(0.3)
        elif 'embed_tokens_per_layer' in name:
            P[name] = normal(arch.PLE ** -0.5)
            P[name][0] = 0
        elif 'embed_tokens' in name:
            P[name] = normal(arch.HIDDEN ** -0.5)
        elif 'depthwise' in name:
            P[name] = normal(shape[-1] ** -0.5)
        else:
            P[name] = normal(math.prod(shape[1:]) ** -0.5)
    return P
