"""What a service manager hears of the daemons: ready when they do their work, and that they are alive."""

import socket
import time
import unittest

from lab import wait_until
from lab.processes import log_line
from lab.weir import node_config, program

from . import support

WATCHDOG_S = 2
PATIENCE_S = 20
LAB = None


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab("client", "server")
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB))


class Manager:
    """The socket that systemd would give a service."""

    def __init__(self, directory, name):
        self.path = directory / f"{name}.notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)
        self.told = []

    def environment(self):
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000)}

    def heard(self):
        while True:
            try:
                self.told.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return self.told

    def hears(self, words):
        wait_until(lambda: any(words in told for told in self.heard()), f"{words!r} is told", PATIENCE_S)

    def close(self):
        self.socket.close()
        self.path.unlink()


@support.here_only
class Service(unittest.TestCase):
    def manager(self, name):
        manager = Manager(LAB.directory, name)
        self.addCleanup(manager.close)
        return manager

    def start(self, name, command, ready, manager):
        env = {"RUNTIME_DIRECTORY": str(LAB.directory), **manager.environment()}
        process = LAB.network.node.start(command, name=name, ready=log_line(ready), timeout_s=40, env=env)
        self.addCleanup(process.stop)
        return process

    def test_ready_when_policy_is_in_force(self):
        programs = LAB.programs
        config = LAB.directory / "service.toml"
        config.write_text(node_config(LAB.network, LAB.directory, programs.files.nodes, 1, {}))
        of_node = self.manager("node")
        node = self.start("node", [program("weir-node"), "run", "--config", config], "weir-node is ready", of_node)
        of_node.hears("STATUS=ports are up, waiting for policy")
        of_node.hears("WATCHDOG=1")
        self.assertNotIn("READY=1", of_node.heard())

        of_controller = self.manager("controller")
        controller = self.start("controller", programs.files.command(), "listening", of_controller)
        of_controller.hears("READY=1")
        of_node.hears("READY=1")
        self.assertRegex("\n".join(of_node.heard()), r"STATUS=policy \d+ is in force, 1 workers")

        # Fed again and again, a good while before the watchdog would act.
        for manager in (of_node, of_controller):
            manager.heard().clear()
            begun = time.monotonic()
            for _ in range(5):
                manager.hears("WATCHDOG=1")
                manager.told.clear()
            self.assertLess(time.monotonic() - begun, 5 * WATCHDOG_S)

        for process, manager in ((node, of_node), (controller, of_controller)):
            process.stop()
            manager.hears("STOPPING=1")
            self.assertEqual(manager.heard().count("READY=1"), 0)


if __name__ == "__main__":
    unittest.main()
