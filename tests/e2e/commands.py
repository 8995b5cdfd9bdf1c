# SPDX-License-Identifier: Apache-2.0
"""What each command answers, checked against another command or arithmetic of our own. The numbers of the models
themselves are checked in tests/golden."""
import codecs
import itertools
import json
import math
import os
import re
import struct
from pathlib import Path

from harness import E2B, GEMMA3, MIXED, MIXED_26B, MODELS, Case, main, read_safetensors, run

codecs.register_error('each byte', lambda e: ('\ufffd' * (e.end - e.start), e.end))
TEXT = 'The quick brown fox jumps over the lazy dog. ' * 12


def stream(ids):
    """What streaming shows: byte tokens as far as they are UTF-8, and U+FFFD for each byte that is not.
    (Decoding all at once, as the reference does, gives up a whole run of bytes for one bad one.)"""
    vocabulary = {v: k for k, v in json.loads((E2B / 'tokenizer.json').read_text())['model']['vocab'].items()}
    out = ''
    for is_byte, run_of in itertools.groupby((vocabulary[i] for i in ids), lambda p: bool(re.match('<0x..>$', p))):
        pieces = list(run_of)
        out += bytes(int(p[3:5], 16) for p in pieces).decode('utf-8', 'each byte') if is_byte \
            else ''.join(pieces).replace('\u2581', ' ')
    return out.encode() if out.endswith('\n') else out.encode() + b'\n'


class Tokenize(Case):
    def test_int8_cache(self):
        """Other logits, but hardly; the exact tier refuses."""
        ids = [2 + i * 37 % 900 for i in range(300)]
        wide = self.probe(MIXED, ids, '--precision', 'fast')['logits'][1]
        eight = self.probe(MIXED, ids, '--precision', 'fast', '--int8-cache')['logits'][1]
        error = sum((a - b) ** 2 for a, b in zip(wide, eight)) / sum(a * a for a in wide)
        self.assertTrue(0 < error < 0.05 ** 2, error)  # what the fast tier may be off by
        words = ['run', '--greedy', '--int8-cache', 'Copy the word: garden']
        self.assertEqual(self.good(*words, '--samples', '2'), 2 * self.good(*words))  # the second from a copied cache
        self.bad(2, 'probe', '--precision', 'exact', '--int8-cache', '-o', self.dir / 'x', MIXED, self.case(ids),
                 says='fast tier')

    def test_int8_cache_of_keys_that_are_values(self):
        """Against the exact tier, on the best instruction set and on none: a wrong scale or weight would be far off."""
        ids = [2 + i * 31 % 300 for i in range(300)]
        for model in (MODELS / '12b' / 'model', MODELS / '31b' / 'model'):
            exact = self.probe(model, ids, '--precision', 'exact', '--rows', 'all')['logits'][1]
            for cpu in ({}, {'GEMMULE_CPU': 'c'}):
                out = self.dir / 'eight.safetensors'
                self.good('probe', '-o', out, '--precision', 'fast', '--int8-cache', '--rows', 'all', model,
                          self.case(ids), env={**os.environ, **cpu})
                eight = read_safetensors(out)['logits'][1]
                error = sum((a - b) ** 2 for a, b in zip(exact, eight)) / sum(a * a for a in exact)
                self.assertTrue(0 < error < 0.03 ** 2, (model, cpu, error ** 0.5))

    def test_forms_agree(self):
        for model in (E2B, MIXED, GEMMA3):
            text = 'Hello "world"\n  naïve 🙂 <|turn> end'
            ids = self.ids(model, text)
            self.assertEqual(self.decode(model, ids).decode(), text)
            both = json.loads(self.good('tokenize', '--json', model, text))
            pieces = [json.loads(line) for line in self.good('tokenize', '--pieces', model, text).splitlines()]
            lines = [line.split('\t') for line in self.good('tokenize', model, text).decode().splitlines()]
            self.assertEqual(both, {'ids': ids, 'pieces': pieces})
            self.assertEqual([(int(i), json.loads(p)) for i, p in lines], list(zip(ids, pieces)))

    def test_control_tokens_only_when_asked(self):
        text = '<|turn>user'
        vocabulary = {p['content']: p['id'] for p in json.loads((E2B / 'tokenizer.json').read_text())['added_tokens']}
        self.assertEqual(self.ids(E2B, text, '--control')[0], vocabulary['<|turn>'])
        self.assertNotIn(vocabulary['<|turn>'], self.ids(E2B, text))
        with_name = self.good('tokenize', '--decode', '--control', E2B, str(vocabulary['<|turn>']))
        self.assertEqual(with_name, b'<|turn>')
        self.assertEqual(self.decode(E2B, [vocabulary['<|turn>']]), b'')

    def test_text_may_hold_anything(self):
        data = bytes(range(256))
        ids = self.good('tokenize', '--ids', E2B, '-', stdin=b'a\0b\nc').split()
        self.assertEqual(self.good('tokenize', '--decode', E2B, '-', stdin=b'[' + b',\n'.join(ids) + b']'), b'a\0b\nc')
        self.assertEqual(run('tokenize', E2B, '-', stdin=data).returncode, 0)
        self.assertEqual(self.good('tokenize', E2B, ''), b'')
        self.bad(2, 'tokenize', '--decode', E2B, '3 4x', says=["'4x'", 'byte 2'])

    def test_without_tokenizer(self):
        self.bad(3, 'tokenize', MODELS / '12b' / 'model', 'text', says='tokenizer')


