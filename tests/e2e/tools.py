# SPDX-License-Identifier: Apache-2.0
"""nano calls random tools at a temperature that leaves nothing of its wishes: every call parses, and its arguments satisfy
the declaration. Judged by Python's jsonschema."""
import collections
import json
import os
import pathlib
import sys

import harness
from harness import Case, main, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'lab'))
NANO = ROOT / 'models' / 'nano'
NOISE = ['--temperature', '100', '--top-k', '0', '--top-p', '1', '--min-p', '0']
N_SETS, N_SAMPLES = 15 if os.environ.get('GEM_QUICK') else 80, 6


def declarations(seed):
    """{name: schema of its arguments}; keys are such that a call can spell them."""
    r = random_schema.Random(seed)
    return {name: r.obj(1) for name in r.r.sample(['get', 'set.it', 'a-b', 'ns:do/it', 'x'], r.r.randrange(1, 4))}


class Tools(Case):
    def call(self, tools, *words, budget):
        """Lines of JSON, or None when the schemas cannot be honoured."""
        path = self.dir / 'tools.json'
        path.write_text(json.dumps([{'type': 'function', 'function': {'name': name, 'parameters': schema}}
                                    for name, schema in tools.items()]))
        while True:
            done = run('run', '--json', *NOISE, '--tools', path, '-n', budget, *words, NANO, 'Call.')
            if done.returncode == 0:
                return [json.loads(line) for line in done.stdout.splitlines()]
            if b'an answer may take' not in done.stderr:
                self.assertIn(b'--tool-choice free', done.stderr)
                return None
            self.assertEqual((done.returncode, done.stdout), (4, b''))  # before anything is generated
            budget *= 2

    def judge(self, tools, events):
        for event in events:
            self.assertNotEqual(event['type'], 'malformed', event)
            if event['type'] == 'call':
                self.counts['calls'] += 1
                jsonschema.Draft202012Validator(
                    tools[event['name']],
                    format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(event['arguments'])

    def test_required(self):
        """A call at least in every answer, nothing but calls behind the thought, and an end within the budget."""
        self.counts = collections.Counter()
        for seed in range(N_SETS):
            tools = declarations(seed)
            how = [[], ['--one-call'], ['--think', '12'], ['--one-call', '--think', 'on'],
                   ['--tool-choice', next(iter(tools))]][seed % 5]
            events = self.call(tools, *(['--tool-choice', 'required'] if '--tool-choice' not in how else []), *how,
                               '--samples', N_SAMPLES, '--seed', seed, budget=32)
            if events is None:
                self.counts['refused'] += 1
                continue
            self.judge(tools, events)
            for sample in range(1, N_SAMPLES + 1):
                *own, end = [e for e in events if e['sample'] == sample]
                kinds = [e['type'] for e in own]
                calls = [e['name'] for e in own if e['type'] == 'call']
                self.assertEqual((end['type'], end['finish']), ('end', 'stop'))
                self.assertTrue(calls and 'text' not in kinds, own)
                self.assertEqual([c['function']['name'] for c in end['message']['tool_calls']], calls)
                self.assertTrue('--think' in how or 'thought' not in kinds)
                self.assertTrue('--one-call' not in how or len(calls) == 1)
                self.assertTrue('--tool-choice' not in how or set(calls) == {how[1]})
                self.counts['answers'] += 1
        print(dict(self.counts), file=sys.stderr)
        self.assertGreater(self.counts['answers'], N_SETS * N_SAMPLES * 2 // 3)

    def test_auto_and_none(self):
        """Noise rarely begins a call; what it begins is whole. Without calls there is text."""
        self.counts = collections.Counter()
        begin, = self.ids(NANO, '<|tool_call>', '--control')
        for seed in range(20):
            tools = declarations(seed)
            for choice in 'auto', 'none':
                events = self.call(tools, '--tool-choice', choice, '--samples', N_SAMPLES, '--seed', seed,
                                   '--logit-bias', f'{begin}=800', budget=80)
                if events is None:
                    self.counts['refused'] += 1
                    continue
                self.judge(tools, events)
                kinds = {e['type'] for e in events}
                self.assertTrue(choice == 'auto' or kinds == {'text', 'end'}, kinds)
                self.counts[choice] += 1
        self.assertGreater(self.counts['calls'], 20)


if __name__ == '__main__':
    try:
        import jsonschema
        import random_schema
    except ImportError as e:
        print(f'skipped: {e}')
        sys.exit(77)
    random_schema.NAMES[:] = ['a', 'b', 'name', 'value', 'id', 'ID', 'items', 'type', 'properties', 'aa', 'ab', 'long_name']
    # Python's \S leaves out U+001C to U+001F, ECMA-262's does not
    random_schema.PATTERNS[:] = [p for p in random_schema.PATTERNS if '\\S' not in p]
    main()
