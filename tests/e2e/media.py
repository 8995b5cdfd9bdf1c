# SPDX-License-Identifier: Apache-2.0
"""Images, videos and sounds through the program: what a trained model sees and hears, their order in a prompt, in a chat and
in conversations of other programs, and native files with towers. What nano must answer, transformers answers too."""
import base64
import json
import math
import pathlib
import re
import shutil
import struct
import wave
import zlib

from harness import E2B, MODELS, Case, main, read_safetensors, run

NANO = pathlib.Path(__file__).resolve().parent.parent.parent / 'models' / 'nano'
CLIPS = MODELS.parent / 'media' / 'clips'
SOUND = MODELS / 'sound-e2b'
HEARS = SOUND / 'model'  # a small random model with towers and a tokenizer
HIGH_OR_LOW = 'Is this sound high or low?'


class Media(Case):
    def tone(self, hz, seconds=0.6, name=None):
        path = self.dir / (name or f'{hz}.wav')
        n = int(16000 * seconds)
        samples = [int(12000 * math.sin(2 * math.pi * hz * i / 16000) * min(1, i / 200, (n - i) / 200)) for i in range(n)]
        with wave.open(str(path), 'wb') as f:
            f.setparams((1, 2, 16000, n, 'NONE', ''))
            f.writeframes(struct.pack(f'<{n}h', *samples))
        return path

    def disc(self, name, colour):
        """A disc of a colour on white, as PNG."""
        path = self.dir / name
        pixel = lambda x, y: bytes(colour if (x - 96) ** 2 + (y - 72) ** 2 < 1600 else (255, 255, 255))
        rows = b''.join(b'\0' + b''.join(pixel(x, y) for x in range(192)) for y in range(144))
        chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 192, 144, 8, 2, 0, 0, 0)) +
                         chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))
        return path

    def nano(self, question, *words):
        return self.good('run', '--greedy', *words, NANO, question).decode().strip()

    def has_ffmpeg(self):
        done = run('run', '--audio', CLIPS / 'tone.mp3', NANO, 'x')
        return b'GEM_FFMPEG' not in done.stderr


class Nano(Media):
    def test_sounds(self):
        self.assertEqual(self.nano(HIGH_OR_LOW, '--audio', self.tone(200)), 'low')
        self.assertEqual(self.nano(HIGH_OR_LOW, '--audio', self.tone(2000)), 'high')
        self.assertEqual(self.nano('Which digit is said?', '--audio', NANO / 'seven.wav'), '7')

    def test_images(self):
        for name, colour in (('red', (220, 40, 40)), ('blue', (40, 70, 210)), ('green', (40, 160, 60))):
            self.assertEqual(self.nano('What colour is the figure?', '--image', self.disc(name + '.png', colour)), name)

    def test_budget_of_the_model(self):
        """nano's processor_config.json says 70."""
        red = self.disc('red.png', (220, 40, 40))
        n = lambda *words: json.loads(self.good('run', '--json', '--greedy', *words, '--image', red, NANO, 'x').splitlines()[-1])['n_prompt']
        self.assertEqual(n(), n('--budget', '70'))
        self.assertEqual(n('--budget', '280') - n(), 266 - 63)  # 192 x 144: 19 x 14 cells, 9 x 7

    def test_precisions(self):
        for hz, answer in (300, b'low\n'), (1600, b'high\n'):
            self.assertEqual(self.good('run', '--greedy', '--precision', 'exact', '--audio', self.tone(hz), NANO, HIGH_OR_LOW), answer)

    def test_chat(self):
        """Each message brings its own; what came before is kept; a saved conversation hears and sees again."""
        low, high, red, saved = self.tone(200), self.tone(2000), self.disc('red.png', (220, 40, 40)), self.dir / 'saved.json'
        lines = [f'/audio {low}', HIGH_OR_LOW, f'/audio {high}', HIGH_OR_LOW, f'/image {red}', 'What colour is the figure?',
                 f'/save {saved}', '/image', '/audio none.wav', '/video']
        done = run('chat', '--greedy', '--stats', NANO, stdin='\n'.join(lines).encode())
        answers, said = done.stdout.decode().split('\n'), done.stderr.decode()
        self.assertEqual(answers[:2], ['low', 'high'], said)
        for words in ('/image needs the name', '/video needs the name', 'none.wav: '):
            self.assertIn(words, said)
        counts = [tuple(map(int, c)) for c in re.findall(r'prompt (\d+) tokens \((\d+) kept\).*answer (\d+) tokens', said)]
        for (n, _, generated), (_, kept, _) in zip(counts, counts[1:]):
            self.assertEqual(kept, n + generated)
        messages = json.loads(saved.read_text())['messages']
        self.assertEqual(messages[0]['content'], [{'type': 'audio', 'path': str(low)}, {'type': 'text', 'text': HIGH_OR_LOW}])
        done = run('chat', '--greedy', '--load', saved, NANO, stdin=b'/undo\n/retry\n')
        self.assertEqual(done.stdout, b'high\n', done.stderr)

    def test_forms_of_other_programs(self):
        """The same sound and picture as data, as URL, as transformers names them."""
        low, red = self.tone(200), self.disc('red.png', (220, 40, 40))
        data = lambda path: base64.b64encode(path.read_bytes()).decode()
        conversation = self.dir / 'talk.json'
        for question, answer, parts in (
                (HIGH_OR_LOW, 'low', [{'type': 'input_audio', 'input_audio': {'data': data(low), 'format': 'wav'}},
                                      {'type': 'audio', 'audio': str(low)}, {'type': 'audio', 'url': f'file://{low}'}]),
                ('What colour is the figure?', 'red', [
                    {'type': 'image_url', 'image_url': {'url': 'data:image/png;base64,' + data(red)}},
                    {'type': 'image', 'image': str(red)}, {'type': 'image_url', 'image_url': str(red)}])):
            for part in parts:
                conversation.write_text(json.dumps([{'role': 'user', 'content': [part, {'type': 'text', 'text': question}]}]))
                done = run('chat', '--greedy', '--load', conversation, NANO, stdin=b'/retry\n')
                self.assertEqual(done.stdout.decode(), answer + '\n', (str(part)[:80], done.stderr))

    def test_bad_parts(self):
        conversation = self.dir / 'talk.json'
        for part, says in (({'type': 'image'}, 'names no file'), ({'type': 'audio', 'path': 'none.wav'}, 'none.wav'),
                           ({'type': 'image_url', 'image_url': {'url': 'https://example.org/x.png'}}, 'not fetched'),
                           ({'type': 'image_url', 'image_url': {'url': 'data:image/png,xx'}}, 'without base64'),
                           ({'type': 'input_audio', 'input_audio': {'data': 'UklGR'}}, 'no base64'),
                           ({'type': 'input_audio', 'input_audio': {'data': 'UklGR**='}}, 'no base64'),
                           ({'type': 'input_audio', 'input_audio': {'data': 'UklGRg=='}}, 'sound: ')):
            conversation.write_text(json.dumps([{'role': 'user', 'content': [part]}]))
            self.bad(3, 'chat', '--load', conversation, NANO, says=says)


