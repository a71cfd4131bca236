"""A clean Debian, made once and kept in tests/out/package: what the packages need is installed in it, Weir is not.

Each test unpacks it anew and works in it as root would, within namespaces of its own; nothing of it is left.
What this machine lacks (root, mmdebstrap, the packages) skips the tests by name.
"""

import os
import shutil
import subprocess
import tempfile
import unittest
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "out" / "package"
SUITE = "bookworm"
MAKE_TIMEOUT_S = 400
COMMAND_TIMEOUT_S = 120
NAMES = ("weir", "weir-node", "weir-controller")
# A service manager, and what people need to look around.
BASE = ["systemd", "systemd-sysv", "udev", "dbus", "ca-certificates", "iproute2", "iputils-ping", "kmod"]
# Neither documents nor locales but those of Weir: less to unpack.
LEFT_OUT = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*"]


def skip(reason):
    raise unittest.SkipTest(reason)


@cache
def packages():
    """The newest packages that were made, by name."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    directory = Path(os.environ.get("WEIR_PACKAGES", target / "debian"))
    found = {}
    for name in NAMES:
        files = sorted(directory.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)
        if not files:
            skip(f"{name} is not packaged in {directory} (make package, or WEIR_PACKAGES)")
        found[name] = files[-1]
    return found


def field(package, name):
    asked = subprocess.run(["dpkg-deb", "--field", package, name], capture_output=True, text=True, check=True)
    return asked.stdout.strip()


def needed():
    """What the packages depend on, by names that apt knows, without Weir's own."""
    names = []
    for package in packages().values():
        depends = field(package, "Depends").split(",")
        names += [one.split("(")[0].split("|")[0].strip() for one in depends]
    return sorted(set(names) - set(NAMES) - {""})


@cache
def archive():
    """The clean root as an archive. Made anew when the packages need something else."""
    if os.geteuid() != 0:
        skip("a root of its own is made by root alone")
    wanted = sorted({*BASE, *needed()})
    OUT.mkdir(parents=True, exist_ok=True)
    made, made_of = OUT / "root.tar", OUT / "root.txt"
    if made.exists() and made_of.exists() and made_of.read_text().split() == wanted:
        return made
    if not shutil.which("mmdebstrap"):
        skip("mmdebstrap is not installed (apt-get install --no-install-recommends mmdebstrap)")
    partial = OUT / f"root.{os.getpid()}.tar"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(wanted)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    command += ["--dpkgopt=path-include=/usr/share/*/*weir*", "--dpkgopt=path-include=/usr/share/*/*/*weir*"]
    command += ["--dpkgopt=path-include=/usr/share/doc/weir*/*"]
    ran = subprocess.run([*command, SUITE, str(partial)], capture_output=True, text=True, timeout=MAKE_TIMEOUT_S)
    if ran.returncode != 0:
        partial.unlink(missing_ok=True)
        skip(f"no Debian can be had: {(ran.stderr.strip().splitlines() or ['mmdebstrap failed'])[-1]}")
    partial.rename(made)
    made_of.write_text("\n".join(wanted))
    return made


def raised(package, version, directory, changed=None):
    """The package again under another version; `changed` adds a line to one of its files."""
    work = Path(directory) / f"{package.stem}.work"
    subprocess.run(["dpkg-deb", "-R", package, work], check=True)
    control = work / "DEBIAN" / "control"
    lines = control.read_text().splitlines()
    control.write_text("".join(f"Version: {version}\n" if one.startswith("Version:") else f"{one}\n" for one in lines))
    if changed:
        path, line = changed
        with (work / path).open("a") as file:
            file.write(f"{line}\n")
    name = field(package, "Package")
    made = Path(directory) / f"{name}_{version}_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", work, made], check=True, capture_output=True)
    shutil.rmtree(work)
    return made


class Root:
    """A copy of the clean root. Commands run in it as in a chroot, with namespaces of their own."""

    def __init__(self, transcript=None):
        self.path = Path(tempfile.mkdtemp(prefix="weir-root-"))
        self.transcript = transcript
        try:
            subprocess.run(["tar", "-xf", archive(), "-C", self.path, "--numeric-owner"], check=True)
            # Names are looked up where this machine looks them up, should apt need more than is there.
            shutil.copy("/etc/resolv.conf", self.path / "etc" / "resolv.conf")
        except BaseException:
            self.remove()
            raise

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def bring(self, *files):
        """Copies files into the root's /tmp; their paths there."""
        for file in files:
            shutil.copy(file, self.path / "tmp")
        return [f"/tmp/{file.name}" for file in files]

    def run(self, *words, check=True, shown=True, timeout_s=COMMAND_TIMEOUT_S):
        """Runs a command in the root; its output, and its exit status when it is not checked."""
        words = [str(word) for word in words]
        inside = ["unshare", "--fork", "--pid", "--mount", "--uts", "--ipc", f"--root={self.path}", "--mount-proc"]
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C", "NO_COLOR": "1",
               "DEBIAN_FRONTEND": "noninteractive"}
        ran = subprocess.run([*inside, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=timeout_s)
        said = ran.stdout.decode(errors="replace")
        if self.transcript and shown:
            self.transcript.write(f"# {' '.join(words)}\n{said}{'' if said.endswith(chr(10)) or not said else chr(10)}")
        if check and ran.returncode != 0:
            raise AssertionError(f"exit status {ran.returncode} of {' '.join(words)}:\n{said[-3000:]}")
        return said if check else (said, ran.returncode)

    def apt(self, *words, **options):
        quiet = ["-y", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confold"]
        return self.run("apt-get", *quiet, *words, **options)

    def files(self):
        """Every path in the root that is no record of what was done: names, with what kind of thing it is."""
        records = ("var/log", "var/lib/dpkg", "var/cache", "var/lib/apt", "tmp", "root", "run", "proc", "dev")
        # Copies of what was before, and what ldconfig and systemd remember.
        backups = {"etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/.pwd.lock", "etc/subuid-", "etc/subgid-"}
        found = {}
        for directory, names, files in os.walk(self.path):
            place = os.path.relpath(directory, self.path)
            names[:] = [name for name in names if os.path.normpath(f"{place}/{name}") not in records]
            for name in [*names, *files]:
                path = os.path.normpath(f"{place}/{name}")
                if path not in backups:
                    found[path] = oct(os.lstat(os.path.join(self.path, path)).st_mode)
        return found
