# SPDX-License-Identifier: Apache-2.0
"""Native files: gemmule pack, and models opened from what it wrote. The file is read here by the letter of
src/files/gem.h, without the program's help."""
import json
import math
import os
import re
import resource
import shutil
import signal
import struct
import time

from harness import E2B, GEMMA3, MIXED, MIXED_26B, MODELS, NANO, Case, default_signals, main, run, start

SOURCES = [E2B, MODELS / 'e4b' / 'model', MODELS / '12b' / 'model', MODELS / '26b' / 'model', MODELS / '31b' / 'model',
           MODELS / 'gemma3' / 'model', MIXED, MIXED_26B, GEMMA3]
TOKENS = [2] + list(range(5, 65))
P = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
M = 2 ** 64 - 1


def xxh64(data):
    """By doc/xxhash_spec.md, seed 0."""
    def rotate(x, n):
        return (x << n | x >> (64 - n)) & M

    def one(lane, word):
        return rotate((lane + word * P[1]) & M, 31) * P[0] & M
    whole = len(data) // 32 * 32
    if whole:
        lanes = [(P[0] + P[1]) & M, P[1], 0, -P[0] & M]
        words = struct.unpack_from(f'<{whole // 8}Q', data)
        for i in range(0, len(words), 4):
            lanes = [one(lane, word) for lane, word in zip(lanes, words[i:i + 4])]
        h = sum(rotate(lane, n) for lane, n in zip(lanes, (1, 7, 12, 18))) & M
        for lane in lanes:
            h = ((h ^ one(0, lane)) * P[0] + P[3]) & M
    else:
        h = P[4]
    h = (h + len(data)) & M
    rest = data[whole:]
    while len(rest) >= 8:
        h, rest = (rotate(h ^ one(0, int.from_bytes(rest[:8], 'little')), 27) * P[0] + P[3]) & M, rest[8:]
    if len(rest) >= 4:
        h, rest = (rotate(h ^ int.from_bytes(rest[:4], 'little') * P[0] & M, 23) * P[1] + P[2]) & M, rest[4:]
    for byte in rest:
        h = rotate(h ^ byte * P[4] & M, 11) * P[0] & M
    h = (h ^ h >> 33) * P[1] & M
    h = (h ^ h >> 29) * P[2] & M
    return h ^ h >> 32


def f32(x):
    return struct.unpack('f', struct.pack('f', x))[0]


def f16(x):
    return struct.unpack('e', struct.pack('e', x))[0]


def round_q8_0(x):
    d = f32(max(map(abs, x)) / 127)
    inverse = f32(1 / d) if d else 0
    codes = [int(math.copysign(math.floor(abs(f32(v * inverse)) + 0.5), v)) for v in x]
    return [f32(f16(d) * code) for code in codes]


def round_q4_0(x):
    d = f32(max(x, key=abs) / -8)
    inverse = f32(1 / d) if d else 0
    return [f32(f16(d) * (min(15, int(f32(f32(v * inverse) + 8.5))) - 8)) for v in x]


ROUNDING = {'Q8_0': round_q8_0, 'Q4_0': round_q4_0}


class Native:
    """A native file taken apart; raises where it is not as gem.h says."""

    def __init__(self, path):
        self.data = data = path.read_bytes()
        assert data[:8] == b'\x89GEM\r\n\x1a\n'
        order, version, size, n, n_blobs, n_tensors, self.source, zero, of_dir = struct.unpack_from('<IIQQIIIIQ', data, 8)
        assert (order, version, size, zero) == (0x01020304, 1, len(data), 0)
        assert xxh64(data[:56]) == struct.unpack_from('<Q', data, 56)[0] and xxh64(data[64:64 + n]) == of_dir
        at, names = 64, 64 + 32 * n_blobs + 80 * n_tensors
        self.blobs, self.tensors, ranges = {}, {}, []
        for _ in range(n_blobs):
            offset, size, checksum, n_name, zero = struct.unpack_from('<QQQII', data, at)
            name, at, names = data[names:names + n_name].decode(), at + 32, names + n_name
            self.blobs[name] = data[offset:offset + size]
            assert zero == 0 and xxh64(self.blobs[name]) == checksum, name
            ranges.append((offset, size))
        for _ in range(n_tensors):
            offset, size, checksum, *shape, n_dims, kind, layout, version, n_name, n_other = \
                struct.unpack_from('<QQQ4Q6I', data, at)
            name, at, names = data[names:names + n_name].decode(), at + 80, names + n_name + n_other
            assert n_other == 0 and version == 1 and shape[n_dims:] == [1] * (4 - n_dims), name
            assert xxh64(data[offset:offset + size]) == checksum, name
            self.tensors[name] = {'kind': kind, 'layout': layout, 'shape': shape[:n_dims], 'offset': offset, 'size': size}
            ranges.append((offset, size))
        assert names == 64 + n
        for (a, size), (b, _) in zip(sorted(ranges), sorted(ranges)[1:]):
            assert a % 64 == 0 and a >= 64 + n and a + size <= b
        assert max(a + size for a, size in ranges) == len(data)


