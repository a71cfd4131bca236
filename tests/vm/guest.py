"""A virtual machine with real drivers: Debian's kernel, an emulated IOMMU and emulated cards behind PCI bridges.

It boots into a script of shell commands and ends with it. Nothing of it reaches the network of this machine.
Software emulation serves: seconds to boot. What it needs and this machine lacks (qemu, Debian's kernel and
busybox, as packages) skips the tests by name.
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "out" / "vm"
BOOT_TIMEOUT_S = 400
DOWNLOAD_TIMEOUT_S = 240
# Drivers of the cards, and what gives cards away; with what they need.
MODULES = ["igb", "e1000e", "vfio-pci", "vfio_iommu_type1"]
DONE = "guest: done"
# Of a node's configuration: as little as serves, in hugepages, and a worker that leaves the emulated core alone.
SMALL_NODE = """memory_mb = 256
frame_buffers = 8191
huge_pages = "required"
[workers]
cores = [1]
idle = "sleep"
[limits]
flows = 8192
sessions = 1024
reassembly_mb = 8
"""
INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ln -s /proc/self/fd /dev/fd
chmod 755 /
export PATH=/usr/bin:/sbin:/bin HOME=/
%s
echo '""" + DONE + """'
poweroff -f
"""


def skip(reason):
    raise unittest.SkipTest(reason)


@cache
def emulator():
    return shutil.which("qemu-system-x86_64") or skip(
        "qemu is not installed (apt-get install --no-install-recommends qemu-system-x86)")


def require_card(name):
    """Skips where qemu emulates no such card."""
    asked = subprocess.run([emulator(), "-device", f"{name},help"], capture_output=True, text=True)
    if "options:" not in asked.stdout:
        skip(f"this qemu emulates no {name} (version 8 or later does; Debian 12 has it in bookworm-backports)")


@cache
def package(name):
    """A Debian package, unpacked and not installed."""
    place = OUT / name
    if not place.exists():
        work = OUT / f"{name}.getting"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            subprocess.run(["apt-get", "-q", "download", name], cwd=work, check=True, capture_output=True,
                           timeout=DOWNLOAD_TIMEOUT_S)
            archive = next(work.glob("*.deb"))
            subprocess.run(["dpkg-deb", "-x", archive, work / "root"], check=True, capture_output=True)
        except (OSError, subprocess.SubprocessError, StopIteration) as problem:
            skip(f"the package {name} cannot be had: {problem}")
        (work / "root").rename(place)
        shutil.rmtree(work)
    return place


@cache
def kernel():
    """Debian's kernel: its image, and its modules' directory."""
    asked = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True)
    found = re.search(r"Depends: (linux-image-\S+)", asked.stdout)
    if not found:
        skip("no kernel is known to apt (apt-get update)")
    root = package(found.group(1))
    release = found.group(1).removeprefix("linux-image-")
    return root / "boot" / f"vmlinuz-{release}", root / "lib" / "modules" / release


def needed_modules(directory, names=MODULES):
    """The files of the modules, in the order in which they can be loaded, and the lines that say so."""
    # A package has no modules.dep before it is installed.
    if not (directory / "modules.dep").exists():
        kmod = package("kmod") / "bin" / "kmod"
        command = ["depmod", "-b", str(directory.parents[2]), directory.name]
        subprocess.run(command, executable=kmod, check=True, capture_output=True)
    depends = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        file, _, needs = line.partition(":")
        depends[Path(file).name.split(".")[0].replace("-", "_")] = (file, needs.split())
    lines = []
    for name in names:
        found = depends.get(name.replace("-", "_"))
        if found is None:
            continue
        file, needs = found
        lines.append((file, needs))
        lines.extend((need, depends[Path(need).name.split(".")[0].replace("-", "_")][1]) for need in needs)
    return dict(lines)


class Archive:
    """An initial file system: what cpio calls newc."""

    def __init__(self):
        self.parts = []
        self.names = set()

    def add(self, name, data=b"", mode=0o100755):
        name = name.lstrip("/")
        parent = os.path.dirname(name)
        if parent and parent not in self.names:
            self.add(parent, mode=0o040755)
        if name in self.names:
            return
        self.names.add(name)
        encoded = name.encode() + b"\0"
        fields = [len(self.names), mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        head = b"070701" + b"".join(b"%08X" % field for field in fields)
        self.parts.append(self.padded(head + encoded) + self.padded(data))

    @staticmethod
    def padded(data):
        return data + b"\0" * (-len(data) % 4)

    def program(self, source, name):
        """A program with the libraries that it needs."""
        self.add(name, Path(source).read_bytes())
        linked = subprocess.run(["ldd", source], capture_output=True, text=True)
        for library in re.findall(r"(/\S+)", linked.stdout):
            # One file by each of its names: a library that is there twice is loaded twice.
            real = os.path.realpath(library)
            self.add(real, Path(real).read_bytes())
            if real != library:
                self.add(library, real.encode(), mode=0o120777)

    def bytes(self):
        return b"".join(self.parts) + Archive.end()

    @staticmethod
    def end():
        closing = Archive()
        closing.add("TRAILER!!!", mode=0)
        return closing.parts[0]


def initial_files(init, names=MODULES):
    """What the kernel starts with: busybox, modules, and a script to be run."""
    _, modules = kernel()
    busybox = package("busybox-static") / "bin" / "busybox"
    archive = Archive()
    archive.add("bin/busybox", busybox.read_bytes())
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True).stdout.split():
        archive.add(f"bin/{name}", b"busybox", mode=0o120777)
    archive.add("sbin/modprobe", b"/bin/busybox", mode=0o120777)
    archive.add("init", init.encode())
    base = f"lib/modules/{modules.name}"
    lines = needed_modules(modules, names)
    for file in lines:
        archive.add(f"{base}/{file}", (modules / file).read_bytes())
    text = "".join(f"{file}: {' '.join(needs)}\n" for file, needs in lines.items())
    archive.add(f"{base}/modules.dep", text.encode())
    for directory in ("proc", "sys", "dev", "tmp", "var/lib"):
        archive.add(directory, mode=0o040755)
    return archive


