"""A table of faults and what held. Under every one of them: no packet that policy forbids passes, what it permits goes on
or comes back within a bounded time, every frame is accounted for, and the last good policy is enforced.

WEIR_FAULTS=full floods with a million half-open connections and restarts twenty times; WEIR_FAULTS_SEED picks other
moments.
"""

import os
import random
import re
import signal
import struct
import sys
import time
import unittest
from pathlib import Path
from unittest import mock

from lab import log_line, wait_until
from lab.processes import run
from lab.weir import node_config, program
from netns import scrape, support
from netns.support import PYTHON
from netns.upgrades import Traffic, build_lab, log_size, node_says, replace_node, server_policy

PROGRAMS = Path(__file__).resolve().parent / "programs"
FULL = os.environ.get("WEIR_FAULTS") == "full"
SEED = int(os.environ.get("WEIR_FAULTS_SEED", "7"))
HALF_OPEN = 1_000_000 if FULL else 200_000
# Fifty times fewer than come at once even in the short form.
FLOWS = 4_096
# First so many: every place for an event is in use then, and takes memory from then on.
HALF_OPEN_FIRST = 40_000
WAITING = ("weir_node_events_waiting", "weir_node_report_batches_waiting")
KILLS = 3
RESTARTS = 20 if FULL else 5
# An hour, for both ends' timers; in steps shorter than what they wait for longest, between which they are let run.
HOUR_S, HOUR_STEP_S, STEP_PAUSE_S = 3_600, 20, 0.05
# Start of a process on a machine that does other things too; a bound, not a promise.
BACK_WITHIN_MS = 20_000
# What is on its way to the controller; the flows of a flood would be twice as much, and of a whole one ten times.
GROWTH_KB = 32 << 10
# Where nothing is to be interrupted: what a machine busy with other things does to packets is below it.
UNINTERRUPTED_MS = 2_000
LOST_AT_MOST = 1 / 100
LAB = None
ROWS = []


def setUpModule():
    global LAB
    if not support.UNAVAILABLE:
        LAB = build_lab()


def tearDownModule():
    if ROWS:
        width = max(len(fault) for fault, _ in ROWS)
        print("\n" + "\n".join(f"{fault:{width}}  {held}" for fault, held in [("fault", "what held"), *ROWS]), file=sys.stderr)


def memory_kb(pid):
    return int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def start_node(**options):
    """As the lab does, with few flows, so that a flood is one."""
    return LAB.start_node(limits={"flows": FLOWS, "sessions": 512}, **options)


def spoken(client, server):
    """The applications between two workloads, as the controller knows."""
    found = LAB.weir("map")["conversations"]
    return {talk["application"] for talk in found if (talk["client"], talk["server"]) == (f"test/{client}", f"test/{server}")}


def said_at_the_end():
    return LAB.programs.node.log.read_text(errors="replace").splitlines()[-1]