class Pack(Case):
    def packed(self, model, *options):
        out = self.dir / 'packed.gem'
        self.good('pack', '-q', '-o', out, *options, model)
        return out

    def rows(self, model, *options):
        """The very bytes that a probe writes."""
        out = self.dir / 'out.safetensors'
        self.good('probe', '--hidden', '-o', out, *options, model, self.case(TOKENS))
        return out.read_bytes()

    def test_same_bits(self):
        """Logits and states from the packed file are those from its source, in both precisions and on every table."""
        for model in SOURCES:
            out = self.packed(model)
            for options in (['--precision', 'exact'], ['--precision', 'fast'],
                            ['--precision', 'fast', '--cpu', 'c'], ['--precision', 'exact', '--cpu', 'c']):
                self.assertEqual(self.rows(out, *options), self.rows(model, *options), (model, options))

    def test_the_file_is_as_defined(self):
        layouts = set()
        for model in (E2B, MIXED, MIXED_26B):
            file = Native(self.packed(model))
            layouts |= {t['layout'] for t in file.tensors.values()}
            source = {t['name']: t for t in json.loads(self.good('inspect', '--json', '--tensors', model))['tensors']}
            live = {n for n, t in source.items() if t['role'] != 'dead'} | ({'rope_freqs.weight'} & set(source))
            self.assertEqual(set(file.tensors), live)
            for name, t in file.tensors.items():
                self.assertEqual(t['shape'], source[name]['shape'])
            if model == E2B:
                self.assertEqual(file.source, 2)
                for name, blob in file.blobs.items():
                    self.assertEqual(blob, (E2B / name).read_bytes())
                self.assertLessEqual({'config.json', 'tokenizer.json', 'generation_config.json'}, set(file.blobs))
            else:
                self.assertEqual((file.source, list(file.blobs)), (1, ['metadata.gguf']))
        self.assertEqual(layouts, set(range(11)))  # rows, and all kinds of panels

    def test_everything_else_is_the_same(self):
        for model in (E2B, MIXED, GEMMA3):
            out = self.packed(model)
            a, b = (json.loads(self.good('inspect', '--json', m)) for m in (model, out))
            for key in ('architecture', 'vocabulary', 'context', 'n_layers', 'hidden', 'stop_tokens', 'bos', 'n_parameters',
                        'n_parameters_active', 'has_tokenizer', 'has_vision'):
                self.assertEqual(a.get(key), b.get(key), key)
            text = 'Hello "world"\n  naïve 🙂 <|turn> end'
            self.assertEqual(self.ids(out, text, '--control'), self.ids(model, text, '--control'))
            words = ['run', '--raw', '--seed', '3', '-n', '12']  # with the sampling that the checkpoint recommends
            self.assertEqual(self.good(*words, out, 'Once'), self.good(*words, model, 'Once'))

    def test_packing_again_changes_nothing(self):
        first = self.packed(MIXED_26B)
        shutil.copy(first, self.dir / 'first.gem')
        self.assertEqual(self.packed(self.dir / 'first.gem', '--threads', '1').read_bytes(),
                         (self.dir / 'first.gem').read_bytes())

    def types(self, path):
        return {t['name']: t['type'] for t in json.loads(self.good('inspect', '--json', '--tensors', path))['tensors']}

    def test_types(self):
        before = self.types(E2B)
        name = 'model.language_model.layers.0.'
        for option, product, fine in (('q8_0', 'Q8_0', 'Q8_0'), ('q4_0', 'Q4_0', 'Q8_0'), ('bf16', 'BF16', 'BF16')):
            types = self.types(self.packed(E2B, '--type', option))
            self.assertEqual(types[name + 'self_attn.q_proj.weight'], product)
            self.assertEqual(types[name + 'mlp.up_proj.weight'], product)
            # 80 columns: no multiple of 32
            self.assertEqual(types[name + 'mlp.down_proj.weight'], 'BF16')
            self.assertEqual(types[name + 'per_layer_input_gate.weight'], fine)
            self.assertEqual(types['model.language_model.embed_tokens.weight'], fine)
            self.assertEqual(types['model.language_model.per_layer_model_projection.weight'], fine)
            for n, kind in types.items():
                if 'norm' in n or 'scalar' in n:
                    self.assertEqual(kind, before[n])
        types = self.types(self.packed(MODELS / '26b' / 'model', '--type', 'q4_0'))
        self.assertEqual({t for n, t in types.items() if 'router.proj' in n}, {'BF16'})
        self.assertEqual({t for n, t in types.items() if 'gate_up_proj' in n}, {'Q4_0'})

    def test_quantised_weights_are_what_the_formats_say(self):
        """The same model, quantised and back here: exact logits have the same bits."""
        for model in (E2B, MODELS / '26b' / 'model'):
            for option in ('q8_0', 'q4_0'):
                packed = self.packed(model, '--type', option)
                self.assertEqual(self.rows(packed, '--precision', 'exact'),
                                 self.rows(self.rounded(model, self.types(packed)), '--precision', 'exact'))

    def rounded(self, model, types):
        """A folder with the values that weights have after quantisation, as float32."""
        folder = self.dir / 'rounded'
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(model, folder)
        data = (model / 'model.safetensors').read_bytes()
        n = 8 + int.from_bytes(data[:8], 'little')
        header, body = {}, b''
        for name, one in json.loads(data[8:n]).items():
            if name == '__metadata__':
                continue
            begin, stop = one['data_offsets']
            raw, kind = data[n + begin:n + stop], types.get(name)
            if kind in ROUNDING:
                self.assertEqual(one['dtype'], 'BF16')
                x = struct.unpack(f'<{len(raw) // 2}f', b''.join(b'\0\0' + raw[i:i + 2] for i in range(0, len(raw), 2)))
                x = [y for i in range(0, len(x), 32) for y in ROUNDING[kind](x[i:i + 32])]
                one['dtype'], raw = 'F32', struct.pack(f'<{len(x)}f', *x)
            header[name] = {**one, 'data_offsets': [len(body), len(body) + len(raw)]}
            body += raw
        text = json.dumps(header).encode()
        (folder / 'model.safetensors').write_bytes(struct.pack('<Q', len(text)) + text + body)
        return folder

    def test_quantised_sources_are_not_quantised_again(self):
        message = self.bad(2, 'pack', '-o', self.dir / 'a.gem', '--type', 'q4_0', self.quantised(), says='quantised already')
        self.assertIn('Q8_0', message)
        self.assertEqual(os.listdir(self.dir), ['q8.gem'])

    def quantised(self):
        """A file in which all that can be quantised is."""
        self.good('pack', '-q', '-o', self.dir / 'q8.gem', '--type', 'q8_0', MODELS / '31b' / 'model')
        return self.dir / 'q8.gem'


