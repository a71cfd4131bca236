"""The bench: hugepages, a directory, a policy, and loops of generator and forwarder; all of it gone at the end."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.processes import LabError, Process, log_line
from lab.weir import binaries, program

from . import links, policy
from .forwarders import first

HUGEPAGES = Path("/proc/sys/vm/nr_hugepages")
# Of 2 MiB: forwarder and generator.
HUGEPAGES_WANTED = 640
FORWARDER_MB, GENERATOR_MB = 512, 256
# A link that just came up may pass nothing at first: so often it is tried.
TRIES = 5
# Longer than any phase takes beyond what it was told to.
PATIENCE_S = 60


class Bench(contextlib.ExitStack):
    """Two cores: the generator's and the forwarder's."""

    def __init__(self, cores=None, hugepages=False):
        super().__init__()
        cores = cores or sorted(os.sched_getaffinity(0))[:2]
        if len(cores) < 2:
            raise LabError("two processor cores are needed: one for the generator, one that forwards")
        self.generator_core, self.forwarder_core = cores
        self.hugepages = hugepages

    def __enter__(self):
        super().__enter__()
        for name in ("weir-node", "weir-controller", "weir-live"):
            if not (binaries() / name).exists():
                package = {"weir-live": "weir-perf"}.get(name, name)
                raise LabError(f"{binaries() / name} is not there: cargo build --release -p {package}")
        self.directory = Path(tempfile.mkdtemp(prefix="weir-bench-"))
        self.callback(shutil.rmtree, self.directory, ignore_errors=True)
        if self.hugepages:
            self._take_hugepages()
        return self

    def _take_hugepages(self):
        before = int(HUGEPAGES.read_text())
        if before < HUGEPAGES_WANTED:
            self.callback(HUGEPAGES.write_text, str(before))
            HUGEPAGES.write_text(str(HUGEPAGES_WANTED))
        if int(HUGEPAGES.read_text()) < HUGEPAGES_WANTED:
            raise LabError(f"{HUGEPAGES_WANTED} hugepages are not to be had; leave --hugepages out")

    @property
    def memory(self):
        """As records call it."""
        return "hugepages" if self.hugepages else "no-huge"

    def controller(self, rules):
        """A running controller with so many rules: policy.Controller."""
        return self.enter_context(policy.Controller(self.directory, rules))

    def policy(self, rules):
        """The state directory of a node that was given so many rules."""
        state = self.directory / f"policy-{rules}"
        with policy.Controller(self.directory, rules) as controller:
            command = [program("weir-node"), "run", "--name", "bench", "--state", state, "--no-huge", "--memory-mb", "256"]
            command += ["--vdev", "net_null0,no-rx=1", "--vdev", "net_null1,no-rx=1", "--pair", "bench=net_null0,net_null1"]
            command += ["--cores", self.forwarder_core, "--sleep", "--controller", controller.address]
            node = Process("node", command, self.directory / "prepare.log", env={"RUNTIME_DIRECTORY": str(self.directory)})
            try:
                node.wait_ready(log_line("weir-node is ready"))
                controller.wait_until_enforced()
            finally:
                node.stop()
        return state

    @contextlib.contextmanager
    def loop(self, link, frame_bytes, forwarder, flows=10_000, share=False):
        """Generator and forwarder, joined by a link of links.MAKERS. With `share` other programs get their part of the
        generator's core."""
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        generator_ports, forwarder_ports, forwarder_listens = links.devices(link, directory)

        def start_forwarder():
            task = forwarder.start(
                directory, forwarder_ports, self.forwarder_core, self.generator_core, FORWARDER_MB, self.hugepages
            )
            stack.callback(forwarder.stop)
            return task

        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            task = start_forwarder() if forwarder_listens else None
            generator = Generator(self, generator_ports, frame_bytes, flows)
            stack.callback(generator.stop)
            task = task or start_forwarder()
            first(forwarder.process.pid)
            if not share:
                first(generator.process.pid)
            yield Loop(generator, forwarder, task)


class Generator:
    """weir-live: plays one phase after the other."""

    def __init__(self, bench, ports, frame_bytes, flows):
        command = [program("weir-live"), "--core", bench.generator_core, "--memory-mb", GENERATOR_MB]
        command += ["--huge-pages", "required" if bench.hugepages else "never"]
        command += [f"--eal={word}" for word in links.EAL] + [word for port in ports for word in ("--vdev", port)]
        command += ["--bytes", frame_bytes, "--flows", flows]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self._answer()

    def begin(self, **phase):
        """Starts a phase; `end` waits for what became of it."""
        self.process.stdin.write(json.dumps(phase) + "\n")
        self.process.stdin.flush()

    def end(self):
        return self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            raise LabError(f"weir-live ended with {self.process.returncode}:\n{self.log.read()[-2000:]}")
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Loop:
    """A running loop."""

    def __init__(self, generator, forwarder, task):
        self.generator, self.forwarder, self.task = generator, forwarder, task

    def begin(self, **phase):
        self.generator.begin(watch=str(self.task / "schedstat"), **phase)

    def end(self):
        report = self.generator.end()
        report["rate"] = report["counted"] / report["counted_seconds"] if report["counted_seconds"] else 0.0
        return report

    def play(self, **phase):
        self.begin(**phase)
        return self.end()

    def settle(self, seconds=1.0):
        """Until both ends of each flow have said enough for it to be settled. Clients speak alone until something comes back:
        one link may be up before the other, and a server that spoke first would be the one who asks, which policy denies."""
        for _ in range(TRIES):
            report = self.play(seconds=seconds, rate=0)
            if report["received"]:
                return self.play(seconds=seconds, rate=0, both_ways=True)
        raise LabError(f"nothing of {report['sent']} frames came back\n{self.forwarder.process.log_tail()}")

    def most(self, seconds):
        """As much as passes."""
        return self.play(seconds=seconds, rate=0)