@support.here_only
@support.with_programs("openssl")
class Faults(unittest.TestCase):
    def setUp(self):
        self.moments = random.Random(SEED)
        self.ensure_node()
        self.traffic = Traffic(LAB)
        self.addCleanup(self.traffic.abandon)
        time.sleep(0.8)

    def ensure_node(self):
        if not LAB.programs.node.running():
            start_node()

    def held(self, fault, may_break=False, uninterrupted=False, note=""):
        """Ends the traffic, and asks of it what must hold under every fault."""
        time.sleep(1)
        self.traffic.stop()
        came, missing, silence_ms = self.traffic.came()
        forbidden, broken = self.traffic.passed_forbidden(), self.traffic.broken()
        kept = f"{3 - len(broken)} of 3 connections held"
        ROWS.append((fault, f"0 forbidden packets, {missing} of {came + missing} datagrams lost, "
                            f"silence {silence_ms:.0f} ms, {kept}{note}"))
        self.assertEqual(forbidden, 0, "packets that policy forbids passed")
        self.assertGreater(came, 100)
        self.assertLess(silence_ms, BACK_WITHIN_MS)
        if not may_break:
            self.assertEqual(broken, {})
        if uninterrupted:
            self.assertLess(silence_ms, UNINTERRUPTED_MS)
            self.assertLessEqual(missing, LOST_AT_MOST * (came + missing))

    def test_01_node_killed_at_random_moments(self):
        for _ in range(KILLS):
            time.sleep(self.moments.uniform(0, 0.7))
            LAB.programs.node.kill()
            start_node(wait_for_policy=False)
        # Nothing was handed over: what cannot be named in its middle may have to begin anew.
        self.held(f"node killed (SIGKILL) {KILLS} times", may_break=True)

    def test_02_controller_killed_at_random_moments(self):
        version = LAB.weir("status")["policy_version"]
        for _ in range(KILLS):
            time.sleep(self.moments.uniform(0, 0.7))
            LAB.programs.controller.kill()
            LAB.start_controller()
        LAB.programs.wait_for_policy()
        self.assertGreaterEqual(LAB.weir("status")["policy_version"], version)
        self.held(f"controller killed (SIGKILL) {KILLS} times", uninterrupted=True)

    def test_03_controller_partitioned_for_an_hour(self):
        set_clocks, stepped = self.stepping()
        relay_socket = LAB.directory / "relay.sock"
        command = [PYTHON, PROGRAMS / "relay.py", relay_socket, LAB.programs.files.nodes]
        relay = LAB.network.node.start(command, name="relay", ready=log_line("listening"))
        self.addCleanup(relay.kill)
        LAB.stop_node()
        LAB.programs.controller.stop()
        with stepped:
            LAB.start_controller()
            # Time that leaps is no worker that makes no progress.
            start_node(controller=relay_socket, node={"stuck_after_ms": 2_000 * HOUR_S})
        self.addCleanup(start_node)
        self.addCleanup(LAB.start_controller)
        self.addCleanup(LAB.programs.controller.stop)
        self.addCleanup(LAB.stop_node)
        self.begin_again()
        client, server = LAB.hosts["client"], LAB.hosts["server"]
        version, since = LAB.weir("status")["policy_version"], log_size(LAB)
        relay.send(signal.SIGSTOP)
        self.assertNotIn("icmp", spoken("client", "server"))
        LAB.write_policy("server.yaml", server_policy(3))
        wait_until(lambda: LAB.weir("status")["policy_version"] > version, "the controller has a policy that nobody gets", 20, 0.1)
        for passed_s in range(HOUR_STEP_S, HOUR_S + 1, HOUR_STEP_S):
            set_clocks(passed_s, passed_s)
            time.sleep(STEP_PAUSE_S)
            if passed_s == HOUR_S // 2:
                self.assertEqual(support.ping(client, server.ipv4), 1)
        status = LAB.weir("status")
        self.assertEqual([node["enforced_version"] for node in status["nodes"] if node["connected"]], [])
        said = LAB.programs.node.log.read_bytes()[since:].decode(errors="replace")
        tried = said.count("no policy stream; the policy in force stays")
        # Each time later, up to five seconds; the steps let some attempts wait longer.
        self.assertGreater(tried, 20)
        self.assertLess(tried, HOUR_S // 5)
        back = time.monotonic()
        relay.send(signal.SIGCONT)
        LAB.programs.wait_for_policy()
        back_s = time.monotonic() - back
        wait_until(lambda: "icmp" in spoken("client", "server"), "what was seen meanwhile is reported", 20, 0.2)
        self.held("controller partitioned for an hour of simulated time", uninterrupted=True,
                  note=f"; {tried} attempts to reach it, its policy in force {back_s:.1f} s after it was back, what was seen was reported")

    def test_04_restart_storm(self):
        for turn in range(RESTARTS):
            if turn % 5 != 4:
                replace_node(LAB)
                continue
            status = LAB.programs.node.stop()
            start_node(wait_for_policy=False)
            self.assertEqual(status, 0)
        self.held(f"{RESTARTS} replacements (SIGUSR2) in a row, each fifth a restart")

    def test_05_full_disk(self):
        # The node has its own view of what is mounted: a small disk there is one for it alone.
        pid = LAB.programs.node.pid
        state = LAB.directory / "node"
        inside = ["nsenter", "--target", pid, "--mount"]
        run([*inside, "mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", state])
        self.addCleanup(run, [*inside, "umount", state], check=False)
        seen_by_node = Path(f"/proc/{pid}/root{state}")
        filling = seen_by_node / "filling"
        try:
            filling.write_bytes(b"x" * (1 << 20))
        except OSError:
            pass
        since = log_size(LAB)
        LAB.write_policy("server.yaml", server_policy(5))
        node_says(LAB, "would not survive a restart; trying again", since)
        filling.unlink()
        wait_until(lambda: (seen_by_node / "policy.last-good").exists(), "the policy is kept once there is room", 20)
        self.held("disk full while a policy comes", uninterrupted=True, note="; in force at once, kept once there was room")

    def test_06_no_memory(self):
        config = LAB.directory / "poor.toml"
        for sections, limit, words in (
            ({"eal": {"frame_buffers": 4_000_000}}, None, r"memory|buffers|mempool"),
            ({}, 300 << 20, r"memory"),
        ):
            text = node_config(LAB.network, LAB.directory, None, 1, sections)
            config.write_text(text)
            command = [program("weir-node"), "run", "--config", config]
            if limit:
                command = ["prlimit", f"--as={limit}", *command]
            env = {"RUNTIME_DIRECTORY": str(LAB.directory), "RUST_BACKTRACE": "0"}
            outcome = LAB.network.node.run(command, check=False, timeout_s=40, env=env)
            told = outcome.stdout + outcome.stderr
            self.assertNotEqual(outcome.returncode, 0, told)
            self.assertRegex(told.lower(), words)
        self.held("no memory for a second process", uninterrupted=True, note="; it said so and ended")

    def stepping(self):
        """What sets the clocks (of the day, and of what only goes on), and within what programs start that have them."""
        library, clocks = LAB.directory / "step.so", LAB.directory / "clocks"
        run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, PROGRAMS / "step.c", "-ldl"])
        clocks.write_bytes(struct.pack("qq", 0, 0))

        def set_clocks(time_of_day_s, monotonic_s):
            with clocks.open("r+b") as file:
                file.write(struct.pack("qq", time_of_day_s, monotonic_s))

        return set_clocks, mock.patch.dict(os.environ, LD_PRELOAD=str(library), WEIR_CLOCK_FILE=str(clocks))

    def begin_again(self):
        """Traffic that begins under the node there is now."""
        self.traffic.abandon()
        self.traffic = Traffic(LAB)
        self.addCleanup(self.traffic.abandon)

    def test_07_the_clock_steps(self):
        set_clocks, stepped = self.stepping()
        LAB.stop_node()
        with stepped:
            start_node(wait_for_policy=False)
        self.addCleanup(start_node)
        self.addCleanup(LAB.stop_node)
        self.assertIn("step.so", Path(f"/proc/{LAB.programs.node.pid}/maps").read_text())
        self.begin_again()
        for offset_s in (86_400 * 400, -86_400 * 4_000, 3_600, 0):
            set_clocks(offset_s, 0)
            time.sleep(0.7)
        support.put_in_force(LAB, "server.yaml", server_policy(7))
        self.held("time of day steps +400 d, -4000 d, +1 h, back", uninterrupted=True, note="; a policy came meanwhile")

    def test_08_last_good_policy_is_damaged(self):
        self.traffic.stop()
        LAB.programs.controller.kill()
        LAB.stop_node()
        path = LAB.directory / "node" / "policy.last-good"
        good = path.read_bytes()
        path.write_bytes(bytes(byte ^ 0x55 for byte in good[:100]) + good[100:])
        start_node(wait_for_policy=False)
        self.assertIn("is damaged", LAB.programs.node.said())
        client, server = LAB.hosts["client"], LAB.hosts["server"]
        self.assertEqual(support.ping(client, server.ipv4, wait_s=1), 0, "something passed without a policy")
        self.assertNotEqual(path.read_bytes(), good)
        LAB.start_controller()
        LAB.programs.wait_for_policy()
        self.assertEqual(support.ping(client, server.ipv4), 1)
        self.begin_again()
        self.held("last good policy damaged, controller away", uninterrupted=True, note="; nothing passed until a policy came")

    def flood(self, half_open):
        """SYNs from two hosts; returns how many a second, when all of it has been told to the controller."""
        server = LAB.hosts["server"]
        floods = [
            host.start([PYTHON, PROGRAMS / "flood.py", host.mac, server.mac, server.ipv4, half_open // 2, prefix], name="flood")
            for host, prefix in ((LAB.hosts["stranger"], "198.18"), (LAB.hosts["client"], "198.19"))
        ]
        for flood in floods:
            flood.wait(600)
        wait_until(lambda: not any(scrape.samples(LAB)[name] for name in WAITING), "the controller knows of the flood", 60, 0.2)
        sent = [re.search(r"sent (\d+) seconds ([\d.]+)", flood.said()) for flood in floods]
        return sum(int(found[1]) / max(float(found[2]), 0.1) for found in sent)

    def test_09_flood_of_half_open_connections(self):
        pid = LAB.programs.node.pid
        self.flood(HALF_OPEN_FIRST)
        before = memory_kb(pid)
        rate = self.flood(HALF_OPEN)
        after = memory_kb(pid)
        self.assertLess(after - before, GROWTH_KB)
        note = f"; table of {FLOWS} flows, {rate:,.0f} SYNs a second, memory {before >> 10} -> {after >> 10} MB"
        self.held(f"{HALF_OPEN:,} half-open connections", note=note)

    def test_10_a_port_goes_and_comes_again(self):
        stranger = LAB.hosts["stranger"]
        LAB.network.node.run(["ip", "link", "delete", f"h{stranger.index}"])
        time.sleep(1)
        self.assertTrue(LAB.programs.node.running())
        LAB.network.link(stranger, "eth0", LAB.network.node, f"h{stranger.index}")
        stranger.run(["ip", "link", "set", "eth0", "address", stranger.mac])
        stranger.run(["ip", "address", "add", f"{stranger.ipv4}/24", "dev", "eth0"])
        replace_node(LAB)
        self.held("a pair's link deleted, made again, node replaced", note="; the other pairs went on meanwhile")

    def test_11_every_frame_is_accounted_for(self):
        self.traffic.stop()
        LAB.stop_node()
        last = said_at_the_end()
        self.assertRegex(last, r"balanced=.*true", last)
        totals = re.findall(r"(received|transmitted|dropped)\S*=\S*?(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", last))
        ROWS.append(("every frame of the last process", ", ".join(f"{name} {count}" for name, count in totals)))
        start_node()


if __name__ == "__main__":
    unittest.main()