class Copies(Case):
    WORDS = ['--raw', '--greedy', '-n', '6']

    def answer(self, model, *options):
        return self.good('run', '-q', *self.WORDS, *options, model, 'Once upon a time')

    def test_copy_beside_the_model(self):
        """Made once, used as long as the model's files are the same, made anew when they are not."""
        for source, name in ((MIXED, 'model.gguf'), (E2B, 'model')):
            model, copy = self.dir / name, self.dir / 'model.gem'
            (shutil.copytree if source.is_dir() else shutil.copy)(source, model)
            want = self.answer(model)
            self.assertFalse(copy.exists())
            self.assertEqual(self.answer(model, '--packed-copy'), want)
            first = copy.stat()
            self.assertEqual(self.answer(f'{model}/' if source.is_dir() else model, '--packed-copy'), want)
            self.assertEqual((copy.stat().st_ino, copy.stat().st_mtime_ns), (first.st_ino, first.st_mtime_ns))
            self.assertEqual(self.answer(copy, '--packed-copy'), want)  # which is one already
            os.utime(model / 'config.json' if source.is_dir() else model)
            self.assertEqual(self.answer(model, '--packed-copy'), want)
            self.assertNotEqual(copy.stat().st_mtime_ns, first.st_mtime_ns)
            copy.write_bytes(copy.read_bytes()[:1000])  # half a file from elsewhere
            self.assertEqual(self.answer(model, '--packed-copy'), want)
            self.good('inspect', '--verify', copy)
            copy.unlink()

    def test_files_of_others_stay(self):
        model, copy = self.dir / 'model.gguf', self.dir / 'model.gem'
        shutil.copy(MIXED, model)
        for content in (b'notes', None):
            if content:
                copy.write_bytes(content)
            else:
                self.good('pack', '-q', '-o', copy, MIXED_26B)  # by hand
            before = copy.read_bytes()
            self.bad(3, 'run', '--packed-copy', model, 'x', says=[copy, 'in the way'])
            self.assertEqual(copy.read_bytes(), before)


