"""weir-node inspect --flows over labelled captures: applications and fingerprints, scored, against a floor.

UPDATE_FLOOR=1 raises the floor to what is reached; to lower it, edit floor.tsv and say why in the commit.
"""

import os
import unittest
from pathlib import Path

from corpus.scoreboard import Board, Figure, below, raised, read_floor, write_floor
from corpus.test_corpus import CORPUS
from lab.weir import ROOT, binaries

FLOOR = Path(__file__).with_name("floor.tsv")
NEEDED = ["pcap", "labels.tsv", "fingerprints.tsv", "score.py"]
MISSING = [name for name in NEEDED if not (CORPUS / name).exists()]


@unittest.skipIf(MISSING, f"no labelled captures: {', '.join(MISSING)} not in {CORPUS} (set WEIR_CORPUS)")
@unittest.skipUnless((binaries() / "weir-node").exists(), f"no weir-node in {binaries()} (make build)")
class Scoreboard(unittest.TestCase):
    """The labelled captures."""

    def test_applications_and_fingerprints_are_not_below_the_floor(self):
        board = Board(binaries() / "weir-node", CORPUS, ROOT / "tests" / "out" / "corpus")
        board.show()
        errors = board.out / "errors.txt"
        errors.write_text("\n".join(board.errors()) + "\n", encoding="utf-8")
        print(f"every wrong flow: {errors}")
        floor = read_floor(FLOOR)
        if os.environ.get("UPDATE_FLOOR") == "1":
            write_floor(FLOOR, raised(floor, board.all()))
        self.assertTrue(floor, f"{FLOOR} is missing: UPDATE_FLOOR=1 make corpus writes it")
        faults = below(floor, board.all())
        self.assertFalse(faults, "below the floor:\n" + "\n".join(faults))


class Floor(unittest.TestCase):
    """The floor itself; needs no captures."""

    def test_a_figure_that_falls_is_told_and_one_that_rises_is_not(self):
        floor = {"redis": Figure(0.9, 0.8, 0.847)}
        self.assertEqual(below(floor, {"redis": Figure(0.9, 0.85, 0.874)}), [])
        self.assertEqual(below(floor, {"redis": Figure(0.9, 0.7999, 0.847)}), ["redis: recall 0.799 is below 0.800"])
        self.assertEqual(len(below(floor, {})), 3)

    def test_the_floor_only_rises(self):
        floor = {"redis": Figure(0.9, 0.8, 0.847), "mysql": Figure(1.0, 1.0, 1.0)}
        found = {"redis": Figure(0.8, 0.81239, 0.806), "ssh": Figure(1.0, 0.5, 0.667)}
        expected = {"redis": Figure(0.9, 0.812, 0.847), "mysql": Figure(1.0, 1.0, 1.0), "ssh": Figure(1.0, 0.5, 0.667)}
        self.assertEqual(raised(floor, found), expected)


if __name__ == "__main__":
    unittest.main()
