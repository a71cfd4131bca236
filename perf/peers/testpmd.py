"""DPDK's testpmd forwarding on one core: io (hands packets on), macswap (writes both addresses), csum (reads the headers,
makes checksums). Takes ports, not captures: `perf/forward` calls `forward`."""

import os
import pty
import re
import subprocess
import tempfile
import time

from harness.peers import program
from harness.processes import Failed, processor_seconds, wait_for_thread

ABOUT = "DPDK's testpmd (package dpdk-dev, or TESTPMD)"
SCANS = False
MODES = ["io", "macswap", "csum"]
# Frames are held once for the replay and once on their way.
BUFFERS = 65535


def find():
    return program("TESTPMD", "dpdk-testpmd", "dpdk-dev")


def forward(found, mode, devices, seconds, memory, cores):
    """Packets per second of processor time of the thread that forwards. `memory` are EAL's options for it."""
    command = [found, "-l", f"{cores[0]},{cores[1]}", "--no-pci", "--no-telemetry", *memory]
    command += [f"--vdev={device}" for device in devices]
    command += ["--", f"--forward-mode={mode}", "--auto-start", "--nb-cores=1", "--burst=32"]
    command += ["--rxd=1024", "--txd=1024", f"--total-num-mbufs={BUFFERS}"]
    # testpmd gives up without a terminal; it ends at a line feed.
    terminal, far_end = pty.openpty()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdin=far_end, stdout=log, stderr=log)
        os.close(far_end)
        try:
            task = wait_for_thread(process, r"(lcore|rte)-worker-.*")
            if task is None:
                log.seek(0)
                raise Failed(f"testpmd did not start:\n{log.read()[-2000:]}")
            time.sleep(seconds)
            used = processor_seconds(task)
            os.write(terminal, b"\n")
            process.wait(10)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(terminal)
        log.seek(0)
        text = log.read()
    totals = re.findall(r"TX-packets:\s*(\d+)", text.rpartition("Accumulated")[2])
    if not totals or int(totals[-1]) == 0:
        raise Failed(f"testpmd forwarded nothing:\n{text[-2000:]}")
    return int(totals[-1]) / used
