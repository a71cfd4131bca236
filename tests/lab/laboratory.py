"""The laboratory itself: built on entry, removed without a trace on exit, however the exit comes."""

import atexit
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

from .network import NAMESPACES, Network, remove_namespace
from .processes import LabError, run
from .weir import ROOT, Weir, binaries

NAME = re.compile(r"weir-(\d+)-[a-z0-9-]+")
DIRECTORY = re.compile(r"weir-lab-(\d+)-.*")
KEPT = "kept"
TOOLS = ["ip", "ethtool", "sysctl"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal to end. As a KeyboardInterrupt it also ends a test runner, which takes others for failures."""

    def __init__(self, number):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_status = 128 + number


def needs(*programs):
    """Why a laboratory (with these programs) cannot be built here; None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "root on Linux is needed for network namespaces"
    missing = [tool for tool in [*TOOLS, *programs] if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (make deps installs what is needed)"
    absent = [name for name in ("weir-node", "weir-controller", "weir") if not (binaries() / name).exists()]
    if absent:
        return f"not built: {', '.join(absent)} in {binaries()} (make build)"
    return _namespaces_missing()


def _namespaces_missing():
    probe = f"weir-{os.getpid()}-probe"
    try:
        run(["ip", "netns", "add", probe])
        run(["ip", "link", "add", "probe0", "netns", probe, "type", "veth", "peer", "name", "probe1", "netns", probe])
    except LabError as error:
        return f"network namespaces and veth links cannot be made here: {error}"
    finally:
        run(["ip", "netns", "delete", probe], check=False)
    return None


def remove_stale(kept=False):
    """Removes what laboratories left behind whose process is gone; with kept=True also kept ones."""
    directories = {}
    for path in Path(tempfile.gettempdir()).glob("weir-lab-*"):
        if match := DIRECTORY.fullmatch(path.name):
            directories[int(match[1])] = path
    names = [path.name for path in NAMESPACES.glob("weir-*")] if NAMESPACES.exists() else []
    owners = {int(match[1]) for match in map(NAME.fullmatch, names) if match} | set(directories)
    removed = []
    for owner in sorted(owners):
        directory = directories.get(owner)
        is_kept = directory is not None and (directory / KEPT).exists()
        # The id of a kept laboratory's process may belong to another one by now.
        if (is_kept and not kept) or (not is_kept and _runs(owner)):
            continue
        for name in sorted(name for name in names if name.startswith(f"weir-{owner}-")):
            remove_namespace(name)
            removed.append(name)
        if directory:
            shutil.rmtree(directory, ignore_errors=True)
    return removed


def _runs(pid):
    return Path(f"/proc/{pid}").exists()


class Lab:
    """Hosts joined through a weir-node: with Lab("client", "server") as lab: …

    hosts      by name: network.Host
    network    the namespaces and links: lab.network.node and .switch are namespaces, too
    programs   controller, node, command line: weir.Weir; the most used of it is here as well
    directory  everything that is written: logs, policy, state
    """

    def __init__(self, *host_names, mtu=1500, driver="af_packet"):
        self.host_names = host_names
        self.mtu = mtu
        self.driver = driver
        self.directory = self.network = self.programs = None
        self._handlers = {}
        self._keep = False

    @property
    def hosts(self):
        return self.network.hosts

    def __enter__(self):
        if reason := needs():
            raise LabError(reason)
        remove_stale()
        self._catch_signals()
        atexit.register(self.remove)
        try:
            self.directory = Path(tempfile.mkdtemp(prefix=f"weir-lab-{os.getpid()}-"))
            # Servers that give up root must reach their files.
            self.directory.chmod(0o755)
            logs = self.directory / "logs"
            logs.mkdir()
            self.network = Network(f"weir-{os.getpid()}", logs, self.mtu, self.driver)
            self.network.build(self.host_names)
            self.programs = Weir(self.network, self.directory)
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind, error, trace):
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self.show_logs()
        self.remove()

    def start_controller(self, *flags, **options):
        return self.programs.start_controller(*flags, **options)

    def start_node(self, **options):
        return self.programs.start_node(**options)

    def stop_node(self):
        return self.programs.node.stop()

    def write_policy(self, name, text):
        return self.programs.write_policy(name, text)

    def weir(self, *words, **options):
        """What `weir -o json …` says."""
        return self.programs.ask(*words, **options)

    def keep(self):
        """From now on the end of the block leaves everything as it is; see remove_stale(kept=True)."""
        (self.directory / KEPT).touch()
        self._keep = True

    def show_logs(self, file=sys.stderr):
        """Prints the end of each program's log, and keeps all of them in tests/out."""
        saved = ROOT / "tests" / "out" / self.directory.name
        shutil.copytree(self.directory / "logs", saved, dirs_exist_ok=True)
        for namespace in self.network.namespaces:
            for process in namespace.processes:
                print(process.log_tail(), file=file)
        print(f"--- all logs: {saved}", file=file)

    def remove(self):
        """Ends every program by its id, removes namespaces, links and files; a second time does nothing."""
        atexit.unregister(self.remove)
        # A second Ctrl-C must not leave half of it behind.
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)
        try:
            if self.network is not None and not self._keep:
                self.network.remove()
                self.network = None
            if self.directory is not None and not self._keep:
                shutil.rmtree(self.directory, ignore_errors=True)
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers = {}

    def _catch_signals(self):
        if threading.current_thread() is not threading.main_thread():
            return

        def stop(number, _frame):
            raise Interrupted(number)

        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: it is to go on without its terminal
            self._handlers[number] = signal.signal(number, stop)
