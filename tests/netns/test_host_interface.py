"""A machine with one card: its own sockets reach the wire through Weir, over the interface that Weir makes.

The card is a link that DPDK drives by af_packet, the interface a TAP; the offloads of the interface are the
kernel's own choice. Client and stranger are outside, with nothing of Weir between them and the card.
"""

import json
import signal
import time
import unittest

from lab import LabError, tcp, udp, wait_until

from . import support
from .support import FAMILIES, PROGRAMS, PYTHON, says, with_programs

# What DPDK 22.11 carries over a TAP.
MTU, HEADERS = 1500, {4: 28, 6: 48}
ECHO_PORT, TRANSFER_PORT, CLOSED_PORT, OUT_PORT = 7007, 9000, 9001, 9002
ANYTHING = {"ingress": ["from: [{any: true}]"], "egress": ["to: [{any: true}]"]}
PATIENCE_S = 20
LAB = MACHINE = None


def setUpModule():
    global LAB, MACHINE
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab()
    client, stranger = LAB.network.add_outside("client"), LAB.network.add_outside("stranger")
    MACHINE = LAB.network.add_card()
    hosts = {"client": client, "stranger": stranger, "machine": MACHINE}
    texts = []
    for name, host in hosts.items():
        texts += [support.workload(name, host.addresses), support.mode(name)]
    texts += [support.allowlist(f"{name}-any", target=f"workload: {name}", **ANYTHING) for name in ("client", "stranger")]
    rules = [
        f"from: [{{workload: client}}], ports: [{ECHO_PORT}, {TRANSFER_PORT}]",
        "from: [{workload: client}], applications: [icmp]",
    ]
    out = [f"to: [{{workload: client}}], ports: [{OUT_PORT}]"]
    texts += [support.allowlist("machine", ingress=rules, egress=out)]
    LAB.write_policy("machine.yaml", support.documents(*texts))
    LAB.start_controller()
    start_node()
    node = LAB.network.node
    node.start([PYTHON, PROGRAMS / "echo.py", "serve", ECHO_PORT], name="echo", ready=udp(ECHO_PORT))
    for namespace, port in ((node, TRANSFER_PORT), (node, CLOSED_PORT), (client, OUT_PORT), (client, CLOSED_PORT)):
        serve = [PYTHON, PROGRAMS / "transfer.py", "serve", port, 8]
        namespace.start(serve, name=f"transfer-{port}", ready=tcp(port))


def start_node(**options):
    remembered = LAB.directory / "interfaces.json"
    remembered.write_text(json.dumps(MACHINE.remembered(MTU)))
    LAB.start_node(host_interface={"backend": "tap", "remembered": str(remembered)}, **options)


def interface():
    """What the kernel says of weir0; None where there is none."""
    said = says(LAB.network.node, ["ip", "-json", "address", "show", "dev", "weir0"])
    return json.loads(said)[0] if said else None


def addresses():
    return {it["local"] for it in (interface() or {"addr_info": []})["addr_info"] if it["scope"] == "global"}


def fetch(namespace, address, port):
    return "identical" in says(namespace, [PYTHON, PROGRAMS / "transfer.py", "fetch", address, port])


def echo(namespace, address, size):
    return "identical" in says(namespace, [PYTHON, PROGRAMS / "echo.py", "ask", address, ECHO_PORT, size])


