"""A virtual machine that is talked to while it runs: commands to its shell, frames to its cards, and to its
hardware what befalls hardware (a link that goes down, a card that is pulled out, a reset).

Frames go over datagram sockets, one frame each. Every wait has an end. Nothing of it reaches the network of
this machine, and its files are in a directory that is removed with it.
"""

import json
import select
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import guest

READY = "guest: ready"
# What should come is waited for as long as a busy machine may take; what should not come has a time of its own.
PATIENCE_S = 150
BOOT_TIMEOUT_S = 240
SHELL = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
ln -s /proc/self/fd /dev/fd
chmod 755 /
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ NO_COLOR=1
ip link set lo up
%s
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty -echo
echo '""" + READY + """'
exec sh /dev/ttyS1
"""


class Machine:
    """Boots at once; `init` is done at every start of the machine, before its shell."""

    def __init__(self, programs, files=(), init="", cards=("e1000e", "e1000e"), memory_mb=2048, modules=guest.MODULES,
                 disk_mb=0):
        guest.emulator()
        archive = guest.initial_files(SHELL % init, modules)
        for name, source in programs.items():
            archive.program(source, name)
        for name, text in dict(files).items():
            archive.add(name, text.encode(), mode=0o100644)
        self.initial = guest.laid_down(archive)
        self.directory = Path(tempfile.mkdtemp(prefix="weir-vm-"))
        self.control = self.talk = self.process = None
        self.cards, self.said, self.commands = [], "", 0
        try:
            command = guest.hardware(self.initial, memory_mb=memory_mb)
            for name in ("control", "shell"):
                command += ["-chardev", f"socket,id={name},path={self.directory}/{name},server=on,wait=off"]
            command += ["-mon", "chardev=control,mode=control", "-serial", f"file:{self.directory}/kernel.log",
                        "-serial", "chardev:shell"]
            for index, card in enumerate(cards):
                line = Card(self.directory, index)
                self.cards.append(line)
                command += ["-netdev", line.netdev(), *guest.plugged(index, card)]
            if disk_mb:
                disk = self.directory / "disk"
                with disk.open("wb") as file:
                    file.truncate(disk_mb << 20)
                subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True, capture_output=True)
                command += ["-drive", f"file={disk},format=raw,if=virtio"]
            log = (self.directory / "qemu.log").open("wb")
            with log:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.control, self.talk = self.connect("control"), self.connect("shell")
            self.hardware("qmp_capabilities")
            self.wait_for(READY, BOOT_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise

    def connect(self, name):
        deadline = time.monotonic() + 20
        while True:
            link = socket.socket(socket.AF_UNIX)
            try:
                link.connect(str(self.directory / name))
                return link
            except OSError:
                link.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError("qemu did not start: " + (self.directory / "qemu.log").read_text()) from None
                time.sleep(0.05)

    def hardware(self, command, **arguments):
        """Tells the machine's hardware something, by QMP."""
        self.control.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        self.control.settimeout(20)
        text = b""
        while True:
            text += self.control.recv(65536)
            *lines, text = text.split(b"\n")
            for line in lines:
                answer = json.loads(line)
                if "error" in answer:
                    raise AssertionError(f"{command}: {answer['error']}")
                if "return" in answer:
                    return answer["return"]

    def wait_for(self, words, timeout_s):
        """Reads what the shell says until it said this; returns what came before."""
        deadline = time.monotonic() + timeout_s
        while words not in self.said:
            rest = deadline - time.monotonic()
            if rest <= 0 or not select.select([self.talk], [], [], rest)[0]:
                kernel = (self.directory / "kernel.log").read_text(errors="replace")
                raise AssertionError(f"{words!r} was not said within {timeout_s} s:\n{self.said[-3000:]}\n{kernel[-3000:]}")
            data = self.talk.recv(65536)
            if not data:
                raise AssertionError(f"qemu has ended: {(self.directory / 'qemu.log').read_text()}")
            self.said += data.decode(errors="replace").replace("\r", "")
        before, _, self.said = self.said.partition(words)
        return before

    def run(self, command, timeout_s=PATIENCE_S):
        """What a command prints, and the code it ends with."""
        self.commands += 1
        end = f"end {self.commands} of "
        self.talk.sendall(f"{{ {command}\n}} </dev/null 2>&1; echo \"{end}$?.\"\n".encode())
        return self.wait_for(end, timeout_s), int(self.wait_for(".\n", timeout_s))

    def do(self, command, timeout_s=PATIENCE_S):
        """A command that has to succeed; what it prints."""
        text, code = self.run(command, timeout_s)
        assert code == 0, f"{command}: {code}\n{text}"
        return text

    def until(self, command, what, timeout_s=PATIENCE_S):
        """Waits until a command succeeds."""
        deadline = time.monotonic() + timeout_s
        while True:
            text, code = self.run(command)
            if code == 0:
                return text
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s\n{text}\n{self.logs()}"
            time.sleep(0.3)

    def write(self, path, text):
        """A file, whole or not at all."""
        self.do(f"cat > {path}.new <<'END'\n{text}\nEND\nmv {path}.new {path}")

    def logs(self):
        return self.run("tail -n 30 /run/*.log")[0]

    def reset(self):
        """As by its button; the disk stays."""
        self.hardware("system_reset")
        self.wait_for(READY, BOOT_TIMEOUT_S)

    def stop(self):
        if self.process is not None:
            # qemu is told first: sockets that close before it would trouble it.
            self.process.kill()
            self.process.wait()
        for link in [self.control, self.talk, *(card.link for card in self.cards)]:
            if link is not None:
                link.close()
        self.initial.unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)


class Card:
    """This side of a card's line."""

    def __init__(self, directory, index):
        self.index = index
        self.own, self.other = f"{directory}/line{index}", f"{directory}/card{index}"
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.link.bind(self.own)
        self.link.setblocking(False)
        self.peer = Line(self)
        # Who is at the line, and says so to whoever asks for an address.
        self.hosts = []

    def netdev(self):
        return (f"dgram,id=net{self.index},local.type=unix,local.path={self.other},"
                f"remote.type=unix,remote.path={self.own}")

    def send(self, frame):
        """A frame that finds no room is lost, as on a wire: a card that nobody drives takes none."""
        try:
            self.link.sendto(frame, self.other)
        except BlockingIOError:
            pass

    def take(self):
        """The next frame. A question for a host's address is answered as it passes by: a kernel that gets no answer
        forgets within seconds whom it knew."""
        frame = self.link.recv(65536)
        for host in self.hosts:
            if (answer := host.neighbour(frame)) is not None:
                self.send(answer)
        return frame

    def receives(self, frame, timeout_s=PATIENCE_S):
        """Whether this very frame comes; others are passed over."""
        # Cards fill short frames up.
        return self.finds(lambda found: found[:len(frame)] == frame, timeout_s) is not None

    def finds(self, fits, timeout_s=PATIENCE_S):
        """The first frame that fits, or None."""
        deadline = time.monotonic() + timeout_s
        while (rest := deadline - time.monotonic()) > 0:
            if select.select([self.link], [], [], rest)[0]:
                frame = self.take()
                if fits(frame):
                    return frame
        return None

    def drain(self):
        """Passes over what has come."""
        while select.select([self.link], [], [], 0)[0]:
            self.take()


class Line:
    """A card's line as a socket, for netns.raw.Connection."""

    def __init__(self, card):
        self.card = card

    def send(self, frame):
        self.card.send(frame)

    def recv(self, size):
        return self.card.take()[:size]

    def fileno(self):
        return self.card.link.fileno()

    def close(self):
        """The line belongs to the card."""
