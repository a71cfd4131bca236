"""A node process takes over from another: what was permitted goes on, nothing passes that policy forbids, and how
long nothing passes at all is measured. WEIR_SAY=1 prints the figures.
"""

import os
import re
import signal
import sys
import time
import unittest

from . import support
from .support import says
from .upgrades import PROTOCOLS, Traffic, build_lab, log_size, node_says, replace_node

# The slowest seen is a third of it, on a machine with nothing to spare.
SILENCE_MAX_MS = 15_000
LAB = None


def setUpModule():
    global LAB
    if not support.UNAVAILABLE:
        LAB = build_lab()


@support.here_only
@support.with_programs("openssl")
class Upgrade(unittest.TestCase):
    def setUp(self):
        self.traffic = Traffic(LAB)
        self.addCleanup(self.traffic.abandon)
        time.sleep(1)

    def end(self, what):
        time.sleep(1.5)
        self.traffic.stop()
        came, missing, silence_ms = self.traffic.came()
        if os.environ.get("WEIR_SAY"):
            print(f"{what}: {missing} of {came + missing} datagrams lost, longest silence {silence_ms} ms, "
                  f"longest wait for an answer {self.traffic.longest_s()} s", file=sys.stderr)
        self.assertEqual(self.traffic.broken(), {}, what)
        self.assertEqual(self.traffic.passed_forbidden(), 0, "packets of the stranger reached the server")
        self.assertGreater(came, 500)
        self.assertLess(silence_ms, SILENCE_MAX_MS, what)

    def check_taken(self, said):
        taken = re.search(r"connections taken over.*?allowed=(\d+) denied=(\d+) ended_midway=(\d+) no_room=(\d+)", said)
        self.assertIsNotNone(taken, said)
        allowed, denied, midway, no_room = map(int, taken.groups())
        self.assertGreaterEqual(allowed, len(PROTOCOLS) + 1, said)
        self.assertGreaterEqual(denied, 1, said)
        self.assertEqual((midway, no_room), (0, 0), said)

    def test_restart(self):
        since = log_size(LAB)
        self.assertEqual(LAB.stop_node(), 0)
        LAB.start_node(wait_for_policy=False)
        said = LAB.programs.node.log.read_bytes()[since:].decode(errors="replace")
        self.check_taken(said)
        self.assertRegex(said, "balanced=.*true")
        self.end("restart (SIGTERM, then a new process)")

    def test_replaced_by_a_process_that_is_ready(self):
        said = replace_node(LAB)
        self.check_taken(said)
        self.end("replaced (SIGUSR2)")

    def test_a_successor_that_cannot_start_changes_nothing(self):
        config = LAB.directory / "node.toml"
        good, since = config.read_text(), log_size(LAB)
        try:
            config.write_text(good + "\n[nonsense]\n")
            LAB.programs.node.send(signal.SIGUSR2)
            node_says(LAB, "nobody takes over; this process goes on", since)
        finally:
            config.write_text(good)
        self.assertTrue(LAB.programs.node.running())
        self.end("a successor that cannot start")

    def test_a_damaged_file_is_told_and_the_start_goes_on(self):
        self.traffic.abandon()
        LAB.stop_node()
        path = LAB.directory / "node" / "flows"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        damaged = bytearray(path.read_bytes())
        damaged[-1] ^= 1
        path.write_bytes(damaged)
        LAB.start_node()
        said = LAB.programs.node.said()
        self.assertIn("its checksum is wrong", said)
        self.assertFalse(path.exists())
        self.assertNotIn("connections taken over", said)
        self.assertTrue(says(LAB.hosts["client"], ["ping", "-c1", "-W5", LAB.hosts["server"].ipv4]))


if __name__ == "__main__":
    unittest.main()
