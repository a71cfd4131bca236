"""Weir's three programs in the laboratory: where they are, how they are configured and started."""

import json
import os
from pathlib import Path

from .processes import LabError, log_line, run, wait_until

ROOT = Path(__file__).resolve().parents[2]
DPDK_MEMORY_MB = 512
# The first policy comes right after a node connects.
POLICY_TIMEOUT_S = 15


def binaries():
    """The directory of weir-node, weir-controller and weir: $WEIR_BIN, or where cargo puts releases."""
    if "WEIR_BIN" in os.environ:
        return Path(os.environ["WEIR_BIN"])
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def program(name):
    path = binaries() / name
    if not path.exists():
        raise LabError(f"{path} does not exist; run make build, or set WEIR_BIN to the directory of the binaries")
    return str(path)


class ControllerFiles:
    """What a controller works on: its policy directory, its state and its sockets."""

    def __init__(self, directory):
        self.policy = directory / "policy"
        self.state = directory / "controller"
        self.operators = directory / "operator.sock"
        self.nodes = directory / "nodes.sock"
        self.policy.mkdir()

    def command(self):
        return [
            program("weir-controller"),
            "--directory", self.policy,
            "--state", self.state,
            "--listen", f"unix:{self.operators}",
            "--node-listen", f"unix:{self.nodes}",
        ]


def node_config(network, directory, controller, workers, sections):
    """The node's configuration file as text. `sections` adds to or replaces settings: {"limits": {…}}."""
    settings = {
        "node": {"name": "lab", "state_directory": str(directory / "node")},
        "eal": {
            "huge_pages": "never",
            "memory_mb": DPDK_MEMORY_MB,
            "virtual_devices": [f"{name},{arguments}" for name, arguments in network.virtual_devices(workers)],
        },
        # Asleep when idle: the hosts' programs share these cores.
        "workers": {"cores": sorted(os.sched_getaffinity(0))[:workers], "idle": "sleep"},
        "events": {"file": str(directory / "events.json"), "requests": True},
    }
    if controller:
        settings["controller"] = {"address": f"unix:{controller}"}
    pair_settings = {"mtu": network.mtu, **sections.pop("pair", {})}
    for section, values in sections.items():
        settings.setdefault(section, {}).update(values)
    text = "".join(_section(f"[{name}]", values) for name, values in settings.items())
    pairs = ({"name": name, "ports": ports, **pair_settings} for name, ports in network.pairs())
    return text + "".join(_section("[[pair]]", pair) for pair in pairs)


def _section(header, values):
    # JSON's strings, numbers, booleans and arrays are TOML's.
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([header, *lines, "", ""])


class Weir:
    """Controller, node and command line of one laboratory."""

    def __init__(self, network, directory):
        self.network = network
        self.directory = Path(directory)
        self.files = ControllerFiles(self.directory)
        self.controller = None
        self.node = None
        (self.directory / "node").mkdir()

    def write_policy(self, name, text):
        """Puts a file of documents into the controller's policy directory, whole or not at all."""
        path = self.files.policy / name
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.rename(path)
        return path

    def start_controller(self, *flags, **options):
        ready = log_line(r"listening")
        self.controller = self.network.node.start([*self.files.command(), *flags], name="controller", ready=ready, **options)
        return self.controller

    def start_node(self, workers=1, controller=True, wait_for_policy=True, **sections):
        """Starts the node; with a controller (at another socket where one is named), returns when it enforces its policy."""
        config = self.directory / "node.toml"
        socket = self.files.nodes if controller is True else controller
        config.write_text(node_config(self.network, self.directory, socket, workers, sections))
        command = [program("weir-node"), "run", "--config", config]
        # DPDK leaves a directory of each process in its runtime directory.
        env = {"RUNTIME_DIRECTORY": str(self.directory)}
        self.node = self.network.node.start(command, name="node", ready=log_line("weir-node is ready"), timeout_s=40, env=env)
        if controller and self.controller and wait_for_policy:
            self.wait_for_policy()
        return self.node

    def run(self, *words, check=True, output=None, **options):
        """Runs `weir` and returns subprocess's result."""
        command = [program("weir"), "--controller", f"unix:{self.files.operators}"]
        command += ["-o", output] if output else []
        return run([*command, *words], check=check, **options)

    def ask(self, *words, check=True, **options):
        """Runs `weir -o json` and returns what it says; with check=False also of a "no" (exit status 1)."""
        result = self.run(*words, check=check, output="json", **options)
        try:
            return json.loads(result.stdout)
        except ValueError:
            raise LabError(f"weir {' '.join(words)} printed no JSON (exit status {result.returncode}):\n{result.stdout}{result.stderr}") from None

    def wait_for_policy(self, version=None, timeout_s=POLICY_TIMEOUT_S):
        """Waits until every connected node enforces the controller's version (or this one, or a later)."""

        def enforced():
            status = self.ask("status")
            wanted = version or status["policy_version"]
            nodes = [node for node in status["nodes"] if node["connected"]]
            return nodes and all(node["enforced_version"] >= wanted for node in nodes)

        wait_until(enforced, "the node enforces the controller's policy", timeout_s)

    def events(self):
        """The node's events so far (EVE JSON), oldest first."""
        path = self.directory / "events.json"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
