"""Namespaces and links: hosts, the node between them and the switch behind it.

    [host eth0]──veth──[h0 =weir= b0]──veth──[p0 bridge p1]──veth──[b1 =weir= h1]──veth──[eth0 host]
     host's namespace   the node's            the switch's          the node's            host's

h and b are an inline pair of the node, so a packet between two hosts crosses DPDK twice: once at the
pair of its sender, once at that of its receiver.

A host that is outside has its link at the switch itself, and the node may have a card there, whose
other end is an interface that Weir makes for the machine it runs on:

    [host eth0]──veth──[bridge]──veth──[nic =weir= weir0]
     outside           the switch's     the node's, with the addresses of a machine

DPDK drives the links by af_packet; by pcap where fragments of IPv4 are to arrive as they were sent:
af_packet has the kernel put them together, and what comes out of that fits no frame.
"""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

from .processes import LabError, Process, run

IPV4_PREFIX, IPV6_PREFIX = "10.91.0.", "fd91::"
IPV4_LENGTH, IPV6_LENGTH = 24, 64
# A ring's frame: the kernel's header, Ethernet's with two tags, the packet. Not much more, since it
# must fit the node's buffers; and a block of whole pages holds exactly so many.
RING_OVERHEAD_BYTES = 66 + 22
FRAME_UNIT_BYTES, FRAMES_PER_BLOCK = 128, 32
# At a thousand packets a second room for two, should the machine not let a worker run for so long.
RING_BYTES = 4 << 20
NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000

# Addresses are usable at once and nothing speaks unasked, so that what is seen is what was started.
QUIET = {
    "net.ipv6.conf.{}.accept_ra": 0,
    "net.ipv6.conf.{}.autoconf": 0,
    "net.ipv6.conf.{}.accept_dad": 0,
    "net.ipv6.conf.{}.dad_transmits": 0,
    "net.ipv6.conf.{}.router_solicitations": 0,
}
# The node's own card, and the interface that stands for it.
CARD, HOST_INTERFACE = "nic", "weir0"
OFFLOADS = ["rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan"]


class Namespace:
    """A network namespace, and the processes that were started in it."""

    def __init__(self, name, logs, with_ipv6=True):
        self.name = name
        self.logs = Path(logs)
        self.processes = []
        run(["ip", "netns", "add", name])
        settings = [f"{key.format(scope)}={value}" for key, value in QUIET.items() for scope in ("all", "default")]
        if not with_ipv6:
            settings += [f"net.ipv6.conf.{scope}.disable_ipv6=1" for scope in ("all", "default")]
        settings.append("net.ipv4.ping_group_range=0 2147483647")
        self.run(["sysctl", "-q", "-w", *settings])
        self.run(["ip", "link", "set", "lo", "up"])

    def run(self, command, **options):
        """Runs a command here to its end; the options are those of processes.run."""
        return run(command, namespace=self.name, **options)

    def output(self, command, **options):
        """What a command says on standard output."""
        return self.run(command, **options).stdout

    def start(self, command, name=None, ready=None, timeout_s=20, **options):
        """Starts a program in the background and waits until `ready` (tcp, udp or log_line)."""
        name = name or Path(str(command[0])).name
        log = self.logs / f"{self.label}.{name}.log"
        process = Process(f"{self.label}/{name}", command, log, namespace=self.name, **options)
        self.processes.append(process)
        return process.wait_ready(ready, timeout_s) if ready else process

    @property
    def label(self):
        """The name without what tells laboratories apart."""
        return self.name.split("-", 2)[-1]

    def call(self, function, *arguments, **keywords):
        """Calls a Python function in a thread that is in this namespace: its sockets are, too."""
        outcome = []

        def inside():
            try:
                with open(NAMESPACES / self.name) as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), f"cannot enter namespace {self.name}")
                outcome.append((function(*arguments, **keywords), None))
            except BaseException as error:
                outcome.append((None, error))

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    def remove(self):
        """Stops what runs here, then removes the namespace and with it its links."""
        for process in reversed(self.processes):
            process.send(signal.SIGTERM)
        for process in reversed(self.processes):
            process.stop()
        remove_namespace(self.name)


