# SPDX-License-Identifier: Apache-2.0
"""Sounds: spoken digits and a small vocabulary (espeak-ng, several voices, speeds, pitches, noise), high and low tones,
beeps. Speech is made in this process through libespeak-ng; log-mel features as transformers' extractor makes them."""
import ctypes
import ctypes.util
import math
import random
import subprocess
import numpy as np
import torch
import torch.nn.functional as F

from words import *
import model as net

RATE = 16000
DIGITS = 'zero one two three four five six seven eight nine'.split()
PHRASES = '''open the door|close the door|open the window|close the window|turn left|turn right|turn on the light|turn off the light|play music|stop the music|
go home|go on|stop|start|yes|no|hello|good morning|good night|thank you|call the doctor|read the book|what time is it|the light is on|the light is off|
the door is open|the window is open|stop the car|start the car|the water is cold|the water is hot|wait|go left|go right|help'''.replace('\n', '').split('|')
WORDS = sorted(set(DIGITS) | {w for p in PHRASES for w in p.split()} | {'high', 'low', 'beep'})
CLASSES = 1 + len(WORDS)
VARIANTS = '''Alicia Andrea Andy Annie adam belinda benjamin david Denis ed edward Gene grandma grandpa Henrique Hugo iven Jacky john Lee linda marcelo
Marco Mario Max michael Michel Mike pablo paul pedro quincy rob robert steph steph2 travis victor Zac klatt klatt2 klatt3 shelby sandro norbert anika'''.split()
VOICES = ['en', 'en+m1', 'en+m2', 'en+m3', 'en+m4', 'en+m5', 'en+f1', 'en+f2', 'en+f3', 'en-us', 'en-us+m2', 'en-us+f2', 'en-us+m6', 'en-us+f5', 'en-gb-scotland', 'en-gb-x-gbclan', 'en-gb-x-gbcwmd',
          'en-us-nyc'] + [b + '+' + v for v in VARIANTS for b in ('en', 'en-us')]
VOICES_TEST = ['en+m7', 'en+f4', 'en-us+m8', 'en-gb-x-rp']


class Speech:
    """One espeak-ng, giving samples instead of playing them."""

    def __init__(self):
        self.lib = ctypes.CDLL(ctypes.util.find_library('espeak-ng') or 'libespeak-ng.so.1')
        self.rate = self.lib.espeak_Initialize(1, 0, None, 1 << 15)
        if self.rate <= 0:
            raise RuntimeError('espeak-ng does not start')
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self.got = []

        def take(wav, n, _):
            if wav and n > 0:
                self.got.append(np.ctypeslib.as_array(wav, (n,)).copy())
            return 0
        self.callback = kind(take)
        self.lib.espeak_SetSynthCallback(self.callback)

    def say(self, text, voice, speed, pitch):
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f'espeak-ng has no voice {voice}')
        self.lib.espeak_SetParameter(1, speed, 0)
        self.lib.espeak_SetParameter(3, pitch, 0)
        self.got = []
        b = text.encode() + b'\0'
        if self.lib.espeak_Synth(b, len(b), 0, 1, 0, 1, None, None) != 0:
            raise RuntimeError('espeak-ng failed')
        self.lib.espeak_Synchronize()
        return trimmed(np.concatenate(self.got) if self.got else np.zeros(1, np.int16), self.rate)


def trimmed(pcm, rate):
    """16-bit samples without the silence around them, at RATE."""
    x = pcm.astype(np.float32) / 32768
    live = np.flatnonzero(np.abs(x) > 0.004)
    if len(live):
        x = x[max(0, live[0] - 200):live[-1] + 400]
    at = np.arange(int(len(x) * RATE / rate)) * (rate / RATE)
    return np.interp(at, np.arange(len(x)), x).astype(np.float32)


