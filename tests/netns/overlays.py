"""Networks on top of the laboratory's: VLAN 7 and VXLAN 42, in which hosts have addresses of their own."""

from lab import LabError, log_line

from .support import FAMILIES, PROGRAMS, PYTHON

VLAN_ID, VNI = 7, 42
# By device; {} is the host's number.
ADDRESSES = {"vlan7": ("10.107.0.{}", "fd07::{}"), "vxlan42": ("10.142.0.{}", "fd42::{}")}
PREFIX_LENGTHS = (24, 64)


def inside(device, host, family):
    """The host's address in an overlay."""
    return ADDRESSES[device][FAMILIES.index(family)].format(host.index + 1)


def make_vlan(host):
    name = "vlan7"
    try:
        host.run(["ip", "link", "add", "link", "eth0", "name", name, "type", "vlan", "id", VLAN_ID])
    except LabError:
        # The kernel has no such devices.
        host.start([PYTHON, PROGRAMS / "vlan.py", "eth0", VLAN_ID, name], name=name, ready=log_line("tags"))
    configure(host, name)


def make_vxlan(host, hosts):
    name = "vxlan42"
    host.run(["ip", "link", "add", name, "type", "vxlan", "id", VNI, "local", host.ipv4, "dstport", "4789", "dev", "eth0"])
    for other in hosts:
        if other is not host:
            host.run(["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", name, "dst", other.ipv4])
    configure(host, name)


def configure(host, device):
    for family, length in zip(FAMILIES, PREFIX_LENGTHS):
        address = f"{inside(device, host, family)}/{length}"
        host.run(["ip", "address", "add", address, "dev", device, *(["nodad"] if family == 6 else [])])
    host.run(["ip", "link", "set", device, "up"])
