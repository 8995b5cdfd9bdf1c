# SPDX-License-Identifier: Apache-2.0
"""Bad input, full disks and closed pipes: the right exit code, one line that says why, nothing half-written."""
import json
import os
import re
import resource
import shutil
import signal

from harness import E2B, MIXED, MODELS, Case, default_signals, main, read_safetensors, run, start


class Models(Case):
    def test_missing(self):
        for words in (['run', 'nowhere', 'text'], ['tokenize', 'nowhere', 'text'], ['inspect', 'nowhere'],
                      ['bench', 'nowhere'], ['chat', 'nowhere']):
            self.bad(3, *words, says='nowhere', cwd=self.dir)
        self.bad(3, 'inspect', self.dir, says=self.dir.name)

    def test_truncated(self):
        whole = MIXED.read_bytes()
        path = self.dir / 'short.gguf'
        for n in (0, 3, 24, 1000, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:n])
            self.bad(3, 'run', path, 'text', says='short.gguf')
            self.bad(3, 'inspect', path, says='short.gguf')

    def test_offset_is_said_once(self):
        path = self.dir / 'bad.gguf'
        path.write_bytes(MIXED.read_bytes()[:1000])
        self.assertEqual(len(re.findall(r'byte \d+', self.bad(3, 'inspect', path))), 1)

    def test_context_that_does_not_fit(self):
        for command in (['run', '--ctx', '4294967295', E2B, 'text'], ['chat', '--ctx', '4294967295', E2B]):
            self.bad(4, *command)


class Cases(Case):
    def probe_bad(self, text, *says, code=3):
        path, out = self.dir / 'case.json', self.dir / 'out'
        path.write_text(text)
        self.bad(code, 'probe', '-o', out, E2B, path, says=says)
        self.assertEqual(sorted(os.listdir(self.dir)), ['case.json'])

    def test_bad_cases(self):
        self.probe_bad('', 'case.json')
        self.probe_bad('{"tokens": [2, }', 'case.json', 'at byte')
        self.probe_bad('[2]', 'case.json', 'not an object')
        self.probe_bad('{}', 'case.json', 'tokens')
        for tokens in ('[]', '2', '[2, -1]', '[2, 1.5]', '[2, "3"]', '[4294967296]'):
            self.probe_bad('{"tokens": ' + tokens + '}', 'case.json', 'tokens')
        self.probe_bad('{"tokens": [2], "media": {}}', 'case.json', 'media')
        self.probe_bad('{"tokens": [2, 1024]}', '1024', code=4)
        self.bad(3, 'probe', '-o', self.dir / 'out', E2B, self.dir / 'none.json', says='none.json')

    def test_media_is_not_ignored(self):
        image = {'kind': 'image', 'file': 'x.png', 'at': 1}
        self.probe_bad(json.dumps({'tokens': [2, 3], 'media': [image]}), 'e2b', 'no vision tower')
        self.probe_bad(json.dumps({'tokens': [2, 3], 'media': [{**image, 'kind': 'smell'}]}), 'media', 'kind')
        self.probe_bad(json.dumps({'tokens': [2, 3], 'media': [{**image, 'at': -1}]}), 'media', "'at'")
        self.probe_bad(json.dumps({'tokens': [2, 3], 'media': [{'kind': 'video', 'frames': ['x.png'], 'at': []}]}), 'media',
                       'frames')


