# SPDX-License-Identifier: Apache-2.0
"""The chat as a person sees it: in a terminal, which tmux plays."""
import json
import os
import shlex
import shutil
import subprocess
import sys
import time

import harness
import scripted
from harness import Case, main

THOUGHT = ['<|channel>', 'thought\n', 'Hm, let me see.', '\n', '<channel|>']
CALL = ['<|tool_call>', 'call:clock{zone:', 'UTC', '}', '<tool_call|>', '<|tool_response>']


class Terminal(Case):
    def setUp(self):
        super().setUp()
        self.socket = str(self.dir / 'tmux')
        self.addCleanup(lambda: self.tmux('kill-server', check=False))
        self.caller = scripted.make(self.dir / 'caller', ['model\n', *THOUGHT, *CALL],
                                    ['<tool_response|>', 'It is ', '**noon**', '.', '<turn|>'])
        self.talker = scripted.make(self.dir / 'talker', ['model\n', '<|channel>', 'thought\n', '<channel|>', 'Hi!', '<turn|>'])

    def tmux(self, *words, check=True):
        return subprocess.run(['tmux', '-u', '-S', self.socket, '-f', '/dev/null', *words], check=check, capture_output=True,
                              text=True, timeout=60, env={**os.environ, 'TMUX': '', 'NO_COLOR': '', 'LC_ALL': 'C.UTF-8'}).stdout

    def start(self, *words):
        command = shlex.join(harness.program + ['chat', '--greedy', *map(str, words)])
        # the shell keeps the screen, and shows the exit code
        self.tmux('new-session', '-d', '-x', '100', '-y', '50', f'cd {self.dir}; {command}; echo "exit $?"; sleep 600')
        self.see('>')

    def type(self, *keys):
        self.tmux('send-keys', *keys)

    def line(self, text):
        self.tmux('send-keys', '-l', text)
        self.type('Enter')

    def screen(self, *options):
        return '\n'.join(line.rstrip() for line in self.tmux('capture-pane', '-p', *options).splitlines()).rstrip()

    def see(self, text, *options):
        """Waits until the screen has text; returns the screen."""
        for _ in range(200):
            screen = self.screen(*options)
            if text in screen:
                return screen
            time.sleep(0.05)
        raise AssertionError(f'{text!r} did not appear on\n{screen}')

    def edits(self):
        self.line('/help')
        return 'no line editing' not in self.see('Ctrl-D the chat.')

    def test_a_conversation(self):
        """A thought, a call, an undo and a save."""
        marker = self.dir / 'ran'
        tools = self.dir / 'tools.json'
        tools.write_text(json.dumps([{'command': ['sh', '-c', f'echo noon; touch {marker}'], 'function': {'name': 'clock'}}]))
        self.start('--tools', tools, self.caller)
        self.line('What time is it?')
        self.see('run it? [y/N]')
        self.assertFalse(marker.exists())
        self.line('y')
        self.see('It is **noon**.\n>')
        self.assertTrue(marker.exists())
        self.line('/undo')
        self.see('0 messages are left')
        self.line('/think on')
        self.line('Think first.')
        self.see('Hm, let me see.')
        self.see('run it? [y/N]')
        self.type('C-c')
        self.line('/save saved.json')
        self.see('saved in saved.json')
        self.type('C-d')
        self.see('exit 0')
        messages = json.loads((self.dir / 'saved.json').read_text())['messages']
        self.assertEqual([m['role'] for m in messages], ['user', 'assistant', 'tool'])
        self.assertEqual(messages[0]['content'], 'Think first.')
        self.assertEqual(messages[1]['reasoning'], 'Hm, let me see.')
        self.assertIn('not allow', messages[2]['content'])

    def test_attributes(self):
        """Thoughts are dim, strong text is bold, and nothing of the text is taken away."""
        self.start('--think', 'on', '--tools', self.empty_tools(), self.caller)
        self.line('x')
        self.see('\033[2mHm, let me see.', '-e')
        self.see('result>')
        self.type('C-c')
        self.line('/think off')
        self.see('thinking is off')
        self.line('x')
        self.see('refuse it\nresult>')
        self.line('noon')
        self.see('It is **noon**.')
        self.assertIn('**\033[1mnoon**\033[0m', self.screen('-e'))

    def empty_tools(self):
        path = self.dir / 'tools.json'
        path.write_text('[{"function": {"name": "clock"}}]')
        return path

    def test_interrupt(self):
        endless = scripted.make(self.dir / 'endless', ['model\n', '<|channel>', 'thought\n', '<channel|>', 'ha ', 'ha '])
        self.start('--ctx', '4096', '--threads', '1', endless)
        self.line('x')
        self.see('ha ha ha')
        self.type('C-c')
        time.sleep(0.3)
        self.line('/stats')
        self.see('2 messages')
        self.type('C-c')
        self.see('(Ctrl-D ends)')
        self.type('C-d')
        self.see('exit 0')

    def test_editing(self):
        self.start(self.talker)
        if not self.edits():
            self.skipTest('built without libedit')
        self.tmux('send-keys', '-l', '/unXX')
        self.type('BSpace', 'BSpace', 'Tab', 'Enter')  # /un completes to /undo
        self.see('nothing to take back')
        self.line('helo wrld')
        self.see('Hi!\n>')
        self.type('Up')
        self.type('C-a', 'Right', 'Right', 'Right')
        self.tmux('send-keys', '-l', 'l')
        self.type('Enter')
        self.see('> hello wrld\nHi!')

    def test_again_and_from_a_file(self):
        self.start(self.talker)
        self.line('one')
        self.see('Hi!\n>')
        self.line('/save a.json')
        self.see('saved in a.json')
        self.line('/retry')
        self.see('/retry\nHi!\n>')
        self.line('/undo')
        self.see('0 messages are left')
        self.line('/load a.json')
        self.see('2 messages from a.json')
        self.line('two')
        self.see('two\nHi!\n>')
        self.line('/stats')
        self.see('4 messages, ')

    def test_several_lines(self):
        """A backslash continues a line; pasted lines are one question."""
        self.start(self.talker)
        self.line('one\\')
        self.see('...')
        self.line('two')
        self.see('Hi!\n>')
        self.line('/save a.json')
        self.see('saved in a.json')
        self.assertEqual(json.loads((self.dir / 'a.json').read_text())['messages'][0]['content'], 'one\ntwo')
        if not self.edits():
            self.skipTest('built without libedit')
        self.tmux('set-buffer', 'three\nfour é\nfive')
        self.tmux('paste-buffer', '-p')
        self.see('five')
        self.type('Enter')
        self.see('five\nHi!\n>')
        self.line('/save b.json')
        self.see('saved in b.json')
        self.assertEqual(json.loads((self.dir / 'b.json').read_text())['messages'][2]['content'], 'three\nfour é\nfive')

    def test_questions_that_do_not_fit(self):
        self.start('--ctx', '40', self.talker)
        self.line('x' * 60)
        self.see('taken back')
        self.line('x')
        self.see('Hi!')


if __name__ == '__main__':
    if not shutil.which('tmux'):
        print('skipped: there is no tmux')
        sys.exit(77)
    main()
