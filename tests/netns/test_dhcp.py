"""DHCP over both families, allowed and denied. Who asks has no address yet and asks everybody: what
policy can name is the group address that is asked, so that is the workload here.
"""

import unittest

from lab import udp

from . import support
from .support import PROGRAMS, PYTHON, says, with_programs

LAB = None
OTHER_SERVER_PORT, OTHER_CLIENT_PORT = 1067, 1068


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab("client", "server")
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB))
    LAB.write_policy("everybody.yaml", everybody("dhcp, dhcpv6"))
    LAB.start_controller()
    LAB.start_node()


def everybody(applications):
    """The group addresses as a workload that may be asked in these applications only."""
    rule = f"from: [{{any: true}}], applications: [{applications}]"
    return support.documents(
        support.workload("everybody", ["255.255.255.255", "ff02::1:2"]),
        support.mode("everybody"),
        support.allowlist("everybody", ingress=[rule]),
    )


@support.here_only
class Dhcp(unittest.TestCase):
    def serve(self, *flags, port=67):
        server = LAB.hosts["server"]
        command = ["dnsmasq", "-k", "-C", "/dev/null", "-u", "root", "--pid-file=", "-p", "0", "--interface=eth0", "--no-ping", "--log-dhcp"]
        process = server.start([*command, f"--dhcp-leasefile={LAB.directory / 'leases'}", *flags], name=f"dhcp{port}", ready=udp(port))
        self.addCleanup(process.stop)

    def check(self, ask, expected, application="dhcp"):
        self.assertIn(expected, ask())
        # Another application than the one that is allowed: what is recognised is denied.
        support.put_in_force(LAB, "everybody.yaml", everybody("ntp"))
        self.addCleanup(support.put_in_force, LAB, "everybody.yaml", everybody("dhcp, dhcpv6"))
        self.assertEqual(ask(), "")
        denials = [event for event in LAB.programs.events() if event["event_type"] == "drop"]
        self.assertIn(application, {event["app_proto"] for event in denials if event["weir"]["server"] == "test/everybody"})

    def ask(self, *words):
        return says(LAB.hosts["client"], [PYTHON, PROGRAMS / "dhcp.py", *words])

    def take_lease(self):
        script = LAB.directory / "lease.sh"
        script.write_text('#!/bin/sh\n[ "$1" != bound ] || echo "$ip"\n')
        script.chmod(0o755)
        command = ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "2", "-T", "2", "-s", script]
        return says(LAB.hosts["client"], command)

    @with_programs("dnsmasq", "udhcpc")
    def test_dhcp_ipv4(self):
        self.serve("--dhcp-range=10.91.0.200,10.91.0.210,255.255.255.0,1h")
        self.check(self.take_lease, "10.91.0.2")

    @with_programs("dnsmasq")
    def test_dhcp_ipv4_on_other_ports(self):
        ports = f"--dhcp-alternate-port={OTHER_SERVER_PORT},{OTHER_CLIENT_PORT}"
        self.serve("--dhcp-range=10.91.0.200,10.91.0.210,255.255.255.0,1h", ports, port=OTHER_SERVER_PORT)
        self.check(lambda: self.ask("4", "eth0", OTHER_SERVER_PORT, OTHER_CLIENT_PORT), "10.91.0.2")

    @with_programs("dnsmasq")
    def test_dhcp_ipv6(self):
        self.serve("--dhcp-range=fd91::1000,fd91::10ff,64,1h", port=547)
        self.check(lambda: self.ask("6", "eth0", 547, 546), "fd91::10", "dhcpv6")