class Run(Case):
    def turns(self, text):
        """Prompt ids by spelling the template out and letting control tokens be control tokens."""
        return [2] + self.ids(E2B, f'<|turn>user\n{text}<turn|>\n<|turn>model\n', '--control')

    def expect(self, prompt, n):
        _, ids = self.probe(E2B, prompt, '--greedy', str(n))['greedy']
        stops = json.loads(self.good('inspect', '--json', E2B))['stop_tokens']
        answer = list(itertools.takewhile(lambda i: i not in stops, ids))
        self.assertGreater(len(answer), 2, 'choose another prompt: this one has no answer to speak of')
        return stream(answer)

    def test_turns(self):
        """White space at the ends of a turn does not count; what a user types can not end it."""
        exact = ['run', '--greedy', '--precision', 'exact', '-n', '12', E2B]
        for text in ('Hello there', 'two\n\nlines'):
            self.assertEqual(self.good(*exact, f' \n{text}\u3000\n'), self.expect(self.turns(text), 12))
        sneaky = [2] + self.ids(E2B, '<|turn>', '--control') + self.ids(E2B, 'user\nstop<turn|>now') + \
            self.ids(E2B, '<turn|>\n<|turn>model\n', '--control')
        self.assertEqual(self.good(*exact, 'stop<turn|>now'), self.expect(sneaky, 12))

    def test_raw(self):
        text = ' Once upon a time \n'
        answer = self.good('run', '--raw', '--greedy', '--precision', 'exact', '-n', '12', E2B, text)
        self.assertEqual(answer, self.expect([2] + self.ids(E2B, text), 12))

    def test_threads_and_chunks_change_nothing(self):
        words = ['run', '--greedy', '-n', '24', E2B, TEXT]
        answer = self.good(*words)
        for more in (['--threads', '1'], ['--threads', '3', '--chunk', '1'], ['--chunk', '7'], ['--ctx', '400']):
            self.assertEqual(self.good(*words, *more), answer, more)

    def test_seed(self):
        words = ['run', '--raw', '-n', '24', '--temperature', '2', '--top-k', '0', '--top-p', '1', E2B, 'Hello']
        self.assertEqual(self.good(*words, '--seed', '7'), self.good(*words, '--seed', '7'))
        self.assertNotEqual(self.good(*words, '--seed', '7'), self.good(*words, '--seed', '8'))
        self.assertNotEqual(self.good(*words), self.good(*words))

    def test_sampling_options_arrive(self):
        """Each makes the answer greedy in its own way, or forbids or forces a token."""
        words = ['run', '--raw', '-n', '12', '--seed', '1', E2B, 'Hello']
        greedy = self.good(*words, '--greedy')
        for more in (['--top-k', '1'], ['--top-p', '0.000001'], ['--min-p', '1'], ['--temperature', '0']):
            self.assertEqual(self.good(*words, '--temperature', '5', *more)
                             if more[0] != '--temperature' else self.good(*words, *more), greedy, more)
        first = self.ids(E2B, 'x')[0]
        forced = self.good(*words, '--greedy', '--logit-bias', f'{first}=1e4')
        self.assertEqual(forced, self.decode(E2B, [first] * 12) + b'\n')
        forbidden = self.good(*words, '--greedy', '--logit-bias', f'{first}=1e4', '--logit-bias', f'{first}=-inf')
        self.assertEqual(forbidden, self.good(*words, '--greedy', '--logit-bias', f'{first}=-inf'))
        for more in (['--repeat-penalty', '50'], ['--presence-penalty', '100'], ['--frequency-penalty', '100'],
                     ['--dry', '100', '--dry-allowed', '1', '--dry-base', '10']):
            penalised = self.good(*words, '--greedy', '--logit-bias', f'{first}=60', *more)
            self.assertNotEqual(penalised, self.decode(E2B, [first] * 12) + b'\n', more)
        for more in (['--typical-p', '0.000001'], ['--top-k', '2', '--xtc-probability', '1', '--xtc-threshold', '0.0001']):
            one, other = (self.good(*words, '--temperature', '5', '--seed', s, *more) for s in '23')
            self.assertEqual(one, other, more)  # one token is left
            self.assertNotEqual(one, self.good(*words, '--temperature', '5', '--seed', '2'), more)

    def test_whole_characters(self):
        """Random models emit byte tokens: what comes out is UTF-8 all the same."""
        words = ['run', '--raw', '--temperature', '3', '--top-k', '0', '-n', '64', E2B, 'é']
        for seed in range(4):
            self.good(*words, '--seed', seed).decode()

    def test_stats_and_quiet(self):
        done = run('run', '--stats', '--greedy', '-n', '5', E2B, 'Hello')
        self.assertRegex(done.stderr, rb'prompt \d+ tokens \(0 kept\).*answer 5 tokens.*end: length')
        self.assertEqual(run('run', '--greedy', '-n', '5', E2B, 'Hello').stderr, b'')

    def test_context_full(self):
        n = len(self.turns('Hello'))
        forbid = [w for i in self.stops() for w in ('--logit-bias', f'{i}=-inf')]
        done = run('run', '--greedy', '--ctx', n + 3, *forbid, E2B, 'Hello')
        self.assertEqual(done.returncode, 0)
        self.assertIn(f'context of {n + 3} tokens is full'.encode(), done.stderr)
        self.assertEqual(run('run', '-q', '--greedy', '--ctx', n + 3, *forbid, E2B, 'Hello').stderr, b'')
        for more in [], ['--samples', 2], ['--raw', '--json']:
            text = 'Hello' if '--raw' not in more else 'Hello ' * n
            self.bad(4, 'run', *more, '--ctx', n - 1, E2B, text, says=['prompt has', f'room for {n - 1};', '--ctx'])

    def stops(self):
        return json.loads(self.good('inspect', '--json', E2B))['stop_tokens']


