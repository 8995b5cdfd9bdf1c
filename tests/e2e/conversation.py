# SPDX-License-Identifier: Apache-2.0
"""Conversations: thoughts, calls of tools, events as JSON, commands of the chat. With models that say what is written
into them."""
import hashlib
import json
import math
import pathlib
import re

import scripted
from harness import E2B, GEMMA3, Case, main, run

THOUGHT = ['<|channel>', 'thought\n', 'Hm, ', 'let me see.', '\n', '<channel|>']
CALL = ['<|tool_call>', 'call:clock{zone:', '3', '}', '<tool_call|>', '<|tool_response>']


class Talk(Case):
    def model(self, *chains):
        return scripted.make(self.dir / f'model{len(list(self.dir.iterdir()))}', *chains)

    def tools(self, command):
        path = self.dir / 'tools.json'
        path.write_text(json.dumps([{
            'type': 'function', 'command': command,
            'function': {'name': 'clock', 'description': 'Tells the time.',
                         'parameters': {'type': 'object', 'properties': {'zone': {'type': 'integer'}}}}}]))
        return path

    def events(self, *words):
        return [json.loads(line) for line in self.good('run', '--json', '--greedy', *words).splitlines()]

    def caller(self):
        """Thinks, then calls; with the result it answers, when it need not think first."""
        return self.model(['model\n', *THOUGHT, *CALL], ['<tool_response|>', 'It is ', 'noon.', '<turn|>'])

    def chat(self, model, text, *words):
        done = run('chat', '--greedy', *words, model, stdin=text.encode())
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode(), done.stderr.decode()


