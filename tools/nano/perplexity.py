#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Perplexity of a text, by the C engine and by transformers in float32 on the same windows.

    python tools/nano/perplexity.py GEMMULE FOLDER FILE [--window 512] [--tokens N] [--limit 1e-4]

The windows are those of `gemmule ppl`: the text encoded once behind <bos>, the first token of each window replaced by
<bos>, the second half of a window scored.
"""
import argparse
import json
import math
import subprocess
import sys
import torch
import evaluate_engine


@torch.no_grad()
def reference(folder, text, window, most):
    from transformers import AutoTokenizer
    tok = AutoTokenizer.from_pretrained(folder)
    ids = [tok.bos_token_id] + tok.encode(text, add_special_tokens=False, split_special_tokens=True)
    ids = ids[:most or len(ids)]
    m = evaluate_engine.reference(folder)
    total = n = 0
    for at in range(0, len(ids) - window + 1, window):
        w = torch.tensor([[tok.bos_token_id] + ids[at + 1:at + window]])
        p = torch.log_softmax(m(input_ids=w).logits[0].double(), -1)
        half = window // 2
        score = -p[half:window - 1].gather(1, w[0, half + 1:, None])
        total, n = total + score.sum().item(), n + len(score)
    return total / n, n, len(ids)


def main():
    a = argparse.ArgumentParser()
    a.add_argument('program')
    a.add_argument('folder')
    a.add_argument('file')
    a.add_argument('--window', type=int, default=512)
    a.add_argument('--tokens', type=int, default=0)
    a.add_argument('--limit', type=float, default=1e-4, help='largest difference of the mean of -log p')
    o = a.parse_args()
    torch.set_num_threads(1)
    words = [o.program, 'ppl', '-q', '--precision', 'exact', '--json', '--window', str(o.window)] + (['--tokens', str(o.tokens)] if o.tokens else [])
    got = json.loads(subprocess.run(words + [o.folder, o.file], check=True, capture_output=True, text=True).stdout)
    nll, n, tokens = reference(o.folder, open(o.file, encoding='utf-8').read(), o.window, o.tokens)
    if (n, tokens) != (got['n_scored'], got['n_tokens']):
        raise SystemExit(f'not the same tokens: {got["n_tokens"]}, {got["n_scored"]} scored; transformers {tokens}, {n}')
    apart = abs(nll - got['mean_nll'])
    print(f'{n} tokens scored in windows of {o.window}: perplexity {got["perplexity"]:.6f}, transformers {math.exp(nll):.6f}; mean of -log p {apart:.1e} apart')
    return 0 if apart <= o.limit else 1


if __name__ == '__main__':
    sys.exit(main())
