"""Programs and what they use of the processor."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .figures import REPOSITORY


class Failed(Exception):
    """A program did not do what it is measured for."""


def place_of(name):
    return Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release" / name


def is_built(name):
    return place_of(name).exists()


def built(name):
    """A program of the release build."""
    path = place_of(name)
    if not path.exists():
        sys.exit(f"{path} is not there: make build-perf")
    return path


def path_of(load, *options, binary=None):
    """What the packet's way costs: the rounds of `weir-perf path`."""
    command = [str(binary or built("weir-perf")), "path", load, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def bare_scan_ns(load, *options):
    """Nanoseconds a packet of Hyperscan alone: `weir-perf scan`."""
    command = [str(built("weir-perf")), "scan", load, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr[-1000:]}")
    return json.loads(done.stdout)["rounds"][0]["scan_ns"]


def capture(load, out, *options):
    """Writes a load as a capture; returns its packets."""
    command = [str(built("weir-perf")), "capture", load, "--out", str(out), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return int(done.stdout.split()[0])


def processor_seconds_of(command, limit_s=280, folder=None):
    """Processor time of a program on one core, and its output."""
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=folder,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        deadline = time.monotonic() + limit_s
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                process.kill()
                os.wait4(process.pid, 0)
                raise Failed(f"{command[0]} took more than {limit_s} s")
            time.sleep(0.005)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))} ended with {process.returncode}: {text[-1500:]}")
    return used.ru_utime + used.ru_stime, text


def thread_named(pid, pattern):
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            if re.fullmatch(pattern, (task / "comm").read_text().strip()):
                return task
        except FileNotFoundError:
            pass
    return None


def processor_seconds(task):
    return int((task / "schedstat").read_text().split()[0]) / 1e9


def wait_for_thread(process, pattern, ready_s=30):
    """The thread, once it is at work."""
    deadline = time.monotonic() + ready_s
    while time.monotonic() < deadline and process.poll() is None:
        task = thread_named(process.pid, pattern)
        if task and processor_seconds(task) > 0.05:
            return task
        time.sleep(0.02)
    return None
