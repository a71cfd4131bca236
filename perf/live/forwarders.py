"""What stands between the two ports: weir-node, or testpmd in its place."""

import os
import pty
import shutil
import subprocess
import time
from pathlib import Path

from lab.processes import LabError, Process, log_line
from lab.weir import program

READY_S = 30
BUFFERS = 32767


class Forwarder:
    """A program that polls on one core: started on ports, watched, stopped."""

    thread = None

    def start(self, directory, ports, core, other_core, memory_mb, hugepages):
        """Returns when its thread polls."""
        raise NotImplementedError

    def stop(self):
        self.process.stop()

    def polling(self):
        """Waits until the thread that forwards is at work; its directory in /proc."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self.process.running():
            task = self._task()
            if task and processor_seconds(task) > 0.05:
                return task
            time.sleep(0.02)
        raise LabError(f"{self.name} forwards nothing\n{self.process.log_tail()}")

    def _task(self):
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                if (task / "comm").read_text().strip().startswith(self.thread):
                    return task
            except FileNotFoundError:
                pass
        return None


def processor_seconds(task):
    return int((task / "schedstat").read_text().split()[0]) / 1e9


def first(pid):
    """Before other programs of this machine."""
    os.setpriority(os.PRIO_PROCESS, pid, -20)
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), -20)


class Weir(Forwarder):
    """weir-node with a policy (a state directory that has one), with a controller or without."""

    name, thread = "weir", "worker-0"

    def __init__(self, policy=None, controller=None, settings=""):
        self.policy, self.controller, self.settings = policy, controller, settings

    def start(self, directory, ports, core, other_core, memory_mb, hugepages):
        state = directory / "state"
        shutil.rmtree(state, ignore_errors=True)
        if self.policy:
            shutil.copytree(self.policy, state)
        config = directory / "node.toml"
        config.write_text(f'[eal]\nextra = ["--single-file-segments"]\n{self.settings}')
        names = ",".join(port.split(",")[0] for port in ports)
        command = [program("weir-node"), "run", "--config", config, "--name", "bench", "--state", state]
        command += ["--memory-mb", memory_mb, "--huge-pages", "required" if hugepages else "never", "--cores", core]
        for port in ports:
            command += ["--vdev", port]
        command += ["--pair", f"bench={names}" + ("" if self.policy or self.controller else ",open")]
        if self.controller:
            command += ["--controller", self.controller]
        self.process = Process("weir-node", command, directory / "node.log", env={"RUNTIME_DIRECTORY": str(directory)})
        self.process.wait_ready(log_line("weir-node is ready"), READY_S)
        return self.polling()


class Testpmd(Forwarder):
    """dpdk-testpmd in a forwarding mode (io, macswap)."""

    def __init__(self, mode="macswap"):
        self.mode = mode
        self.name = f"testpmd-{mode}"
        # By version of DPDK.
        self.thread = ("lcore-worker-", "rte-worker-")
        self.terminal = None

    @staticmethod
    def missing():
        """Why there is none here; None: there is."""
        return None if shutil.which("dpdk-testpmd") else "dpdk-testpmd is not installed (package dpdk-dev)"

    def start(self, directory, ports, core, other_core, memory_mb, hugepages):
        memory = ["--in-memory"] if hugepages else ["--no-huge", "--no-shconf"]
        command = ["dpdk-testpmd", "--lcores", f"0@{other_core},1@{core}", "--no-pci", "--no-telemetry"]
        command += [f"--file-prefix=bench-{os.getpid()}", "--single-file-segments", "-m", memory_mb, *memory]
        command += [f"--vdev={port}" for port in ports]
        command += ["--", f"--forward-mode={self.mode}", "--auto-start", "--nb-cores=1", "--burst=32"]
        command += ["--rxd=1024", "--txd=1024", f"--total-num-mbufs={BUFFERS}"]
        # It gives up without a terminal, and ends at a line feed.
        self.terminal, far_end = pty.openpty()
        self.process = Process(self.name, command, directory / "testpmd.log", stdin=far_end)
        os.close(far_end)
        return self.polling()

    def stop(self):
        try:
            os.write(self.terminal, b"\n")
            self.process.wait(8)
        except (LabError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
        finally:
            os.close(self.terminal)
