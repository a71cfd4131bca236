"""Packets that somebody wants to see: of a workload by hand, of a connection by a rule, as files that
tshark reads."""

import subprocess
import unittest
from pathlib import Path

from lab import wait_until

from . import support
from .support import PYTHON, allowlist, document, with_programs

LAB = None
CAPTURES = "captures"
RULE = """
  when: {violation: {results: [denied]}}
  actions: [{capture: {of: workload, packets: 20, duration: 30s}}]
  suppress: {for: 1h}
"""


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab("client", "server")
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB))
    LAB.write_policy("server.yaml", allowlist("server", ingress=["from: [{workload: client}], applications: [icmp]"]))
    LAB.start_controller()
    LAB.start_node(capture={"directory": str(LAB.directory / CAPTURES)})


def captures(**wanted):
    """The captures with these values, newest last."""
    found = LAB.weir("capture", "list")["captures"]
    return [it for it in found if all(it[key] == value for key, value in wanted.items())]


def packets(path, *fields):
    """What tshark reads in a file: these fields of each packet."""
    words = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(path), "-T", "fields", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in result.stdout.splitlines()]


@support.here_only
@with_programs("tshark", "capinfos")
class OfPackets(unittest.TestCase):
    def fetched(self, capture_id):
        """The file of a capture, brought to a directory of this test."""
        to = LAB.directory / f"fetched-{capture_id}"
        to.mkdir()
        files = LAB.weir("capture", "fetch", capture_id, "--to", to)["files"]
        self.assertEqual(len(files), 1, files)
        return Path(files[0]["path"])

    def test_a_workload_by_hand(self):
        """What is said to it and what it answers stands in the file, each with what became of it."""
        client, server = LAB.hosts["client"], LAB.hosts["server"]
        started = LAB.weir("capture", "start", "--workload", "test/server", "--packets", 6, "--because", "a test")
        capture_id = started["captures"][0]["id"]
        wait_until(lambda: captures(id=capture_id, state="running"), "the node captures", 10, 0.1)
        self.assertEqual(support.ping(client, server.ipv4, count=5), 5)
        done = wait_until(lambda: captures(id=capture_id, state="done"), "six packets are captured", 10, 0.1)[0]
        self.assertEqual((done["packets"], done["by"], done["lost"]), (6, "operator", 0))
        path = self.fetched(capture_id)
        read = packets(path, "icmp.type", "ip.src", "frame.comment", "frame.interface_name")
        pings = [row for row in read if row[0]]
        self.assertGreaterEqual(len(pings), 4, read)
        self.assertEqual({row[0] for row in pings}, {"0", "8"})
        for row in pings:
            self.assertRegex(row[2], r"^flow \d+, forwarded$")
            self.assertTrue(row[3])
        said = subprocess.run(["capinfos", path], capture_output=True, text=True, check=True).stdout
        self.assertIn("a test", said)
        self.assertIn("nanoseconds", said)

    def test_a_rule(self):
        """A denial has the next tries captured, with the reason why they were dropped."""
        client, server = LAB.hosts["client"], LAB.hosts["server"]
        # It makes no version: nodes have nothing to do with rules.
        LAB.write_policy("rule.yaml", document("ResponseRule", "keep", RULE))
        wait_until(lambda: "keep" in str(LAB.weir("policy", "list")), "the controller reads the rule", 20, 0.1)
        self.connect(client, server.ipv4)
        capture = wait_until(lambda: captures(by="test/keep", state="running"), "the rule has packets captured", 10, 0.1)[0]
        self.connect(client, server.ipv4)
        wait_until(lambda: captures(id=capture["id"])[0]["packets"], "packets come", 10, 0.1)
        LAB.weir("capture", "stop", capture["id"])
        wait_until(lambda: captures(id=capture["id"], state="done"), "the capture is over", 10, 0.1)
        read = packets(self.fetched(capture["id"]), "tcp.dstport", "frame.comment")
        self.assertTrue([row for row in read if row[0] == "8080" and "dropped: " in row[1]], read)

    def connect(self, client, address):
        program = f"import socket; socket.create_connection(({str(address)!r}, 8080), 2)"
        client.run([PYTHON, "-c", program], check=False, timeout_s=20)


if __name__ == "__main__":
    unittest.main()
