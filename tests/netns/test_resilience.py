"""What goes on while parts of Weir are away or change: restarts, crashes, a hundred policies, a full resync.

The resync is that of a small cluster. WEIR_RESYNC=100000x10000 (workloads, allowlists) makes it that of a
large one, and prints what it took.
"""

import os
import re
import shutil
import sys
import time
import unittest
from pathlib import Path

from lab import wait_until

from . import support
from .load import ECHO_PORT, HTTP_PORT, TRANSFER_PORT, Load, start_servers
from .support import FAMILIES, PROGRAMS, PYTHON, says

FLIPS = 100
# Workloads and allowlists of a full resync.
RESYNC = tuple(map(int, os.environ.get("WEIR_RESYNC", "2000x200").split("x")))
RESYNC_TIMEOUT_S = 60 + RESYNC[0] // 500
DOCUMENTS_A_FILE = 5000
LAB = None


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab("client", "stranger", "server")
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB))
    LAB.write_policy("server.yaml", server_policy(0))
    LAB.start_controller()
    LAB.start_node()
    start_servers(LAB.hosts["server"], LAB.directory / "files")


def server_policy(number):
    """What the load needs is always allowed; what stranger may do, and on which ports, changes."""
    ports = f"[{TRANSFER_PORT}, {ECHO_PORT}]"
    rules = [
        f"from: [{{workload: client}}], ports: {ports}",
        f"from: [{{workload: client}}], applications: [http], ports: [{HTTP_PORT}]",
        "from: [{workload: client}], applications: [icmp]",
        f"from: [{{workload: stranger}}], ports: [{20000 + number}]",
    ]
    if number % 2:
        rules.reverse()
        rules.append("from: [{workload: stranger}], applications: [icmp]")
    return support.allowlist("server", ingress=rules)


def restart_node(**options):
    """Stops the node in good order and starts it again; returns its exit status and last words."""
    log = LAB.programs.node.log
    status = LAB.stop_node()
    last_words = log.read_text().splitlines()[-1]
    LAB.start_node(**options)
    return status, last_words


def single_queue():
    """Ports of one queue, whatever the number of workers: these hand packets over to each other."""
    devices = LAB.network.virtual_devices(1)
    return {"virtual_devices": [f"{name},{arguments}" for name, arguments in devices]}


class Resilience(unittest.TestCase):
    """A load for each test, and what must hold for new connections."""

    def setUp(self):
        self.load = Load(LAB.hosts["client"], LAB.hosts["server"])
        self.addCleanup(self.load.abandon)

    def check_enforcement(self):
        for family in FAMILIES:
            address = LAB.hosts["server"].address(family)
            ask = [PYTHON, PROGRAMS / "keep_alive.py", address, HTTP_PORT, "1", "/index.html"]
            self.assertIn("answered 1", says(LAB.hosts["client"], ask))
            self.assertNotIn("answered 1", says(LAB.hosts["stranger"], ask))


@support.here_only
class Restarts(Resilience):
    def test_node_restarts_under_load(self):
        self.load.start()
        status, last_words = restart_node()
        self.assertEqual(status, 0)
        self.assertRegex(last_words, r"balanced=.*true")
        self.check_enforcement()
        self.load.stop()
        self.load.check_streams(self)

    def test_node_restarts_without_a_controller(self):
        LAB.programs.controller.kill()
        self.addCleanup(LAB.programs.wait_for_policy)
        self.addCleanup(LAB.start_controller)
        self.load.start()
        restart_node(wait_for_policy=False)
        # The last good policy is in force before anybody answers.
        self.check_enforcement()
        self.load.stop()
        self.load.check_streams(self)

    def test_controller_is_killed_and_comes_back(self):
        self.load.start()
        self.check_enforcement()
        wait_until(lambda: len(conversations()) >= 3, "conversations are told", 20, 0.3)
        before, version = conversations(), LAB.weir("status")["policy_version"]
        # What was told is written once a second.
        time.sleep(2.5)
        LAB.programs.controller.kill()
        self.check_enforcement()
        LAB.start_controller()
        self.assertEqual(before - conversations(), set())
        # Versions are set aside in steps, so that one given out before a kill is never given out again.
        self.assertGreaterEqual(LAB.weir("status")["policy_version"], version)
        LAB.programs.wait_for_policy()
        support.put_in_force(LAB, "server.yaml", server_policy(2))
        self.check_enforcement()
        self.load.stop()
        self.load.check_streams(self)
        self.load.check_nothing_lost(self)


