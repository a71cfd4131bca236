"""What the daemons tell over HTTP while they work: ready when they are, frames that balance under load, what
was denied, and that a worker without progress is noticed."""

import ctypes
import os
import re
import unittest
from pathlib import Path

from lab import wait_until
from lab.processes import tcp

from . import support
from .scrape import CONTROLLER, NODE, ask, samples
from .support import FAMILIES

PATIENCE_S = 20
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
LAB = None


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab("client", "stranger", "server")
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB))
    rule = "from: [{workload: client}], applications: [icmp]"
    LAB.write_policy("server.yaml", support.allowlist("server", ingress=[rule]))


def total(found, name):
    """A metric's sum over its labels."""
    return sum(value for sample, value in found.items() if sample.partition("{")[0] == name)


class Held:
    """A thread of a process, held in place for as long as nobody lets it go."""

    def __init__(self, thread):
        self.thread = thread
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
            self._ask(request)
        os.waitpid(thread, 0x40000000)  # __WALL

    def _ask(self, request):
        if self.libc.ptrace(request, self.thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {self.thread}")

    def let_go(self):
        if Path(f"/proc/{self.thread}").exists():
            self._ask(PTRACE_DETACH)


def worker_thread(process):
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return next(int(task.name) for task in tasks if (task / "comm").read_text().strip() == "worker-0")


@support.here_only
@support.with_programs("curl")
class Metrics(unittest.TestCase):
    def balanced(self):
        found = samples(LAB)
        of = lambda name: total(found, f"weir_node_frames_{name}")  # noqa: E731
        came = of("received_total") + of("injected_total")
        names = ("transmitted_total", "tapped_total", "handed_over_total", "dropped_total", "held")
        self.assertEqual(came, sum(of(name) for name in names))
        return found

    # One story, since each step needs what came before.
    def test_a_node_from_its_start_to_a_lost_worker(self):
        LAB.start_node(wait_for_policy=False)
        status, why = ask(LAB, NODE, "/readyz")
        self.assertEqual((status, why), (503, "ports are up, waiting for policy"))
        self.assertEqual(ask(LAB, NODE, "/healthz")[0], 200)
        self.assertEqual(samples(LAB)['weir_node_controller_connected{stream="policy"}'], 0)

        LAB.start_controller()
        wait_until(lambda: ask(LAB, NODE, "/readyz")[0] == 200, "the node is ready", PATIENCE_S)
        wait_until(lambda: ask(LAB, CONTROLLER, "/readyz")[0] == 200, "the controller is ready", PATIENCE_S)
        self.assertRegex(ask(LAB, NODE, "/readyz")[1], r"^policy \d+ is in force, 1 workers$")

        before = self.balanced()
        for family in FAMILIES:
            address = LAB.hosts["server"].address(family)
            self.assertEqual(support.ping(LAB.hosts["client"], address, count=20), 20)
            self.assertEqual(support.ping(LAB.hosts["stranger"], address, count=3, wait_s=1), 0)
        wait_until(lambda: total(samples(LAB), "weir_node_verdicts_total") > 0, "denials are counted", PATIENCE_S)
        after = self.balanced()
        more = lambda name: total(after, name) - total(before, name)  # noqa: E731
        self.assertGreaterEqual(more("weir_node_frames_transmitted_total"), 80)
        self.assertGreaterEqual(after['weir_node_frames_dropped_total{reason="policy_default"}'], 2)
        self.assertGreater(after['weir_node_verdicts_total{wire_action="drop",mode="protect"}'], 0)
        self.assertGreater(more("weir_node_flows_made_total"), 3)
        self.assertGreater(more("weir_node_port_packets_total"), 160)
        self.assertGreater(more("weir_node_worker_busy_seconds_total"), 0)
        self.assertEqual(after['weir_node_controller_connected{stream="policy"}'], 1)
        self.assertEqual(after["weir_node_policy_last_apply_success"], 1)
        self.assertGreater(after["weir_node_signatures_loaded"], 0)

        controller = samples(LAB, CONTROLLER)
        self.assertEqual(controller["weir_controller_ready"], 1)
        self.assertEqual(controller['weir_controller_nodes{state="connected"}'], 1)
        self.assertEqual(controller['weir_controller_nodes{state="behind"}'], 0)
        self.assertGreater(controller["weir_controller_push_seconds_count"], 0)
        self.assertEqual(controller["weir_controller_policy_version"], after["weir_node_policy_version"])
        enforced = 'weir_controller_documents{kind="Allowlist",standing="enforced"}'
        self.assertEqual(controller[enforced], 4)

        self.lose_the_worker()

    def lose_the_worker(self):
        node = LAB.programs.node
        held = Held(worker_thread(node))
        try:
            stuck = lambda: ask(LAB, NODE, "/healthz")[0] == 503  # noqa: E731
            wait_until(stuck, "the worker's silence is noticed", PATIENCE_S)
            self.assertEqual(ask(LAB, NODE, "/readyz")[0], 503)
            self.assertRegex(ask(LAB, NODE, "/healthz")[1], "worker 0 is lost")
            self.assertGreater(samples(LAB)['weir_node_worker_silent_seconds{worker="0"}'], 1)
            up = lambda: total(samples(LAB), "weir_node_worker_up")  # noqa: E731
            wait_until(lambda: up() == 0, "the watchdog takes its queues", PATIENCE_S)
        finally:
            held.let_go()
        # The pair fails closed: what comes is dropped, and counted.
        for _ in range(3):
            support.ping(LAB.hosts["client"], LAB.hosts["server"].address(4), wait_s=1)
        found = samples(LAB)
        self.assertGreater(found['weir_node_fail_mode_frames_total{action="dropped"}'], 0)
        self.assertEqual(found['weir_node_fail_mode_frames_total{action="forwarded"}'], 0)

    def test_nothing_is_served_where_it_is_off(self):
        LAB.stop_node()
        LAB.start_node(controller=False, metrics={"listen": "off"})
        self.addCleanup(LAB.stop_node)
        self.assertEqual(ask(LAB, NODE, "/metrics")[0], 0)

    def test_a_place_that_is_taken_is_had_later(self):
        LAB.stop_node()
        holder = [support.PYTHON, "-c", "import socket, time; s = socket.create_server(('127.0.0.1', 9470)); time.sleep(60)"]
        taken = LAB.network.node.start(holder, name="holder", ready=tcp(9470))
        self.addCleanup(taken.stop)
        node = LAB.start_node(controller=False)
        self.addCleanup(LAB.stop_node)
        wait_until(lambda: re.search("metrics cannot be served on 127.0.0.1:9470", node.log_text()), "it says so", PATIENCE_S)
        taken.stop()
        wait_until(lambda: ask(LAB, NODE, "/healthz")[0] == 200, "it serves", PATIENCE_S)


if __name__ == "__main__":
    unittest.main()
