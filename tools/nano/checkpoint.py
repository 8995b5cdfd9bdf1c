# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that appear whole or not at all, and the wish to stop."""
import os
import torch

STOP = []


def save(path, what):
    with open(path + '.part', 'wb') as f:
        torch.save(what, f)
        f.flush()
        os.fsync(f.fileno())
    if os.path.exists(path):
        os.replace(path, path + '.before')
    os.replace(path + '.part', path)


def load(path):
    for p in (path, path + '.before'):
        try:
            return torch.load(p, weights_only=True)
        except FileNotFoundError:
            continue
        except Exception as e:
            print(f'{p}: damaged checkpoint ({e}); trying the one before', flush=True)
    raise SystemExit(f'{path}: no usable checkpoint')
