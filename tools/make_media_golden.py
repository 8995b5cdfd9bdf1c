#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reference vectors for images: tests/golden/media. Needs Pillow, numpy, torch and transformers.

sizes.txt    width height budget -> target width height, by transformers' own function
resize.txt   seed-free pictures (formula below) resized by Pillow: width height -> width height, SHA-256 of the pixels
files/       pictures in every kind of PNG and JPEG; files.txt: name, size and SHA-256 of the upright RGB pixels that
             Pillow reads (for JPEG `~`: decoders differ by rounding, so the mean of each channel and raw pixels follow)
"""
import hashlib
import os
import random
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tests', 'golden', 'media')
files = os.path.join(here, 'files')


def formula(w, h):
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([7 * x + 3 * y, x * y, x ^ y], -1).astype(np.uint8)


def sha(a):
    return hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()


def sizes():
    from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size
    rng = random.Random(1)
    cases = [(1, 1), (2, 1), (1, 2), (5000, 1), (1, 5000), (3, 900), (900, 3), (640, 480), (1000, 300), (1344, 1824),
             (48, 48), (1000000, 1), (1, 1000000), (10000, 10000), (1000000, 100)]
    for _ in range(60):
        cases.append((int(2 ** rng.uniform(0, 13)), int(2 ** rng.uniform(0, 13))))
    with open(os.path.join(here, 'sizes.txt'), 'w') as f:
        for w, h in cases:
            for b in (70, 140, 280, 560, 1120):
                th, tw = get_aspect_ratio_preserving_size(h, w, 16, 9 * b, 3)
                f.write(f'{w} {h} {b} {tw} {th}\n')


def resizes():
    pairs = [((640, 480), (912, 672)), ((640, 480), (432, 336)), ((1, 1), (384, 384)), ((5000, 1), (3360, 48)),
             ((1, 5000), (48, 3360)), ((3, 900), (48, 13440)), ((97, 61), (97, 240)), ((97, 61), (240, 61)),
             ((97, 61), (97, 61)), ((1500, 7), (48, 48)), ((7, 1500), (48, 48)), ((2000, 1333), (48, 96)),
             ((300, 200), (301, 199)), ((2, 3), (768, 1056)), ((1023, 511), (1024, 512)), ((4000, 3000), (912, 672))]
    with open(os.path.join(here, 'resize.txt'), 'w') as f:
        for (w, h), (tw, th) in pairs:
            out = Image.fromarray(formula(w, h)).resize((tw, th), Image.BICUBIC)
            f.write(f'{w} {h} {tw} {th} {sha(np.asarray(out))}\n')


def png(path, w, h, depth, colour, rows, chunks=(), interlace=0):
    """A PNG by hand: kinds that Pillow does not write. rows: bytes of each scan line without filter byte."""
    chunk = lambda t, d: struct.pack('>I', len(d)) + t + d + struct.pack('>I', zlib.crc32(t + d))
    raw = b''.join(b'\0' + r for r in rows)
    with open(path, 'wb') as f:
        f.write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, depth, colour, 0, 0, interlace)))
        for t, d in chunks:
            f.write(chunk(t, d))
        f.write(chunk(b'IDAT', zlib.compress(raw)) + chunk(b'IEND', b''))


def exif(orientation, big=False):
    e = '>' if big else '<'
    return (b'MM\0*' if big else b'II*\0') + struct.pack(e + 'IHHHIHHI', 8, 1, 0x112, 3, 1, orientation, 0, 0)


def upright(path):
    """As transformers loads a file: EXIF, then RGB without alpha."""
    im = ImageOps.exif_transpose(Image.open(path))
    if im.mode.startswith('I;16'):                                     # Pillow clips instead of scaling
        return np.repeat((np.asarray(im).astype(np.uint16) >> 8).astype(np.uint8)[..., None], 3, -1)
    if im.mode == 'P' or im.mode == 'LA':
        im = im.convert('RGBA')
    return np.asarray(Image.fromarray(np.asarray(im)[..., :3]) if im.mode == 'RGBA' else im.convert('RGB'))


def make_files():
    os.makedirs(files, exist_ok=True)
    at = lambda name: os.path.join(files, name)
    a = formula(37, 23)
    rgb = Image.fromarray(a)
    rgb.save(at('rgb.png'))
    Image.fromarray(np.dstack([a, a[..., 0]])).save(at('rgba.png'))
    rgb.convert('L').save(at('grey.png'))
    rgb.convert('LA').save(at('grey-alpha.png'))
    rgb.convert('1').save(at('one-bit.png'))
    rgb.quantize(16).save(at('palette.png'))
    rgb.quantize(200).save(at('palette-transparent.png'), transparency=3)
    wide = (a.astype(np.uint16) << 8) | a[..., ::-1]
    png(at('rgb16.png'), 37, 23, 16, 2, [r.astype('>u2').tobytes() for r in wide])
    png(at('grey16.png'), 37, 23, 16, 0, [r.astype('>u2').tobytes() for r in wide[..., 0]])
    for o in range(1, 9):
        png(at(f'turned-{o}.png'), 37, 23, 8, 2, [r.tobytes() for r in a], [(b'eXIf', exif(o, o % 2 == 0))])
    smooth = np.stack([np.add.outer(np.arange(64) * 2, np.arange(80)), np.add.outer(np.arange(64), np.arange(80) * 2),
                       np.add.outer(255 - np.arange(64) * 3, np.zeros(80))], -1).clip(0, 255).astype(np.uint8)
    photo = Image.fromarray(smooth)
    photo.save(at('photo.jpg'), quality=95, subsampling=0)
    photo.save(at('photo-420.jpg'), quality=90)
    photo.save(at('photo-progressive.jpg'), quality=90, progressive=True)
    photo.convert('L').save(at('photo-grey.jpg'), quality=90)
    photo.convert('CMYK').save(at('photo-cmyk.jpg'), quality=95)
    e = Image.Exif()
    e[0x112] = 6
    photo.save(at('photo-turned.jpg'), quality=95, subsampling=0, exif=e)
    with open(os.path.join(here, 'files.txt'), 'w') as f:
        for name in sorted(os.listdir(files)):
            px = upright(at(name))
            h, w = px.shape[:2]
            if name.endswith('.png'):
                f.write(f'{name} {w} {h} {sha(px)}\n')
            else:
                np.asarray(px).tofile(os.path.join(here, name + '.rgb'))
                f.write(f'{name} {w} {h} ~\n')


if __name__ == '__main__':
    os.makedirs(here, exist_ok=True)
    sizes()
    resizes()
    make_files()
