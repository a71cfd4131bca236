"""Traffic that goes on while something happens to Weir, and what became of it."""

import re
import signal
import time

from lab import tcp, udp

from .support import FAMILIES, PROGRAMS, PYTHON

TRANSFER_PORT, HTTP_PORT, ECHO_PORT = 9000, 8080, 7007
INTERVAL_S = 0.01
TRANSFER_MB, BYTES_A_SECOND = 24, 3 << 20
REQUESTS, PAUSE_S = 100, 0.1
# However quickly the test is done: long enough for what is counted to be many.
LEAST_S = 4
END_TIMEOUT_S = 120


def start_servers(server, directory):
    server.start([PYTHON, PROGRAMS / "transfer.py", "serve", TRANSFER_PORT, TRANSFER_MB], name="transfer", ready=tcp(TRANSFER_PORT))
    server.start([PYTHON, PROGRAMS / "echo.py", "serve", ECHO_PORT], name="echo", ready=udp(ECHO_PORT))
    directory.mkdir()
    (directory / "index.html").write_text("welcome " * 500)
    command = [PYTHON, "-m", "http.server", HTTP_PORT, "--bind", "::", "--protocol", "HTTP/1.1", "--directory", directory]
    server.start(command, name="http", ready=tcp(HTTP_PORT))


class Load:
    """Echoed datagrams, pings, a transfer and a connection kept alive, over both families."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.processes = {}
        self.started = 0

    def start(self):
        self.started = time.monotonic()
        for family in FAMILIES:
            address = self.server.address(family)
            self._start(f"udp{family}", [PYTHON, PROGRAMS / "sequence.py", address, ECHO_PORT, INTERVAL_S])
            self._start(f"ping{family}", ["ping", "-n", "-i", INTERVAL_S, address])
            self._start(f"tcp{family}", [PYTHON, PROGRAMS / "transfer.py", "fetch", address, TRANSFER_PORT, BYTES_A_SECOND])
            self._start(f"http{family}", [PYTHON, PROGRAMS / "keep_alive.py", address, HTTP_PORT, REQUESTS, "/index.html", PAUSE_S])
        return self

    def _start(self, name, command):
        self.processes[name] = self.client.start(command, name=name)

    def said(self, name):
        return self.processes[name].said()

    def stop(self):
        """Ends what has no end of its own, waits for the rest."""
        time.sleep(max(0, self.started + LEAST_S - time.monotonic()))
        for name, process in self.processes.items():
            if name.startswith("ping"):
                process.stop(signal.SIGINT)
            elif name.startswith("udp"):
                process.stop()
            else:
                process.wait(END_TIMEOUT_S)

    def abandon(self):
        for process in self.processes.values():
            process.stop(signal.SIGKILL)

    def check_streams(self, test):
        """The transfers are whole, every request was answered, on the connections there were."""
        for family in FAMILIES:
            test.assertIn("identical", self.said(f"tcp{family}"), f"transfer over IPv{family}")
            test.assertIn(f"answered {REQUESTS}", self.said(f"http{family}"), f"requests over IPv{family}")

    def check_nothing_lost(self, test):
        for family in FAMILIES:
            counted = re.search(r"sent (\d+) lost (\d+) doubled (\d+)", self.said(f"udp{family}"))
            test.assertIsNotNone(counted, self.said(f"udp{family}"))
            sent, lost, doubled = map(int, counted.groups())
            test.assertGreater(sent, 100)
            test.assertEqual((lost, doubled), (0, 0), f"of {sent} datagrams over IPv{family}")
            # The end of the last one may not have come when it was interrupted.
            numbers = [int(number) for number in re.findall(r"icmp_seq=(\d+)", self.said(f"ping{family}"))]
            missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
            test.assertGreater(len(numbers), 100)
            test.assertEqual(missing, [], f"pings without a reply over IPv{family}, of {max(numbers)}")
