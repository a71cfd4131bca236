"""The statistics, the promises and the gate of perf/."""

import importlib.machinery
import importlib.util
import random
import sys
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "perf"))

from harness import peers, promises, rounds  # noqa: E402


def script(name):
    """A script of perf/ as a module."""
    loader = importlib.machinery.SourceFileLoader(f"perf_{name}", str(REPOSITORY / "perf" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Statistics(unittest.TestCase):
    """Noise is called noise, a difference a difference."""

    def setUp(self):
        generator = random.Random(7)
        self.old = [100 + generator.gauss(0, 3) for _ in range(20)]
        self.same = [100 + generator.gauss(0, 3) for _ in range(20)]
        self.slower = [110 + generator.gauss(0, 3) for _ in range(20)]

    def test_verdicts(self):
        compare = script("ab").verdict
        self.assertIn("no difference beyond noise", compare(self.old, self.same))
        self.assertIn("slower", compare(self.old, self.slower))
        self.assertIn("faster", compare(self.slower, self.old))

    def test_chance_is_that_of_tables(self):
        # U = 5 of 5 and 5: 0.151 exactly, 0.144 by the normal approximation with the correction of one half.
        self.assertAlmostEqual(rounds.chance([1, 2, 3, 5, 9], [4, 6, 7, 8, 10]), 0.1437, places=3)
        self.assertEqual(rounds.chance([1, 1], [1, 1]), 1.0)


class Promises(unittest.TestCase):
    """The list is whole, and the specification says what it says."""

    def test_specification_is_rendered(self):
        wanted = promises.specification(promises.rendered())
        self.assertEqual(promises.SPECIFICATION.read_text(), wanted, "run perf/bench --render")

    def test_commands_are_there(self):
        for promise in promises.read():
            for which in ("command", "quick"):
                program = promise.get(which, promise["command"]).split()[0]
                self.assertTrue((REPOSITORY / program).exists(), f"{promise['name']}: {program}")

    def test_judging(self):
        at_most, at_least = ({"sign": sign, "number": 4.0} for sign in ("<=", ">="))
        self.assertTrue(promises.kept(at_most, 4.0) and promises.kept(at_least, 4.0))
        self.assertFalse(promises.kept(at_most, 4.1) or promises.kept(at_least, 3.9))
        self.assertEqual((promises.ratio(at_most, 8.0), promises.ratio(at_least, 2.0)), (0.5, 0.5))


class Peers(unittest.TestCase):
    """Every adapter says what it is and is found, or says what to do."""

    def test_adapters(self):
        for name, adapter in peers.adapters().items():
            with self.subTest(peer=name):
                self.assertTrue(adapter.ABOUT)
                try:
                    self.assertTrue(adapter.find())
                except peers.Absent as why:
                    self.assertRegex(str(why), "set [A-Z_]+ to its path")


    def test_all_get_the_same_rules(self):
        lines = [f'{"#" * (number % 2)}alert tcp any any -> any any (content:"x"; classtype:misc-activity; sid:{number};)'
                 for number in range(40)]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "a.rules").write_text("\n".join(["# A word on them.", *lines, 'alert ip any any -> any any (sid:99;)']))
            some_rules = script("compare").some_rules
            self.assertEqual(some_rules(folder, "all", folder / "all")[1], 41)
            path, count = some_rules(folder, 10, folder / "some")
            self.assertEqual((count, path.read_text().count("alert tcp"), path.read_text().count("#")), (10, 10, 0))
            suricata = peers.adapters()["suricata"]
            config = suricata.configuration(folder, path.read_text()).read_text()
            self.assertIn(f"classification-file: {folder}/classification.config", config)
            self.assertIn("misc-activity", (folder / "classification.config").read_text())
        self.assertEqual(suricata.rules_loaded("Info: detect: 3944 signatures processed. 2 are"), 3944)


class Live(unittest.TestCase):
    """What the benches of a running worker promise is judged, and told by the names that promises have."""

    def swap(self, lost, p999_us):
        rows = [{"load": 0.5, "phase": phase, "changes": 10, "rate_mpps": 5.0, "lost": 0, "sent": 1000, "counted": 1.0,
                 "p999_us": 10.0, "max_us": 20.0} for phase in ("before", "during")]
        rows[1].update(lost=lost, p999_us=p999_us)
        told = {one["figure"]: one["value"] for one in script("swap").tell(rows, "swap")}
        return told, list(script("swap").failures(rows))

    def test_changes_lose_nothing_and_hold_nothing_up(self):
        told, failures = self.swap(0, 19.0)
        self.assertEqual((told["swap.lost"], told["swap.50.p999-factor"], failures), (0, 1.9, []))
        told, failures = self.swap(3, 21.0)
        self.assertEqual((told["swap.lost"], told["swap.50.p999-factor"], len(failures)), (3, 2.1, 2))

    def test_a_flood_leaves_the_established_their_rate_and_memory_as_it_is(self):
        def rows(passed, rss_mb):
            each = {"memory": "no-huge", "syns": 10, "syns_mpps": 0.5, "rate_mpps": 1.0, "passed": 1.0, "p99_us": 1.0, "rss_mb": 400.0}
            return [{**each, "phase": "before"}, {**each, "phase": "filling"},
                    {**each, "phase": "flood", "passed": passed, "rss_mb": rss_mb}]

        flood = script("flood")
        self.assertEqual([one["value"] for one in flood.tell(rows(0.95, 410.0))][:2], [0.95, 10.0])
        self.assertEqual(list(flood.failures(rows(0.95, 410.0))), [])
        self.assertEqual(len(list(flood.failures(rows(0.89, 500.0)))), 2)


class Gate(unittest.TestCase):
    """What costs over 3 % more fails and is named."""

    def setUp(self):
        self.gate = script("instructions")
        self.before = {("http", "track"): {"instructions": 1000.0, "lines": 10.0}}
        self.told = {"http": {"allocations": 0, "packets": 10}}

    def regressions(self, instructions, lines, allocations=0):
        self.told["http"]["allocations"] = allocations
        results = {"http": {"instructions": {"track": instructions}, "lines": {"track": lines}}}
        return list(self.gate.regressions(results, self.told, self.before))

    def test_the_stage_is_named(self):
        self.assertEqual(self.regressions(1029.0, 10.2), [])
        self.assertRegex(self.regressions(1031.0, 10.0)[0], "http, stage track: 1031.0 instructions")
        self.assertRegex(self.regressions(1000.0, 10.9)[0], "http, stage track: 10.9 lines")
        self.assertRegex(self.regressions(1000.0, 10.0, 1)[0], "1 allocations")


if __name__ == "__main__":
    unittest.main()
