# SPDX-License-Identifier: Apache-2.0
"""Muon for matrices (momentum, then the nearest orthogonal matrix by five Newton-Schulz steps), AdamW for the rest.
Parameters without a gradient in a step are left alone, with their state."""
import torch


def orthogonal(g):
    """Keller Jordan's quintic Newton-Schulz iteration, for a stack [n, r, c] of matrices."""
    x = g.to(torch.bfloat16)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(5):
        a = torch.bmm(x, x.transpose(1, 2))
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445, alpha=1.0)
    return x.transpose(1, 2) if tall else x


class Optimizer:
    def __init__(self, params, muon_lr=0.02, adam_lr=3e-3, clip=1.0):
        self.params, self.muon_lr, self.adam_lr, self.clip = params, muon_lr, adam_lr, clip
        self.state = {}
        self.matrix = {n: p.dim() == 2 and 'embed_tokens' not in n for n, p in params.items()}

    @torch.no_grad()
    def step(self, scale=1.0):
        live = {n: p for n, p in self.params.items() if p.grad is not None}
        norm = torch.stack([p.grad.norm() for p in live.values()]).norm()
        if not torch.isfinite(norm):
            return float('nan')
        shrink = min(1.0, self.clip / (norm.item() + 1e-9))
        groups = {}
        for n, p in live.items():
            g = p.grad * shrink
            s = self.state.setdefault(n, {'m': torch.zeros_like(p), 'n': 0})
            s['n'] += 1
            if self.matrix[n]:
                s['m'].mul_(0.95).add_(g)
                groups.setdefault(tuple(p.shape), []).append((p, g.add(s['m'], alpha=0.95)))
                continue
            if 'v' not in s:
                s['v'] = torch.zeros_like(p)
            s['m'].lerp_(g, 0.1)
            s['v'].mul_(0.98).addcmul_(g, g, value=0.02)
            lr = self.adam_lr * scale
            den = (s['v'] / (1 - 0.98 ** s['n'])).sqrt_().add_(1e-9)
            p.addcdiv_(s['m'], den, value=-lr / (1 - 0.9 ** s['n']))
        for shape, pairs in groups.items():
            u = orthogonal(torch.stack([g for _, g in pairs])).float()
            lr = self.muon_lr * scale * max(1.0, shape[0] / shape[1]) ** 0.5
            for (p, _), d in zip(pairs, u):
                p.add_(d, alpha=-lr)
        for p in live.values():
            p.grad = None
        return norm.item()
