"""Tells the story: headings, commands with what they printed, and checks that decide the exit status."""

import os
import sys
import textwrap
import time

WIDTH = 100
TONES = {"heading": "1", "command": "36", "good": "32", "bad": "31"}


class Narrator:
    """Prints, and counts the checks that failed."""

    def __init__(self):
        self.started = time.monotonic()
        self.failures = []
        self.checks = 0
        self.coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def _tone(self, tone, text):
        return f"\x1b[{TONES[tone]}m{text}\x1b[0m" if self.coloured else text

    def heading(self, text):
        rule = "─" * max(0, WIDTH - len(text) - 4)
        print(f"\n{self._tone('heading', f'── {text} {rule}')}", flush=True)

    def say(self, text):
        print(textwrap.fill(text, WIDTH), flush=True)

    def show(self, command, output, lines=None, prompt="$"):
        """A command as someone would type it, and what it printed (its last lines)."""
        print(f"\n{self._tone('command', f'{prompt} {command}')}")
        shown = output.rstrip().splitlines()
        if lines and len(shown) > lines:
            print(f"  … {len(shown) - lines} lines before")
            shown = shown[-lines:]
        print("\n".join(f"  {line}" for line in shown), flush=True)

    def check(self, what, happened):
        """One thing that must have happened."""
        self.checks += 1
        if happened:
            print(self._tone("good", f"✔ {what}"), flush=True)
        else:
            print(self._tone("bad", f"✘ {what}: DID NOT HAPPEN"), flush=True)
            self.failures.append(what)

    def verdict(self):
        """The closing line; the exit status."""
        seconds = time.monotonic() - self.started
        if self.failures:
            print(self._tone("bad", f"\n{len(self.failures)} of {self.checks} checks failed after {seconds:.0f} s:"))
            for failure in self.failures:
                print(f"  {failure}")
            return 1
        print(self._tone("good", f"\nAll {self.checks} checks of the story passed in {seconds:.0f} s."))
        return 0
