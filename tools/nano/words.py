# SPDX-License-Identifier: Apache-2.0
"""Word lists and helpers shared by the generators, and the line between training and held-out data.

Two rules part them: `pick` for templates, and of values those whose checksum says so (`held`): about one in ten. Names, words and cities have lists of their own for held-out data.
"""
import functools
import json
import os
import re
import zlib

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../models/nano')
NAMES = '''Anna Ben Clara David Emma Felix Greta Hans Ida Jonas Karl Lena Max Nora Otto Paula Rosa Simon Tina Ulrich Vera
Werner Yara Zoe Adam Berta Carl Dora Emil Frida Gustav Helga Ivan Julia Klaus Laura Marco Nina Oscar Peter Ruth Sara
Tom Ursula Victor Wanda Alice Bruno Celia Dieter Elias Fiona George Hanna Igor Jane Kevin Linda Moritz Olga'''.split()
NAMES_TEST = 'Lukas Mia Theo Sofia Anton Marie Erik Luisa Philip Amelie Robert Tilda Hugo Selma Arthur Vivian'.split()
CITIES = '''Paris Rome Berlin London Madrid Vienna Lisbon Oslo Athens Dublin Warsaw Prague Cairo Tokyo Lima Boston Hamburg Munich
Zurich Geneva Milan Venice Porto Bergen Malmo Ghent Lyon Nice Turin Basel Bonn Kiel Leeds York Denver Dallas'''.split()
CITIES_TEST = 'Bremen Lille Seville Naples Bern Graz Utrecht Aarhus Tampere Bristol Chicago Osaka'.split()
THINGS = '''apple pear book chair table lamp spoon bottle window garden river mountain bread cheese stone flower bird horse
bridge train ticket letter pencil paper clock mirror basket blanket candle carpet drawer engine feather guitar hammer island
jacket kettle ladder magnet needle onion pillow quilt rocket saddle tunnel umbrella violin wagon yarn zebra anchor barrel
camera desk egg fork glove hat ink jar key leaf map net oven pan rope sail tent vase wheel box coin drum fan goat hill
jam king lion moon nut owl pig ring sock tree vest wolf ax bell cup doll ear flag gate hook iron jewel kite lock
melon nest orange plate queen ruler shelf towel valley water yard butter cherry dragon eagle forest grape honey insect
jungle kitten lemon monkey nurse ocean potato rabbit salad tiger uncle village winter yellow zipper'''.split()
THINGS_TEST = '''banana cactus donkey elbow falcon gravel helmet icicle jersey kennel locket muffin napkin oyster pepper quiver
ribbon statue teapot urchin velvet walnut turnip cradle beetle canyon fiddle hamster pigeon rooster'''.split()
COLOURS = 'red green blue yellow black white orange purple brown pink gray'.split()
LETTERS = 'abcdefghijklmnopqrstuvwxyz'
SYLLABLES = '''ba be bi bo bu da de di do du fa fe fi fo ga ge go gu ha he hi ho ja jo ka ke ki ko la le li lo lu ma me mi mo
mu na ne ni no nu pa pe pi po ra re ri ro ru sa se si so su ta te ti to tu va ve vi wa we wo za ze'''.split()


def held(*values):
    """Whether these values belong to held-out data: about one in ten."""
    return zlib.crc32(repr(values).encode()) % 10 == 3


CHOICE = re.compile(r'\(([^()]*)\)')


def pick(rng, options, test):
    """A template. "(a|b|)" in one stands for any of its alternatives; whether a template so made is for training or
    held out its checksum says (one in ten). Of plain lists every sixth, of six or more, is held out. So held-out
    templates are new as a whole, but their words are not."""
    if any('(' in t for t in options):
        while True:
            t = rng.choice(options)
            while '(' in t:
                t = CHOICE.sub(lambda m: rng.choice(m.group(1).split('|')), t, count=1)
            t = ' '.join(t.split(' ')).strip()
            if held('template', t) == test:
                return t if rng.random() < 0.25 else t[0].upper() + t[1:]
    if len(options) < 6:
        return rng.choice(options)
    while True:
        i = rng.randrange(len(options))
        if (i % 6 == 4) == test:
            return options[i]


def draw(rng, make, test):
    """Values from make(rng), on the right side of the line."""
    while True:
        v = make(rng)
        if held(v) == test:
            return v


ONSET = 'b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kn l m n p pl pr qu r s sc sh sk sl sm sn sp st str sw t th tr tw v w wh y z'.split()
NUCLEUS = 'a a e e i i o o u u ai au ea ee ei ie oa oo ou y'.split()
CODA = 'b ck d ft g k l ld ll lt m mp n nd ng nk nt p r rd rk rm rn rt s sh ss st t th tt x'.split()
KNOWN = {w.lower() for w in THINGS + CITIES + NAMES + THINGS_TEST + CITIES_TEST + NAMES_TEST}