class Outputs(Case):
    def probe_words(self, out):
        return ['probe', '--hidden', '-o', out, E2B, self.case([2] + list(range(5, 65)))]

    def test_file_is_replaced_whole(self):
        out = self.dir / 'out'
        out.write_text('old')
        link = self.dir / 'link'
        link.symlink_to('out')
        self.good(*self.probe_words(link))
        self.assertTrue(link.is_symlink())
        self.assertEqual(list(read_safetensors(out)), ['rows', 'logits', 'hidden'])
        self.assertEqual(sorted(os.listdir(self.dir)), ['case.json', 'link', 'out'])

    def test_file_has_the_usual_mode(self):
        def narrow():
            default_signals()
            os.umask(0o027)
        self.good(*self.probe_words(self.dir / 'out'), preexec=narrow)
        self.assertEqual((self.dir / 'out').stat().st_mode & 0o777, 0o640)

    def test_file_too_large(self):
        """A limit on file size stands in for a full disk; SIGXFSZ must not end the program before it cleans up."""
        out = self.dir / 'out'
        out.write_text('old')

        def limit():
            default_signals()
            resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
        self.bad(3, *self.probe_words(out), preexec=limit, says=[out, 'File too large'])
        self.assertEqual(out.read_text(), 'old')
        self.assertEqual(sorted(os.listdir(self.dir)), ['case.json', 'out'])

    def test_full_disk(self):
        self.bad(3, *self.probe_words('/dev/full'), says=['/dev/full', 'No space left'])
        self.assertTrue(os.path.exists('/dev/full') and not os.path.isfile('/dev/full'))
        for words in (['help'], ['inspect', E2B], ['inspect', '--json', E2B], ['tokenize', E2B, 'text'],
                      ['run', '-n', '3', E2B, 'text'], ['bench', '-p4', '-n1', '-r1', MIXED]):
            with open('/dev/full', 'wb') as full:
                self.bad(3, *words, stdout=full, says=['standard output', 'No space left'])

    def test_folder_missing(self):
        self.bad(3, *self.probe_words(self.dir / 'none' / 'out'), says='No such file')
        self.bad(3, *self.probe_words(self.dir), says='directory')

    def test_closed_streams(self):
        """A closed standard stream must not lend its number to a file that is opened later."""
        def close_output():
            default_signals()
            os.close(1)

        def close_all():
            close_output()
            os.close(0)
            os.close(2)
        self.bad(3, 'help', preexec=close_output, stdout=None, says='standard output')
        done = run(*self.probe_words(self.dir / 'out'), preexec=close_all, stdout=None, stdin=None)
        self.assertEqual(done.returncode, 0)
        read_safetensors(self.dir / 'out')

    def test_terminal_is_not_reprogrammed(self):
        """A model can emit any byte. On a terminal control characters are made harmless; in a file they are kept."""
        text = 'a\x1b[31mb\x07c\x9bd\te\n'
        ids = self.good('tokenize', '--ids', E2B, '-', stdin=text.encode()).decode()
        self.assertEqual(self.good('tokenize', '--decode', E2B, ids), text.encode())
        master, terminal = os.openpty()
        self.assertEqual(run('tokenize', '--decode', E2B, ids, stdout=terminal).returncode, 0)
        os.close(terminal)
        shown = os.read(master, 1000).decode().replace('\r', '')
        os.close(master)
        self.assertEqual(shown.expandtabs(8), 'a\ufffd[31mb\ufffdc\ufffdd\te\n'.expandtabs(8))

    def closed_pipe(self, *words, read=0, stdin=b''):
        """Exit code and messages of a run whose reader takes `read` bytes and goes away."""
        child = start(*words)
        child.stdin.write(stdin)
        child.stdin.close()
        child.stdout.read(read)
        child.stdout.close()
        message = child.stderr.read()
        child.stderr.close()
        return child.wait(timeout=120), message

    def test_closed_pipe_is_quiet(self):
        text = b'some words ' * 20000
        self.assertEqual(self.closed_pipe('tokenize', E2B, '-', read=10, stdin=text), (141, b''))
        stops = json.loads(self.good('inspect', '--json', E2B))['stop_tokens']
        words = ['run', '--raw', *[f'--logit-bias={i}=-inf' for i in stops], E2B, 'x']
        self.assertEqual(self.closed_pipe(*words, read=1), (141, b''))

    def test_unreadable_input(self):
        self.bad(3, 'ppl', E2B, self.dir, says=self.dir)
        self.bad(3, 'ppl', E2B, self.dir / 'none.txt', says='none.txt')
        with open('/dev/null', 'wb') as write_only:
            self.bad(3, 'tokenize', E2B, stdin=write_only, says='standard input')


class Damage(Case):
    def test_not_finite(self):
        """NaN in the weights: no answer is made up."""
        model = self.dir / 'model'
        shutil.copytree(E2B, model)
        path = model / 'model.safetensors'
        data = bytearray(path.read_bytes())
        header_end = 8 + int.from_bytes(data[:8], 'little')
        for name, one in json.loads(data[8:header_end]).items():
            if name.endswith('layers.0.input_layernorm.weight') and 'language_model' in name:
                self.assertEqual(one['dtype'], 'BF16')
                begin = header_end + one['data_offsets'][0]
                data[begin:begin + 2] = b'\xc0\x7f'
        self.assertNotEqual(bytes(data), path.read_bytes())
        path.write_bytes(data)
        out = self.dir / 'out'
        self.bad(3, 'probe', '-o', out, model, self.case([2, 5, 6]))
        self.assertFalse(out.exists())
        self.bad(3, 'run', '-n', '3', model, 'text')

    def test_model_shrinks_while_in_use(self):
        """Weights are mapped: the kernel says with SIGBUS that they are gone."""
        model = self.dir / 'model'
        shutil.copytree(E2B, model)
        child = start('chat', '-n', '2', '--greedy', '--precision', 'exact', model)
        child.stdin.write(b'Hello\n')
        child.stdin.flush()
        self.assertTrue(child.stdout.readline())
        os.truncate(model / 'model.safetensors', 4096)
        _, message = child.communicate(b'Hello again, and more of it\n', timeout=120)
        self.assertEqual(child.returncode, 3, message)
        self.assertRegex(message, b'^gemmule: .*shr[au]nk.*\n$')
        self.assertNotEqual(child.returncode, -signal.SIGBUS)


if __name__ == '__main__':
    main()
