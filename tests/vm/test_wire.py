"""A node between the two cards of a machine: traffic from outside, and what befalls cards, workers and machine.

    python3 -m unittest tests.vm.test_wire -v
"""

import os
import shutil
import time
import unittest

from tests.netns.support import allowlist, mode, workload

from . import guest
from .appliance import ON_DISK, Appliance
from .machine import PATIENCE_S
from .outside import AGAIN_S, Host, converse, passes

DEVICES = ["0000:01:00.0", "0000:02:00.0"]
CLIENT = ("52:54:00:00:01:01", "192.0.2.1", "2001:db8::1")
SERVER = ("52:54:00:00:01:02", "192.0.2.2", "2001:db8::2")
HTTP, UDP_PORT, FORBIDDEN = 80, 5000, 6000
REQUEST = b"GET /index.html HTTP/1.1\r\nHost: server.example\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"w" * 5000
FAMILIES = (4, 6)
# Shorter than what passes takes under load: a frame that passes after it stands behind it.
SILENCE_S = 0.5


def policy(stage):
    """What the server takes of the client; `stage`: protect or discover."""
    any_way = {"ingress": ["from: [{any: true}]"], "egress": ["to: [{any: true}]"]}
    rules = [f"from: [{{workload: client}}], applications: [http], ports: [{HTTP}]",
             f"from: [{{workload: client}}], ports: [{UDP_PORT}]",
             "from: [{workload: client}], applications: [icmp]"]
    return [
        workload("client", CLIENT[1:]), mode("client", stage), allowlist("client", **any_way),
        workload("server", SERVER[1:]), mode("server", stage), allowlist("server", ingress=rules),
    ]


LONG_FORM = unittest.skipIf("WEIR_VM_SHORT" in os.environ, "only in the long form: make test-vm")


class Between(unittest.TestCase):
    """A machine that is started once for all tests of a class."""

    HARDWARE = {}

    @classmethod
    def setUpClass(cls):
        guest.emulator()
        cls.machine = Appliance(DEVICES, DEVICES, policy("protect"), **cls.HARDWARE)
        cls.addClassCleanup(cls.machine.stop)
        # For two processes at once, one of which takes over from the other.
        cls.machine.start("--memory-mb 512")
        cls.client = Host(cls.machine.cards[0], *CLIENT)
        cls.server = Host(cls.machine.cards[1], *SERVER)
        cls.wait_for_traffic()

    @classmethod
    def wait_for_traffic(cls):
        """Until a ping of the client comes through to the server."""
        deadline = time.monotonic() + PATIENCE_S
        number = 0
        while not passes(cls.client.ping(cls.server, number), cls.client, cls.server, 1):
            number += 1
            assert time.monotonic() < deadline, f"nothing passes\n{cls.machine.logs()}"

    def pings(self, number=1, family=4):
        """Both ways."""
        asks, answers = self.client.ping(self.server, number, family), self.server.ping(self.client, number, family, True)
        return passes(asks, self.client, self.server) and passes(answers, self.server, self.client)

    def is_dropped(self, frame):
        """It does not come, though what is sent behind it does."""
        self.server.card.drain()
        self.client.card.send(frame)
        behind = self.client.ping(self.server, time.monotonic_ns() & 0xFFFF)
        found, deadline = None, time.monotonic() + PATIENCE_S
        while found is None and time.monotonic() < deadline:
            self.client.card.send(behind)
            found = self.server.card.finds(lambda it: it[:len(frame)] == frame or it[:len(behind)] == behind, AGAIN_S)
        self.assertIsNotNone(found, "neither it nor what was sent behind it came")
        return found[:len(behind)] == behind

    def check_conversation(self, family=4, port=HTTP):
        self.assertEqual(converse(self.client, self.server, port, REQUEST, RESPONSE, family), (REQUEST, RESPONSE))

    def interrupt_link(self):
        self.machine.hardware("set_link", name="card1", up=False)
        try:
            lost = self.client.datagram(self.server, (4000, UDP_PORT), b"lost")
            self.assertFalse(passes(lost, self.client, self.server, SILENCE_S))
        finally:
            self.machine.hardware("set_link", name="card1", up=True)
        self.wait_for_traffic()

    def check_enforcement(self):
        self.check_conversation()
        self.assertTrue(self.is_dropped(self.client.datagram(self.server, (4000, FORBIDDEN), b"x" * 64)))


