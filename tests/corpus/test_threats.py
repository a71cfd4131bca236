"""weir-node inspect --threats over labelled captures: recall against a floor, every other finding explained.

UPDATE_FLOOR=1 raises the floor to what is reached; to lower it, edit threat-floor.tsv and say why in the commit.
"""

import os
import unittest
from pathlib import Path

from corpus.test_corpus import CORPUS
from corpus.threats import ThreatBoard, below, raised, read_floor, read_rows, unexplained, unlabelled, write_floor
from lab.weir import ROOT, binaries

FLOOR = Path(__file__).with_name("threat-floor.tsv")
EXPLAINED = Path(__file__).with_name("threat-findings.tsv")
NEEDED = ["pcap", "threats.tsv", "manifest.tsv", "score.py"]
MISSING = [name for name in NEEDED if not (CORPUS / name).exists()]


@unittest.skipIf(MISSING, f"no labelled captures: {', '.join(MISSING)} not in {CORPUS} (set WEIR_CORPUS)")
@unittest.skipUnless((binaries() / "weir-node").exists(), f"no weir-node in {binaries()} (make build)")
class Threats(unittest.TestCase):
    """The labelled captures."""

    def test_threats_are_found_and_no_finding_is_unexplained(self):
        board = ThreatBoard(binaries() / "weir-node", CORPUS, ROOT / "tests" / "out" / "corpus")
        board.show()
        if os.environ.get("UPDATE_FLOOR") == "1":
            write_floor(FLOOR, raised(read_floor(FLOOR), board.recalls))
        floor = read_floor(FLOOR)
        self.assertTrue(floor, f"{FLOOR} is missing: UPDATE_FLOOR=1 make corpus writes it")
        faults = below(floor, board.recalls)
        new, gone = unexplained(board.unlabelled, read_rows(EXPLAINED))
        self.assertFalse(faults, "below the floor:\n" + "\n".join(faults))
        self.assertFalse(new, f"look, then explain it in {EXPLAINED.name} or mend the detector:\n" + "\n".join(new))
        self.assertFalse(gone, f"take it out of {EXPLAINED.name}:\n" + "\n".join(gone))


class Tables(unittest.TestCase):
    """Floor and explanations themselves; needs no captures."""

    def test_a_recall_that_falls_is_told_and_the_floor_only_rises(self):
        floor = {"log4shell": 0.8, "smurf": 1.0}
        self.assertEqual(below(floor, {"log4shell": 0.9, "smurf": 1.0}), [])
        self.assertEqual(below(floor, {"log4shell": 0.7999, "smurf": 1.0}), ["log4shell: recall 0.799 is below 0.800"])
        self.assertEqual(raised(floor, {"log4shell": 0.81239}), {"log4shell": 0.812, "smurf": 1.0})

    def test_a_finding_without_label_or_explanation_is_told(self):
        told = {("one", "smurf"), ("one", "log4shell"), ("two", "tls10-use")}
        findings = unlabelled(told, {("one", "log4shell")})
        self.assertEqual(unexplained(findings, [["one", "smurf", "it is"], ["*", "tls10-use", "read off"]]), ([], []))
        self.assertEqual(unexplained(findings, [["*", "tls10-use", "read off"]])[0], ["smurf on one: new"])

    def test_an_explanation_of_what_is_no_longer_told_is_told(self):
        self.assertEqual(unexplained([], [["one", "smurf", "it is"]])[1], ["smurf on one: no longer told"])

    def test_every_explanation_says_something(self):
        for capture, threat, why in read_rows(EXPLAINED):
            self.assertGreater(len(why), 10, f"{threat} on {capture}")


if __name__ == "__main__":
    unittest.main()
