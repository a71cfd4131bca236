"""Weir in a virtual machine: its programs, a policy from files, and a node that a supervisor starts again.

The node runs as its service has it: no root, three capabilities, hugepages, cards that weir host gave away.
"""

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.lab.weir import program
from tests.netns.support import documents

from . import guest
from .machine import Machine

CAPABILITIES = "+ipc_lock,+net_admin,+net_raw"
# What DPDK loads by itself, where it is built of shared libraries.
PLUGINS = ["librte_bus_pci", "librte_bus_vdev", "librte_mempool_ring", "librte_net_e1000", "librte_net_tap",
           "librte_net_virtio"]
MODULES = [*guest.MODULES, "virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "tun", "vhost_net"]
# Without authorities that it trusts, the controller does not start.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# A node that ends is started again, as systemd does it.
SUPERVISE = f"""#!/bin/sh
while :; do
    confined --reuid 998 --regid 997 --clear-groups --no-new-privs --inh-caps -all,{CAPABILITIES} \\
        --ambient-caps -all,{CAPABILITIES} --bounding-set -all,{CAPABILITIES} \\
        weir-node run --config /etc/node.toml >>/run/node.log 2>&1 &
    echo $! >/run/node.pid
    wait $!
    # Who took over from it is no child of this shell.
    while next=$(pidof weir-node); do echo $next >/run/node.pid; sleep 1; done
    sleep 1
done
"""
CONTROL = """#!/bin/sh
exec weir-controller --directory /etc/policy --state /run/controller --listen unix:/run/weir.sock \\
    --node-listen 127.0.0.1:7443 >>/run/controller.log 2>&1
"""
PREPARE = """
modprobe e1000e
modprobe igb
# What Debian's modprobe loads after vfio, busybox's does not.
modprobe vfio_iommu_type1
mkdir -p /run/weir
chown 998:997 /run/weir
export RUNTIME_DIRECTORY=/run/weir
"""
HAND_OVER = "weir host prepare --config /etc/node.toml --owner weir-node"
CONFIGURATION = """
[node]
name = "guest"
state_directory = "/var/lib/node"
stuck_after_ms = 3000
[eal]
devices = [%s]
""" + guest.SMALL_NODE + """\
[inspection]
shipped_rules = false
[controller]
address = "http://127.0.0.1:7443"
[[pair]]
name = "uplink"
ports = [%s]
"""


def plugins():
    """DPDK's plugins by their paths; none where it is linked in."""
    directories = sorted(Path("/usr/lib").glob("*-linux-gnu/dpdk/pmds-*"))
    found = {}
    for directory in directories:
        for name in PLUGINS:
            found.update((str(path), path) for path in directory.glob(f"{name}.so.*.*"))
    return found


@cache
def stripped(name):
    """A program without its symbols, which a guest would have to load."""
    directory = Path(tempfile.mkdtemp(prefix="weir-vm-programs-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    target = directory / name
    if shutil.which("strip") is None:
        return program(name)
    subprocess.run(["strip", "-o", target, program(name)], check=True, capture_output=True)
    return target


# What a machine with services does at its start, once they are enabled.
ON_DISK = f"""
for module in virtio_pci virtio_blk crc32c_generic ext4; do modprobe $module; done
mount -t ext4 /dev/vda /var/lib
if [ -e /var/lib/enabled ]; then
    {HAND_OVER}
    sh /bin/supervise >/run/supervise.log 2>&1 &
fi
"""


class Appliance(Machine):
    """Started with its ports and its policy; what comes in by a card and may pass leaves by the other."""

    def __init__(self, ports, devices, policy=(), init="", options="", **machine):
        files = {
            "etc/passwd": "root:x:0:0:root:/:/bin/sh\nweir-node:x:998:997::/:/bin/false\n",
            "etc/node.toml": CONFIGURATION % (quoted(devices), quoted(ports)) + options,
            "etc/policy/policy.yaml": documents(*policy),
            "bin/supervise": SUPERVISE,
            "bin/control": CONTROL,
        }
        programs = {
            "usr/bin/weir": stripped("weir"),
            "usr/bin/weir-node": stripped("weir-node"),
            "usr/bin/weir-controller": stripped("weir-controller"),
            "usr/sbin/ip": shutil.which("ip"),
            # Not by its own name, which busybox takes for its own.
            "usr/bin/confined": shutil.which("setpriv"),
            **plugins(),
        }
        if CERTIFICATES.exists():
            files[str(CERTIFICATES)] = CERTIFICATES.read_text()
        super().__init__(programs, files, PREPARE + init, modules=MODULES, **machine)

    def start(self, prepare=""):
        """Gives the cards to the node, and starts it and its controller; returns when policy is in force."""
        self.do(f"{HAND_OVER} {prepare}")
        # As udev has it.
        self.do("[ ! -e /dev/net/tun ] || chmod 666 /dev/net/tun")
        self.do("mkdir -p /var/lib/node && chown 998:997 /var/lib/node")
        self.do("sh /bin/control & echo $! >/run/controller.pid")
        self.do("sh /bin/supervise >/run/supervise.log 2>&1 & echo $! >/run/supervise.pid")
        self.in_force()

    def in_force(self):
        """Waits until the node enforces a policy."""
        self.until("grep -q 'policy in force' /run/node.log", "policy is in force")

    def put_in_force(self, *policy):
        """Another policy, on the node."""
        before = self.do("grep -c 'policy in force' /run/node.log || true").strip()
        self.write("/etc/policy/policy.yaml", documents(*policy))
        self.until(f"[ $(grep -c 'policy in force' /run/node.log) -gt {before} ]", "the new policy is in force")

    def stop_node(self):
        """In good order; its last words."""
        self.do("kill $(cat /run/supervise.pid); kill -TERM $(cat /run/node.pid)")
        self.until("tail -n 1 /run/node.log | grep -q 'has stopped'", "the node stops")
        return self.do("tail -n 1 /run/node.log")


def quoted(words):
    return ", ".join(f'"{word}"' for word in words)
