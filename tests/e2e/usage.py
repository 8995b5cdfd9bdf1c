# SPDX-License-Identifier: Apache-2.0
"""Wrong command lines: exit code 2, the option by name, the nearest known one, and where help is."""
import json
import os

from harness import E2B, Case, main


class Usage(Case):
    def test_no_command(self):
        self.bad(2, says='gemmule help')
        self.bad(2, '--threads', '2', says=['--threads', 'command comes first'])

    def test_unknown_command(self):
        self.bad(2, 'rnu', says=["'rnu'", "did you mean 'run'", "'gemmule help'"])
        self.bad(2, 'help', 'inspct', says="did you mean 'inspect'")
        self.assertNotIn('did you mean', self.bad(2, 'zzzzzz'))

    def test_unknown_option(self):
        self.bad(2, 'run', '--max-tokenz', '3',
                 says=['--max-tokenz', 'did you mean --max-tokens', "'gemmule help run'"])
        self.bad(2, 'run', '--maxtokens=3', says='did you mean --max-tokens')
        self.bad(2, 'ppl', '--win', '3', says='did you mean --window')
        self.bad(2, 'run', '-Z', says='unknown option -Z')
        self.assertNotIn('did you mean', self.bad(2, 'run', '--zzzzzzzz'))

    def test_missing_and_extra_words(self):
        self.bad(2, 'bench', says='MODEL is missing')
        self.bad(2, 'probe', 'model', says='CASE is missing')
        self.bad(2, 'probe', 'model', 'case', says='-o FILE is missing')
        self.bad(2, 'probe', 'model', 'case', '-o', '-', says='standard output')
        self.bad(2, 'run', 'model', 'two', 'words', says=["'words'", 'quotes'])
        self.bad(2, 'run', 'model', 'text', '--seed', says='--seed needs a value')
        self.bad(2, 'run', '--greedy=1', says='--greedy takes no value')
        self.bad(2, 'run', E2B, ' \n', says='prompt is empty')
        self.bad(2, 'run', E2B, stdin=b'', says='prompt is empty')

    def test_numbers_are_strict(self):
        for text in ('', ' 3', '3 ', '3x', '0x3', '+3', '-3', '3.0', '1e3', '18446744073709551616', '99999999999'):
            self.bad(2, 'run', '--max-tokens', text, 'm', 't', says='--max-tokens needs a whole number')
        for text in ('', ' 1', '1 ', '1x', '0x1', 'nan', 'inf', '1e999', '.', '1,5', '-0.1', '100.1'):
            self.bad(2, 'run', '--temperature=' + text, 'm', 't', says='--temperature needs a number from 0 to 100')
        self.bad(2, 'run', '--threads', '0', 'm', 't', says='from 1 to 1024')
        self.bad(2, 'run', '--chunk', '4097', 'm', 't', says='from 1 to 4096')
        self.bad(2, 'bench', '-r0', 'm', says='--repetitions')
        # these are numbers: what is wrong is the model
        for words in (['--temperature', '1e-1'], ['--presence-penalty', '-1.5'], ['--seed', '18446744073709551615']):
            self.bad(3, 'run', *words, '/nonexistent/model.gguf', 'text', says='/nonexistent/model.gguf')

    def test_choices(self):
        self.bad(2, 'run', '--precision', 'exac', 'm', says=['exact, fast', 'did you mean exact'])
        self.bad(2, 'probe', '--rows', '17', 'm', says='--rows is one of all, 16')
        self.bad(2, 'tokenize', '--ids', '--json', 'm', 't', says='only one of')
        self.bad(2, 'help', '--man', '--completion', 'zsh', says='only one of')
        self.bad(2, 'run', '--greedy', '--temperature', '1', E2B, 't', says='contradict')

    def test_environment(self):
        self.bad(2, 'run', E2B, 't', says='GEMMULE_CPU is one of c, avx2', env={**os.environ, 'GEMMULE_CPU': 'z80'})
        words = ['bench', '--json', '-p', '1', '-n', '1', '-r', '1', E2B]
        self.assertEqual(json.loads(self.good(*words, env={**os.environ, 'GEMMULE_CPU': 'c'}))['cpu'], 'c')
        self.bad(2, 'bench', '--cpu', 'z80', E2B, says='--cpu is one of', env={**os.environ, 'GEMMULE_CPU': 'c'})

    def test_logit_bias(self):
        for text in ('5', '=1', 'x=1', '-1=1', '5=', '5=x', '5=inf', '5=nan', '123456789012345678901234567890=1'):
            self.bad(2, 'run', '--logit-bias', text, E2B, 't', says=['--logit-bias', text])
        self.bad(2, 'run', '--logit-bias', '1024=1', E2B, 't', says='end at 1023')

    def test_words_in_any_order(self):
        expected = self.good('run', '--raw', '--greedy', '-n', '6', '--', E2B, '-x')
        self.assertEqual(self.good('run', E2B, '--greedy', '--raw', '--max-tokens=6', '--', '-x'), expected)
        self.assertEqual(self.good('run', '-n6', E2B, '--raw', '--greedy', '-q', '-', stdin=b'-x'), expected)
        self.assertEqual(self.good('run', '-qn6', '--raw', '--greedy', E2B, stdin=b'-x'), expected)

    def test_control_bytes_do_not_reach_the_terminal(self):
        self.assertNotIn('\x1b', self.bad(2, 'run', '--\x1b[31m'))
        self.assertNotIn('\x1b', self.bad(3, 'run', '/\x1b[31m/x', 'text'))


if __name__ == '__main__':
    main()
