"""A machine on which the packages are installed: a Debian on a disk of its own, booted by systemd as any other.

The disk outlives a boot, so that the machine can be started again; it goes with the test.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.package import root

from . import guest

DISK_MB = 900
DISK_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]
# Of the kernel's modules those of the cards and what they need.
MODULES = ["net/ethernet/intel", "vfio", "ptp", "pps", "dca", "i2c/algos"]
INIT = f"""#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
export PATH=/sbin:/bin
for module in {' '.join(DISK_MODULES)}; do modprobe $module; done
for attempt in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] || sleep 1; done
mkdir /disk
mount -t ext4 -o noatime /dev/vda /disk && exec switch_root /disk /sbin/init
echo 'the disk cannot be mounted'
poweroff -f
"""
# Runs /test/boot when the system is up, beside the services that start with it, and ends the machine.
TEST_UNIT = f"""[Unit]
Description=The test
DefaultDependencies=no
Requires=basic.target
After=basic.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
Environment=HOME=/root NO_COLOR=1 SYSTEMD_COLORS=0 SYSTEMD_PAGER=
ExecStart=-/bin/sh /test/boot
ExecStartPost=/bin/echo '{guest.DONE}'
# File systems are unmounted; services are ended without being asked.
ExecStartPost=/bin/systemctl poweroff --force
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
"""
# What waits for a person or for a network that is not there.
MASKED = ["serial-getty@ttyS0.service", "getty@tty1.service", "systemd-timesyncd.service", "console-getty.service"]


class Disk:
    """A disk with a Debian, the packages and files of the test, by their paths."""

    def __init__(self, files, more=()):
        packages = root.packages().values()
        guest.OUT.mkdir(parents=True, exist_ok=True)
        debian = root.Root()
        try:
            brought = debian.bring(*packages)
            debian.apt("install", *brought)
            for path in brought:
                (debian.path / path.lstrip("/")).unlink()
            self._settle(debian.path, files)
            for file in more:
                shutil.copy(file, debian.path / "test")
            handle, name = tempfile.mkstemp(prefix="disk-", dir=guest.OUT)
            os.close(handle)
            self.path = Path(name)
            os.truncate(self.path, DISK_MB << 20)
            command = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", debian.path, self.path]
            subprocess.run(command, check=True, capture_output=True)
        finally:
            debian.remove()

    @staticmethod
    def _settle(place, files):
        _, modules = guest.kernel()
        guest.needed_modules(modules)
        there = place / "lib" / "modules" / modules.name
        for part in [f"drivers/{part}" for part in MODULES] + ["virt"]:
            if (modules / "kernel" / part).exists():
                shutil.copytree(modules / "kernel" / part, there / "kernel" / part)
        for file in modules.glob("modules.*"):
            shutil.copy(file, there)
        system = place / "etc" / "systemd" / "system"
        (system / "test.service").write_text(TEST_UNIT)
        (system / "multi-user.target.wants" / "test.service").symlink_to("/etc/systemd/system/test.service")
        for name in MASKED:
            (system / name).symlink_to("/dev/null")
        settings = {"etc/fstab": "/dev/vda / ext4 noatime 0 0\n", "etc/hostname": "guest\n",
                    "etc/machine-id": "0123456789abcdef0123456789abcdef\n"}
        for name, text in {**settings, **files}.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def boot(self, **machine):
        """Boots, and answers what /test/boot said."""
        archive = guest.initial_files(INIT, DISK_MODULES)
        return guest.boot(archive, disk=self.path, words="net.ifnames=0", **machine)

    def remove(self):
        self.path.unlink(missing_ok=True)
