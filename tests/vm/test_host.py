"""weir doctor and weir host on a machine with cards, drivers, an IOMMU and vfio that are real to the kernel.

    python3 -m unittest tests.vm.test_host -v
"""

import json
import unittest

from tests.lab.weir import program

from . import guest

# Each section's output stands behind its name.
SCRIPT = """
modprobe e1000e
for name in eth0 eth1 eth2; do ip link set $name up; done
# Cards take their time to find their links.
seconds=0
while [ "$(cat /sys/class/net/eth1/carrier)" != 1 ] && [ $seconds -lt 90 ]; do seconds=$((seconds + 1)); sleep 1; done
export NO_COLOR=1
ip address add 192.0.2.1/24 dev eth0
ip route add default via 192.0.2.254
part() { name=$1; shift; echo "part $name"; "$@" 2>&1; echo "exit $?"; }
drivers() {
    for one in /sys/bus/pci/devices/*; do
        case $(cat $one/class) in
        0x020000) echo "$(basename $one) $(basename $(readlink $one/driver)) $(cat $one/driver_override)" ;;
        esac
    done
    ls /sys/class/net | grep -v lo | tr '\\n' ' '
    cat /proc/sys/vm/nr_hugepages
    ls -n /dev/vfio | awk 'NR > 1 { print $3, $4, $NF }'
}
card=$(basename $(readlink -f /sys/class/net/eth1/device))
part before drivers
part doctor weir doctor --config /etc/node.toml --json
part needed weir host prepare --device eth0 --memory-mb 64
part dry weir host prepare --device eth1 --memory-mb 64 --owner weir-node --dry-run
part untouched drivers
part prepare weir host prepare --device eth1 --memory-mb 64 --owner weir-node
part prepared drivers
part again weir host prepare --device $card --memory-mb 64 --owner weir-node
sleep 1000 3</dev/vfio/vfio 4<>/dev/vfio/$(basename $(readlink /sys/bus/pci/devices/$card/iommu_group)) &
held=$!
sleep 1
part held weir host restore
kill $held
wait $held 2>/dev/null
part restore weir host restore
part restored drivers
"""
FILES = {
    "etc/passwd": "root:x:0:0:root:/:/bin/sh\nweir-node:x:998:997::/:/bin/false\n",
    "etc/node.toml": '[eal]\ndevices = ["0000:02:00.0"]\nmemory_mb = 64\n[workers]\ncores = [0, 1]\n',
}


class Host(guest.Parts):
    @classmethod
    def setUpClass(cls):
        guest.emulator()
        cls.play(SCRIPT, {"usr/bin/weir": program("weir")}, FILES)

    def test_the_doctor_knows_the_machine(self):
        text, code = self.part("doctor")
        report = json.loads(text)
        checks = {(it["name"], it.get("of", "")): it for it in report["checks"]}
        self.assertEqual(checks["iommu", ""]["state"], "ok")
        self.assertIn("carries the default route", checks["nic", "0000:01:00.0 eth0"]["says"])
        wanted = checks["nic", "0000:02:00.0 eth1"]
        self.assertEqual(wanted["state"], "failure")
        self.assertEqual(wanted["fix"], ["sudo weir host prepare"])
        self.assertEqual(checks["link", "0000:02:00.0 eth1"]["state"], "ok")
        # A card without hashing, and two workers.
        self.assertEqual(checks["queues", "0000:02:00.0 eth1"]["state"], "warning")
        self.assertEqual(code, 1)

    def test_the_default_route_keeps_its_card(self):
        text, code = self.part("needed")
        self.assertIn("eth0 carries the default route", text)
        self.assertEqual(code, 1)
        before = self.part("before")
        self.assertEqual(self.part("untouched"), before)

    def test_a_dry_run_says_it_all(self):
        text, code = self.part("dry")
        self.assertIn("# echo vfio-pci > /sys/bus/pci/devices/0000:02:00.0/driver_override", text)
        self.assertEqual(code, 0)

    def test_a_card_is_given_away_and_comes_back(self):
        text, code = self.part("prepare")
        self.assertEqual(code, 0, text)
        prepared, _ = self.part("prepared")
        self.assertIn("0000:02:00.0 vfio-pci vfio-pci", prepared)
        self.assertIn("0000:01:00.0 e1000e (null)", prepared)
        self.assertIn("eth0 eth2 32", prepared)
        self.assertRegex(prepared, r"998 997 \d+")
        text, code = self.part("again")
        self.assertEqual(code, 0, text)
        self.assertNotRegex(text, r"(?m)^done")
        text, code = self.part("restore")
        self.assertEqual(code, 0, text)
        restored, _ = self.part("restored")
        before, _ = self.part("before")
        self.assertEqual(restored.splitlines()[:4], before.splitlines()[:4])

    def test_a_card_in_use_stays_where_it_is(self):
        text, code = self.part("held")
        self.assertRegex(text, r"0000:02:00.0: sleep \(\d+\) uses it")
        self.assertEqual(code, 1)


if __name__ == "__main__":
    unittest.main()