class Addressed:
    """What has a place in the laboratory's network: one address of each family, and a MAC."""

    def place(self, index):
        self.ipv4 = f"{IPV4_PREFIX}{index + 1}"
        self.ipv6 = f"{IPV6_PREFIX}{index + 1:x}"
        self.mac = f"02:91:00:00:00:{index + 1:02x}"

    @property
    def addresses(self):
        return [self.ipv4, self.ipv6]

    def address(self, family):
        """family: 4 or 6."""
        return {4: self.ipv4, 6: self.ipv6}[family]


class Host(Addressed, Namespace):
    """A machine of the laboratory: eth0 with one address of each family."""

    def __init__(self, name, logs, index):
        super().__init__(name, logs)
        self.index = index
        self.place(index)

    def authority(self, family):
        """The address as a URL writes it."""
        return {4: self.ipv4, 6: f"[{self.ipv6}]"}[family]


class Machine(Addressed):
    """The machine that the node runs on, as others see it: the addresses of its card."""

    def __init__(self, namespace, index):
        self.namespace = namespace
        self.place(index)

    def remembered(self, mtu):
        """What weir host prepare would write down of the card's interface."""
        held = [{"address": self.ipv4, "prefix": IPV4_LENGTH}, {"address": self.ipv6, "prefix": IPV6_LENGTH}]
        route = {"network": "198.51.100.0", "prefix": 24, "gateway": f"{IPV4_PREFIX}1", "metric": 50}
        return {"interfaces": [{"name": CARD, "mac": self.mac, "mtu": mtu, "addresses": held, "routes": [route]}]}


class Infrastructure(Namespace):
    """The node's or the switch's namespace: it has links and no addresses."""

    def __init__(self, name, logs):
        super().__init__(name, logs, with_ipv6=False)