def run(script, programs, files=(), **machine):
    """Boots, runs the script, and answers what it printed. `programs` and `files` are by their paths in the
    guest: programs to be copied, and texts. The machine is that of `boot`."""
    archive = initial_files(INIT % script)
    for name, source in programs.items():
        archive.program(source, name)
    for name, text in dict(files).items():
        archive.add(name, text.encode(), mode=0o100644)
    return boot(archive, **machine)


class Parts(unittest.TestCase):
    """Tests of what a script in the machine said, part by part: between `part NAME` and `exit CODE`."""

    @classmethod
    def play(cls, script, programs, files=(), **machine):
        cls.listen(run(script, programs, files, **machine))

    @classmethod
    def listen(cls, said):
        """Takes apart what was said."""
        cls.said = said
        found = re.findall(r"^part (\w+)\n(.*?)^exit (\d+)$", cls.said, re.MULTILINE | re.DOTALL)
        cls.parts = {name: (text, int(code)) for name, text, code in found}

    def part(self, name):
        """What was said in it, and the code it ended with."""
        self.assertIn(name, self.parts, self.said[-3000:])
        return self.parts[name]


def boot(archive, cards=("e1000e", "e1000e", "e1000e"), iommu=True, memory_mb=1024, wires=None, disk=None, words="",
         timeout_s=BOOT_TIMEOUT_S):
    """Boots with these initial files, and answers what was said. `wires` has for each card the number of the wire
    that it is at; without it each has one of its own. `words` are for the kernel."""
    initial = laid_down(archive)
    try:
        return _boot(initial, cards, iommu, memory_mb, wires or range(len(cards)), disk, words, timeout_s)
    finally:
        initial.unlink()


def laid_down(archive):
    """Initial files as a file, which whoever asks for it removes."""
    OUT.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="initial-", dir=OUT)
    with open(handle, "wb") as file:
        file.write(archive.bytes())
    return Path(name)


def hardware(initial, iommu=True, memory_mb=1024, words=""):
    """The command for a machine without cards, disks and lines to the outside. `words` are for the kernel."""
    image, _ = kernel()
    command = [emulator(), "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg,thread=multi",
               "-cpu", "max", "-smp", "2", "-m", str(memory_mb), "-kernel", image, "-initrd", initial]
    # What the guest says is kept apart from what the kernel says. A busy machine is too slow for the check of
    # the timer, which would end in a panic.
    line = f"console=ttyS0 quiet loglevel=3 panic=-1 no_timer_check {words}"
    if iommu:
        command += ["-machine", "q35,kernel-irqchip=split", "-device", "intel-iommu,intremap=on,caching-mode=on"]
        line += " intel_iommu=on iommu=pt"
    else:
        command += ["-machine", "q35"]
    return command + ["-append", line]


def plugged(index, card):
    """A card on the line net<index>, behind a bridge of its own, from which it can be removed."""
    return ["-device", f"pcie-root-port,id=port{index},chassis={index},slot={index}",
            "-device", f"{card},id=card{index},bus=port{index},netdev=net{index},mac={mac(index)}"]


def mac(index):
    return f"52:54:00:00:00:{index:02x}"


def _boot(initial, cards, iommu, memory_mb, wires, disk, words, timeout_s):
    command = hardware(initial, iommu, memory_mb, words) + ["-no-reboot", "-serial", "stdio"]
    if disk:
        command += ["-drive", f"file={disk},format=raw,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk"]
    for index, (card, wire) in enumerate(zip(cards, wires)):
        command += ["-netdev", f"hubport,id=net{index},hubid={wire}", *plugged(index, card)]
    try:
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s)
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace")
        raise AssertionError(f"the guest did not end within {timeout_s} s:\n{said[-4000:]}") from None
    said = ran.stdout.decode(errors="replace").replace("\r", "")
    assert DONE in said, f"{said[-4000:]}\n{ran.stderr.decode(errors='replace')[-2000:]}"
    return said
