"""A machine with one card: its kernel's own sockets behind weir0, made with vhost-net.

    python3 -m unittest tests.vm.test_host_interface -v
"""

import time
import unittest

from tests.netns import raw
from tests.netns.support import allowlist, mode, workload

from . import guest
from .appliance import Appliance
from .machine import PATIENCE_S
from .outside import AGAIN_S, Host

CARD = "0000:01:00.0"
MTU = 9000
CLIENT = ("52:54:00:00:01:01", "192.0.2.1", "2001:db8::1")
MACHINE = (guest.mac(0), "192.0.2.2", "2001:db8::2")
HTTP, FORBIDDEN = 80, 6000
SIZE = 300_000
FAMILIES = (4, 6)
# Of IP and of an echo.
HEADERS = {4: 28, 6: 48}
# What the card's interface has when weir host comes for it. By itself the shell would take its own ip.
INTERFACE = f"""
/usr/sbin/ip link set eth0 mtu {MTU} up
/usr/sbin/ip address add {MACHINE[1]}/24 dev eth0
/usr/sbin/ip address add {MACHINE[2]}/64 dev eth0 nodad
/usr/sbin/ip route add default via {CLIENT[1]}
"""


def policy():
    any_way = {"ingress": ["from: [{any: true}]"], "egress": ["to: [{any: true}]"]}
    rules = [f"from: [{{workload: client}}], applications: [http], ports: [{HTTP}]",
             "from: [{workload: client}], applications: [icmp]"]
    return [
        workload("client", CLIENT[1:]), mode("client"), allowlist("client", **any_way),
        workload("machine", MACHINE[1:]), mode("machine"), allowlist("machine", ingress=rules),
    ]


class HostInterface(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        guest.emulator()
        machine = Appliance([CARD, "host:weir0"], [CARD], policy(), INTERFACE, f"mtu = {MTU}\n", cards=["e1000e"])
        cls.machine = machine
        cls.addClassCleanup(machine.stop)
        cls.prepared = machine.do("weir host prepare --config /etc/node.toml --owner weir-node --force")
        machine.start()
        machine.do(f"head -c {SIZE} /dev/urandom >/tmp/random && (cd /tmp && sha256sum random)")
        machine.do(f"httpd -p {HTTP} -h /tmp; httpd -p {FORBIDDEN} -h /tmp")
        cls.client, cls.itself = Host(machine.cards[0], *CLIENT), Host(machine.cards[0], *MACHINE)
        # The machine's kernel asks for the client's address now and then.
        machine.cards[0].hosts = [cls.client]
        for family in FAMILIES:
            kind = {4: b"\x08\x06", 6: b"\x86\xdd"}[family]
            found = cls.answer(cls.client.asks_for(cls.itself, family), lambda it: it[12:14] == kind)
            assert found, f"nobody answers by family {family}\n{machine.logs()}"

    @classmethod
    def answer(cls, frame, fits):
        """What comes back to the client; it asks again while nothing does."""
        card = cls.machine.cards[0]
        card.drain()
        found, deadline = None, time.monotonic() + PATIENCE_S
        while found is None and time.monotonic() < deadline:
            card.send(frame)
            found = card.finds(lambda it: it[:6] == raw.mac(CLIENT[0]) and fits(it), AGAIN_S)
        return found

    def ping(self, family, size=56):
        # Of the kernel's answer only what it copied is known.
        tail = self.itself.ping(self.client, 9, family, answer=True, size=size)[-size:]
        return self.answer(self.client.ping(self.itself, 9, family, size=size), lambda it: it.endswith(tail)) is not None

    def fetch(self, family):
        """A file from the machine's own server."""
        side, deadline = self.client.to(self.itself, HTTP, family), time.monotonic() + PATIENCE_S
        while not side.open():
            self.assertLess(time.monotonic(), deadline, "the server does not answer")
        request = b"GET /random HTTP/1.0\r\nHost: machine.example\r\n\r\n"
        side.said = len(request)
        while not side.received:
            self.assertLess(time.monotonic(), deadline, "the server does not answer the request")
            side.say(request)
            side.wait(lambda: side.received or side.was_reset, AGAIN_S)
        side.wait(lambda: side.finished or side.was_reset, PATIENCE_S)
        return side.received

    def test_it_has_what_the_card_had(self):
        self.assertIn(f"eth0 goes; weir-node puts {MACHINE[1]}/24, {MACHINE[2]}/64 and a route on weir0", self.prepared)
        log = self.machine.do("cat /run/node.log")
        self.assertRegex(log, r'host interface made interface="weir0" by="vhost-net"')
        found = self.machine.do("ip address show weir0; ip route; ls /sys/class/net")
        for words in (f"mtu {MTU}", f"link/ether {MACHINE[0]}", f"inet {MACHINE[1]}/24", f"inet6 {MACHINE[2]}/64",
                      f"default via {CLIENT[1]} dev weir0"):
            self.assertIn(words, found)
        self.assertNotIn("eth0", found)

    def test_pings(self):
        for family in FAMILIES:
            for size in (56, MTU - HEADERS[family]):
                with self.subTest(family=family, size=size):
                    self.assertTrue(self.ping(family, size))

    def test_its_server_is_reached_where_policy_allows_it(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                received = self.fetch(family)
                self.assertIn(b"200 OK", received[:40])
                _, _, body = received.partition(b"\r\n\r\n")
                self.assertEqual(len(body), SIZE)
                self.assertFalse(self.client.to(self.itself, FORBIDDEN, family).open())

    def test_the_carrier_follows_the_wire(self):
        self.machine.hardware("set_link", name="card0", up=False)
        try:
            self.machine.until("[ $(cat /sys/class/net/weir0/carrier) = 0 ]", "weir0 loses its carrier")
        finally:
            self.machine.hardware("set_link", name="card0", up=True)
        self.machine.until("[ $(cat /sys/class/net/weir0/carrier) = 1 ]", "weir0 has its carrier again")

    def test_the_doctor_tells_of_it(self):
        text, _ = self.machine.run("weir doctor --config /etc/node.toml")
        self.assertRegex(text, r"ok +vhost-net: /dev/vhost-net is there")
        self.assertRegex(text, rf"ok +host interface weir0: stands for {CARD} \(eth0\): {MACHINE[1]}/24")

    def test_zz_restore_gives_the_card_its_addresses_back(self):
        """The last by its name: it ends the node."""
        self.machine.stop_node()
        self.machine.do("weir host restore")
        found = self.machine.do("ip address show eth0; ip route")
        for words in (f"mtu {MTU}", f"inet {MACHINE[1]}/24", f"inet6 {MACHINE[2]}/64", f"default via {CLIENT[1]} dev eth0"):
            self.assertIn(words, found)


if __name__ == "__main__":
    unittest.main()
