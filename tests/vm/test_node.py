"""weir-node as its service runs it: no root, three capabilities, hugepages, and two cards that weir host gave to
vfio-pci and to its user.

    python3 -m unittest tests.vm.test_node -v
"""

import shutil
import unittest

from tests.lab.weir import program

from . import guest
from .appliance import CAPABILITIES, plugins

SCRIPT = f"""
modprobe e1000e
part() {{ name=$1; shift; echo "part $name"; "$@" 2>&1; echo "exit $?"; }}
export NO_COLOR=1 RUNTIME_DIRECTORY=/run/weir
mkdir -p /run/weir /var/lib/node
chown 998:997 /run/weir /var/lib/node
ip link set lo up
part prepare weir host prepare --config /etc/node.toml --owner weir-node
# What Debian's modprobe loads after vfio, busybox's does not.
modprobe vfio_iommu_type1
touch /run/node.log
# Ended once it is ready, or if it never is.
(
    seconds=0
    until grep -q 'weir-node is ready' /run/node.log || [ $seconds = 120 ]; do seconds=$((seconds + 1)); sleep 1; done
    kill -TERM $(pidof weir-node)
) &
node() {{ confined --reuid 998 --regid 997 --clear-groups --no-new-privs \\
    --inh-caps -all,{CAPABILITIES} --ambient-caps -all,{CAPABILITIES} --bounding-set -all,{CAPABILITIES} \\
    weir-node run --config /etc/node.toml >/run/node.log; code=$?; cat /run/node.log; return $code; }}
part node node
part restore weir host restore
"""
FILES = {
    "etc/passwd": "root:x:0:0:root:/:/bin/sh\nweir-node:x:998:997::/:/bin/false\n",
    "etc/node.toml": """[node]
name = "guest"
state_directory = "/var/lib/node"
[eal]
devices = ["0000:02:00.0", "0000:03:00.0"]
""" + guest.SMALL_NODE + """\
[inspection]
shipped_rules = false
[[pair]]
name = "uplink"
ports = ["0000:02:00.0", "0000:03:00.0"]
""",
}


class Node(guest.Parts):
    @classmethod
    def setUpClass(cls):
        guest.emulator()
        programs = {
            "usr/bin/weir": program("weir"),
            "usr/bin/weir-node": program("weir-node"),
            # Not by its own name, which busybox takes for its own.
            "usr/bin/confined": shutil.which("setpriv"),
            **plugins(),
        }
        cls.play(SCRIPT, programs, FILES, memory_mb=2048)

    def test_it_runs_on_cards_without_root(self):
        text, code = self.part("prepare")
        self.assertEqual(code, 0, text)
        text, _ = self.part("node")
        self.assertIn("DPDK memory: hugepages", text)
        self.assertRegex(text, r"weir-node is ready")
        self.assertRegex(text, r"weir-node has stopped .*balanced=true")

    def test_the_cards_go_back_when_it_has_ended(self):
        text, code = self.part("restore")
        self.assertEqual(code, 0, text)
        self.assertIn("0000:02:00.0: from vfio-pci to e1000e (interface eth1)", text)
        self.assertIn("0000:03:00.0: from vfio-pci to e1000e (interface eth2)", text)


if __name__ == "__main__":
    unittest.main()
