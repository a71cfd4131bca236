"""weir-node inspect over captures that others recorded: no crash, every packet accounted for, bounded memory.

The captures are in $WEIR_CORPUS, or in shared/corpus beside the repository; without them the test is
skipped. See the README there for where they come from.
"""

import json
import os
import subprocess
import unittest
from pathlib import Path

from lab.weir import ROOT, binaries

CORPUS = Path(os.environ.get("WEIR_CORPUS", ROOT.parent / "shared" / "corpus"))
SUFFIXES = {".pcap", ".pcapng", ".cap"}
BATCH = 100
BATCH_TIMEOUT_S = 300
# The tables are allocated for the same number of flows whatever the capture holds.
MEMORY_MB = 1024
REFUSED, READ = 1, 0


def captures():
    return sorted(path for path in CORPUS.rglob("*") if path.suffix in SUFFIXES)


class Inspection:
    """One run of weir-node inspect: its exit status, its reports, the memory it took."""

    def __init__(self, paths):
        command = [binaries() / "weir-node", "inspect", "-o", "json", *paths]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            output, self.errors = self.child.communicate(timeout=BATCH_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            output, self.errors = self.child.communicate()
        self.status = self.child.returncode
        self.reports = [json.loads(line) for line in output.splitlines() if line.endswith("}")]


def peak_memory_mb(paths):
    """The largest amount of memory that inspecting these took."""
    command = [binaries() / "weir-node", "inspect", *paths]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    return usage.ru_maxrss // 1024


@unittest.skipUnless(captures(), f"no captures in {CORPUS} (set WEIR_CORPUS to a directory of them)")
@unittest.skipUnless((binaries() / "weir-node").exists(), f"no weir-node in {binaries()} (make build)")
class Corpus(unittest.TestCase):
    """Every capture there is."""

    def test_every_capture_is_read_and_every_packet_accounted_for(self):
        every = captures()
        refused = packets = 0
        for start in range(0, len(every), BATCH):
            batch = every[start : start + BATCH]
            inspection = Inspection(batch)
            if inspection.status not in (READ, REFUSED) or len(inspection.reports) != len(batch):
                self.fail(f"weir-node ended with {inspection.status}; alone it does for: {self.culprits(batch)}\n{inspection.errors[-2000:]}")
            for report in inspection.reports:
                self.check(report)
                refused += report["error"] is not None
                packets += report["packets"]
        print(f"{len(every)} captures, {packets} packets; {refused} captures are of a kind or a length that cannot be read")
        self.assertLess(refused, len(every) / 5)

    def test_memory_does_not_grow_with_what_a_capture_holds(self):
        largest = sorted(captures(), key=lambda path: path.stat().st_size)[-20:]
        self.assertLess(peak_memory_mb(largest), MEMORY_MB)

    def check(self, report):
        # Fields of a report are named as weir-node prints them; dropped is a list of [reason, packets].
        dropped = sum(count for _, count in report["dropped"])
        with self.subTest(capture=report["capture"]):
            self.assertEqual(report["unaccounted"], 0)
            self.assertEqual(report["packets"] + report["inside"], report["forwarded"] + dropped)

    def culprits(self, batch):
        single = ((path.name, Inspection([path])) for path in batch)
        return [name for name, alone in single if alone.status not in (READ, REFUSED) or len(alone.reports) != 1]


if __name__ == "__main__":
    unittest.main()