def say_alone(text, voice, speed, pitch):
    """In a process of its own: slower, but the same samples each time (the library goes on from call to call)."""
    wav = subprocess.run(['espeak-ng', '-v', voice, '-s', str(speed), '-p', str(pitch), '--stdout', text], check=True, capture_output=True).stdout
    return trimmed(np.frombuffer(wav[44:len(wav) // 2 * 2], np.int16), int.from_bytes(wav[24:28], 'little'))


SPEECH = None


def say(*args):
    global SPEECH
    SPEECH = SPEECH or Speech()
    return SPEECH.say(*args)


def tone(freq, seconds):
    n = int(seconds * RATE)
    x = np.sin(2 * np.pi * freq * np.arange(n) / RATE) * 0.5
    edge = min(200, n // 4)
    ramp = np.ones(n)
    ramp[:edge], ramp[n - edge:] = np.linspace(0, 1, edge), np.linspace(1, 0, edge)
    return (x * ramp).astype(np.float32)


def scene(rng, test, kind=None):
    """{'kind', 'words': what is heard, how it is made}"""
    kind = kind or rng.choice(('digits', 'digits', 'digits', 'phrase', 'phrase', 'tone', 'beeps'))
    s = {'kind': kind, 'noise': rng.choice((0, 0, .003, .01, .02)), 'gain': rng.uniform(.3, 1.0), 'lead': rng.uniform(.02, .3), 'tail': rng.uniform(.02, .3),
         'seed': rng.getrandbits(32)}
    if kind in ('digits', 'phrase'):
        s.update(alone=test, voice=rng.choice(VOICES_TEST if test else VOICES), speed=rng.randint(110, 200), pitch=rng.randint(25, 75))
        if not test and rng.random() < .6:                     # voices of other sizes: all frequencies higher or lower
            s['stretch'] = rng.uniform(.88, 1.14)
    if kind == 'digits':
        s['words'] = [DIGITS[int(c)] for c in draw(rng, lambda r: ''.join(r.choice('0123456789') for _ in range(r.choice((1, 1, 2, 3, 3, 4, 5)))), test)] \
            if rng.random() < .8 else [rng.choice(DIGITS)]
    elif kind == 'phrase':
        s['words'] = rng.choice(PHRASES).split()
    elif kind == 'tone':
        high = rng.random() < .5
        s.update(words=['high' if high else 'low'], freq=rng.uniform(1500, 3500) if high else rng.uniform(120, 420), long=rng.uniform(.3, 1.0))
    else:
        n = rng.randint(1, 6)
        s.update(words=['beep'] * n, freq=rng.uniform(500, 2500), long=rng.uniform(.07, .2), gap=rng.uniform(.12, .3))
    return s


def wave(s):
    if s['kind'] in ('digits', 'phrase'):
        x = (say_alone if s['alone'] else say)(' '.join(s['words']), s['voice'], s['speed'], s['pitch'])
        if 'stretch' in s:
            x = np.interp(np.arange(0, len(x) - 1, s['stretch']), np.arange(len(x)), x).astype(np.float32)
    elif s['kind'] == 'tone':
        x = tone(s['freq'], s['long'])
    else:
        quiet = np.zeros(int(s['gap'] * RATE), np.float32)
        x = np.concatenate([np.concatenate((tone(s['freq'], s['long']), quiet)) for _ in s['words']])
    x = np.concatenate((np.zeros(int(s['lead'] * RATE), np.float32), x * s['gain'], np.zeros(int(s['tail'] * RATE), np.float32)))
    if s['noise']:
        x = x + np.random.default_rng(s['seed']).standard_normal(len(x)).astype(np.float32) * s['noise']
    return np.round(np.clip(x, -1, 1) * 32767).astype(np.int16)


def mel_filters():
    f = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 130) / 2595) - 1)
    g = np.arange(257) * 31.25
    up = (g[:, None] - f[None, :128]) / (f[1:129] - f[:128])
    down = (f[None, 2:] - g[:, None]) / (f[2:] - f[1:129])
    return np.maximum(0, np.minimum(up, down)).astype(np.float32)


MEL = mel_filters()
HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 320)).astype(np.float32)