@functools.cache
def starts():
    """Letters of the tokenizer's pieces and single letters: whatever a word begins with must have been carried over once.
    (Where there is no tokenizer yet there are no pieces either.)"""
    pieces = []
    path = os.path.join(FOLDER, 'tokenizer.json')
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            pieces = [p.removeprefix('▁').lower() for p in json.load(f)['model']['vocab']]
    return sorted({p for p in pieces if re.fullmatch('[a-z]{2,7}', p)}) + list(LETTERS) * 4


def begun(rng):
    """Letters that begin as a piece does."""
    return rng.choice(starts()) + ''.join(rng.choice(LETTERS) if rng.random() < 0.3 else rng.choice(SYLLABLES) for _ in range(rng.randint(1, 2)))


def mixed(rng):
    """Letters that look like a word, or parts of known ones."""
    k = rng.random()
    if k < 0.35:
        return ''.join(rng.choice(ONSET) + rng.choice(NUCLEUS) + (rng.choice(CODA) if rng.random() < 0.6 else '') for _ in range(rng.choice((1, 2, 2))))
    if k < 0.65:
        a, b = rng.choice(THINGS + CITIES + NAMES).lower(), rng.choice(THINGS + CITIES + NAMES).lower()
        return a[:rng.randint(1, max(1, len(a) - 1))] + b[rng.randint(1, max(1, len(b) - 2)):]
    if k < 0.85:
        a = list(rng.choice(THINGS + CITIES + NAMES).lower())
        a[rng.randrange(len(a))] = rng.choice(LETTERS)
        return ''.join(a)
    return ''.join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 3))) + (rng.choice(CODA) if rng.random() < .5 else '')


def invented(rng, share=0.5):
    """A word that is none, for training, so that what is learned is to carry words over and not a list of them; a share
    of them begin as a piece does."""
    def make(r):
        w = begun(r) if r.random() < share else mixed(r)
        if r.random() < 0.25:                                   # "icicle": which of two equal letters is being copied?
            i = r.randrange(len(w))
            j = min(len(w), i + r.randint(1, 3))
            k = min(len(w), j + r.choice((0, 0, 1, 2)))
            w = w[:k] + w[i:j] + w[k:]
        return w
    while True:
        w = draw(rng, make, False)
        if 3 <= len(w) <= 9 and w not in KNOWN and not held(w.capitalize()):
            return w


def name(rng, test):
    if not test and rng.random() < 0.5:
        return invented(rng).capitalize()
    if rng.random() < 0.35:
        return draw(rng, lambda r: ''.join(r.choice(SYLLABLES) for _ in range(r.randint(2, 3))).capitalize(), test)
    return rng.choice(NAMES_TEST if test else NAMES)


def city(rng, test):
    if not test and rng.random() < 0.55:
        return invented(rng).capitalize()
    return rng.choice(CITIES_TEST if test else CITIES)


def thing(rng, test):
    if not test and rng.random() < 0.7:
        return invented(rng)
    return rng.choice(THINGS_TEST if test else THINGS)


def plural(word):
    if word.endswith(('s', 'x', 'ch', 'sh')):
        return word + 'es'
    if word.endswith('y') and word[-2] not in 'aeiou':
        return word[:-1] + 'ies'
    if word.endswith('f'):
        return word[:-1] + 'ves'
    return word + 's'


def letters(rng, low, high, test):
    """A word to be spelled: random letters, syllables or a real word."""
    def make(r):
        k = r.random()
        if k < 0.35:
            return ''.join(r.choice(LETTERS) for _ in range(r.randint(low, high)))
        if k < 0.6:
            return ''.join(r.choice(SYLLABLES) for _ in range(r.randint(max(1, low // 2), high // 2)))
        return invented(r) if not test and r.random() < 0.6 else r.choice(THINGS)
    if test and rng.random() < 0.4:
        return rng.choice(THINGS_TEST)
    while True:
        w = draw(rng, make, test)
        if low <= len(w) <= high:
            return w


def document(skill, messages, tools=None, thinking=False, media=None):
    return {'skill': skill, 'messages': messages, 'tools': tools, 'thinking': thinking, 'media': media or []}


def user(text):
    return {'role': 'user', 'content': text}


def model(text, reasoning=None):
    m = {'role': 'assistant', 'content': text}
    if reasoning:
        m['reasoning'] = reasoning
    return m


def system(text):
    return {'role': 'system', 'content': text}


class WrongLabel(Exception):
    """A generator made a sample that its own check refutes; the run must stop."""


def require(fact, *what):
    if not fact:
        raise WrongLabel(' '.join(map(repr, what)))