class Chat(Case):
    HEAD = '<|turn>system\nBe brief.<turn|>\n<|turn>user\nHello<turn|>\n<|turn>model\n'
    NEXT = '<turn|>\n<|turn>user\nAnd  then?<turn|>\n<|turn>model\n'

    def converse(self, *words):
        """Two turns: what was answered, and [(tokens of the prompt, those kept)]."""
        done = run('chat', '--greedy', '--stats', '--precision', 'exact', '-n', '6', '--system', 'Be brief.', *words,
                   stdin=b'Hello\n\n  And  then?\n')
        self.assertEqual(done.returncode, 0, done.stderr)
        counts = re.findall(rb'prompt (\d+) tokens \((\d+) kept\)', done.stderr)
        return done.stdout, [tuple(map(int, c)) for c in counts]

    def test_history_and_kept_prefix(self):
        """The second answer follows the whole conversation, and only what is new is computed."""
        answers, counts = self.converse(E2B)
        head, rest = [2] + self.ids(E2B, self.HEAD, '--control'), self.ids(E2B, self.NEXT, '--control')
        first = list(self.probe(E2B, head, '--greedy', '6')['greedy'][1])
        second = self.probe(E2B, head + first + rest, '--greedy', '6')['greedy'][1]
        self.assertEqual(answers, stream(first) + stream(second))
        self.assertEqual(counts, [(len(head), 0), (len(head) + 6 + len(rest), len(head) + 5)])

    def test_empty_thought(self):
        """Models without per-layer embeddings get an empty thought, which the next turn must not see."""
        head, rest = [2] + self.ids(MIXED_26B, self.HEAD, '--control'), self.ids(MIXED_26B, self.NEXT, '--control')
        thought = self.ids(MIXED_26B, '<|channel>thought\n<channel|>', '--control')
        word = self.ids(MIXED_26B, 'x')[:1]
        answers, counts = self.converse('--logit-bias', f'{word[0]}=1e4', MIXED_26B)
        self.assertEqual(answers, (self.decode(MIXED_26B, word * 6) + b'\n') * 2)
        n = len(head) + len(thought)
        self.assertEqual(counts, [(n, 0), (n + 6 + len(rest), len(head))])

    def test_thoughts_are_not_shown(self):
        """A thought that the model begins is not part of the answer, and its end is where the answer goes on."""
        channel = self.ids(E2B, '<|channel>', '--control')[0]
        done = run('run', '--greedy', '-n', '6', '--logit-bias', f'{channel}=1e4', E2B, 'Hello')
        self.assertEqual((done.returncode, done.stdout), (0, b''))
        self.assertIn(b'inside a thought', done.stderr)

    def test_needs_turns(self):
        self.bad(3, 'chat', MODELS / '12b' / 'model', says='run --raw')