class Run(Talk):
    def test_events(self):
        *events, end = self.events('--think', 'on', self.model(['model\n', *THOUGHT, 'It is ', 'noon.', '<turn|>']),
                                   'Time?')
        self.assertEqual(events, [{'type': kind, 'text': text} for kind, text in (
            ('thought', 'Hm, '), ('thought', 'let me see.'), ('text', 'It is '), ('text', 'noon.'))])
        self.assertEqual((end['type'], end['finish'], end['n_generated']), ('end', 'stop', 8))
        self.assertEqual(end['message'],
                         {'role': 'assistant', 'reasoning': 'Hm, let me see.', 'content': 'It is noon.'})

    def test_calls(self):
        model = self.caller()
        words = ['--think', 'on', '--tools', self.tools(['date']), model, 'Time?']
        events = self.events(*words)
        self.assertEqual(events[-2], {'type': 'call', 'name': 'clock', 'arguments': {'zone': 3}})
        self.assertEqual(events[-1]['message']['tool_calls'][0]['function'], {'name': 'clock', 'arguments': {'zone': 3}})
        self.assertEqual(self.good('run', '--greedy', *words), b'clock {"zone":3}\n')

    def test_tool_choice(self):
        """The same model with each choice: what it wishes to write, the constraint makes a call or none."""
        model = self.model(['model\n', '<|channel>', 'thought\n', '<channel|>', 'It is ', 'noon.', '<turn|>'])
        tools, words = self.tools(['date']), [model, 'Time?', '-n', '40']
        def kinds(*how):
            return [e['type'] for e in self.events('--tools', tools, *how, *words)]
        self.assertEqual(kinds(), ['text', 'text', 'end'])
        self.assertEqual(kinds('--tool-choice', 'none'), ['text', 'text', 'end'])
        self.assertEqual(kinds('--tool-choice', 'required', '--one-call'), ['call', 'end'])
        self.assertEqual(kinds('--tool-choice', 'clock', '--one-call'), ['call', 'end'])
        self.bad(2, 'run', '--tools', tools, '--tool-choice', 'clack', *words, says='"clack"')
        self.bad(4, 'run', '--tools', tools, '--tool-choice', 'required', model, 'x', '-n', '2', says='an answer may take')
        self.bad(2, 'run', '--tool-choice', 'auto', model, 'x', says='--tools')
        self.bad(2, 'run', '--one-call', model, 'x', says='--tools')
        hard = self.dir / 'hard.json'
        hard.write_text('[{"function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"not": {}}}}}}]')
        done = run('run', '--tools', hard, *words)
        self.assertEqual((done.returncode, done.stdout), (3, b''))
        self.assertIn(b'/properties/x', done.stderr)
        self.assertIn(b'--tool-choice free', done.stderr)
        self.assertEqual(self.good('run', '--greedy', '--tools', hard, '--tool-choice', 'free', *words), b'It is noon.\n')

    def test_calls_are_held_to_their_schema(self):
        """This model wants a string where an integer is declared."""
        chain = [*THOUGHT, '<|tool_call>', 'call:clock{', 'zone:', 'UTC', '}', '<tool_call|>', '<|tool_response>']
        model, tools = self.model(['model\n', *chain]), self.tools(['date'])
        words = ['--think', 'on', '--tools', tools, '-n', '40', model, 'Time?']
        *_, event, end = self.events(*words, '--tool-choice', 'free')
        self.assertEqual((event['type'], event['reason']), ('malformed', 'an argument is not of its declared type'))
        *_, event, end = self.events(*words, '--one-call')
        self.assertEqual((event['type'], type(event['arguments']['zone'])), ('call', int))

    def test_samples(self):
        """Each is what its seed gives alone, in text and as events."""
        words = ['--temperature', '1.5', '-n', '12', E2B, 'Hello']
        for how in [], ['--think', 'on'], ['--raw']:
            alone = {}
            events = [json.loads(e) for e in self.good('run', '--json', '--samples', '4', '--seed', '7', *how, *words).splitlines()]
            ends = [e for e in events if e['type'] == 'end']
            self.assertEqual([e['sample'] for e in ends], [1, 2, 3, 4])
            self.assertEqual(ends[0]['seed'], 7)
            for end in ends:
                own = [json.loads(e) for e in
                       self.good('run', '--json', '--seed', end['seed'], *how, *words).splitlines()]
                for e in own:
                    e['sample'] = end['sample']
                own[-1]['n_kept'] = end['n_kept']
                self.assertEqual([e for e in events if e['sample'] == end['sample']], own)
                alone[end['sample']] = self.good('run', '--seed', end['seed'], *how, *words)
            self.assertEqual(self.good('run', '--samples', '4', '--seed', '7', *how, *words), b''.join(alone.values()))
            self.assertGreater(len(set(alone.values())), 2)

    def test_logprobs(self):
        """Of the prompt's and the answer's tokens, from the logits that probe writes."""
        words = ['--precision', 'exact', '--raw', '--greedy', '-n', '4', '--min-tokens', '4', E2B, 'Hello you']
        *events, end = self.events('--logprobs', '3', '--prompt-logprobs', *words)
        said = [e for e in events if e['type'] == 'logprobs']
        bos, *_ = self.ids(E2B, '<bos>', '--control')
        tokens = [bos] + [e['token'] for e in said]
        n = end['n_prompt']
        self.assertEqual(tokens[:n], [bos] + self.ids(E2B, 'Hello you'))
        self.assertEqual([e['position'] for e in said], list(range(1, n + 4)))
        (rows, vocab), logits = self.probe(E2B, tokens, '--precision', 'exact')['logits']
        self.assertEqual(rows, len(tokens))
        for e in said:
            row = logits[(e['position'] - 1) * vocab:e['position'] * vocab]
            log_sum = math.log(math.fsum(map(math.exp, row)))
            best = sorted(range(vocab), key=lambda i: -row[i])[:3]
            self.assertEqual([t['token'] for t in e['top']], best)
            for one in [e] + e['top']:
                self.assertAlmostEqual(one['logprob'], row[one['token']] - log_sum, 4)
        self.assertEqual([e['type'] for e in self.events('--logprobs', '1', *words)].count('logprobs'), 4)
        self.bad(2, 'run', '--logprobs', '3', *words, says='--json')
        self.bad(2, 'run', '--json', '--prompt-logprobs', *words, says='--logprobs')
        self.bad(2, 'run', '--json', '--logprobs', '3', '--samples', '2', *words, says='--samples')

    def test_stop_strings(self):
        """Found across the borders of tokens, and not shown; neither in thoughts nor in the message is a trace of it."""
        chain = ['It is ', 'noo', 'n, or ', 'later.', '<turn|>']
        model = self.model(['model\n', *THOUGHT, *chain], ['<channel|>'])
        for stop, text in (('noon', 'It is '), ('n, o', 'It is noo'), ('It', ''), ('later!', 'It is noon, or later.'),
                           ('.', 'It is noon, or later'), ('me', 'It is noon, or later.')):  # the thought has that
            words = ['--think', 'on', '--stop', stop, '--stop', 'never', model, 'Time?']
            *events, end = self.events(*words)
            self.assertEqual(''.join(e['text'] for e in events if e['type'] == 'text'), text, stop)
            self.assertEqual(end['message'].get('content', ''), text, stop)
            self.assertEqual((end['finish'], end['message']['reasoning']), ('stop', 'Hm, let me see.'))
            self.assertEqual(self.good('run', '--greedy', *words), text.encode() + b'\n' * bool(text))
        plain = self.model(['model\n', '<|channel>', 'thought\n', '<channel|>'], ['go: ', *chain])
        *events, end = self.events('--raw', '--stop', 'on, ', plain, 'go: ')
        self.assertEqual((''.join(e['text'] for e in events), end['finish']), ('It is no', 'stop'))
        self.bad(2, 'run', '--stop', 'a', '--regex', 'b', model, 'x', says='--regex')
        for how in (['--raw', '--stop', 'on, ', plain, 'go: '], ['--think', 'on', '--stop', 'noon', model, 'Time?']):
            *_, end = self.events(*how)
            events = self.events('--samples', '2', *how)
            self.assertEqual([e['n_generated'] for e in events if e['type'] == 'end'], 2 * [end['n_generated']])
            self.assertEqual([e['finish'] for e in events if e['type'] == 'end'], 2 * ['stop'])
            self.assertEqual(self.good('run', '--greedy', '--samples', '2', *how), 2 * self.good('run', '--greedy', *how))
        self.bad(2, 'run', '--stop', '', model, 'x', says='0 bytes')

    def test_invalid_utf8_is_named(self):
        """With its offset in the file."""
        path = self.dir / 'x.json'
        for before in b'[{"role": "user", "content": "ab', b'[{"function": {"name": "f", "description": "':
            path.write_bytes(before + b'\xff"}]')
            for words in ['chat', '--load', path, E2B], ['run', '--tools', path, E2B, 'x']:
                self.bad(3, *words, says=[path, f'byte {len(before)}', 'UTF-8'])
        path.write_bytes(b'{"pattern": "\xff"}')
        self.bad(3, 'run', '--schema', path, E2B, 'x', says=['schema', 'byte 13', 'UTF-8'])

    def test_malformed(self):
        model = self.model(['model\n', '<|channel>', 'thought\n', '<channel|>', '<|tool_call>', 'clock?', '<tool_call|>',
                            '<turn|>'])
        event, end = self.events(model, 'Time?')
        self.assertEqual((event['type'], event['text']), ('malformed', '<|tool_call>clock?<tool_call|>'))
        self.assertEqual(end['message'], {'role': 'assistant', 'content': ''})
        self.assertIn(b'malformed', run('run', '--greedy', model, 'Time?').stderr)

    def test_thoughts(self):
        """Shown, by length, or not at all: never on standard output."""
        model = self.model(['model\n', *THOUGHT, 'Noon.', '<turn|>'])
        length = r'\(thought: 4 tokens, \d+\.\d s\)\n'  # the label and the newline at the end are two of them
        for how, says in ([], ''), (['--thoughts', 'show'], 'Hm, let me see.\n\n'), (['--thoughts', 'length'], length), \
                (['--thoughts', 'hide'], ''):
            done = run('run', '--greedy', '--think', 'on', *how, model, 'Time?')
            self.assertEqual((done.returncode, done.stdout), (0, b'Noon.\n'))
            self.assertRegex(done.stderr.decode(), f'^{says}$')

    def test_budget(self):
        """A thought without end is closed as the model was trained to close it, and the answer follows."""
        model = self.model(['model\n', '<|channel>', 'thought\n', 'Hm. ', 'Hm. '], ['<channel|>', 'Noon.', '<turn|>'])
        events = self.events('--think', '7', model, 'Time?')
        *thoughts, text, end = events
        self.assertEqual(''.join(e['text'] for e in thoughts), 'Hm. ' * 6)  # the label is one of the seven
        self.assertEqual((text['text'], end['finish']), ('Noon.', 'stop'))
        self.assertEqual(end['message']['reasoning'], 'Hm. ' * 6)
        *_, end = self.events('--think', '7', '-n', '5', model, 'Time?')
        self.assertEqual((end['finish'], end['n_generated']), ('length', 5))

    def test_prompt_from_a_file(self):
        path = self.dir / 'prompt.txt'
        path.write_text('Time?')
        model = self.caller()
        self.assertEqual(self.good('run', '--greedy', '-f', path, model), self.good('run', '--greedy', model, 'Time?'))
        self.bad(2, 'run', '-f', path, model, 'Time?', says='only one of')

    def test_system_and_thinking_arrive(self):
        """Counted: what goes in is what the template says."""
        n = lambda *words: self.events(*words, '-n', '1', E2B, 'Hello')[-1]['n_prompt']
        ids = lambda text: len(self.ids(E2B, text, '--control'))
        self.assertEqual(n('--system', 'Be brief.') - n(), ids('<|turn>system\nBe brief.<turn|>\n'))
        self.assertEqual(n('--think', 'on') - n(), ids('<|turn>system\n<|think|>\n<turn|>\n'))

    def test_refusals(self):
        bad = self.dir / 'bad.json'
        for text, says in (('', 'bad.json'), ('{}', 'not a JSON array'), ('[7]', 'tool 0'),
                           ('[{"function": {"name": "a<|\\"|>"}}]', 'control token')):
            bad.write_text(text)
            self.bad(3, 'run', '--tools', bad, E2B, 'x', says=says)
        self.bad(3, 'run', '--tools', self.dir / 'none', E2B, 'x', says='none')
        self.bad(2, 'run', '--think', 'much', E2B, 'x', says=['--think', "'much'"])
        self.bad(2, 'run', '--think', 'What is 2 + 2?', says=['--think', "'What is 2 + 2?'"])
        self.bad(2, 'chat', '--think', 'much', 'no-such-model', says=['--think', "'much'"])
        self.bad(2, 'run', '--raw', '--think', 'on', E2B, 'x', says=['--think', '--raw'])
        self.bad(2, 'run', '--raw', '--system', 'a', E2B, 'x', says='--system')
        self.bad(1, 'run', E2B, '-', stdin=b'ab\xffc', says='not UTF-8 at byte 2')

    def test_template_is_compared(self):
        model = self.model(['model\n', '<|channel>', 'thought\n', '<channel|>', 'Hi', '<turn|>'])
        (model / 'chat_template.jinja').write_text('{{ bos_token }}')
        done = run('run', '--greedy', model, 'x')
        self.assertEqual(done.stdout, b'Hi\n')
        self.assertIn(b'chat template is not a known one', done.stderr)
        self.assertEqual(run('run', '-q', '--greedy', model, 'x').stderr, b'')
        digest = hashlib.sha256(b'{{ bos_token }}').hexdigest()
        text = self.good('inspect', model).decode()
        self.assertIn(f'not known, SHA-256 {digest}', text)
        self.assertIn('that of 12B, 26B-A4B and 31B (2026-07-09) is used instead', text)
        self.assertIn('<|tool_call>call:', text)
        note = self.chat_of(model).pop('note')
        self.assertIn('2026-07-09', note)
        self.assertEqual(self.chat_of(model), {
            'format': 'gemma4-large', 'has_template': True, 'known_template': False, 'template_sha256': digest,
            'note': note, 'thinking': True, 'tools': True})
        nano = pathlib.Path(__file__).resolve().parents[2] / 'models' / 'nano'
        digest = hashlib.sha256((nano / 'chat_template.jinja').read_bytes()).hexdigest()
        self.good('pack', nano, '-o', self.dir / 'nano.gem')
        for model in nano, self.dir / 'nano.gem':
            self.assertEqual(self.chat_of(model), {
                'format': 'gemma4-small', 'has_template': True, 'known_template': True, 'template_sha256': digest,
                'thinking': True, 'tools': True})
        self.assertEqual(self.chat_of(GEMMA3)['format'], 'none')  # its small vocabulary has no turns
        self.assertFalse(self.chat_of(GEMMA3)['tools'])

    def chat_of(self, model):
        return json.loads(self.good('inspect', '--json', model))['chat']


