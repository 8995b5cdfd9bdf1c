# SPDX-License-Identifier: Apache-2.0
"""Interrupts: they end an answer or the program, promptly, and leave nothing half-written."""
import json
import os
import signal
import time

from harness import E2B, Case, main, start


class Interrupts(Case):
    def endless(self):
        """Options under which the small model does not stop by itself."""
        stops = json.loads(self.good('inspect', '--json', E2B))['stop_tokens']
        return ['--threads', '1', '--ctx', '4096', *[f'--logit-bias={i}=-inf' for i in stops]]

    def test_run(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            child = start('run', *self.endless(), '--raw', E2B, 'Hello')
            self.assertTrue(child.stdout.read(1))
            child.send_signal(number)
            _, message = child.communicate(timeout=60)
            self.assertEqual((child.returncode, message), (128 + number, b''))

    def test_run_in_the_prompt(self):
        child = start('ppl', '--window', '4096', '--threads', '1', '--precision', 'exact', E2B, '-')
        child.stdin.write(b'some words and more ' * 100000)
        child.stdin.close()
        child.stdin = None
        time.sleep(1)
        child.send_signal(signal.SIGINT)
        _, message = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 130, message)
        self.assertNotIn(b'gemmule:', message)

    def test_chat_goes_on(self):
        """Ctrl-C ends the answer; the next line gets one too; the end of input ends the program."""
        child = start('chat', *self.endless(), E2B)
        for _ in range(2):
            child.stdin.write(b'Hello\n')
            child.stdin.flush()
            self.assertTrue(child.stdout.read(1))
            child.send_signal(signal.SIGINT)
            self.read_until_quiet(child)
        _, message = child.communicate(timeout=60)
        self.assertEqual((child.returncode, message), (0, b''))

    def read_until_quiet(self, child):
        """Reads what is left of an answer that was interrupted: after it, chat waits for input."""
        os.set_blocking(child.stdout.fileno(), False)
        quiet = 0
        while quiet < 10:
            quiet = 0 if child.stdout.read() else quiet + 1
            time.sleep(0.05)
        os.set_blocking(child.stdout.fileno(), True)
        self.assertIsNone(child.poll())

    def test_chat_at_the_prompt(self):
        child = start('chat', '-n', '2', E2B)
        child.stdin.write(b'Hello\n')
        child.stdin.flush()
        self.assertTrue(child.stdout.readline())
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
        self.assertIsNone(child.poll())
        child.send_signal(signal.SIGTERM)
        _, message = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 128 + signal.SIGTERM, message)

    def test_probe_leaves_nothing(self):
        case = self.case([2, 5, 6, 7])
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            child = start('probe', '--greedy', '4000', '-o', self.dir / 'out', E2B, case)
            while child.poll() is None and len(os.listdir(self.dir)) == 1:
                time.sleep(0.001)
            self.assertIsNone(child.poll(), 'the probe was too quick to be interrupted')
            child.send_signal(number)
            child.communicate(timeout=60)
            self.assertEqual(child.returncode, 128 + number)
            self.assertEqual(os.listdir(self.dir), ['case.json'])


if __name__ == '__main__':
    main()