class Inspect(Case):
    def test_text_and_json(self):
        for model in (E2B, MIXED, GEMMA3, MODELS / '26b' / 'model'):
            info = json.loads(self.good('inspect', '--json', '--tensors', model))
            text = self.good('inspect', '--tensors', model).decode()
            self.assertIn(f'{info["n_parameters"]:,}', text)
            self.assertEqual(sum(f['tensors'] for f in info['formats']), len(info['tensors']))
            for form in info['formats']:
                same = [t for t in info['tensors'] if (t['role'], t['type']) == (form['role'], form['type'])]
                self.assertEqual((len(same), sum(t['bytes'] for t in same)), (form['tensors'], form['bytes']))
            for tensor in info['tensors']:
                self.assertIn(f'{tensor["name"]}  {tensor["type"]} {tensor["shape"]}', text)

    def test_hyperparameters_are_those_of_the_file(self):
        config = json.loads((E2B / 'config.json').read_text())['text_config']
        info = json.loads(self.good('inspect', '--json', E2B))
        for ours, theirs in (('n_layers', 'num_hidden_layers'), ('hidden', 'hidden_size'), ('vocab', 'vocab_size'),
                             ('n_heads', 'num_attention_heads'), ('window', 'sliding_window'),
                             ('context', 'max_position_embeddings'), ('n_layers_shared', 'num_kv_shared_layers'),
                             ('ple', 'hidden_size_per_layer_input'), ('ffn', 'intermediate_size')):
            self.assertEqual(info[ours], config[theirs], ours)

    def test_memory(self):
        def bytes_of(*more):
            return json.loads(self.good('inspect', '--json', *more, E2B))['memory']
        self.assertEqual([s['context'] for s in bytes_of('--ctx', '100')['sessions']], [100])
        small, large = (bytes_of('--ctx', n)['sessions'][0]['bytes'] for n in (1000, 4000))
        self.assertLess(small, large)
        self.assertLess(bytes_of('--ctx', '4000')['sessions'][0]['bytes'],
                        bytes_of('--ctx', '4000', '--precision', 'exact')['sessions'][0]['bytes'])
        self.assertLess(bytes_of('--ctx', '4000', '--int8-cache')['sessions'][0]['bytes'],
                        bytes_of('--ctx', '4000')['sessions'][0]['bytes'])
        self.bad(2, 'inspect', '--int8-cache', '--precision', 'exact', E2B, says='contradict')


