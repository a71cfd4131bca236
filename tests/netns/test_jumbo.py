"""Links that carry 9000 bytes: whole packets, fragments of more, and a transfer."""

import unittest

from lab import tcp, udp

from . import support
from .support import FAMILIES, PROGRAMS, PYTHON, says, with_programs

MTU, HEADERS = 9000, {4: 28, 6: 48}
LAB = None


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab("client", "stranger", "server", mtu=MTU)
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB))
    LAB.write_policy("server.yaml", support.allowlist("server", ingress=["from: [{workload: client}]"]))
    LAB.start_controller()
    LAB.start_node()


@support.here_only
class Jumbo(unittest.TestCase):
    @with_programs("ping")
    def test_the_largest_packet_passes_unfragmented(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                address, size = LAB.hosts["server"].address(family), str(MTU - HEADERS[family])
                self.assertEqual(support.ping(LAB.hosts["client"], address, "-M", "do", "-s", size, count=3), 3)
                self.assertEqual(support.ping(LAB.hosts["stranger"], address, "-M", "do", "-s", size), 0)

    def test_transfer(self):
        server = LAB.hosts["server"]
        process = server.start([PYTHON, PROGRAMS / "transfer.py", "serve", "9000", 8], name="transfer", ready=tcp(9000))
        self.addCleanup(process.stop)
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertIn("identical", says(LAB.hosts["client"], [PYTHON, PROGRAMS / "transfer.py", "fetch", server.address(family), "9000"]))

    def test_datagram_of_the_largest_packet(self):
        server = LAB.hosts["server"]
        process = server.start([PYTHON, PROGRAMS / "echo.py", "serve", "7007"], name="echo", ready=udp(7007))
        self.addCleanup(process.stop)
        for family in FAMILIES:
            with self.subTest(family=family):
                ask = [PYTHON, PROGRAMS / "echo.py", "ask", server.address(family), "7007", MTU - HEADERS[family]]
                self.assertIn("identical", says(LAB.hosts["client"], ask))
                self.assertEqual(says(LAB.hosts["stranger"], ask), "")
