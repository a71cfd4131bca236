"""Peers: programs of others that are given the same packets. A file each in perf/peers/, which says

  ABOUT             what it is, in a line
  find()            how to start it, or raises Absent with the reason and what to do
  command(found, capture, folder, rules)
                    the command that takes a capture on one core; rules is a file of signatures, or None
  SCANS             whether it looks for signatures; then also
  rules_loaded(said)
                    how many rules it took, of what it prints

Nothing of a peer is in the repository: it is Debian's, or a path in the environment names it.
"""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from .figures import REPOSITORY
from .processes import Failed, processor_seconds_of


class Absent(Exception):
    """The peer is not on this machine."""


def unpacked(name):
    """What perf/peers/install unpacked, unless the environment names another or PATH has one."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    found = target / "peers" / name / name
    wanted = not os.environ.get(name.upper()) and not shutil.which(name)
    return str(found) if wanted and os.access(found, os.X_OK) else None


def program(variable, name, package):
    """A program by the environment or by PATH."""
    named = os.environ.get(variable)
    if named:
        if not os.access(named, os.X_OK):
            raise Absent(f"{variable}={named} is no program")
        return named
    found = shutil.which(name) if name else None
    if not found:
        raise Absent(f"set {variable} to its path" + (f", or run make deps-bench ({package} of Debian)" if package else ""))
    return found


def adapters():
    """Every adapter by its name."""
    loaded = {}
    for path in sorted((REPOSITORY / "perf" / "peers").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"peer_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        loaded[path.stem] = module
    return loaded


def present():
    """Those that take captures and are here, and why the others are not."""
    here, absent = {}, {}
    for name, adapter in adapters().items():
        if not hasattr(adapter, "command"):
            continue
        try:
            here[name] = (adapter, adapter.find())
        except Absent as why:
            absent[name] = str(why)
    return here, absent


def nanoseconds(adapter, found, captures, packets, rules=None):
    """Of a packet: the whole process on one core, less what it takes with the first packets alone, which is its start.
    `captures` are the short one and the whole one, `packets` how many each has. And what it printed."""
    seconds, said = [], ""
    for capture in captures:
        with tempfile.TemporaryDirectory() as folder:
            command = adapter.command(found, Path(capture), Path(folder), rules)
            used, said = processor_seconds_of(command, folder=folder)
            seconds.append(used)
    used = seconds[1] - seconds[0]
    if used <= 0:
        raise Failed("the capture is too short to be measured: it took no longer than its first packets")
    return used * 1e9 / (packets[1] - packets[0]), said
