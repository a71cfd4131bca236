"""Soak: mixed traffic, changes of policy and connections that come and go, for SOAK_MINUTES; nothing grows.

    make soak                  30 minutes, a line a minute, and a table at the end
    tests/run faults           a short form of it, half a minute, which sees only coarse leaks of memory

What a node holds is asked for every second: memory, file descriptors, flows, reassembly and frame buffers. Of each
twentieth of the run the least counts, since a SIGHUP compiles the signatures again and gives that memory back later; a
line is fitted through these by least squares, the first fifth left out, while tables and allocator fill up.

Memory may rise by a twentieth over the run: pages come back late, and a leak of ten bytes a packet is twice as much in
half an hour. The number of descriptors may not rise by one, nor the buffers in use by a tenth of all. Flows may be as
many as the connections that came within the longest time that one which is over is remembered.
"""

import os
import re
import signal
import sys
import time
import unittest
from pathlib import Path

from netns import scrape, support
from netns.support import PYTHON
from netns.upgrades import PROTOCOLS, STREAM_PORT, Traffic, build_lab, server_policy

PROGRAMS = Path(__file__).resolve().parent / "programs"
MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
SECONDS = MINUTES * 60 or 25
CHURN_PAUSE_S = 0.02
POLICY_EVERY_S = 5
RELOAD_EVERY_S = 17
SETTLING = 0.2
WINDOWS = 20
# A connection that only one end has closed, a datagram without an answer: at most so long.
REMEMBERED_S = 120
# Of what the node tells.
SIZES = ("flows", "held_packets", "held_fragments", "reassembly_bytes", "frame_buffers_free")
MEMORY_GROWTH = 0.05
# Within seconds tables, allocator and the signatures that a SIGHUP compiles again fill up: only what is out of all
# proportion shows.
SHORT_GROWTH_KB = 64 << 10
# So few flows that the table is in use from end to end soon: what was never touched takes no memory. Sessions for all
# that are remembered: where none is left a connection is denied, as one of an application that nobody knows.
LIMITS = {"flows": 16_384, "sessions": 8_192}
LAB = None


def setUpModule():
    global LAB
    if not support.UNAVAILABLE:
        LAB = build_lab(limits=LIMITS)


def slope(samples):
    """Rise from the first to the last of (time, value), by the line that fits best."""
    count = len(samples)
    mean_x, mean_y = (sum(column) / count for column in zip(*samples))
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0
    return rise * (samples[-1][0] - samples[0][0])


def least(samples):
    """The least of each twentieth of the run, at its end."""
    windows = {}
    for when, value in samples:
        number = int(when * WINDOWS / SECONDS)
        windows[number] = (when, min(value, windows.get(number, (0, value))[1]))
    return list(windows.values())


def sample():
    """What the node holds now."""
    node, told = LAB.programs.node, scrape.samples(LAB)
    sizes = {name: told[f"weir_node_{name}"] for name in SIZES}
    memory = int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{node.pid}/status").read_text())[1])
    descriptors = len(os.listdir(f"/proc/{node.pid}/fd"))
    controller = LAB.programs.controller.pid
    of_controller = int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{controller}/status").read_text())[1])
    return {"memory_kb": memory, "descriptors": descriptors, "controller_kb": of_controller, **sizes}


@support.here_only
@support.with_programs("openssl")
class Soak(unittest.TestCase):
    def test_nothing_grows(self):
        traffic = Traffic(LAB)
        self.addCleanup(traffic.abandon)
        client, server = LAB.hosts["client"], LAB.hosts["server"]
        command = [PYTHON, PROGRAMS / "churn.py", server.ipv4, PROTOCOLS["mysql"], STREAM_PORT, CHURN_PAUSE_S]
        churn = client.start(command, name="churn")
        self.addCleanup(churn.kill)
        begun, samples, told = time.monotonic(), {}, 0
        turn = 0
        while (now := time.monotonic() - begun) < SECONDS:
            turn += 1
            for name, value in sample().items():
                samples.setdefault(name, []).append((now, value))
            if turn % POLICY_EVERY_S == 0:
                LAB.write_policy("server.yaml", server_policy(1 + turn % 7))
            if turn % RELOAD_EVERY_S == 0:
                LAB.programs.node.send(signal.SIGHUP)
            if MINUTES and now // 60 > told:
                told = now // 60
                last = ", ".join(f"{name} {column[-1][1]}" for name, column in samples.items())
                print(f"minute {told:.0f}: {last}", file=sys.stderr, flush=True)
            time.sleep(1)
        traffic.stop()
        churn.stop()
        self.check(samples, traffic, churn)

    def check(self, samples, traffic, churn):
        came, missing, silence_ms = traffic.came()
        opened, failed = map(int, re.search(r"opened (\d+) failed (\d+)", churn.said()).groups())
        print(f"\n{SECONDS:.0f} s: {came + missing} datagrams, {missing} lost, longest silence {silence_ms:.0f} ms; {opened} connections "
              f"came and went, {failed} failed; connections held: {not traffic.broken()}; forbidden packets passed: "
              f"{traffic.passed_forbidden()}", file=sys.stderr)
        grew = {}
        for name, column in samples.items():
            later = [(when, value) for when, value in column if when >= SETTLING * SECONDS]
            fitted = least(later)
            grew[name] = slope(fitted) if len(fitted) > 2 else 0
            values = [value for _, value in later] or [0]
            print(f"  {name:17} from {values[0]} to {values[-1]}, least {min(values)}, most {max(values)}, fitted rise {grew[name]:.1f}", file=sys.stderr)
        self.assertEqual(traffic.broken(), {})
        self.assertEqual(traffic.passed_forbidden(), 0)
        self.assertEqual(failed, 0)
        self.assertGreater(opened, SECONDS)
        most = MEMORY_GROWTH * samples["memory_kb"][0][1] if MINUTES else SHORT_GROWTH_KB
        self.assertLess(grew["memory_kb"], most)
        self.assertLess(grew["descriptors"], 1)
        self.assertGreater(grew["frame_buffers_free"], -0.1 * samples["frame_buffers_free"][0][1])
        # Each comes with a datagram of its own, and both are flows of two pairs. In the short form hardly any is forgotten yet.
        flows_each = 2 if MINUTES else 4
        remembered = flows_each * opened / SECONDS * min(REMEMBERED_S, SECONDS)
        self.assertLess(max(value for _, value in samples["flows"]), remembered + 100)


if __name__ == "__main__":
    unittest.main()