class Failures(Case):
    def test_usage(self):
        self.bad(2, 'pack', E2B, says='-o FILE')
        self.bad(2, 'pack', '-o', '-', E2B)
        self.bad(2, 'pack', '-o', self.dir / 'x', '--type', 'q5', E2B, says='q8_0')
        self.bad(3, 'pack', '-o', self.dir / 'x', 'nowhere', says='nowhere')
        self.bad(3, 'pack', '-o', self.dir, E2B, says='folder')
        self.bad(3, 'pack', '-o', self.dir / 'none' / 'x', E2B, says='No such file')
        self.assertEqual(os.listdir(self.dir), [])

    def test_damage_is_found(self):
        path = self.dir / 'packed.gem'
        self.good('pack', '-q', '-o', path, MIXED)
        file, data = Native(path), path.read_bytes()
        self.good('inspect', '--verify', path)
        for name, t in sorted(file.tensors.items())[::7]:
            for at in (t['offset'], t['offset'] + t['size'] - 1):
                path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1:])
                self.bad(3, 'inspect', '--verify', path, says=[name[:60], 'checksum'])
        for at in (0, 3, 9, 13, 20, 30, 45, 50, 60, 64, 70, 200, 1000):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1:])
            self.bad(3, 'run', path, 'text', says='packed.gem')
        for n in (0, 3, 8, 63, 64, 65, 1000, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:n])
            self.bad(3, 'run', path, 'text', says='packed.gem')
        self.bad(3, 'inspect', '--verify', MIXED, says='native')

    def test_not_finite(self):
        """A weight that the type cannot hold is named, and no file is made."""
        model = self.dir / 'model'
        shutil.copytree(E2B, model)
        data = bytearray((model / 'model.safetensors').read_bytes())
        header_end = 8 + int.from_bytes(data[:8], 'little')
        name = 'model.language_model.layers.1.mlp.up_proj.weight'
        begin = header_end + json.loads(data[8:header_end])[name]['data_offsets'][0]
        data[begin + 10:begin + 12] = b'\x80\x7f'  # infinity
        (model / 'model.safetensors').write_bytes(data)
        self.bad(3, 'pack', '-o', self.dir / 'x.gem', '--type', 'q8_0', model, says=[name, 'Q8_0'])
        self.assertEqual(os.listdir(self.dir), ['model'])

    def test_disk_too_small(self):
        """A limit on file size stands in for a full disk."""
        out = self.dir / 'x.gem'
        out.write_text('old')

        def limit():
            default_signals()
            resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
        self.bad(3, 'pack', '-o', out, MIXED, preexec=limit, says=[out, 'File too large'])
        self.assertEqual(out.read_text(), 'old')
        self.assertEqual(os.listdir(self.dir), ['x.gem'])

    def large_model(self):
        """E2B with tables so large that packing takes a moment. They are holes in the file: zeros."""
        model = self.dir / 'model'
        model.mkdir()
        config = json.loads((E2B / 'config.json').read_text())
        vocab = config['text_config']['vocab_size'] = config['text_config']['vocab_size_per_layer_input'] = 1 << 20
        (model / 'config.json').write_text(json.dumps(config))
        data = (E2B / 'model.safetensors').read_bytes()
        n = 8 + int.from_bytes(data[:8], 'little')
        header, end, pieces = {}, 0, []
        for name, one in json.loads(data[8:n]).items():
            if name == '__metadata__':
                continue
            begin, stop = one['data_offsets']
            size = stop - begin
            if 'embed_tokens' in name:
                one['shape'][0], size = vocab, 2 * vocab * one['shape'][1]
            else:
                pieces.append((end, data[n + begin:n + stop]))
            header[name] = {**one, 'data_offsets': [end, end + size]}
            end += size
        text = json.dumps(header).encode()
        with open(model / 'model.safetensors', 'wb') as f:
            f.write(struct.pack('<Q', len(text)) + text)
            for at, piece in pieces:
                f.seek(8 + len(text) + at)
                f.write(piece)
            f.truncate(8 + len(text) + end)
        return model

    def test_killed_at_any_time(self):
        model, out = self.large_model(), self.dir / 'x.gem'
        out.write_text('old')
        seen = set()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            for delay in (0.02, 0.1, 0.2, 0.3):
                child = start('pack', '-q', '-o', out, '--type', 'q8_0', model)
                time.sleep(delay)
                child.send_signal(number)
                child.communicate(timeout=120)
                if child.returncode == 0:  # it was quicker
                    self.good('inspect', '--verify', out)
                    out.write_text('old')
                    continue
                seen.add(number)
                self.assertIn(child.returncode, (-number, 128 + number))
                self.assertEqual(out.read_text(), 'old')
                if number != signal.SIGKILL:  # which leaves a hidden file where files must have names
                    self.assertEqual(sorted(os.listdir(self.dir)), ['model', 'x.gem'])
        self.assertTrue(seen, 'packing was too quick to be killed')


