"""What carries packets: VLAN tags, VXLAN, fragments, ICMP errors. Policy judges what is carried.

Each overlay (VLAN 7, VXLAN 42) has networks of its own, in which client and stranger have addresses
beside those of eth0; stranger is not on the server's allowlist.
"""

import unittest

from lab import udp

from . import overlays, support
from .support import FAMILIES, ICMP, PROGRAMS, PYTHON, document, documents, says, with_programs

LAB = None
HOSTS = ("client", "stranger", "server")
# Behind the server, over a link that carries less.
BEYOND, BEYOND_MTU = ("10.93.0.1", "fd93::1"), 1400
ECHO_PORT = 7007
# IPv4 header or IPv6 header, and ICMP's or UDP's.
HEADERS = {4: 28, 6: 48}


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab(*HOSTS, driver="pcap")
    addresses = {name: [overlays.inside(device, LAB.hosts[name], family) for device in overlays.ADDRESSES for family in FAMILIES] for name in HOSTS}
    addresses["server"] += BEYOND
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB, **addresses))
    LAB.write_policy("server.yaml", support.allowlist("server", ingress=["from: [{workload: client}]"]))
    LAB.start_controller()
    LAB.start_node()
    for host in LAB.hosts.values():
        overlays.make_vlan(host)
        overlays.make_vxlan(host, LAB.hosts.values())
    LAB.hosts["server"].start([PYTHON, PROGRAMS / "echo.py", "serve", ECHO_PORT], name="echo", ready=udp(ECHO_PORT))


def echo(host, address, size=1000):
    """Whether a datagram of this size comes back as it was sent."""
    return "identical" in says(host, [PYTHON, PROGRAMS / "echo.py", "ask", address, ECHO_PORT, size])


@support.here_only
class Overlays(unittest.TestCase):
    """Allowed and denied by the inner packet."""

    def check(self, device, zone_kind):
        client, stranger = LAB.hosts["client"], LAB.hosts["stranger"]
        for family in FAMILIES:
            with self.subTest(family=family):
                address = overlays.inside(device, LAB.hosts["server"], family)
                self.assertEqual(support.ping(client, address, count=3), 3)
                self.assertTrue(echo(client, address))
                # Full frames of the overlay, and fragments of it.
                mtu = int(says(client, ["cat", f"/sys/class/net/{device}/mtu"]))
                self.assertTrue(echo(client, address, mtu - HEADERS[family]))
                self.assertTrue(echo(client, address, 4000))
                self.assertEqual(support.ping(stranger, address), 0)
                self.assertFalse(echo(stranger, address))
                event = support.wait_for_drop(LAB, overlays.inside(device, LAB.hosts["stranger"], family), address, ECHO_PORT)
                self.assertEqual((event["weir"]["client"], event["weir"]["server"]), ("test/stranger", "test/server"))
                self.assertEqual(event["weir"]["zone"] >> 24 & 3, zone_kind)

    @with_programs("ping")
    def test_vlan(self):
        self.check("vlan7", zone_kind=1)

    @with_programs("ping", "bridge")
    def test_vxlan(self):
        self.check("vxlan42", zone_kind=3)


@support.here_only
@with_programs("ping")
class Fragments(unittest.TestCase):
    def test_ping_of_4000_bytes(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                address = LAB.hosts["server"].address(family)
                self.assertEqual(support.ping(LAB.hosts["client"], address, "-s", "4000", count=5), 5)
                self.assertEqual(support.ping(LAB.hosts["stranger"], address, "-s", "4000"), 0)

    def test_datagrams_of_8000_bytes(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                address = LAB.hosts["server"].address(family)
                self.assertTrue(echo(LAB.hosts["client"], address, 8000))
                self.assertTrue(echo(LAB.hosts["client"], address, 60000))
                self.assertFalse(echo(LAB.hosts["stranger"], address, 8000))
                support.wait_for_drop(LAB, LAB.hosts["stranger"].address(family), address, ECHO_PORT)


@support.here_only
@with_programs("ping")
class Errors(unittest.TestCase):
    """ICMP errors about an allowed flow reach its client."""

    @classmethod
    def setUpClass(cls):
        server = LAB.hosts["server"]
        server.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        server.run(["ip", "link", "add", "beyond", "type", "veth", "peer", "name", "end"])
        server.run(["ip", "link", "set", "end", "up"])
        server.run(["ip", "link", "set", "beyond", "mtu", BEYOND_MTU, "up"])
        for family, network in zip(FAMILIES, ("10.93.0.0/24", "fd93::/64")):
            server.run(["ip", f"-{family}", "route", "add", network, "dev", "beyond"])
            for name in ("client", "stranger"):
                LAB.hosts[name].run(["ip", f"-{family}", "route", "add", network, "via", server.address(family)])

    def errors(self, name, family):
        command = ["ping", "-n", "-c", "2", "-i", "0.3", "-W", "2", "-M", "do", "-s", "1420", BEYOND[FAMILIES.index(family)]]
        result = LAB.hosts[name].run(command, check=False)
        return result.stdout + result.stderr

    def test_too_big_is_told_with_the_mtu_of_the_path(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertRegex(self.errors("client", family), rf"mtu\s*[=:]\s*{BEYOND_MTU}")
                self.assertNotRegex(self.errors("stranger", family), "mtu")

    def test_a_closed_port_is_told_at_once(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                address = LAB.hosts["server"].address(family)
                ask = [PYTHON, PROGRAMS / "echo.py", "ask", address, ECHO_PORT + 1, 100]
                self.assertIn("ConnectionRefusedError", LAB.hosts["client"].run(ask, check=False).stderr)
                self.assertIn("TimeoutError", LAB.hosts["stranger"].run(ask, check=False).stderr)