class Protect(Between):
    def test_what_is_allowed_passes_and_the_rest_is_dropped_and_counted(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertTrue(self.pings(family, family))
                self.check_conversation(family)
                allowed = self.client.datagram(self.server, (4000, UDP_PORT), b"x" * 900, family)
                self.assertTrue(passes(allowed, self.client, self.server))
                forbidden = self.client.datagram(self.server, (4000, FORBIDDEN), b"x" * 900, family)
                self.assertTrue(self.is_dropped(forbidden))
                refused = converse(self.client, self.server, FORBIDDEN, REQUEST, RESPONSE, family, SILENCE_S)
                self.assertEqual(refused, (b"", b""))

    def test_policy_turns_protection_off_and_on(self):
        forbidden = self.client.datagram(self.server, (4001, FORBIDDEN), b"x" * 64)
        self.assertTrue(self.is_dropped(forbidden))
        self.machine.put_in_force(*policy("discover"))
        self.assertTrue(passes(forbidden, self.client, self.server))
        self.check_conversation(port=FORBIDDEN)
        self.machine.put_in_force(*policy("protect"))
        self.assertTrue(self.is_dropped(forbidden))

    def test_a_link_that_comes_back_carries_again(self):
        self.interrupt_link()
        self.check_enforcement()

    def test_a_node_that_is_killed_is_started_again_and_enforces(self):
        before = self.machine.do("cat /run/node.pid").strip()
        self.machine.do(f"kill -KILL {before}")
        self.machine.until(f"! kill -0 {before}", "the node is gone")
        # Nothing moves frames, and nothing passes.
        self.assertFalse(passes(self.client.ping(self.server, 77), self.client, self.server, SILENCE_S))
        self.machine.until(f"[ $(cat /run/node.pid) != {before} ]", "the node is started again")
        self.wait_for_traffic()
        self.check_enforcement()

    def test_a_node_that_hangs_lets_nothing_pass(self):
        self.machine.do("kill -STOP $(cat /run/node.pid)")
        try:
            # Each thread stops when it comes by.
            runs = "grep -l '^State:.*[RSD] (' /proc/$(cat /run/node.pid)/task/*/status"
            self.machine.until(f"! {runs}", "the node hangs")
            self.assertFalse(passes(self.client.ping(self.server, 78), self.client, self.server, SILENCE_S))
        finally:
            self.machine.do("kill -CONT $(cat /run/node.pid)")
        self.wait_for_traffic()
        self.check_enforcement()

    def test_another_process_takes_over_the_cards(self):
        before = self.machine.do("cat /run/node.pid").strip()
        self.machine.do(f"kill -USR2 {before}")
        self.machine.until(f"! kill -0 {before}", "the node has handed over")
        self.machine.until(f"[ $(cat /run/node.pid) != {before} ]", "another process goes on")
        self.wait_for_traffic()
        self.check_enforcement()
        said = self.machine.do("cat /run/node.log")
        self.assertIn("another process has taken over", said)
        self.assertNotIn("could not be attached", said)

    def test_zz_every_frame_is_accounted_for(self):
        """The last by its name: it ends the node."""
        self.assertRegex(self.machine.stop_node(), r"dropped=[1-9]\d* balanced=true")


@LONG_FORM
class Removed(Between):
    """A card is pulled out and put in again, beside a pair that nothing happens to."""

    CARD = f"/sys/bus/pci/devices/{DEVICES[1]}"

    def take_out(self):
        self.machine.hardware("device_del", id="card1")
        self.machine.until(f"[ ! -e {self.CARD} ]", "the kernel has taken the card out")

    def put_in(self):
        self.machine.hardware("device_add", driver="e1000e", id="card1", bus="port1", netdev="net1", mac=guest.mac(1))
        self.machine.until(f"[ -e {self.CARD} ]", "the kernel has found the card")
        self.machine.until("weir host prepare --config /etc/node.toml --owner weir-node", "the card is given away again")

    def test_a_card_that_comes_after_the_node(self):
        self.take_out()
        self.machine.do("kill -KILL $(cat /run/node.pid)")
        before = self.machine.do("wc -l </run/node.log").strip()
        refused = f"tail -n +$(({before} + 1)) /run/node.log | grep '{DEVICES[1]}'"
        said = self.machine.until(refused, "a node without its card says so")
        self.assertNotIn("is ready", said)
        self.assertFalse(passes(self.client.ping(self.server, 6), self.client, self.server, SILENCE_S))
        self.put_in()
        self.wait_for_traffic()
        self.check_enforcement()

    def test_a_card_that_is_pulled_out_is_let_go_of_and_comes_back(self):
        self.check_enforcement()
        pid = self.machine.do("cat /run/node.pid")
        self.take_out()
        self.assertRegex(self.machine.do("cat /run/node.log"), r'the card is taken away.* port="0000:02:00.0"')
        self.assertEqual(self.machine.do("cat /run/node.pid; kill -0 $(cat /run/node.pid)"), pid)
        self.assertFalse(passes(self.client.ping(self.server, 5), self.client, self.server, SILENCE_S))
        self.put_in()
        self.machine.until(f"[ $(cat /run/node.pid) != {pid.strip()} ]", "the node is started again")
        self.wait_for_traffic()
        self.check_enforcement()


@LONG_FORM
class Igb(Between):
    """Cards of another driver, where this qemu has them."""

    HARDWARE = {"cards": ["igb", "igb"]}

    @classmethod
    def setUpClass(cls):
        guest.require_card("igb")
        super().setUpClass()

    def test_it_enforces(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertTrue(self.pings(family, family))
                self.check_conversation(family)
                forbidden = self.client.datagram(self.server, (4000, FORBIDDEN), b"x" * 900, family)
                self.assertTrue(self.is_dropped(forbidden))

    def test_a_link_that_comes_back_carries_again(self):
        self.interrupt_link()
        self.check_enforcement()


@LONG_FORM
@unittest.skipIf(shutil.which("mkfs.ext4") is None, "not installed: mkfs.ext4 (e2fsprogs)")
class Restart(Between):
    """State is on a disk, and what is on it is all that the machine has after a reset: no controller runs then."""

    HARDWARE = {"init": ON_DISK, "disk_mb": 32}

    def test_a_machine_that_is_reset_enforces_the_last_good_policy(self):
        self.check_enforcement()
        self.machine.do("touch /var/lib/enabled && sync")
        self.machine.reset()
        self.assertFalse(passes(self.client.datagram(self.server, (4000, FORBIDDEN), b"early"), self.client, self.server, SILENCE_S))
        self.wait_for_traffic()
        self.check_enforcement()
        self.assertIn("the last good policy is in force", self.machine.do("cat /run/node.log"))


if __name__ == "__main__":
    unittest.main()