def conversations():
    """Who spoke to whom, as the controller remembers."""
    fields = ("client", "server", "application", "port")
    return {tuple(conversation[field] for field in fields) for conversation in LAB.weir("map")["conversations"]}


@support.here_only
class Policies(Resilience):
    def test_a_hundred_policies_under_load(self):
        self.load.start()
        log = LAB.programs.node.log
        in_force = lambda: len(re.findall("policy in force", log.read_text()))  # noqa: E731
        for number in range(FLIPS):
            before = in_force()
            LAB.write_policy("server.yaml", server_policy(1000 + number))
            wait_until(lambda: in_force() > before, f"policy {number} is in force", 20, 0.01)
        self.check_enforcement()
        self.load.stop()
        self.load.check_nothing_lost(self)
        self.load.check_streams(self)


def cluster_documents(workloads, allowlists):
    """Those of a cluster beside the hosts. The hosts may send anywhere, so their node knows everybody."""
    for number in range(workloads):
        _, second, third, fourth = number.to_bytes(4, "big")
        address = f"100.{64 + second}.{third}.{fourth}"
        yield support.workload(f"w{number}", [address], group=f"g{number // 10}")
    for number in range(allowlists):
        target, peer = (f"matchLabels: {{group: g{group}}}" for group in (number, (number + 1) % allowlists))
        rules = [f"from: [{{{peer}}}], applications: [http], ports: [{8000 + number % 1000}]"]
        yield support.allowlist(f"cluster-{number}", ingress=rules, target=target)


@support.here_only
class Resync(Resilience):
    """Everything at once: a cluster comes, the controller begins with nothing, the cluster goes."""

    def setUp(self):
        super().setUp()
        self.kept_apart, self.in_policy = LAB.directory / "cluster", LAB.programs.files.policy / "cluster"
        self.addCleanup(shutil.rmtree, self.kept_apart, ignore_errors=True)
        self.addCleanup(shutil.rmtree, self.in_policy, ignore_errors=True)
        self.kept_apart.mkdir()
        texts = list(cluster_documents(*RESYNC))
        for first in range(0, len(texts), DOCUMENTS_A_FILE):
            path = self.kept_apart / f"{first}.yaml"
            path.write_text(support.documents(*texts[first : first + DOCUMENTS_A_FILE]))

    def in_force(self, what, change):
        """Does it, and waits until another policy is in force; returns how many identities that has."""
        log = LAB.programs.node.log
        told = lambda: re.findall(r"policy in force.* identities=(\d+)", log.read_text())  # noqa: E731
        before, start = len(told()), time.monotonic()
        change()
        wait_until(lambda: len(told()) > before, what, RESYNC_TIMEOUT_S, 0.02)
        self.say(f"{what}: in force on the live node after {time.monotonic() - start:.1f} s")
        return int(told()[-1])

    def say(self, text):
        if "WEIR_RESYNC" in os.environ:
            peak = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{LAB.programs.controller.pid}/status").read_text())
            print(f"{text}; peak memory of the controller {int(peak[1]) >> 10} MB", file=sys.stderr)

    def test_a_full_resync_under_load(self):
        self.load.start()
        hosts = len(LAB.hosts)
        known = self.in_force("the cluster comes", lambda: self.kept_apart.rename(self.in_policy))
        self.assertEqual(known, RESYNC[0] + hosts)
        LAB.programs.controller.kill()
        shutil.rmtree(LAB.programs.files.state)
        start = time.monotonic()
        LAB.start_controller(timeout_s=RESYNC_TIMEOUT_S)
        LAB.programs.wait_for_policy(timeout_s=RESYNC_TIMEOUT_S)
        self.say(f"the controller begins with nothing: the node has its policy after {time.monotonic() - start:.1f} s")
        self.check_enforcement()
        known = self.in_force("the cluster goes", lambda: shutil.move(self.in_policy, self.kept_apart))
        self.assertEqual(known, hosts)
        self.check_enforcement()
        self.load.stop()
        self.load.check_nothing_lost(self)
        self.load.check_streams(self)


@support.here_only
@unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "two workers need two cores")
class TwoWorkers(Resilience):
    @classmethod
    def tearDownClass(cls):
        restart_node()

    def check_load(self):
        self.load.start()
        support.put_in_force(LAB, "server.yaml", server_policy(3000 + len(LAB.programs.node.log_text())))
        self.check_enforcement()
        self.load.stop()
        self.load.check_streams(self)
        self.load.check_nothing_lost(self)

    def test_queues_that_do_not_keep_both_directions_together(self):
        restart_node(workers=2)
        self.check_load()

    def test_one_queue_for_both(self):
        restart_node(workers=2, eal=single_queue())
        self.check_load()
