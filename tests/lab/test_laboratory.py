"""The laboratory leaves nothing behind, however it ends, and its hosts meet only through the node."""

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from lab import CommandFailed, Lab, LabError, log_line, needs, remove_stale, tcp, wait_until
from lab.network import NAMESPACES

UNAVAILABLE = needs()
# A laboratory of another process: it says when it stands, then waits.
OTHER = """
import signal, sys
# Under nohup it would be ignored from the beginning.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from lab import Lab
with Lab("one") as lab:
    server = lab.hosts["one"].start([sys.executable, "-m", "http.server", "80"], name="http")
    {then}
    print("stands", server.pid, flush=True)
    {last}
"""


def traces(pid):
    """What of a process's laboratory is still there: namespaces and directories."""
    namespaces = [path.name for path in NAMESPACES.glob(f"weir-{pid}-*")]
    return namespaces + [path.name for path in Path(tempfile.gettempdir()).glob(f"weir-lab-{pid}-*")]


def runs(pid):
    """Whether a process still does anything; one that ended may wait for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@unittest.skipIf(UNAVAILABLE, UNAVAILABLE)
class Laboratory(unittest.TestCase):
    """Built and removed, in this process and in others."""

    def other(self, then="pass", last="signal.pause()"):
        """Starts a laboratory in another process; returns it and the id of its server."""
        command = [sys.executable, "-c", OTHER.format(then=then, last=last)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        server = int(child.stdout.readline().split()[1])
        return child, server

    def test_hosts_meet_only_through_the_node(self):
        with Lab("one", "two") as lab:
            one, two = lab.hosts.values()
            server = two.start([sys.executable, "-m", "http.server", "80", "--bind", "::"], ready=tcp(80))
            fetch = lambda family: one.run(["curl", "-sS", "--max-time", "3", f"http://{two.authority(family)}/"])
            with self.assertRaises(CommandFailed):
                fetch(4)
            lab.start_controller()
            lab.start_node()
            for family in (4, 6):
                self.assertIn("Directory listing", fetch(family).stdout)
            self.assertTrue(server.running())
        self.assertEqual(traces(os.getpid()), [])
        self.assertFalse(runs(server.pid))

    def test_nothing_stays_after_an_exception(self):
        with self.assertRaises(ZeroDivisionError), open(os.devnull, "w") as nowhere:
            with Lab("one") as lab:
                lab.show_logs = lambda: print(file=nowhere)
                1 / 0
        self.assertEqual(traces(os.getpid()), [])

    def test_nothing_stays_after_a_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number.name):
                child, server = self.other()
                self.assertNotEqual(traces(child.pid), [])
                child.send_signal(number)
                child.wait(30)
                self.assertEqual(traces(child.pid), [])
                self.assertFalse(runs(server))

    def test_the_next_one_removes_what_a_killed_one_left(self):
        child, server = self.other()
        child.kill()
        child.wait()
        self.assertNotEqual(traces(child.pid), [])
        with Lab("one"):
            self.assertEqual(traces(child.pid), [])
            self.assertFalse(runs(server))

    def test_a_kept_one_stays_until_it_is_to_go(self):
        child, server = self.other(then="lab.keep()", last="")
        child.wait(30)
        with Lab("one"):
            self.assertNotEqual(traces(child.pid), [])
            self.assertTrue(runs(server))
        self.assertTrue(remove_stale(kept=True))
        self.assertEqual(traces(child.pid), [])
        self.assertFalse(runs(server))

    def test_a_program_that_does_not_get_ready_says_why(self):
        with Lab("one") as lab:
            host = lab.hosts["one"]
            with self.assertRaisesRegex(LabError, "ended with 3(.|\n)*no such thing"):
                host.start(["sh", "-c", "echo no such thing; exit 3"], ready=log_line("ready"))
            with self.assertRaisesRegex(LabError, "not within 0.1 s"):
                wait_until(lambda: False, "what never happens", timeout_s=0.1)


if __name__ == "__main__":
    unittest.main()
