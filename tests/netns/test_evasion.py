"""Evasions through the inline node, from a raw client to a real server's stack.

Each is played three times: as an attack in monitor (whatever arrives is told), as an attack in protect (it does
not arrive), and with harmless content of the same shape in protect (it arrives unharmed).
"""

import json
import time
import unittest

from lab import tcp

from . import overlays, support
from .disguises import TABLE as DISGUISES
from .evasions import FRAGMENTS, TABLE
from .raw import Connection, Vlan, Vxlan
from .support import FAMILIES, PROGRAMS, PYTHON

LAB = None
# Of the server's devices.
MACS = {}
PORT = 8090
# The raw client's addresses in each network.
RAW = {
    "eth0": ("10.91.0.77", "fd91::77"),
    "vlan7": ("10.107.0.77", "fd07::77"),
    "vxlan42": ("10.142.0.77", "fd42::77"),
}
ATTACK = b"GET /?file=../../../../../etc/shadow HTTP/1.1\r\nHost: shop\r\n\r\n"
HARMLESS = b"GET /?file=photos/of/the/long/summer HTTP/1.1\r\nHost: shop\r\n\r\n"
RULES = """
drop tcp any any -> any any (msg:"the file of passwords"; content:"/etc/shadow"; sid:1000001;)
drop http any any -> any any (msg:"the file of passwords, asked for"; http.uri; content:"/etc/shadow"; sid:1000002;)
drop http any any -> any any (msg:"the file of passwords, sent"; http.request_body; content:"/etc/shadow"; sid:1000003;)
drop http any any -> any any (msg:"the file of passwords, sent as a file"; file.data; content:"/etc/shadow"; sid:1000004;)
"""
# What the disguises carry: of one length.
SECRET, PUBLIC = b"/etc/shadow", b"/etc/motd.d"
assert len(ATTACK) == len(HARMLESS)
# How long what is not to arrive is waited for, and how often as long what is.
MOMENT_S, MOMENTS = 0.4, 12


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    # DPDK's pcap driver: af_packet has the kernel put fragments together.
    LAB = support.build_lab("client", "server", driver="pcap")
    LAB.write_policy("hosts.yaml", hosts())
    LAB.write_policy("server.yaml", support.allowlist("server", ingress=["from: [{workload: client}], applications: [http]"]))
    LAB.start_controller()
    start_node()
    client, server = LAB.hosts["client"], LAB.hosts["server"]
    server.start([PYTHON, PROGRAMS / "recorder.py", PORT, LAB.directory / "received"], name="recorder", ready=tcp(PORT))
    overlays.make_vlan(server)
    overlays.make_vxlan(server, LAB.hosts.values())
    for device in overlays.ADDRESSES:
        MACS[device] = server.output(["cat", f"/sys/class/net/{device}/address"]).strip()
    for device, addresses in RAW.items():
        for address in addresses:
            server.run(["ip", "neighbour", "replace", address, "lladdr", client.mac, "dev", device, "nud", "permanent"])


def start_node():
    rules = LAB.directory / "evasion.rules"
    rules.write_text(RULES)
    LAB.start_node(inspection={"signatures": [str(rules)]})


def hosts(mode="protect"):
    server = LAB.hosts["server"]
    of_server = [overlays.inside(device, server, family) for device in overlays.ADDRESSES for family in FAMILIES]
    return support.hosts_policy(LAB, mode, client=[address for pair in RAW.values() for address in pair], server=of_server)


def connect(network, family):
    """A raw connection to the server in this network; to be called in the client's namespace."""
    client, server = LAB.hosts["client"], LAB.hosts["server"]
    source = RAW[network][FAMILIES.index(family)]
    if network == "eth0":
        return Connection(source, server.address(family), server.mac, client.mac, PORT)
    layers = {
        "vlan7": lambda: Vlan(overlays.VLAN_ID),
        "vxlan42": lambda: Vxlan(overlays.VNI, client.ipv4, server.ipv4, server.mac, client.mac),
    }
    target = overlays.inside(network, server, family)
    return Connection(source, target, MACS[network], client.mac, PORT, layers[network]())


def received(ports):
    """What the server's application read from this port of the client so far."""
    path = LAB.directory / "received"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    of_port = [bytes.fromhex(line["received"]) for line in lines if line["peer"][1] == ports[0]]
    return of_port[-1] if of_port else b""


def listen(connection, expected=None):
    """Takes in answers for a moment; where something is expected, until the server's application has read it."""
    for _ in range(MOMENTS if expected else 1):
        answered = connection.wait(lambda: connection.received or connection.was_reset, MOMENT_S)
        if not expected or expected in received(connection.ports):
            break
        if answered:
            time.sleep(MOMENT_S)


