# SPDX-License-Identifier: Apache-2.0
"""Drawn pictures: figures of a shape, a colour and a place, digits and short words, on any aspect ratio. Each comes
with its scene (what is where), which questions and labels are made from."""
import math
import random
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from words import *

SHAPES = ['circle', 'square', 'triangle', 'star', 'cross', 'diamond', 'ring', 'arrow']
RGB = {'red': (220, 30, 30), 'green': (30, 160, 50), 'blue': (40, 70, 220), 'yellow': (240, 220, 40), 'black': (15, 15, 15), 'white': (248, 248, 248),
       'orange': (250, 140, 20), 'purple': (140, 50, 180), 'pink': (250, 140, 190), 'brown': (120, 70, 30), 'gray': (130, 130, 130)}
CHARS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
READ = 'cat dog sun red box cup hat key map pen bus car tree fish bird book lamp door milk star ship rain moon leaf snow rock gold blue open stop exit taxi hotel bread apple water'.split()
READ_TEST = 'fox jam net owl rug van kite frog lion wolf desk flag'.split()


def target(w, h, budget):
    """Size that transformers' processor gives an image (spec/multimodal.md, 1.3)."""
    f = math.sqrt(2304 * budget / (h * w))
    th, tw = int(f * h // 48) * 48, int(f * w // 48) * 48
    if th == 0:
        th, tw = 48, min(w // h * 48, 48 * budget)
    elif tw == 0:
        tw, th = 48, min(h // w * 48, 48 * budget)
    return tw, th


def outline(shape, turn):
    """Points of a shape around the origin, radius about 1; the second list is a hole."""
    ring = lambda n, r=1.0, a=0.0: [(r * math.cos(a + 2 * math.pi * k / n), r * math.sin(a + 2 * math.pi * k / n)) for k in range(n)]
    hole = []
    if shape == 'circle':
        p = ring(36)
    elif shape == 'ring':
        p, hole = ring(36), ring(36, 0.6)
    elif shape == 'square':
        p = [(-.85, -.85), (.85, -.85), (.85, .85), (-.85, .85)]
    elif shape == 'diamond':
        p = [(0, -1.1), (.8, 0), (0, 1.1), (-.8, 0)]
    elif shape == 'triangle':
        p = ring(3, 1.1, -math.pi / 2)
    elif shape == 'star':
        p = [((1.1 if k % 2 == 0 else .45) * math.cos(math.pi * k / 5 - math.pi / 2), (1.1 if k % 2 == 0 else .45) * math.sin(math.pi * k / 5 - math.pi / 2)) for k in range(10)]
    elif shape == 'cross':
        a = .32
        p = [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]
    else:
        p = [(-1, -.3), (.1, -.3), (.1, -.8), (1, 0), (.1, .8), (.1, .3), (-1, .3)]
    c, s = math.cos(turn), math.sin(turn)
    spin = lambda q: [(x * c - y * s, x * s + y * c) for x, y in q]
    return spin(p), spin(hole)


TURN = {'circle': 0, 'ring': 0, 'square': .15, 'diamond': .12, 'triangle': .25, 'star': .3, 'cross': .2, 'arrow': .3}


def jitter(rng, c, n=18):
    return tuple(max(0, min(255, v + rng.randint(-n, n))) for v in RGB.get(c, c))


def far(a, b):
    return sum(abs(x - y) for x, y in zip(RGB[a], RGB[b])) > 160


def apart(figure):
    """Whether this pair of shape and colour is held out: one colour a shape."""
    i, j = SHAPES.index(figure[0]), list(RGB).index(figure[1])
    return j == (3 * i + 1) % len(RGB)


def any_colour(rng, shape, back):
    """Any colour that stands out, but not near the one held out for this shape."""
    spared = next(c for c in RGB if apart((shape, c)))
    while True:
        c = tuple(rng.randint(0, 255) for _ in range(3))
        if sum(abs(x - y) for x, y in zip(c, RGB[back])) > 160 and sum(abs(x - y) for x, y in zip(c, RGB[spared])) > 100:
            return c


def place(rng, k, w, h, low, high):
    """k disjoint disks (x, y, r) in a w by h picture; radii are shares of the shorter side."""
    out, tries = [], 0
    while len(out) < k:
        r = rng.uniform(low, high) * min(w, h) * 0.85 ** (tries // 12)
        x, y = rng.uniform(r * 1.1, max(w - r * 1.1, r * 1.1)), rng.uniform(r * 1.1, max(h - r * 1.1, r * 1.1))
        tries += 1
        if all(math.hypot(x - a, y - b) > (r + c) * 1.12 for a, b, c in out):
            out.append((x, y, r))
    return out


def scene(rng, test, kind=None, budget=70):
    """{'size', 'back', 'figures': [{'shape', 'colour', 'x', 'y', 'r', 'turn'}], 'text'}"""
    kind = kind or rng.choice(('one', 'count', 'count', 'count', 'two', 'two', 'read', 'read', 'read', 'read'))
    ratio = math.exp(rng.uniform(-.7, .7) if rng.random() < 0.75 else rng.uniform(-1.3, 1.3))
    side = rng.randint(70, 420)
    w, h = max(24, int(side * math.sqrt(ratio))), max(24, int(side / math.sqrt(ratio)))
    if rng.random() < 0.6:
        w, h = target(w, h, budget)                    # no resampling then: cheap
    back = rng.choice(('white', 'white', 'black', 'gray', 'yellow', 'blue', 'pink', 'green', 'brown', 'orange'))
    s = {'kind': kind, 'size': (w, h), 'back': back, 'figures': [], 'text': None, 'noise': rng.random() < 0.12}
    colours = [c for c in RGB if far(c, back)]
    if kind == 'read':
        if rng.random() < 0.5:
            s['text'] = str(rng.randint(0, 9)) if rng.random() < 0.6 else str(draw(rng, lambda r: r.randint(10, 999), test))
        else:
            s['text'] = rng.choice(READ_TEST if test else READ) if rng.random() < (0.6 if test else 0.2) else letters(rng, 2, 4 if test else rng.choice((4, 5, 7)), test)
        s['ink'] = rng.choice([c for c in RGB if sum(abs(x - y) for x, y in zip(RGB[c], RGB[back])) > 260])
        s['font'] = rng.random()
        s['zoom'] = target(w, h, budget)[0] / w
        return s
    k = {'one': 1, 'two': 2}.get(kind) or rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 5, 6))
    low, high = {1: (.22, .46), 2: (.17, .3)}.get(k, (.11, .2))
    same = kind == 'count' and rng.random() < 0.4
    some = not test and kind == 'count' and rng.random() < 0.5      # several of a shape or colour, and others
    nameless = not test and rng.random() < 0.3          # colours that no name fits: shapes are to be known by their outline
    first = None
    for x, y, r in place(rng, k, w, h, low, high):
        while True:
            f = (rng.choice(SHAPES), rng.choice(colours)) if not (same and first) else first
            if some and first and rng.random() < .5:
                f = rng.choice(((first[0], f[1]), (f[0], first[1])))
            if apart(f) == test or test and k > 2:
                break
        if kind == 'two' and first and (f[0] == first[0]):
            while f[0] == first[0] or apart(f) != test:
                f = (rng.choice(SHAPES), rng.choice(colours))
        first = first or f
        s['figures'].append({'shape': f[0], 'colour': f[1], 'x': x, 'y': y, 'r': r, 'turn': rng.uniform(-1, 1) * TURN[f[0]]})
        if nameless and rng.random() < 0.8:
            s['figures'][-1].update(colour=None, rgb=any_colour(rng, f[0], back))
    return s


FONTS = {}


def font(size):
    if size not in FONTS:
        FONTS[size] = ImageFont.load_default(size)
    return FONTS[size]


def text_boxes(s):
    """Where each character of the text stands: (character, x0, y0, x1, y1), and the font and start."""
    w, h = s['size']
    n = len(s['text'])
    large = (72 + 48 * s['font']) / s['zoom']           # large print: a character is about a soft token's cell wide
    size = max(9, int(min(h * 0.9, 1.6 * w / (n + .4), large)))
    size = min(240, size // 4 * 4 if size > 16 else size)
    f = font(size)
    x0, y0, x1, y1 = f.getbbox(s['text'])
    slack_x, slack_y = max(0, w - (x1 - x0)), max(0, h - (y1 - y0))
    ox, oy = slack_x * (s['font'] * 7 % 1) - x0, slack_y * (s['font'] * 13 % 1) - y0
    boxes = []
    for k, c in enumerate(s['text']):
        a, b = ox + f.getlength(s['text'][:k]), ox + f.getlength(s['text'][:k + 1])
        boxes.append((c, a, oy + y0, b, oy + y1))
    return f, (ox, oy), boxes


def paint(s, rng):
    w, h = s['size']
    im = Image.new('RGB', (w, h), jitter(rng, s['back'], 10))
    d = ImageDraw.Draw(im)
    back = im.getpixel((0, 0))
    for f in s['figures']:
        p, hole = outline(f['shape'], f['turn'])
        at = lambda q: [(f['x'] + f['r'] * .9 * x, f['y'] + f['r'] * .9 * y) for x, y in q]
        d.polygon(at(p), fill=jitter(rng, f['colour'] or f['rgb']))
        if hole:
            d.polygon(at(hole), fill=back)
    if s['text']:
        f, at, _ = text_boxes(s)
        d.text(at, s['text'], font=f, fill=jitter(rng, s['ink']))
    if s['noise']:
        seed = np.random.default_rng(rng.getrandbits(32))
        small = seed.integers(-14, 15, (h, w, 1), dtype=np.int16)
        im = Image.fromarray(np.clip(np.asarray(im, np.int16) + small, 0, 255).astype(np.uint8))
    return im


def labels(s, at):
    """What stands in each cell of the soft-token grid of patches at these positions [N,2]: shape, colour and character
    numbers, 0 for none; whether the middle of a figure or character is in it; and where the middle of its figure is, in
    tenths from 1 on (across, down)."""
    w, h = s['size']
    gw, gh = map(int, (at.max(0) + 1) // 3)
    m = Image.new('L', (gw * 6, gh * 6))
    d = ImageDraw.Draw(m)
    for k, f in enumerate(s['figures']):
        p, _ = outline(f['shape'], f['turn'])
        d.polygon([((f['x'] + f['r'] * .9 * x) * gw * 6 / w, (f['y'] + f['r'] * .9 * y) * gh * 6 / h) for x, y in p], fill=k + 1)
    if s['text']:
        for k, (c, x0, y0, x1, y1) in enumerate(text_boxes(s)[2]):
            x0, x1, y0, y1 = x0 * gw * 6 / w, x1 * gw * 6 / w - .5, y0 * gh * 6 / h, y1 * gh * 6 / h - .5
            d.rectangle([x0, y0, max(x0, x1), max(y0, y1)], fill=k + 1)
    a = np.asarray(m).reshape(gh, 6, gw, 6).transpose(0, 2, 1, 3).reshape(gh * gw, 36)
    n = max(len(s['figures']), len(s['text'] or ''))
    area = np.stack([(a == k + 1).sum(1) for k in range(n)], 1) if n else np.zeros((gh * gw, 1), int)
    best, most = area.argmax(1), area.max(1)
    out = np.zeros((6, gh * gw), np.int64)
    out[4:] = -100
    middles = [(f['x'], f['y']) for f in s['figures']] if not s['text'] else [((x0 + x1) / 2, (y0 + y1) / 2) for _, x0, y0, x1, y1 in text_boxes(s)[2]]
    for x, y in middles:
        out[3, min(gh - 1, max(0, int(y * gh / h))) * gw + min(gw - 1, max(0, int(x * gw / w)))] = 1
    for k in range(n):
        cells = (best == k) & (most >= min(5, area[:, k].max()))
        if s['text']:
            out[2, cells] = 1 + CHARS.index(s['text'][k])
        else:
            out[0, cells] = 1 + SHAPES.index(s['figures'][k]['shape'])
            c = s['figures'][k]['colour']
            out[1, cells] = 1 + list(RGB).index(c) if c else -100
            out[4:, cells] = 1 + np.array(tenths(s, s['figures'][k]))[:, None]
    return out


def tenths(s, figure):
    return [min(9, max(0, int(10 * v / n))) for v, n in zip((figure['x'], figure['y']), s['size'])]


def patches(im, budget=70):
    """(patches [N,768] float32 in 0..1, positions [N,2]), as transformers' processor makes them."""
    w, h = im.size
    tw, th = target(w, h, budget)
    if (tw, th) != (w, h):
        im = im.resize((tw, th), Image.BICUBIC)
    a = np.asarray(im).reshape(th // 16, 16, tw // 16, 16, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 768)
    y, x = np.divmod(np.arange(len(a)), tw // 16)
    return a.astype(np.float32) * np.float32(1 / 255), np.stack((x, y), 1)


# ---- questions

NUMBER = 'zero one two three four five six seven eight nine'.split()
ASK_SHAPE = ['(what|which) (shape|figure) (is this|is shown|is it|do you see|is drawn|is in the picture|is in the image)?', '(name|tell me|give me|say) (the|this) (shape|figure)(.| please.|)', 'welche (Form|Figur) (ist das|siehst du|ist zu sehen)?', '(the|this) (shape|figure)?', 'what is drawn( here|)?']
ASK_COLOUR = ['(what|which) colour (is|has) the {s}?', '(name|tell me|give me|say) the colour of the {s}(.| please.|)', '(the colour|colour) of the {s}?', '(in which|what) colour is the {s}( drawn| painted|)?', 'welche Farbe hat (das Bild|die Figur): {s}?', 'how is the {s} coloured?', 'what is the colour of the {s}?']
ASK_BOTH = ['describe (the|this) (picture|image)(.|)', '(what|tell me what) (do you see|is in the image|is in the picture|does the picture show)?', 'look at (this|the picture|the image). what (is it|do you see)?', 'was (siehst du|ist das)?', '(say|tell me) what you see(.|)']
ASK_COUNT = ['how many (figures|shapes|things) (are there|do you see|are drawn|are in the picture|are in the image)?', '(count|tell me the number of|give me the number of) (the |)(figures|shapes|things)(.|)', 'number of (figures|shapes|things)?', 'wie viele (Figuren|Formen) (sind da|siehst du)?', 'how many (figures|shapes|things)?']
ASK_SOME = ['how many {p} (are there|do you see|are drawn|are in the picture|are in the image)?', '(count|tell me the number of|give me the number of) (the |){p}(.|)', 'number of {p}?', '(tell me |)how many {p}( there are|)?']
ASK_SIDE = ['is the {a} {x} or {y} the {b}?', 'where is the {a}: {x} or {y} the {b}?', '{x} or {y}: where is the {a}, seen from the {b}?', '(does the {a} stand|do you see the {a}|stands the {a}) {x} or {y} the {b}?', '(tell me|say): is the {a} {x} or {y} the {b}?', '(the {a}|and the {a}): {x} or {y} the {b}?']
ASK_WHICH = ['(which|what) (shape|figure) (is|stands|do you see) {z}?', '(name|tell me|give me|say) the (shape|figure) {z}(.|)', 'what (is|stands|do you see) {z}?', '(the|and the) (shape|figure) {z}?']
ASK_LIST = ['(list|name|tell me|say) (the|all|all the) (figures|shapes|things) {o}(.|)', '(which|what) (figures|shapes) (do you see|are there|are drawn) {o}?', '(the|all) (figures|shapes) {o}(.|, please.|)']
ASK_SPOT = ['where (is|stands|do you see) the {s}, in tenths?', '(place|position) of the {s}?', '(tell me|say) the (place|position) of the {s}(.|)']
ASK_READ = ['what (does the image say|does the picture say|is written here|can you read|is written|is the text)?', 'read (the text|this|it to me|the image|the word|the number)(.| please.|)', '(which|what) (word or number|text) (is shown|is it|is written|do you see)?', 'was steht (da|hier|im Bild)?']
SIDES = {'left': ('left of', 'right of', 'on the left'), 'right': ('left of', 'right of', 'on the right'), 'above': ('above', 'below', 'at the top'), 'below': ('above', 'below', 'at the bottom')}


def many(shape):
    return shape + ('es' if shape.endswith('s') else 's')


def questions(s, rng, test):
    """All questions that a scene answers, as (skill, question, answer)."""
    out, f = [], s['figures']
    if s['text']:
        return [('image-read', pick(rng, ASK_READ, test), s['text'])]
    if len(f) == 1:
        one = f[0]
        out.append(('image-shape', pick(rng, ASK_SHAPE, test), one['shape']))
        if one['colour']:
            out.append(('image-colour', pick(rng, ASK_COLOUR, test).format(s=one['shape'] if rng.random() < .5 else 'figure'), one['colour']))
            article = 'an' if (one['colour'])[0] in 'aeiou' else 'a'
            out.append(('image-shape', pick(rng, ASK_BOTH, test), f'{article} {one["colour"]} {one["shape"]}'))
    if s['kind'] == 'count':
        out.append(('image-count', pick(rng, ASK_COUNT, test), NUMBER[len(f)]))
        kinds = {}
        for x in f:
            for key in (x['shape'], x['colour']):
                if key:
                    kinds[key] = kinds.get(key, 0) + 1
        key = rng.choice(list(kinds)) if test else rng.choices(list(kinds), kinds.values())[0]      # most kinds are there once
        out.append(('image-count', pick(rng, ASK_SOME, test).format(p=many(key) if key in SHAPES else key + ' figures'), NUMBER[kinds[key]]))
    if s['kind'] == 'two' and len(f) == 2:
        for _ in range(1 if test else 3):                       # what takes longest to learn is asked most
            out += sides(s, rng, test)
    if f and not test:
        out += listing(s, rng) + spot(s, rng)
    return out


def sides(s, rng, test):
    """How two figures lie to each other, where one direction is clear; and the colour of one."""
    out = []
    a, b = rng.sample(s['figures'], 2)
    dx, dy = a['x'] - b['x'], a['y'] - b['y']
    gap = (a['r'] + b['r']) * .6
    if abs(dx) > gap and abs(dx) > 1.2 * abs(dy) or abs(dy) > gap and abs(dy) > 1.2 * abs(dx):
        side = ('left' if dx < 0 else 'right') if abs(dx) > abs(dy) else ('above' if dy < 0 else 'below')
        x, y, z = SIDES[side]
        q = pick(rng, ASK_SIDE, test).format(a=a['shape'], b=b['shape'], x=x, y=y)
        out.append(('image-place', q[0].upper() + q[1:], side))
        out.append(('image-place', pick(rng, ASK_WHICH, test).format(z=z), a['shape']))
    if a['colour']:
        out.append(('image-colour', pick(rng, ASK_COLOUR, test).format(s=a['shape']), a['colour']))
    return out


def spot(s, rng):
    """The place of one figure, in tenths: no skill of its own, but without it which of two stands to the left is not learned."""
    g = rng.choice(s['figures'])
    if [x['shape'] for x in s['figures']].count(g['shape']) > 1:
        return []
    return [('image-spot', pick(rng, ASK_SPOT, False).format(s=g['shape']), '{}, {}'.format(*tenths(s, g)))]


def listing(s, rng):
    """All figures in order, if there is one: no skill of its own, but what counting and places are learned from."""
    axis, order = rng.choice((('x', 'from left to right'), ('y', 'from top to bottom')))
    f = sorted(s['figures'], key=lambda g: g[axis])
    if len(f) < 2 or any(b[axis] - a[axis] < .25 * (a['r'] + b['r']) for a, b in zip(f, f[1:])):
        return []
    say = lambda g: f'{g["colour"]} {g["shape"]}' if g['colour'] else g['shape']
    return [('image-list', pick(rng, ASK_LIST, False).format(o=order), ', '.join(map(say, f)))]


# ---- videos: four frames, one figure moves

WAYS = {'left': (-1, 0), 'right': (1, 0), 'up': (0, -1), 'down': (0, 1)}
ASK_MOVES = ['(what|which figure|which shape|which thing) (moves|is moving|does move|moves in the video)?', '(name|tell me|say) (what moves|the thing that moves|the shape that moves|the figure that moves)(.|)', 'was bewegt sich( im Video|)?']
ASK_WAY = ['(which way|where|in which direction) (does the {s} move|does the {s} go|is the {s} moving|is the {s} going)?', '(does|will) the {s} (move|go) left, right, up or down?', '(tell me|say) (where|which way) the {s} (moves|goes)(.|)', 'the {s} (moves|goes) where?']


def video_scene(rng, test, budget=70):
    ratio = math.exp(rng.uniform(-.7, .7))
    w, h = target(int(300 * math.sqrt(ratio)), int(300 / math.sqrt(ratio)), budget)
    back = rng.choice(('white', 'black', 'gray', 'yellow', 'blue', 'pink'))
    colours = [c for c in RGB if far(c, back)]
    r = rng.uniform(.13, .19) * min(w, h)
    way = rng.choice(list(WAYS))
    dx, dy = WAYS[way]
    lane = rng.uniform(1.2 * r, (h if dx else w) - 1.2 * r)
    long = w if dx else h
    start, end = 1.2 * r + rng.uniform(0, .15) * long, long - 1.2 * r - rng.uniform(0, .15) * long
    if dx < 0 or dy < 0:
        start, end = end, start
    while True:
        f = rng.choice(SHAPES), rng.choice(colours)
        if apart(f) == test:
            break
    still = []
    for _ in range(rng.choice((0, 1, 1, 2))):
        g = rng.choice([x for x in SHAPES if x != f[0] and x not in [s['shape'] for s in still]])
        c = rng.choice([c for c in colours if test or not apart((g, c))])
        for _ in range(40):
            x, y, q = rng.uniform(1.2 * r, w - 1.2 * r), rng.uniform(1.2 * r, h - 1.2 * r), rng.uniform(.7, 1.1) * r
            if abs((y if dx else x) - lane) > (q + r) * 1.15 and all(math.hypot(x - s['x'], y - s['y']) > (q + s['r']) * 1.15 for s in still):
                still.append({'shape': g, 'colour': c, 'x': x, 'y': y, 'r': q, 'turn': 0})
                break
    frames = []
    for k in range(4):
        at = start + (end - start) * k / 3
        x, y = (at, lane) if dx else (lane, at)
        frames.append({'size': (w, h), 'back': back, 'text': None, 'noise': False,
                       'figures': [dict(s) for s in still] + [{'shape': f[0], 'colour': f[1], 'x': x, 'y': y, 'r': r, 'turn': 0}]})
    step = rng.choice((1, 1, 2))
    return {'kind': 'video', 'seed': rng.getrandbits(32), 'frames': frames, 'moves': f, 'way': way, 'times': [f'00:{k * step:02d}' for k in range(4)]}


def video_questions(s, rng, test):
    shape, colour = s['moves']
    a, b = s['frames'][0]['figures'][-1], s['frames'][3]['figures'][-1]
    x, y = b['x'] - a['x'], b['y'] - a['y']
    require(s['way'] == (('left' if x < 0 else 'right') if abs(x) > abs(y) else ('up' if y < 0 else 'down')), s['way'], x, y)
    return [('video', pick(rng, ASK_MOVES, test), f'the {colour} {shape}'), ('video', pick(rng, ASK_WAY, test).format(s=shape), s['way'])]


def video_colours(s, rng):
    """The colour of each figure: no skill of its own, but what moves is named by its colour."""
    return [('video-colour', pick(rng, ASK_COLOUR, False).format(s=f['shape']), f['colour']) for f in s['frames'][0]['figures']]