@support.here_only
class HostInterface(unittest.TestCase):
    def test_it_is_what_the_card_was(self):
        found = interface()
        self.assertEqual((found["address"], found["mtu"]), (MACHINE.mac, MTU))
        self.assertEqual(addresses(), set(MACHINE.addresses))
        routes = says(LAB.network.node, ["ip", "route", "show", "dev", "weir0"])
        self.assertIn("198.51.100.0/24 via", routes)
        # Partial checksums and segments larger than the wire's would reach the wire as they are.
        features = says(LAB.network.node, ["ethtool", "-k", "weir0"])
        for feature in ("tx-checksumming", "tcp-segmentation-offload"):
            self.assertRegex(features, rf"(?m)^{feature}: off")

    @with_programs("ping")
    def test_ping(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                largest = str(MTU - HEADERS[family])
                self.assertEqual(support.ping(LAB.hosts["client"], MACHINE.address(family), count=3), 3)
                self.assertEqual(support.ping(LAB.hosts["client"], MACHINE.address(family), "-M", "do", "-s", largest), 1)
                self.assertEqual(support.ping(LAB.hosts["stranger"], MACHINE.address(family)), 0)

    def test_transfers_from_and_to_the_machine(self):
        node, client = LAB.network.node, LAB.hosts["client"]
        for family in FAMILIES:
            with self.subTest(family=family):
                # The machine sends: what it offers its interface is larger than a packet.
                self.assertTrue(fetch(client, MACHINE.address(family), TRANSFER_PORT))
                self.assertTrue(fetch(node, client.address(family), OUT_PORT))

    def test_datagrams(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                for size in (100, MTU - HEADERS[family]):
                    self.assertTrue(echo(LAB.hosts["client"], MACHINE.address(family), size))
                self.assertFalse(echo(LAB.hosts["stranger"], MACHINE.address(family), 100))

    def test_what_is_not_allowed_is_dropped_both_ways(self):
        node, client, stranger = LAB.network.node, LAB.hosts["client"], LAB.hosts["stranger"]
        for family in FAMILIES:
            with self.subTest(family=family):
                own = MACHINE.address(family)
                self.assertFalse(fetch(stranger, own, TRANSFER_PORT))
                support.wait_for_drop(LAB, stranger.address(family), own, TRANSFER_PORT)
                self.assertFalse(fetch(client, own, CLOSED_PORT))
                support.wait_for_drop(LAB, client.address(family), own, CLOSED_PORT)
                self.assertFalse(fetch(node, client.address(family), CLOSED_PORT))
                support.wait_for_drop(LAB, own, client.address(family), CLOSED_PORT)


@support.here_only
class Faults(unittest.TestCase):
    def tearDown(self):
        if not LAB.programs.node.running():
            start_node()

    def test_addresses_come_back_and_connections_live_on(self):
        client = LAB.hosts["client"]
        slow = [PYTHON, PROGRAMS / "transfer.py", "fetch", MACHINE.ipv4, TRANSFER_PORT, 2 << 20]
        transfer = client.start(slow, name="slow")
        time.sleep(1)
        LAB.programs.node.kill()
        # The interface is the process's: nothing of the machine is on the wire, and nobody else's is in it.
        wait_until(lambda: interface() is None, "weir0 goes with the node", PATIENCE_S)
        self.assertEqual(support.ping(client, MACHINE.ipv4, wait_s=1), 0)
        self.assertTrue(transfer.running())
        start_node()
        self.assertEqual(addresses(), set(MACHINE.addresses))
        self.assertEqual(transfer.wait(60), 0)
        self.assertIn("identical", transfer.said())

    def test_the_carrier_follows_the_wire(self):
        switch = LAB.network.switch
        self.assertIn("LOWER_UP", interface()["flags"])
        switch.run(["ip", "link", "set", "card", "down"])
        try:
            wait_until(lambda: "LOWER_UP" not in interface()["flags"], "weir0 loses its carrier", PATIENCE_S)
        finally:
            switch.run(["ip", "link", "set", "card", "up"])
        wait_until(lambda: "LOWER_UP" in interface()["flags"], "weir0 has its carrier again", PATIENCE_S)
        self.assertTrue(echo(LAB.hosts["client"], MACHINE.ipv4, 100))

    def test_a_node_that_hangs_lets_nothing_in(self):
        LAB.programs.node.send(signal.SIGSTOP)
        try:
            self.assertEqual(support.ping(LAB.hosts["client"], MACHINE.ipv4, wait_s=1), 0)
            self.assertIsNotNone(interface())
        finally:
            LAB.programs.node.send(signal.SIGCONT)
        wait_until(lambda: support.ping(LAB.hosts["client"], MACHINE.ipv4, wait_s=1), "the node goes on", PATIENCE_S)

    def test_without_policy_a_pair_learns_first_only_where_it_is_told_to(self):
        client = LAB.hosts["client"]
        LAB.stop_node()
        for kept in (LAB.directory / "node").glob("policy*"):
            kept.rename(LAB.directory / kept.name)
        for learn_first in (False, True):
            with self.subTest(learn_first=learn_first):
                start_node(controller=False, pair={"learn_first": learn_first})
                self.assertEqual(support.ping(client, MACHINE.ipv4, wait_s=1), int(learn_first))
                LAB.stop_node()


if __name__ == "__main__":
    unittest.main()