def play(evasion, family, variant, data, decoy, expected=None):
    """Plays it; what the server's application read, and the client's port."""

    def inside():
        connection = connect(evasion.network, family)
        try:
            if connection.open(evasion.timestamps):
                evasion.play(connection, data, decoy, variant)
                listen(connection, expected)
            return connection.ports
        finally:
            connection.close()

    ports = LAB.hosts["client"].call(inside)
    return received(ports), ports[0]


@support.here_only
class Evasions(unittest.TestCase):
    """One row of the table printed at the end for each evasion and family."""

    rows = {}

    @classmethod
    def setUpClass(cls):
        # What works where nothing is blocked: the first of its variants.
        support.put_in_force(LAB, "hosts.yaml", hosts("monitor"))
        for evasion, family in table():
            arrived, port = play(evasion, family, evasion.variants[0], ATTACK, HARMLESS)
            row = cls.rows[evasion.name, family] = Row(port)
            row.works = ATTACK in arrived
        told = {event["src_port"] for event in LAB.programs.events() if event["event_type"] == "alert"}
        for row in cls.rows.values():
            row.told = row.port in told
        support.put_in_force(LAB, "hosts.yaml", hosts())

    @classmethod
    def tearDownClass(cls):
        print(f"\n{'evasion':<56} {'monitor':<24} {'protect: attack':<18} harmless", flush=True)
        for (name, family), row in cls.rows.items():
            print(f"{name:<50} IPv{family}  {row}", flush=True)

    def check(self, evasion, family):
        row = self.rows[evasion.name, family]
        self.assertTrue(row.told or not row.works, "the attack arrives in monitor and is not told")
        for variant in evasion.variants:
            with self.subTest(evasion=evasion.name, family=family, variant=variant):
                attack, _ = play(evasion, family, variant, ATTACK, HARMLESS)
                row.stopped += ATTACK not in attack
                harmless, _ = play(evasion, family, variant, HARMLESS, HARMLESS, HARMLESS if evasion.is_harmless else None)
                row.unharmed += HARMLESS in harmless
                self.assertNotIn(ATTACK, attack, "the attack arrives")
                if evasion.is_harmless:
                    self.assertIn(HARMLESS, harmless, "harmless content of this shape is harmed")
        row.variants = len(evasion.variants)


class Row:
    """What became of an evasion."""

    def __init__(self, port):
        self.port = port
        self.works = self.told = False
        self.variants = self.stopped = self.unharmed = 0

    def __str__(self):
        monitor = ("arrives" if self.works else "not taken") + (", told" if self.told else "")
        return f"{monitor:<24} {f'stopped {self.stopped}/{self.variants}':<18} passes {self.unharmed}/{self.variants}"


@support.here_only
class Disguises(unittest.TestCase):
    """What is not to arrive, written down so that nobody recognises it but the server's application."""

    def arrives(self, family, message, expected=None):
        def inside():
            connection = connect("eth0", family)
            try:
                self.assertTrue(connection.open())
                middle = len(message) // 2
                connection.say(message[:middle])
                connection.say(message[middle:], middle)
                listen(connection, expected)
                return connection.ports
            finally:
                connection.close()

        return message in received(LAB.hosts["client"].call(inside))

    def test_each(self):
        for entry in DISGUISES:
            for family in FAMILIES:
                with self.subTest(disguise=entry.name, family=family):
                    harmless = entry.write(PUBLIC)
                    self.assertTrue(self.arrives(family, harmless, harmless), "harmless content of this shape is harmed")
                    self.assertFalse(self.arrives(family, entry.write(SECRET)), "the attack arrives")
                    print(f"{entry.name:<55} IPv{family}  stopped; harmless passes", flush=True)


@support.here_only
class Interrupted(unittest.TestCase):
    """A connection that begins before the node does: what is said on it afterwards is read all the same."""

    def said_after_restart(self, family, data):
        client = LAB.hosts["client"]
        connection = client.call(connect, "eth0", family)
        self.addCleanup(connection.close)
        self.assertTrue(connection.open())
        LAB.stop_node()
        start_node()
        # Said again where nobody answers, as a client's kernel would.
        for _ in range(3):
            connection.say(data)
            if connection.wait(lambda: connection.received or connection.was_reset):
                break
        return received(connection.ports)

    def test_begun_before_the_node(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertNotIn(ATTACK, self.said_after_restart(family, ATTACK))
                self.assertIn(HARMLESS, self.said_after_restart(family, HARMLESS))


def table():
    return [(evasion, family) for evasion in TABLE + FRAGMENTS for family in evasion.families]


def enter(evasion, family):
    name = "".join(letter if letter.isalnum() else "_" for letter in evasion.name)
    setattr(Evasions, f"test_{name}_v{family}", lambda self: self.check(evasion, family))


for entry in table():
    enter(*entry)