class Memory(Case):
    def least(self, *words):
        """The ceiling that a refusal names."""
        return int(re.search(r'(\d+) MiB would do', self.bad(4, *words, says='ram')).group(1))

    def test_the_number_that_would_do_does(self):
        packed = self.dir / 'x.gem'
        self.good('pack', '-q', '-o', packed, MIXED_26B)
        for model in (packed, MIXED_26B, E2B):
            words = ['run', '--raw', '--greedy', '-n', '12', model, 'Once upon a time']
            n = self.least(*words, '--ram', '1')
            self.assertEqual(self.good(*words, '--ram', n), self.good(*words), model)
            self.least(*words, '--ram', n - 2)
            self.least('bench', '--ram', n - 2, '--chunk', '4096', model)
            shown = json.loads(self.good('inspect', '--json', model))['ram_bytes']
            self.assertEqual(-(-shown // (1 << 20)), n)

    def test_a_longer_context_needs_more(self):
        n = self.least('run', '--ram', '1', E2B, 'x')
        self.assertGreater(self.least('run', '--ram', n, '--ctx', '4096', '--chunk', '2048', E2B, 'x'), n)

    def test_what_sees_and_hears_counts(self):
        text = ['run', '--greedy', '-n', '8', '--chunk', '16', '--ctx', '256', NANO, 'What?']
        enough = self.least(*text, '--ram', '1')
        while run(*text, '--ram', enough - 1).returncode == 0:      # the number is for a context of the default size
            enough -= 1
        for option, name in (('--image', 'figure.png'), ('--audio', 'seven.wav')):
            words = [*text, option, NANO / name]
            n = self.least(*words, '--ram', enough)
            self.assertGreater(n, enough)
            self.assertEqual(self.good(*words, '--ram', n), self.good(*words))

    def test_embeddings_kept_or_not_give_the_same(self):
        words = ['run', '--raw', '--greedy', '-n', '24', E2B, 'Once upon a time ' * 20]
        self.assertEqual(self.good(*words, '--ple-ram', '1', '--chunk', '1'), self.good(*words, '--ple-ram', '64'))

    def test_streaming_gives_the_same_bits(self):
        """A ceiling so low that nothing stays."""
        case = self.case(TOKENS)
        for source in (MIXED, MIXED_26B, E2B, MODELS / '12b' / 'model'):
            packed = self.dir / 'x.gem'
            self.good('pack', '-q', '-o', packed, source)
            for precision in ('exact', 'fast'):
                a, b = self.dir / 'a', self.dir / 'b'
                n = self.least('probe', '-o', a, '--precision', precision, '--ram', '1', packed, case)
                self.good('probe', '-o', a, '--precision', precision, packed, case)
                self.good('probe', '-o', b, '--precision', precision, '--ram', n, '--threads', '2', packed, case)
                self.assertEqual(a.read_bytes(), b.read_bytes(), (source, precision))


class Bench(Case):
    def test_embeddings_are_reported(self):
        report = json.loads(self.good('bench', '-p', '8', '-n', '16', '-r', '2', '--json', E2B))
        self.assertTrue(0 < report['ple_share_of_generating']['median'] < 1)
        report = json.loads(self.good('bench', '-p', '8', '-n', '4', '-r', '1', '--json', MIXED_26B))
        self.assertNotIn('ple_share_of_generating', report)


if __name__ == '__main__':
    main()