class Prompt(Media):
    def test_order(self):
        """As on the command line, whatever they are: the same as a case that is written so."""
        shown, played = SOUND / 'mixed.1.0.png', SOUND / 'pair.1.wav'
        config = json.loads((HEARS / 'config.json').read_text())
        n_image, n_audio = 63, 8  # 40 x 30 pixels in 70 tokens; 5000 samples
        image = [config['boi_token_id'], *[config['image_token_id']] * n_image, config['eoi_token_id']]
        audio = [config['boa_token_id'], *[config['audio_token_id']] * n_audio, config['eoa_token_index']]
        answers = []
        for order in (0, 1):
            tokens = [2] + (image + audio if order == 0 else audio + image)
            at = {'image': 2 if order == 0 else 4 + n_audio, 'audio': 4 + n_image if order == 0 else 2}
            for path in shown, played:
                shutil.copy(path, self.dir)
            media = [{'kind': 'image', 'file': shown.name, 'budget': 70, 'at': at['image']},
                     {'kind': 'audio', 'file': played.name, 'at': at['audio']}]
            case, out = self.dir / f'{order}.json', self.dir / f'{order}.safetensors'
            case.write_text(json.dumps({'tokens': tokens + self.ids(HEARS, 'What is it?'),
                                        'media': sorted(media, key=lambda m: m['at'])}))
            self.good('probe', '--greedy', '8', '-o', out, HEARS, case)
            wanted = self.decode(HEARS, read_safetensors(out)['greedy'][1])
            words = [['--image', shown], ['--audio', played]]
            words = sum(words if order == 0 else words[::-1], [])
            answers.append(self.good('run', '--raw', '--greedy', '--precision', 'exact', '-n', '8', '--budget', '70', *words, HEARS,
                                     'What is it?'))
            self.assertEqual(answers[-1].strip(), wanted.strip())
        self.assertNotEqual(*answers)

    def events(self, *words):
        return [json.loads(line) for line in self.good('run', '--json', '--greedy', '-n', '1', *words, HEARS, 'x').splitlines()]

    def test_long_sound(self):
        """61 s are three pieces, each with its markers; nothing is cut."""
        n = lambda *words: self.events(*words)[-1]['n_prompt']
        self.assertEqual(n('--audio', self.tone(300, 61)) - n(), 750 + 750 + 25 + 3 * 2)
        self.assertEqual(n('--audio', self.tone(300, 0.01)) - n(), 2)  # too short for a token

    def test_models_without_ears(self):
        sound = self.tone(300)
        self.bad(3, 'run', '--audio', sound, MODELS / 'media-26b' / 'model', 'x', says=['cannot hear', 'media-26b'])
        self.bad(3, 'run', '--audio', sound, SOUND / 'text.gguf', 'x', says='no mmproj file was given')
        self.bad(3, 'run', '--audio', sound, E2B, 'x', says='cannot hear')

    def test_bad_sounds(self):
        silence, broken, cut = self.tone(0, name='silence.wav'), self.dir / 'broken.wav', self.dir / 'cut.wav'
        self.bad(2, 'run', '--audio', silence, HEARS, 'x', says=['silence.wav', 'nothing to hear'])
        broken.write_bytes(silence.read_bytes()[:40] + struct.pack('<i', -2) + b'\1' * 100)
        self.bad(3, 'run', '--audio', broken, HEARS, 'x', says='broken.wav')
        cut.write_bytes(self.tone(300).read_bytes()[:-1000])
        self.bad(3, 'run', '--audio', cut, HEARS, 'x', says='cut.wav')
        self.bad(3, 'run', '--audio', self.dir / 'none.wav', HEARS, 'x', says='none.wav')
        self.bad(3, 'run', '--audio', self.dir, HEARS, 'x', says=str(self.dir))

    def test_sound_of_a_video(self):
        film = CLIPS / 'tone.mp4'
        if not self.has_ffmpeg():
            self.bad(3, 'run', '--audio', film, HEARS, 'x', says=['tone.mp4', 'GEM_FFMPEG'])
            self.skipTest('built without FFmpeg')
        n = lambda *words: self.events(*words)[-1]['n_prompt']
        self.assertIn(n('--video', film, '--video-sound') - n('--video', film), (2 + 25, 2 + 26, 2 + 27))
        self.assertEqual(self.nano(HIGH_OR_LOW, '--audio', film), 'low')  # 440 Hz
        self.bad(3, 'run', '--audio', CLIPS / 'silent.mp4', HEARS, 'x', says='no sound in it')
        self.bad(3, 'run', '--video', CLIPS / 'tone.mp3', HEARS, 'x', says='no picture in it')

    def test_inspect(self):
        for path, ears in (HEARS, True), (MODELS / 'media-26b' / 'model', False):
            text = self.good('inspect', path).decode()
            self.assertRegex(text, r'(?m)^.*audio.* ' + ('yes' if ears else 'no') + '$')
            self.assertEqual(json.loads(self.good('inspect', '--json', path))['has_audio'], ears)