class Chat(Talk):
    def test_tools_are_run_after_asking(self):
        model, tools = self.caller(), self.tools(['sh', '-c', 'cat; echo " at noon"'])
        out, err = self.chat(model, f'Time?\ny\n/save {self.dir}/saved.json\n', '--tools', tools)
        self.assertEqual(out, 'clock {"zone":3}\nIt is noon.\n')
        self.assertIn('run: sh -c cat; echo " at noon"\n', err)
        saved = json.loads((self.dir / 'saved.json').read_text())
        self.assertEqual([m['role'] for m in saved['messages']], ['user', 'assistant', 'tool', 'assistant'])
        self.assertEqual(saved['messages'][2],
                         {'role': 'tool', 'tool_call_id': 'call_1', 'content': '{"zone":3} at noon'})
        self.assertEqual(saved['tools'], json.loads(tools.read_text()))
        for answer in ('n\n', '\n', ''):  # nothing is run without a yes
            marker = self.dir / 'ran'
            out, _ = self.chat(model, 'Time?\n' + answer, '--tools', self.tools(['touch', str(marker)]))
            self.assertEqual('It is noon.' in out, answer != '')  # with nobody there, nothing goes on
            self.assertFalse(marker.exists())

    def test_the_end_of_input_ends_a_loop(self):
        """Thinking, this model calls again and again; each prompt goes on where the last one ended."""
        out, err = self.chat(self.caller(), 'Time?\nn\nn\n', '--think', 'on', '--stats', '--tools', self.tools(['date']))
        self.assertEqual(out, 'clock {"zone":3}\n' * 3)
        counts = [tuple(map(int, c)) for c in
                  re.findall(r'prompt (\d+) tokens \((\d+) kept\).*answer (\d+) tokens', err)]
        self.assertEqual(len(counts), 3)
        for (n, _, generated), (_, kept, _) in zip(counts, counts[1:]):
            self.assertEqual(kept, n + generated)  # the stop token was drawn, so all before it is there

    def test_what_is_required_is_required_once(self):
        """After a result the model may answer; a new question needs a call again."""
        out, _ = self.chat(self.caller(), 'Time?\nn\nAnd now?\nn\n', '--tools', self.tools(['date']), '--tool-choice',
                           'required', '--one-call')
        self.assertRegex(out, r'^(clock \{.*\}\nIt is noon\.\n){2}$')

    def test_failing_tools(self):
        model = self.caller()
        for command, says in ((['sh', '-c', 'echo oh; exit 3'], 'oh\n(exit code 3)'),
                              (['/nonexistent/program'], '/nonexistent/program: No such file or directory'),
                              (['sh', '-c', 'kill -9 $$'], '\n(ended by signal 9)')):
            self.chat(model, f'Time?\ny\n/save {self.dir}/saved.json\n', '--tools', self.tools(command))
            saved = json.loads((self.dir / 'saved.json').read_text())
            self.assertEqual(saved['messages'][2]['content'], says)

    def test_result_by_hand(self):
        tools = self.tools(['x'])
        tools.write_text(tools.read_text().replace('"command"', '"no command"'))
        out, err = self.chat(self.caller(), f'Time?\nnoon\n/save {self.dir}/saved.json\n', '--tools', tools)
        self.assertIn('no command is declared for clock', err)
        self.assertEqual(json.loads((self.dir / 'saved.json').read_text())['messages'][2]['content'], 'noon')

    def test_undo_retry_load(self):
        model = self.model(['model\n', '<|channel>', 'thought\n', '<channel|>', 'Hi', '<turn|>'])
        path = self.dir / 'saved.json'
        out, err = self.chat(model, f'one\ntwo\n/retry\n/undo\n/save {path}\n/undo\n/undo\n/undo\n')
        self.assertEqual(out, 'Hi\n' * 3)
        self.assertIn('nothing to take back', err)
        want = [{'role': 'user', 'content': 'one'}, {'role': 'assistant', 'content': 'Hi'}]
        self.assertEqual(json.loads(path.read_text()), {'messages': want})
        again = self.dir / 'again.json'
        out, err = self.chat(model, f'/load {path}\nthree\n/save {again}\n')
        self.assertEqual(json.loads(again.read_text())['messages'],
                         want + [{'role': 'user', 'content': 'three'}, want[1]])
        self.chat(model, f'/save {again}\n', '--load', path)
        self.assertEqual(json.loads(again.read_text())['messages'], want)
        path.write_text('[{"role": "critic", "content": "x"}]')
        out, err = self.chat(model, f'/load {path}\n/load {self.dir}/none\nx\n')
        self.assertEqual(out, 'Hi\n')
        self.assertIn("the role 'critic'", err)
        self.bad(3, 'chat', '--load', path, model, says="the role 'critic'")

    def test_load_brings_the_tools(self):
        model, saved = self.caller(), self.dir / 'saved.json'
        tools = self.tools(['echo', 'noon'])
        self.chat(model, f'Time?\ny\n/save {saved}\n', '--tools', tools)
        out, err = self.chat(model, f'/load {saved}\n/tools\nAnd now?\ny\n/save {saved}\n')
        self.assertEqual(out, 'clock {"zone":3}\nIt is noon.\n')
        self.assertIn('tool clock', err)
        self.assertEqual(len(json.loads(saved.read_text())['messages']), 8)
        self.assertEqual(json.loads(saved.read_text())['tools'], json.loads(tools.read_text()))
        other = self.dir / 'other.json'
        for text, says in (('{"messages": [], "tools": 3}', 'no array of tools'),
                           ('{"messages": [], "tools": [3]}', 'tool 0'), ('{"tools": []}', 'no array of messages'),
                           ('{"messages": [{"role": "critic"}], "tools": []}', 'critic')):
            other.write_text(text)
            _, err = self.chat(model, f'/load {other}\n/tools\n', '--load', saved)
            self.assertIn(says, err)
            self.assertIn('tool clock', err)  # still there

    def test_commands(self):
        model = self.model(['model\n', *THOUGHT, 'Hi', '<turn|>'])
        _, err = self.chat(model, '/help\n/hlep\n/system Be brief.\n/system\n/think 9\n/think maybe\n/thoughts show\n/tools\n'
                           '/image x\n/save\nx\n/stats\n')
        for says in ('/retry', 'did you mean /help', 'system text is set', 'no system text', '9 tokens at most',
                     'off, on or a number', 'no tools', 'cannot see', 'needs the name', 'let me see.',
                     '2 messages'):
            self.assertIn(says, err)

    def test_lines_that_only_look_like_commands(self):
        model = self.model(['model\n', '<|channel>', 'thought\n', '<channel|>', 'Hi', '<turn|>'])
        out, err = self.chat(model, '/usr/bin/ls?\n/ x\n /help\n//help\n')
        self.assertEqual((out, err), ('Hi\n' * 4, ''))

    def test_thoughts_never_go_back(self):
        """The second prompt is the first, the answer without its thought, and the new turn."""
        model = self.model(['model\n', *THOUGHT, 'Hi', '<turn|>'])
        _, err = self.chat(model, 'one\ntwo\n', '--think', 'on', '--stats')
        counts = [tuple(map(int, c)) for c in re.findall(r'prompt (\d+) tokens \((\d+) kept\)', err)]
        n = len(self.ids(model, 'Hi<turn|>\n<|turn>user\ntwo<turn|>\n<|turn>model\n', '--control'))
        self.assertEqual(counts[1], (counts[0][0] + n, counts[0][0]))


if __name__ == '__main__':
    main()