def features(pcm):
    """Log-mel [T,128] of 16-bit samples."""
    x = pcm.astype(np.float32) / 32768
    t = (len(x) - 1) // 160
    x = np.concatenate((np.zeros(160, np.float32), x, np.zeros(320, np.float32)))
    frames = np.lib.stride_tricks.sliding_window_view(x, 320)[::160][:t] * HANN
    return np.log(np.abs(np.fft.rfft(frames, 512)).astype(np.float32) @ MEL + np.float32(0.001)).astype(np.float32)


def soft_count(t):
    return ((t + 1) // 2 + 1) // 2


def batch(rng, n=10, test=False, kind=None, length=None):
    """features [n,T,128], mask [n,T], scenes. T is one of a few lengths, so that compiled code can be used again."""
    scenes = [scene(rng, test, kind) for _ in range(n)]
    f = [features(wave(s)) for s in scenes]
    longest = max(len(a) for a in f)
    T = next(t for t in (144, 240, 336, 480, 3000) if t >= longest)
    x, m = torch.zeros(n, T, 128), torch.zeros(n, T, dtype=torch.bool)
    for k, a in enumerate(f):
        x[k, :len(a)], m[k, :len(a)] = torch.from_numpy(a), True
    return x, m, scenes


def tower_loss(P, rng):
    x, m, scenes = batch(rng)
    soft, counts = net.audio(P, x, m)
    return spell_loss(P, soft, counts, scenes)


def spell_loss(P, soft, counts, scenes):
    z = net.linear(soft, P['head.sound']).float().log_softmax(-1)
    counts = counts.tolist()
    z = torch.nn.utils.rnn.pad_sequence(z.split(counts))
    y = [torch.tensor([1 + WORDS.index(w) for w in s['words']]) for s in scenes]
    loss = F.ctc_loss(z, torch.cat(y), torch.tensor(counts), torch.tensor([len(t) for t in y]), zero_infinity=True)
    best, right = z.argmax(-1), {}
    for k, s in enumerate(scenes):
        b = best[:counts[k], k].tolist()
        spelled = [c for i, c in enumerate(b) if c and (i == 0 or b[i - 1] != c)]
        right.setdefault(s['kind'], []).append(float(spelled == y[k].tolist()))
    return loss, dict({k: sum(v) / len(v) for k, v in right.items()}, loss=loss.item())


ASK_HEAR = {
    'digits': ['(which|what) (digits|number) (do you hear|is spoken|are spoken|is said)?', '(write|transcribe|note|tell me|give me) the (spoken digits|digits|number)( you hear|)(.| please.|)', 'welche (Ziffern|Zahl) hörst du?', 'the (spoken digits|digits|number)(, please.|?)'],
    'phrase': ['(what|which words) (is said|do you hear|are spoken|is spoken)?', '(transcribe|write|tell me) (this|the speech|what you hear|what is said|the words)(.| please.|)', 'was (wird gesagt|hörst du)?', 'listen and (write|transcribe|tell me)(.|)', '(write|transcribe) the (words|speech) you hear(.|)'],
    'tone': ['is (the tone|this|the sound|this tone|this sound) (high or low|low or high|a high or a low one)?', '(high or low|low or high)?', '(do you hear|is it|is this) a high or a low (tone|sound)?', '(which|what) (tone|sound) is (it|this), high or low?', '(tell me|say) whether (the tone|the sound|this) is high or low(.|)'],
    'beeps': ['how many (beeps|tones|sounds) (do you hear|are there|are in the sound)?', '(count|tell me the number of|give me the number of) (the |)(beeps|tones|sounds)(.| please.|)', 'number of (beeps|tones|sounds)?', 'how (often|many times) does it beep?', 'wie viele (Töne|Pieptöne) (hörst du|sind da)?']}


def question(s, rng, test):
    """(skill, question, answer)"""
    k = s['kind']
    answer = {'digits': lambda: ''.join(str(DIGITS.index(w)) for w in s['words']), 'phrase': lambda: ' '.join(s['words']), 'tone': lambda: s['words'][0],
              'beeps': lambda: DIGITS[len(s['words'])]}[k]()
    return 'sound-' + k, pick(rng, ASK_HEAR[k], test), answer
