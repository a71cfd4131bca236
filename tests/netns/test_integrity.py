"""What passes is bit-identical: large transfers, lines that lose and reorder, connections kept alive.

WEIR_TRANSFER_MB   size of the large transfer over IPv4, 1024 unless told; a quarter of it over IPv6
"""

import os
import unittest

from lab import CommandFailed, log_line, tcp

from . import support
from .support import FAMILIES, PROGRAMS, PYTHON

LARGE_MB = int(os.environ.get("WEIR_TRANSFER_MB", "1024"))
# Over a line that loses a tenth each way TCP is slow: enough for a thousand repairs.
BAD_LINE_MB = 8
LOSS_PERCENT, REORDER_PERCENT = 10, 10
# By family: port and size.
LARGE = {4: (9004, LARGE_MB), 6: (9006, max(1, LARGE_MB // 4))}
BAD_LINE_PORT, HTTP_PORT = 9000, 8080
LARGE_TIMEOUT_S = 600
LAB = None


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab("client", "server")
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB))
    page = "applications: [http], when: [{field: http.path, prefix: [/index]}]"
    rules = [f"from: [{{workload: client}}], ports: [\"9000-9006\"]", f"from: [{{workload: client}}], ports: [{HTTP_PORT}], {page}"]
    LAB.write_policy("server.yaml", support.allowlist("server", ingress=rules))
    LAB.start_controller()
    LAB.start_node()
    server = LAB.hosts["server"]
    for port, megabytes in (*LARGE.values(), (BAD_LINE_PORT, BAD_LINE_MB)):
        server.start([PYTHON, PROGRAMS / "transfer.py", "serve", port, megabytes], name=f"transfer{port}", ready=tcp(port))
    files = LAB.directory / "files"
    files.mkdir()
    for name in ("index.html", "secret.html"):
        (files / name).write_text(name * 500)
    command = [PYTHON, "-m", "http.server", HTTP_PORT, "--bind", "::", "--protocol", "HTTP/1.1", "--directory", files]
    server.start(command, name="http", ready=tcp(HTTP_PORT))


def fetch(family, port, **options):
    address = LAB.hosts["server"].address(family)
    return LAB.hosts["client"].output([PYTHON, PROGRAMS / "transfer.py", "fetch", address, port], **options)


def requests(family, count, path):
    """Requests answered on one connection."""
    address = LAB.hosts["server"].address(family)
    said = LAB.hosts["client"].output([PYTHON, PROGRAMS / "keep_alive.py", address, HTTP_PORT, count, path], timeout_s=120)
    return int(said.split()[-1])


@support.here_only
class GoodLine(unittest.TestCase):
    def test_large_transfer(self):
        for family in FAMILIES:
            port, megabytes = LARGE[family]
            with self.subTest(family=family, megabytes=megabytes):
                said = fetch(family, port, timeout_s=LARGE_TIMEOUT_S)
                self.assertIn(f"identical: {megabytes << 20} bytes", said)

    def test_connection_kept_alive(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertEqual(requests(family, 300, "/index.html"), 300)
                self.assertEqual(requests(family, 3, "/secret.html"), 0)


@support.here_only
class BadLine(unittest.TestCase):
    """A tenth of all frames is lost each way between the two pairs, others are overtaken."""

    @classmethod
    def setUpClass(cls):
        try:
            cls.impair_by_netem()
        except CommandFailed:
            cls.impair_by_program()

    @classmethod
    def impair_by_netem(cls):
        switch = LAB.network.switch
        for port in ("p0", "p1"):
            words = ["delay", "2ms", "loss", f"{LOSS_PERCENT}%", "reorder", f"{100 - REORDER_PERCENT}%"]
            switch.run(["tc", "qdisc", "add", "dev", port, "root", "netem", *words])
            cls.addClassCleanup(switch.run, ["tc", "qdisc", "delete", "dev", port, "root"])

    @classmethod
    def impair_by_program(cls):
        # The kernel has no netem: frames of p0 go through a program on their way to the bridge.
        switch = LAB.network.switch
        switch.run(["ip", "link", "add", "near", "type", "veth", "peer", "name", "far"])
        cls.addClassCleanup(switch.run, ["ip", "link", "delete", "near"])
        for name in ("near", "far"):
            switch.run(["ethtool", "-K", name, "tx", "off", "rx", "off"], check=False)
            switch.run(["ip", "link", "set", name, "mtu", LAB.mtu, "up"])
        switch.run(["ip", "link", "set", "p0", "nomaster"])
        cls.addClassCleanup(switch.run, ["ip", "link", "set", "p0", "master", "br0"])
        switch.run(["ip", "link", "set", "far", "master", "br0"])
        line = switch.start([PYTHON, PROGRAMS / "line.py", "p0", "near", LOSS_PERCENT, REORDER_PERCENT], name="line", ready=log_line("carries"))
        cls.addClassCleanup(line.stop)

    def test_the_line_is_bad(self):
        received = support.ping(LAB.hosts["client"], LAB.hosts["server"].ipv4, count=40)
        self.assertLess(received, 40)

    def test_transfer(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                said = fetch(family, BAD_LINE_PORT, timeout_s=240)
                self.assertIn(f"identical: {BAD_LINE_MB << 20} bytes", said)

    def test_connection_kept_alive(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertEqual(requests(family, 60, "/index.html"), 60)
                self.assertEqual(requests(family, 3, "/secret.html"), 0)