class Native(Media):
    def probe_of(self, model, *options):
        out = self.dir / 'probe.safetensors'
        result = []
        for case in ('mixed', 'pair'):
            for tier in ('exact', 'fast'):
                self.good('probe', '--hidden', '--precision', tier, '-o', out, *options, model, SOUND / f'{case}.json')
                result.append(out.read_bytes())
        return result

    def test_folder(self):
        packed = self.dir / 'folder.gem'
        self.good('pack', '-o', packed, HEARS)
        self.assertEqual(self.probe_of(packed), self.probe_of(HEARS))
        self.good('inspect', '--verify', packed)

    def test_file_with_towers(self):
        packed, mmproj = self.dir / 'file.gem', SOUND / 'mmproj.gguf'
        self.good('pack', '--mmproj', mmproj, '-o', packed, SOUND / 'text.gguf')
        self.assertEqual(self.probe_of(packed), self.probe_of(SOUND / 'text.gguf', '--mmproj', mmproj))
        info = json.loads(self.good('inspect', '--json', packed))
        self.assertEqual((info['has_vision'], info['has_audio']), (True, True))
        self.bad(2, 'pack', '--mmproj', mmproj, '-o', self.dir / 'x.gem', HEARS, says='a folder has its towers in it')
        self.bad(3, 'pack', '--mmproj', SOUND / 'text.gguf', '-o', self.dir / 'x.gem', SOUND / 'text.gguf', says='not an mmproj file')
        self.assertFalse((self.dir / 'x.gem').exists())

    def test_one_file(self):
        packed = self.dir / 'one.gem'
        self.good('pack', '-o', packed, SOUND / 'whole.gguf')
        self.assertEqual(self.probe_of(packed), self.probe_of(SOUND / 'whole.gguf'))

    def test_nano(self):
        packed = self.dir / 'nano.gem'
        self.good('pack', '-o', packed, NANO)
        red = self.disc('red.png', (220, 40, 40))
        self.assertEqual(self.good('run', '--greedy', '--audio', self.tone(2000), packed, HIGH_OR_LOW), b'high\n')
        self.assertEqual(self.good('run', '--greedy', '--image', red, packed, 'What colour is the figure?'), b'red\n')


if __name__ == '__main__':
    main()
