"""Programs that the laboratory runs: started, waited for, stopped by their process id."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

LOG_LINES_SHOWN = 25
READY_TIMEOUT_S = 20
STOP_TIMEOUT_S = 8
POLL_S = 0.02
TCP_LISTEN = "0A"
UDP_UNCONNECTED = "07"


class LabError(Exception):
    """What went wrong, with what is needed to understand it."""


class CommandFailed(LabError):
    """A command ended with another exit status than 0."""

    def __init__(self, command, result):
        self.returncode = result.returncode
        self.stdout, self.stderr = result.stdout, result.stderr
        said = "\n".join(text.strip() for text in (result.stdout, result.stderr) if text.strip())
        super().__init__(f"exit status {result.returncode} of: {' '.join(command)}\n{said}")


def wait_until(condition, what, timeout_s=READY_TIMEOUT_S, poll_s=POLL_S):
    """Returns the first true value of condition(); LabError after timeout_s, naming `what`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout_s} s")
        time.sleep(poll_s)


def tcp(port):
    """Ready when the process's network namespace listens on this TCP port."""
    return lambda process: _bound(process.pid, "tcp", TCP_LISTEN, port)


def udp(port):
    """Ready when the process's network namespace has this UDP port open."""
    return lambda process: _bound(process.pid, "udp", UDP_UNCONNECTED, port)


def log_line(pattern):
    """Ready when the process has said a line that matches; what one before it said does not count."""
    return lambda process: re.search(pattern, process.said())


def _bound(pid, protocol, state, port):
    # Reading the kernel's table disturbs no server: a connection to try it would be counted by some.
    wanted = f":{port:04X}"
    for table in (protocol, f"{protocol}6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        fields = (line.split() for line in lines)
        if any(field[1].endswith(wanted) and field[3] == state for field in fields):
            return True
    return False


class Process:
    """A program in the background. What it says goes to a log file."""

    def __init__(self, name, command, log, namespace=None, env=None, cwd=None, stdin=subprocess.DEVNULL):
        self.name = name
        self.command = [str(word) for word in command]
        self.log = Path(log)
        self._log_begin = self.log.stat().st_size if self.log.exists() else 0
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        with self.log.open("ab") as out:
            # A session of its own: an interrupt from the keyboard reaches the laboratory, which then
            # stops everything in order.
            self._child = subprocess.Popen(
                prefix + self.command,
                stdin=stdin,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self):
        """`ip netns exec` becomes the program, so this is the program's own id."""
        return self._child.pid

    @property
    def stdin(self):
        return self._child.stdin

    def returncode(self):
        """None while it runs."""
        return self._child.poll()

    def running(self):
        return self.returncode() is None

    def log_text(self):
        return self.log.read_text(errors="replace")

    def said(self):
        """The log without what earlier processes of that name said."""
        return self.log.read_bytes()[self._log_begin :].decode(errors="replace")

    def log_tail(self, lines=LOG_LINES_SHOWN):
        tail = self.log_text().splitlines()[-lines:]
        return f"--- {self.name}: {self.log}\n" + "\n".join(f"    {line}" for line in tail)

    def wait_ready(self, ready, timeout_s=READY_TIMEOUT_S):
        """Waits until ready(self); LabError with the log's end if it ends before or never is."""
        deadline = time.monotonic() + timeout_s
        while not ready(self):
            if not self.running():
                raise LabError(f"{self.name} ended with {self.returncode()} instead of getting ready\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} was not ready within {timeout_s} s\n{self.log_tail()}")
            time.sleep(POLL_S)
        return self

    def wait(self, timeout_s):
        """Waits for its end and returns the exit status."""
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} did not end within {timeout_s} s\n{self.log_tail()}") from None

    def send(self, number):
        if self.running():
            self._child.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout_s=STOP_TIMEOUT_S):
        """Asks it to end, and kills it if it does not. Returns the exit status."""
        self.send(number)
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self):
        self.send(signal.SIGKILL)
        return self._child.wait()


def run(command, namespace=None, check=True, timeout_s=60, stdin=None, env=None, cwd=None):
    """Runs a command to its end. Returns subprocess's result with text; CommandFailed if checked."""
    command = [str(word) for word in command]
    prefix = ["ip", "netns", "exec", namespace] if namespace else []
    try:
        result = subprocess.run(
            prefix + command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"not done within {timeout_s} s: {' '.join(command)}") from None
    except FileNotFoundError as missing:
        raise LabError(f"cannot run {command[0]}: {missing}; make deps installs what is needed") from None
    if check and result.returncode != 0:
        raise CommandFailed(command, result)
    return result
