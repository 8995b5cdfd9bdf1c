# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: running the program, and reading what it writes without its help.

    SUITE.py PROGRAM [unittest arguments]

The program runs behind GEM_EMULATOR where that is set."""
import json
import math
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

MODELS = pathlib.Path(__file__).resolve().parent.parent / 'golden' / 'models'
NANO = pathlib.Path(__file__).resolve().parents[2] / 'models' / 'nano'
E2B = MODELS / 'e2b' / 'model'  # per-layer embeddings, a tokenizer with the turns of Gemma 4
MIXED = MODELS / 'mixed-e2b' / 'mixed.gguf'  # the same tokenizer, from GGUF
MIXED_26B = MODELS / 'mixed-26b' / 'mixed.gguf'  # experts, no per-layer embeddings
GEMMA3 = MODELS / 'quantised-gemma3' / 'Q4_K_M.gguf'
program = []


def default_signals():
    """A test started in the background inherits ignored signals, and so would the program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def run(*args, stdin=b'', stdout=subprocess.PIPE, preexec=default_signals, **more):
    """Runs the program to its end; text in and out as bytes."""
    keep = {'stdin': stdin} if stdin is None or not isinstance(stdin, bytes) else {'input': stdin}
    return subprocess.run(program + [str(a) for a in args], stdout=stdout, stderr=subprocess.PIPE, timeout=300,
                          preexec_fn=preexec, check=False, **keep, **more)


def start(*args, **more):
    return subprocess.Popen(program + [str(a) for a in args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, preexec_fn=default_signals, **more)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='gemmule-e2e-'))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def good(self, *args, **more):
        """Standard output of a run that must succeed."""
        done = run(*args, **more)
        self.assertEqual(done.returncode, 0, (args, done.stderr))
        return done.stdout

    def bad(self, code, *args, says=(), **more):
        """A run that must fail with `code`, without an answer, in one line that says all of `says`."""
        done = run(*args, **more)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, code, (args, message))
        self.assertEqual(done.stdout or b'', b'', args)
        self.assertTrue(message.startswith('gemmule: ') and message.count('\n') == 1, message)
        for part in [says] if isinstance(says, (str, pathlib.Path)) else says:
            self.assertIn(str(part), message)
        return message

    def ids(self, model, text, *options):
        return [int(i) for i in self.good('tokenize', '--ids', *options, model, '-', stdin=text.encode()).split()]

    def decode(self, model, ids):
        return self.good('tokenize', '--decode', model, ' '.join(map(str, ids)))

    def case(self, tokens, **more):
        path = self.dir / 'case.json'
        path.write_text(json.dumps({'tokens': tokens, **more}))
        return path

    def probe(self, model, tokens, *options):
        out = self.dir / 'out.safetensors'
        self.good('probe', '-o', out, *options, model, self.case(tokens))
        return read_safetensors(out)


def read_safetensors(path):
    """{name: (shape, values)}; checks everything that the format asks for."""
    data = pathlib.Path(path).read_bytes()
    n, = struct.unpack_from('<Q', data)
    assert n % 8 == 0 and 8 + n <= len(data), n
    header = json.loads(data[8:8 + n])
    end, tensors = 0, {}
    for name, one in header.items():
        begin, stop = one['data_offsets']
        assert begin == end and stop - begin == 4 * math.prod(one['shape']), (name, one)
        end = stop
        kind = {'F32': 'f', 'I32': 'i'}[one['dtype']]
        tensors[name] = one['shape'], struct.unpack_from(f'<{(stop - begin) // 4}{kind}', data, 8 + n + begin)
    assert 8 + n + end == len(data), 'data does not fill the file'
    return tensors


def main():
    if len(sys.argv) < 2 or not os.path.exists(sys.argv[1]):
        sys.exit(__doc__)
    program[:] = os.environ.get('GEM_EMULATOR', '').split() + [os.path.abspath(sys.argv.pop(1))]
    unittest.main(module='__main__', verbosity=2)