class Network:
    """All namespaces of one laboratory and the links between them."""

    def __init__(self, prefix, logs, mtu, driver="af_packet"):
        self.prefix = prefix
        self.logs = logs
        self.mtu = mtu
        self.driver = driver
        self.namespaces = []
        self.hosts = {}
        # The node's own machine, where it has a card.
        self.machine = None
        self.node = self.switch = None

    def build(self, host_names):
        self.node = self._add(Infrastructure(f"{self.prefix}-weir", self.logs))
        self.switch = self._add(Infrastructure(f"{self.prefix}-switch", self.logs))
        self.switch.run(["ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0", "stp_state", "0"])
        self.switch.run(["ip", "link", "set", "br0", "mtu", self.mtu, "up"])
        for index, name in enumerate(host_names):
            host = self.hosts[name] = self._add(Host(f"{self.prefix}-{name}", self.logs, index))
            self._attach(host)

    def _add(self, namespace):
        self.namespaces.append(namespace)
        return namespace

    def _attach(self, host):
        inner, outer, port = f"h{host.index}", f"b{host.index}", f"p{host.index}"
        self.link(host, "eth0", self.node, inner)
        self.link(self.node, outer, self.switch, port)
        self.switch.run(["ip", "link", "set", port, "master", "br0"])
        self._name(host)

    def _name(self, host):
        host.run(["ip", "link", "set", "eth0", "address", host.mac])
        host.run(["ip", "address", "add", f"{host.ipv4}/{IPV4_LENGTH}", "dev", "eth0"])
        host.run(["ip", "address", "add", f"{host.ipv6}/{IPV6_LENGTH}", "dev", "eth0", "nodad"])

    def add_outside(self, name):
        """A host that no inline pair stands before."""
        host = self.hosts[name] = self._add(Host(f"{self.prefix}-{name}", self.logs, len(self.hosts)))
        self.link(host, "eth0", self.switch, f"p{host.index}")
        self.switch.run(["ip", "link", "set", f"p{host.index}", "master", "br0"])
        self._name(host)
        return host

    def add_card(self):
        """The node's card at the switch, and the machine whose interface weir0 stands for it."""
        self.link(self.node, CARD, self.switch, "card")
        self.switch.run(["ip", "link", "set", "card", "master", "br0"])
        # The kernel hears what comes to the card as well: only weir0 is to answer.
        settings = [f"net.ipv4.conf.{CARD}.arp_ignore=1", f"net.ipv4.conf.{CARD}.rp_filter=1"]
        settings += [f"net.ipv6.conf.{scope}.disable_ipv6=0" for scope in ("default", "lo")]
        self.node.run(["sysctl", "-q", "-w", *settings])
        self.machine = Machine(self.node, len(self.hosts))
        self.node.run(["ip", "link", "set", CARD, "address", self.machine.mac])
        return self.machine

    def link(self, one, one_name, other, other_name):
        """Joins two namespaces by a pair of interfaces that behave like a wire."""
        run(["ip", "link", "add", one_name, "netns", one.name, "type", "veth", "peer", "name", other_name, "netns", other.name])
        for namespace, name in ((one, one_name), (other, other_name)):
            # The kernel would otherwise hand over segments larger than the link carries, without checksums.
            features = [word for offload in OFFLOADS for word in (offload, "off")]
            namespace.run(["ethtool", "-K", name, *features], check=False)
            namespace.run(["ip", "link", "set", name, "mtu", self.mtu, "promisc", "on", "up"])

    def virtual_devices(self, queues=1):
        """The node's ports for DPDK, in the order h0, b0, h1, b1 …: (device's name, arguments)."""
        links = [CARD] if self.machine else [f"{side}{host.index}" for host in self.hosts.values() for side in "hb"]
        return [(self._device(number), self._device_arguments(link, queues)) for number, link in enumerate(links)]

    def _device(self, number):
        return f"net_{self.driver}{number}"

    def _device_arguments(self, link, queues):
        if self.driver == "pcap":
            return f"rx_iface_in={link},tx_iface={link}"
        frame_bytes = -(-(self.mtu + RING_OVERHEAD_BYTES) // FRAME_UNIT_BYTES) * FRAME_UNIT_BYTES
        block_bytes = frame_bytes * FRAMES_PER_BLOCK
        ring = f"framesz={frame_bytes},blocksz={block_bytes},framecnt={RING_BYTES // block_bytes * FRAMES_PER_BLOCK}"
        return f"iface={link},{ring},qpairs={queues}"

    def pairs(self):
        """The inline pairs: (host's name, [port at the host, port at the switch])."""
        if self.machine:
            return [("uplink", [self._device(0), f"host:{HOST_INTERFACE}"])]
        return [(name, [self._device(2 * host.index), self._device(2 * host.index + 1)]) for name, host in self.hosts.items()]

    def remove(self):
        failures = []
        for namespace in reversed(self.namespaces):
            try:
                namespace.remove()
            except (LabError, OSError) as error:
                failures.append(str(error))
        # Also one that was being made when the laboratory was interrupted.
        for path in NAMESPACES.glob(f"{self.prefix}-*"):
            remove_namespace(path.name)
        if failures:
            raise LabError("not all of the laboratory could be removed:\n" + "\n".join(failures))


def process_ids(namespace):
    """Processes that still run in a namespace."""
    return [int(pid) for pid in run(["ip", "netns", "pids", namespace], check=False).stdout.split()]


def remove_namespace(name):
    """Removes a namespace; what still runs in it was started by the laboratory and is ended by its id."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 3
        for pid in process_ids(name):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        while process_ids(name) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not process_ids(name):
            break
    if (NAMESPACES / name).exists():
        run(["ip", "netns", "delete", name])
