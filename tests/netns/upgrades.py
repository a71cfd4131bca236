"""Connections that live long, a steady stream and a stranger who never stops trying; and nodes that replace each
other. What of it must hold is asked by the tests that use it.
"""

import os
import re
import signal
import time
from pathlib import Path

from lab import log_line, tcp, udp, wait_until

from . import support
from .support import PROGRAMS, PYTHON

PROTOCOLS = {"mysql": 3306, "http2": 8090, "tls": 8443}
STREAM_PORT, FORBIDDEN_PORT = 7100, 7101
# A thousand a second: what is lost is what passes in so many milliseconds.
STREAM_INTERVAL_S = 0.001
# Seldom enough that hardly ever a request is on its way when processes change: its connection would have to end.
ASK_INTERVAL_S = 0.2


def build_lab(**sections):
    """Client, stranger and server; the server allows the client what the traffic needs, and the stranger nothing."""
    lab = support.build_lab("client", "stranger", "server")
    lab.write_policy("hosts.yaml", support.hosts_policy(lab))
    lab.write_policy("server.yaml", server_policy())
    lab.start_controller()
    lab.start_node(**sections)
    for name, port in PROTOCOLS.items():
        command = [PYTHON, PROGRAMS / "long_lived.py", "serve", name, port]
        lab.hosts["server"].start(command, name=f"serve-{name}", ready=tcp(port))
    return lab


def server_policy(number=0):
    """Always the same for the traffic; what else there is changes with the number."""
    rules = [f"from: [{{workload: client}}], applications: [{name}], ports: [{port}]" for name, port in PROTOCOLS.items()]
    rules += [f"from: [{{workload: client}}], ports: [{STREAM_PORT}]", "from: [{workload: client}], applications: [icmp]"]
    rules += [f"from: [{{workload: client}}], ports: [{20000 + number}]"] if number else []
    return support.allowlist("server", ingress=rules)


class Traffic:
    """Long-lived connections, a steady stream, and a stranger who never stops trying."""

    def __init__(self, lab):
        client, stranger, server = (lab.hosts[name] for name in ("client", "stranger", "server"))
        self.talks = {}
        for name, port in PROTOCOLS.items():
            command = [PYTHON, PROGRAMS / "long_lived.py", "talk", name, server.ipv4, port, ASK_INTERVAL_S]
            self.talks[name] = client.start(command, name=f"talk-{name}", ready=log_line("begun"))
        command = [PYTHON, PROGRAMS / "stream.py", "count", STREAM_PORT]
        self.counter = server.start(command, name="count", ready=udp(STREAM_PORT))
        command = [PYTHON, PROGRAMS / "sniff.py", "eth0", stranger.ipv4]
        self.sniffer = server.start(command, name="sniff", ready=log_line("listening"))
        send = [PYTHON, PROGRAMS / "stream.py", "send", server.ipv4]
        begun = log_line("begun")
        self.sender = client.start([*send, STREAM_PORT, STREAM_INTERVAL_S], name="send", ready=begun)
        self.forbidden = stranger.start([*send, FORBIDDEN_PORT, STREAM_INTERVAL_S], name="forbidden", ready=begun)

    def stop(self):
        for process in (self.sender, self.forbidden, *self.talks.values()):
            process.stop()
        time.sleep(0.3)
        for process in (self.counter, self.sniffer):
            process.stop()

    def abandon(self):
        for process in (self.sender, self.forbidden, self.counter, self.sniffer, *self.talks.values()):
            process.kill()

    def broken(self):
        """The connections that did not hold, with what they said."""
        said = {name: talk.said().strip().splitlines()[-1] for name, talk in self.talks.items()}
        return {name: last for name, last in said.items() if not re.search(r"answers \d+ longest_s [\d.]+ held", last)}

    def longest_s(self):
        """The longest wait for an answer, by protocol."""
        found = {name: re.search(r"longest_s ([\d.]+)", talk.said()) for name, talk in self.talks.items()}
        return {name: float(match[1]) for name, match in found.items() if match}

    def came(self):
        """Of the stream: datagrams that came, that are missing, and the longest silence in milliseconds."""
        came, missing, silence = re.search(r"came (\d+) missing (\d+) silence_ms ([\d.]+)", self.counter.said()).groups()
        return int(came), int(missing), float(silence)

    def passed_forbidden(self):
        """Packets of the stranger that reached the server."""
        return int(re.search(r"count (\d+)", self.sniffer.said())[1])


def node_says(lab, pattern, since, timeout_s=60):
    log = lab.programs.node.log
    found = lambda: re.search(pattern, log.read_bytes()[since:].decode(errors="replace"))  # noqa: E731
    return wait_until(found, f"the node says {pattern!r}", timeout_s, 0.05)


def log_size(lab):
    return lab.programs.node.log.stat().st_size


class Adopted:
    """The process that took over, which is nobody's child here. Stands in for the lab's own."""

    def __init__(self, pid, before):
        self.pid, self.log, self._before = pid, before.log, before

    def send(self, number):
        os.kill(self.pid, number)

    def running(self):
        stat = Path(f"/proc/{self.pid}/stat")
        return stat.exists() and ") Z " not in stat.read_text()

    def stop(self):
        self.send(signal.SIGTERM)
        wait_until(lambda: not self.running(), "the process that took over ends", 20)
        return 0

    def kill(self):
        self.send(signal.SIGKILL)
        wait_until(lambda: not self.running(), "the process that took over is killed", 20)

    def said(self):
        return self._before.said()


def replace_node(lab):
    """Has the node start its own successor (SIGUSR2), and waits until that one enforces."""
    since, before = log_size(lab), lab.programs.node
    before.send(signal.SIGUSR2)
    pid = int(node_says(lab, r"another process has taken over.*?process=(\d+)", since)[1])
    node_says(lab, "connections taken over", since)
    node_says(lab, "weir-node is ready", since)
    lab.programs.node = Adopted(pid, before)
    return lab.programs.node.log.read_bytes()[since:].decode(errors="replace")
