# SPDX-License-Identifier: Apache-2.0
"""Help, manual page and completion come from the tables that parsing uses: none may know less than another."""
import re
import shutil
import subprocess
import unittest

from harness import Case, main, run

# What the program must have, whatever its tables say.
REQUIRED = {
    'run': 'max-tokens temperature top-k top-p min-p repeat-penalty presence-penalty frequency-penalty logit-bias seed '
           'ctx threads precision chunk cpu stats greedy raw quiet help',
    'chat': 'system max-tokens temperature seed ctx threads precision',
    'tokenize': 'control ids pieces json decode',
    'inspect': 'tensors json ctx verify int8-cache',
    'pack': 'output type threads quiet',
    'bench': 'prompt generate repetitions kernels json threads precision cpu',
    'ppl': 'window stride tokens json threads precision',
    'probe': 'output hidden rows greedy chunk threads precision',
    'version': 'help',
    'help': 'man completion',
}


class Pages(Case):
    def commands(self):
        text = self.good('help').decode().split('Commands:\n')[1].split('\n\n')[0]
        return [line.split()[0] for line in text.splitlines()]

    def options(self, command):
        """{long name: (letter or None, takes a value)} as help shows them."""
        found = re.findall(r'^  (?:-(\w), |    )--([\w-]+)( \S+)?', self.good('help', command).decode(), re.M)
        return {name: (letter or None, bool(value)) for letter, name, value in found}

    def test_everything_required_is_there(self):
        self.assertEqual(sorted(self.commands()), sorted(REQUIRED))
        for command, names in REQUIRED.items():
            self.assertLessEqual(set(names.split()), set(self.options(command)), command)

    def test_help_can_be_asked_for_in_every_way(self):
        for command in self.commands():
            text = self.good('help', command)
            self.assertEqual(self.good(command, '--help'), text)
            self.assertEqual(self.good(command, '-h', '--no-such-option'), text)
            self.assertIn(b'Exit codes:', text)
            self.assertLessEqual(max(map(len, text.decode().splitlines())), 80)
        self.assertEqual(self.good('--help'), self.good('help'))
        self.assertEqual(self.good('--version'), self.good('version'))
        self.assertRegex(self.good('version'), rb'^gemmule \d+\.\d+\.\d+\n$')

    def test_every_option_is_parsed(self):
        for command in self.commands():
            for name, (letter, value) in self.options(command).items():
                if name == 'help':
                    continue
                for word in [f'--{name}'] + ([f'-{letter}'] if letter else []):
                    done = run(command, word)
                    self.assertNotIn(b'unknown option', done.stderr, (command, word))
                    if value:
                        self.assertEqual(done.returncode, 2)
                        self.assertIn(f'--{name} needs a value'.encode(), done.stderr)

    def test_manual_has_everything(self):
        page = self.good('help', '--man').decode().replace('\\-', '-')
        parts = dict(re.findall(r'^\.SS gemmule (\w+)\n(.*?)(?=^\.S[SH])', page, re.M | re.S))
        self.assertEqual(sorted(parts), sorted(self.commands()))
        for command, part in parts.items():
            found = re.findall(r'^(?:\\fB-(\w)\\fR, )?\\fB--([\w-]+)\\fR( \\fI.*)?$', part, re.M)
            self.assertEqual({n: (s or None, bool(v)) for s, n, v in found}, self.options(command), command)
        for code in (0, 1, 2, 3, 4, 130, 141):
            self.assertRegex(page.split('.SH EXIT STATUS')[1], rf'(?m)^\.TP\n{code}\n')

    @unittest.skipUnless(shutil.which('groff'), 'skipped: no groff')
    def test_manual_is_valid_roff(self):
        page = self.good('help', '--man')
        done = subprocess.run(['groff', '-man', '-ww', '-Tutf8'], input=page, capture_output=True, check=True)
        self.assertEqual(done.stderr, b'')

    def complete_bash(self, *words):
        script = self.good('help', '--completion', 'bash').decode()
        ask = f'COMP_WORDS=({" ".join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _gemmule; ' \
              'printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(['bash', '-c', script + ask], capture_output=True, check=True, cwd=self.dir)
        self.assertEqual(done.stderr, b'')
        return done.stdout.decode().split()

    @unittest.skipUnless(shutil.which('bash'), 'skipped: no bash')
    def test_bash_completes(self):
        self.assertEqual(self.complete_bash('gemmule', ''), self.commands())
        for command in self.commands():
            options = self.options(command)
            words = {f'--{n}' for n in options} | {f'-{s}' for s, _ in options.values() if s}
            self.assertEqual(set(self.complete_bash('gemmule', command, '-')), words, command)
        self.assertEqual(self.complete_bash('gemmule', 'run', '--precision', ''), ['exact', 'fast'])
        self.assertEqual(self.complete_bash('gemmule', 'run', '--seed', ''), [])
        self.assertEqual(self.complete_bash('gemmule', 'help', 'pr'), ['probe'])
        (self.dir / 'model.gguf').write_text('')
        self.assertEqual(self.complete_bash('gemmule', 'run', 'mod'), ['model.gguf'])

    def test_zsh_knows_everything(self):
        script = self.good('help', '--completion', 'zsh').decode()
        parts = dict(re.findall(r"^        (\w+)\)\n(.*?)^            ;;", script, re.M | re.S))
        self.assertEqual(sorted(parts), sorted(self.commands()))
        for command, part in parts.items():
            found = re.findall(r"^            (?:'\(-(\w) --[\w-]+\)'\{-\w,--|'\*'--|--)([\w-]+)\}?'\[.*?\]'(':)?",
                               part, re.M)
            self.assertEqual({n: (s or None, bool(v)) for s, n, v in found}, self.options(command), command)

    @unittest.skipUnless(shutil.which('zsh'), 'skipped: no zsh')
    def test_zsh_script_parses(self):
        script = self.good('help', '--completion', 'zsh')
        done = subprocess.run(['zsh', '-n'], input=script, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b''))

    def test_fish_knows_everything(self):
        script = self.good('help', '--completion', 'fish').decode()
        for command in self.commands():
            own = rf"^complete -c gemmule -n '__fish_seen_subcommand_from {command}' "
            found = re.findall(own + r'-l ([\w-]+)(?: -s (\w))?( -x| -r)?', script, re.M)
            self.assertEqual({n: (s or None, bool(v)) for n, s, v in found}, self.options(command), command)
            self.assertIn(f'-n __fish_use_subcommand -a {command} ', script)

    @unittest.skipUnless(shutil.which('fish'), 'skipped: no fish')
    def test_fish_completes(self):
        script = self.dir / 'gemmule.fish'
        script.write_bytes(self.good('help', '--completion', 'fish'))
        ask = f'source {script}; complete -C "gemmule run --pre"; complete -C "gemmule run --precision "'
        done = subprocess.run(['fish', '--no-config', '-c', ask], capture_output=True, check=True,
                              env={'HOME': str(self.dir), 'PATH': '/usr/bin:/bin'})
        self.assertEqual([line.split('\t')[0] for line in done.stdout.decode().splitlines()],
                         ['--precision', '--presence-penalty', 'exact', 'fast'])


if __name__ == '__main__':
    main()