class Bench(Case):
    def test_json(self):
        result = json.loads(self.good('bench', '--json', '-p', '16', '-n', '4', '-r', '3', '-t', '2', MIXED))
        self.assertEqual([result[k] for k in ('n_prompt', 'n_gen', 'repetitions', 'threads', 'precision')],
                         [16, 4, 3, 2, 'fast'])
        for key in ('prompt_tokens_per_second', 'generate_tokens_per_second', 'first_token_seconds'):
            samples = sorted(result[key]['samples'])
            self.assertEqual([result[key][k] for k in ('min', 'median', 'max')], samples)
            self.assertGreater(samples[0], 0)
        rates, times = (result[k]['samples'] for k in ('prompt_tokens_per_second', 'first_token_seconds'))
        for rate, seconds in zip(rates, times):
            self.assertAlmostEqual(rate * seconds, 16, places=6)
        self.assertGreater(result['peak_resident_bytes'], 1 << 20)

    def test_text_and_no_tokenizer(self):
        words = ['bench', '-p', '8', '-n', '0', '-r', '1', '--precision', 'exact']
        text = self.good(*words, MODELS / '12b' / 'model').decode()
        self.assertIn('precision    exact', text)
        self.assertNotIn('generate ', text)


class BenchKernels(Case):
    """Every function of the kernels' table is timed, against limits that hold."""

    @staticmethod
    def table():
        """Names of the functions in struct gem_kernels, and how many formats gemm_packed has."""
        header = (Path(__file__).resolve().parents[2] / 'src' / 'kernels' / 'kernels.h').read_text()
        struct = re.search(r'^struct gem_kernels {$(.*?)^};$', header, re.M | re.S).group(1)
        functions = re.findall(r'^    gem_\w+_fn ([^;]+);', struct, re.M)
        kinds = re.search(r'^enum gem_pack_kind {$(.*?)^};$', header, re.M | re.S).group(1)
        return {re.match(r'\*(\w+)', one).group(1) for line in functions for one in line.split(', ')}, \
            len(re.findall(r'GEM_PK_', kinds)) - 1

    def check(self, report):
        names, n_kinds = self.table()
        self.assertGreater(len(names), 20)
        self.assertEqual({row['kernel'] for row in report['kernels']}, names)
        self.assertEqual(len({row['format'] for row in report['kernels'] if row['kernel'] == 'gemm_packed'}), n_kinds)
        for row in report['kernels']:
            many = 'all_threads' if row['threads'] > 1 else 'one_thread'
            self.assertIn(row['threads'], (1, report['threads']))
            self.assertGreater(row['fraction'], 0, row)
            self.assertAlmostEqual(row['fraction'] * row['limit_per_second'] / row['per_second'], 1, places=6)
            self.assertGreaterEqual(report['limits'][row['limit']][many], row['limit_per_second'])
            # one call of `seconds` makes `per_second`, by shape and format
            if row['limit'] in ('int8', 'bf16', 'f32') and row['rows']:
                work = 2 * row['rows'] * row['columns'] * row['vectors'] * row['threads']
                self.assertAlmostEqual(work / row['seconds'] / row['per_second'], 1, places=6)
            if row['kernel'] == 'gemm_packed' and row['format'] == 'Q4_0' and row['limit'] == 'memory':
                work = 18 * row['rows'] * row['columns'] / 32 * row['threads']
                self.assertAlmostEqual(work / row['seconds'] / row['per_second'], 1, places=6)
        if os.environ.get('GEM_OPTIMISED'):     # of most: other work on the machine may spoil the measurement of one limit
            fractions = sorted(row['fraction'] for row in report['kernels'])
            self.assertLessEqual(fractions[len(fractions) // 2], 1.3)

    def test_json(self):
        report = json.loads(self.good('bench', '--kernels', '--json', '-t', '2'))
        self.assertEqual(report['threads'], 2)
        self.check(report)
        products = {row['threads'] for row in report['kernels'] if row['kernel'].startswith('gemm_')}
        self.assertEqual(products, {1, 2})

    def test_other_instruction_sets_and_text(self):
        report = json.loads(self.good('bench', '--kernels', '--json', '-t', '1', env={**os.environ, 'GEMMULE_CPU': 'c'}))
        self.assertEqual((report['cpu'], report['threads']), ('c', 1))
        self.assertEqual(report['limits']['bf16'], {'one_thread': 0, 'all_threads': 0})
        self.check(report)
        if os.environ.get('GEM_QUICK'):
            return
        lines = self.good('bench', '--kernels', '-t', '1').decode().splitlines()
        rows = [line.split() for line in lines[1:lines.index('')]]
        self.assertEqual({row[0] for row in rows}, self.table()[0])
        for row in rows:
            self.assertEqual(row[-1], '%')
            self.assertGreaterEqual(int(row[-2]), 0)

    def test_refusals(self):
        self.bad(2, 'bench', '--kernels', '--cpu', 'z80', says='--cpu is one of')
        self.bad(2, 'bench', '--kernels', says='GEMMULE_CPU is one of', env={**os.environ, 'GEMMULE_CPU': 'z80'})
        self.bad(2, 'bench', '--kernels', E2B, says='no MODEL')
        self.bad(2, 'bench', '--kernels', '-p', '3', says='--prompt')


class Ppl(Case):
    def test_is_the_mean_over_second_halves(self):
        """Against log-softmax of probe's logits, window by window, by llama-perplexity's rule."""
        path, window = self.dir / 'text.txt', 16
        path.write_text(TEXT[:180])
        tokens, values = [2] + self.ids(E2B, TEXT[:180]), []
        for begin in range(0, len(tokens) - window + 1, window):
            part = [2] + tokens[begin + 1:begin + window]
            (rows, vocab), logits = self.probe(E2B, part, '--rows', 'all')['logits']
            self.assertEqual(rows, window)
            for i in range(window // 2, window - 1):
                row = logits[i * vocab:(i + 1) * vocab]
                top = max(row)
                values.append(math.log(sum(math.exp(v - top) for v in row)) + top - row[part[i + 1]])
        words = ['ppl', '--precision', 'exact', '--window', window, E2B]
        result = json.loads(self.good(*words, '--json', path))
        mean = sum(values) / len(values)
        error = math.sqrt((sum(v * v for v in values) / len(values) - mean ** 2) / (len(values) - 1)) * math.exp(mean)
        self.assertEqual((result['n_scored'], result['n_tokens']), (len(values), len(tokens)))
        self.assertAlmostEqual(result['mean_nll'] / mean, 1, places=9)
        self.assertAlmostEqual(result['uncertainty'] / error, 1, places=6)
        text = self.good(*words, '-', stdin=path.read_bytes()).decode()
        self.assertEqual(text, f'perplexity {result["perplexity"]:.4f} +- {result["uncertainty"]:.4f} '
                               f'over {len(values)} tokens\n')

    def test_tokens_and_stride(self):
        path = self.dir / 'text.txt'
        path.write_text(TEXT)
        words = ['ppl', '--json', '--window', '16', E2B, path]
        self.assertEqual(json.loads(self.good(*words, '--tokens', '47'))['n_scored'], 2 * 7)
        self.assertEqual(json.loads(self.good(*words, '--tokens', '48', '--stride', '8'))['n_scored'], 5 * 7)
        self.bad(4, *words, '--tokens', '15', says=['15 tokens', 'window of 16'])


class Probe(Case):
    def test_same_bytes(self):
        tokens = [2] + self.ids(E2B, TEXT)
        one, two = self.dir / 'one', self.dir / 'two'
        words = ['probe', '--hidden', '--greedy', '5', E2B, self.case(tokens)]
        self.good(*words, '-o', one)
        self.good(*words, '-o', two, '--threads', '3', '--chunk', '7')
        self.assertEqual(one.read_bytes(), two.read_bytes())
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ['case.json', 'one', 'two'])

    def test_rows_and_shapes(self):
        info = json.loads(self.good('inspect', '--json', E2B))
        for n in (1, 12, 64, 65, 100, 145):
            tokens = [2] + [5 + i % 200 for i in range(n - 1)]
            chosen = list(range(n)) if n <= 64 else sorted(set(range(0, n, n // 16)) | set(range(n - 8, n)))
            every = list(range(n))
            for which, rows in (([], chosen), (['--rows', 'all'], every), (['--rows', '16'], every[-16:])):
                out = self.probe(E2B, tokens, '--hidden', '--greedy', '2', *which)
                self.assertEqual(list(out), ['rows', 'logits', 'hidden', 'greedy'])
                self.assertEqual(list(out['rows'][1]), rows)
                self.assertEqual(out['logits'][0], [len(rows), info['vocab']])
                self.assertEqual(out['hidden'][0], [info['n_layers'] + 1, len(rows), info['hidden']])
                self.assertEqual(out['greedy'][0], [2])

    def test_rows_are_those_of_all(self):
        """A choice of rows, and leaving out what is not asked for, changes no bit of the rest."""
        tokens = [2] + [5 + i % 200 for i in range(99)]
        full = self.probe(E2B, tokens, '--hidden', '--rows', 'all')
        part = self.probe(E2B, tokens, '--rows', '16')
        (_, vocab), logits = full['logits']
        self.assertEqual(struct.pack(f'<{16 * vocab}f', *part['logits'][1]),
                         struct.pack(f'<{16 * vocab}f', *logits[-16 * vocab:]))
        self.assertEqual(list(part), ['rows', 'logits'])

    def test_greedy_is_the_first_of_the_largest(self):
        tokens = [2, 50, 60, 70]
        greedy = list(self.probe(MIXED, tokens, '--greedy', '8')['greedy'][1])
        for i in range(8):
            (rows, vocab), logits = self.probe(MIXED, tokens + greedy[:i])['logits']
            last = list(logits[(rows - 1) * vocab:])
            self.assertEqual(greedy[i], last.index(max(last)))

    def test_golden_case(self):
        """The reference's file has the same names, shapes and rows."""
        for name in ('n12', 'n41'):
            reference = read_safetensors(MODELS / 'e2b' / f'{name}.safetensors')
            out = self.dir / 'out'
            self.good('probe', '--hidden', '-o', out, E2B, MODELS / 'e2b' / f'{name}.json')
            ours = read_safetensors(out)
            for key in ('rows', 'logits', 'hidden'):
                self.assertEqual(ours[key][0], reference[key][0])
            self.assertEqual(ours['rows'], reference['rows'])


class Nano(Case):
    """The model that comes with the program: trained, so that what it says can be known."""

    def test_answers_where_no_model_is_named(self):
        self.assertEqual(self.good('run', '--greedy', 'What is 12 + 35?'), b'47\n')
        self.assertEqual(self.good('run', '--greedy', stdin=b'What is 12 + 35?'), b'47\n')
        self.assertEqual(self.good('chat', '--greedy', stdin=b'My name is Clara.\nWhat is my name?\n').splitlines()[-1],
                         b'Your name is Clara.')

    def test_thinks_digit_by_digit(self):
        lines = self.good('run', '--greedy', '--think', 'on', '--json', 'What is 348 + 275?').splitlines()
        events = [json.loads(line) for line in lines]
        self.assertEqual(events[-1]['message']['content'], '623')
        self.assertIn('8+5+0=13:3', events[-1]['message']['reasoning'])

    def test_sees_a_picture(self):
        figure = Path(__file__).resolve().parents[2] / 'models' / 'nano' / 'figure.png'
        for question, answer in (('What shape is this?', b'cross\n'), ('Describe this picture.', b'a blue cross\n')):
            self.assertEqual(self.good('run', '--greedy', '--image', figure, question), answer)

    def test_a_mistaken_path_is_no_prompt(self):
        for path in ('no-such-model.gguf', 'no/such/folder', 'model.gem'):
            self.bad(3, 'run', path, says='no such file', stdin=b'x')


if __name__ == '__main__':
    main()
