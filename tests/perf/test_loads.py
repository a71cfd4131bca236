"""Captures of loads are what they are called, in the eyes of another program."""

import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from shutil import which

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "perf"))

from harness import processes  # noqa: E402

# Load: what tshark calls its packets. What is not known to it is no application.
KNOWN = {
    "churn": {"dns", "http", "tls"},
    "connections": {"http"},
    "web": {"http"},
    "tls": {"tls"},
    "mysql": {"mysql"},
    "grpc": {"grpc"},
    "dns": {"dns"},
    "bulk": {"tls"},
    "redis": set(),
}
APPLICATIONS = {"dns", "http", "tls", "mysql", "grpc", "http2", "data"}


@unittest.skipUnless(which("tshark"), "tshark is not installed (package tshark)")
@unittest.skipUnless(processes.is_built("weir-perf"), "weir-perf is not built (make build-perf)")
class Captures(unittest.TestCase):
    """tshark names the applications and finds nothing malformed."""

    def test_applications_in_both_families(self):
        for load, wanted in KNOWN.items():
            for family in ("v4", "v6"):
                with self.subTest(load=load, family=family), tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "load.pcap"
                    processes.capture(load, path, "--flows", 20, "--packets", 600, "--family", family)
                    layers = self.layers(path)
                    names = {name for line in layers for name in line.split(":")}
                    self.assertFalse(names & {"_ws.malformed", "_ws.short"}, f"{load}: tshark finds packets malformed")
                    self.assertLessEqual(wanted, names, f"{load}: {Counter(layers).most_common(5)}")

    def layers(self, path):
        # gRPC has no port of its own.
        command = ["tshark", "-r", str(path), "-d", "tcp.port==50051,http2", "-T", "fields", "-e", "frame.protocols"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def test_imix_and_jumbo_frames(self):
        with tempfile.TemporaryDirectory() as folder:
            for size, lengths in (("imix", {64, 594, 1518}), ("9000", {9000})):
                path = Path(folder) / f"{size}.pcap"
                processes.capture("settled-udp", path, "--flows", 12, "--packets", 240, "--size", size)
                command = ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.len"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                self.assertEqual({int(line) for line in done.stdout.split()}, lengths)


if __name__ == "__main__":
    unittest.main()
