"""What the packages are made of: scripts, units, users, pages and completions. Needs the programs and no packages.

    python3 -m unittest tests.package.test_sources -v
"""

import gzip
import re
import shutil
import subprocess
import tempfile
import tomllib
import unittest
from pathlib import Path

from tests.lab.weir import program

from . import root

DEPLOY = root.ROOT / "deploy" / "baremetal"
SCRIPTS = sorted(path for path in (DEPLOY / "packages").glob("weir*/*"))
CRATES = {"weir": "control/cli", "weir-node": "dataplane/node", "weir-controller": "control/controller"}
SHELLS = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


class Sources(unittest.TestCase):
    def test_scripts_are_shell(self):
        self.assertGreaterEqual(len(SCRIPTS), 5)
        for script in [*SCRIPTS, DEPLOY / "packages" / "build"]:
            with self.subTest(script.name, of=script.parent.name):
                checked = run("sh", "-n", script)
                self.assertEqual(checked.returncode, 0, checked.stderr)
                text = script.read_text()
                self.assertRegex(text, r"(?m)^set -eu?$")
                if script in SCRIPTS:
                    self.assertIn("#DEBHELPER#", text)
                if shutil.which("shellcheck"):
                    checked = run("shellcheck", script)
                    self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_packages_name_files_that_are_there(self):
        for name, crate in CRATES.items():
            directory = root.ROOT / crate
            manifest = tomllib.loads((directory / "Cargo.toml").read_text())
            package = manifest["package"]["metadata"]["deb"]
            self.assertEqual(package["name"], name)
            sources = [asset[0] for asset in package["assets"] if isinstance(asset, list)]
            for source in sources:
                # What is made meanwhile stands below target/release.
                if not source.startswith("target/release/"):
                    self.assertTrue(list(directory.glob(source)), f"{crate}/{source}")

    def test_units_are_understood(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed (apt-get install systemd)")
        with tempfile.TemporaryDirectory() as directory:
            for unit in sorted(DEPLOY.glob("*.service")):
                # The programs are not installed here, and pages are none of the units' business.
                text = re.sub(r"(?m)^(Exec\w+=)/\S+", r"\1/bin/true", unit.read_text())
                text = re.sub(r"(?m)^Documentation=.*\n", "", text)
                (Path(directory) / unit.name).write_text(text)
            for unit in sorted(Path(directory).glob("*.service")):
                checked = run("systemd-analyze", "verify", "--man=no", unit)
                said = [line for line in checked.stderr.splitlines() if unit.name in line or directory in line]
                self.assertEqual(said, [], checked.stderr)

    def test_units_run_what_is_there(self):
        # grep and the shell are on every Debian; kill and the like are not.
        there = {"/bin/grep", "/bin/sh", *(f"/usr/bin/{name}" for name in CRATES)}
        for unit in DEPLOY.glob("*.service"):
            self.assertEqual(set(re.findall(r"(?m)^Exec\w+=(/\S+)", unit.read_text())) - there, set(), unit.name)

    def test_the_condition_of_the_services_knows_ports(self):
        for unit in ("weir-node.service", "weir-host.service"):
            found = re.search(r"(?m)^ExecCondition=/bin/grep -qE '(.*)' /etc/weir/node.toml$", (DEPLOY / unit).read_text())
            self.assertTrue(found, unit)
            # The manager would take a backslash or a percent sign for its own.
            self.assertNotRegex(found.group(1), r"[\\%$]")
            for text, there in [("[[pair]]", True), ("  [[ tap ]]", True), ("pair = [{}]", True), ("# [[pair]]", False),
                                ("[pairs]", False), ("repair = 1", False), ((DEPLOY / "node.toml").read_text(), False)]:
                grep = run("grep", "-qE", found.group(1), input=f"[node]\n{text}\n")
                self.assertEqual(grep.returncode == 0, there, text)

    def test_users_and_directories_are_understood(self):
        for name in ("weir-node", "weir-controller"):
            users = (DEPLOY / f"{name}.sysusers").read_text()
            service = (DEPLOY / f"{name}.service").read_text()
            self.assertRegex(users, rf"(?m)^u {name} ")
            self.assertIn(f"User={name}\n", service)
            with tempfile.TemporaryDirectory() as directory:
                etc = Path(directory) / "etc"
                etc.mkdir()
                for file in ("passwd", "group", "shadow", "gshadow"):
                    (etc / file).write_text("")
                if not shutil.which("systemd-sysusers"):
                    self.skipTest("systemd-sysusers is not installed (apt-get install systemd)")
                made = run("systemd-sysusers", f"--root={directory}", DEPLOY / f"{name}.sysusers")
                self.assertEqual(made.returncode, 0, made.stderr)
                self.assertRegex((etc / "passwd").read_text(), rf"(?m)^{name}:.*:/var/lib/weir/")
            for line in (DEPLOY / f"{name}.tmpfiles").read_text().splitlines():
                self.assertRegex(line, r"^(#|d /etc/weir\S* 0\d{3} \S+ \S+ -$)")


class Manual(unittest.TestCase):
    """What the programs say of themselves."""

    @classmethod
    def setUpClass(cls):
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        for name in CRATES:
            subprocess.run([program(name), "manual", str(cls.directory / name)], check=True)

    def pages(self, name):
        return sorted((self.directory / name).glob("man?/*"))

    def test_every_command_has_a_page(self):
        asked = run(program("weir"), "--help").stdout
        listed = re.findall(r"(?m)^  ([a-z-]+)(?: {2,}|$)", asked.partition("Commands:")[2].partition("Options:")[0])
        self.assertGreater(len(listed), 15)
        pages = {page.name for page in self.pages("weir")}
        for command in set(listed) - {"help"}:
            self.assertIn(f"weir-{command}.1", pages)
        self.assertIn("weir-policy-apply.1", pages)
        self.assertFalse([page for page in pages if "manual" in page])

    def test_settings_have_pages(self):
        node = (self.directory / "weir-node" / "man5" / "weir-node.toml.5").read_text()
        for setting in ("frame_buffers", "fail_mode", "public_keys", "scan_depth_kb"):
            self.assertRegex(node, rf"(?m)^\.B {setting} = ")
        controller = (self.directory / "weir-controller" / "man5" / "weir-controller.env.5").read_text()
        self.assertIn(".B WEIR_NODE_LISTEN=127.0.0.1:7443", controller)

    def test_pages_have_no_mistakes(self):
        if not shutil.which("groff"):
            self.skipTest("groff is not installed (apt-get install groff)")
        for name in CRATES:
            for page in self.pages(name):
                checked = run("groff", "-man", "-Tutf8", "-ww", "-z", "-K", "utf8", page)
                self.assertEqual(checked.stderr, "", page.name)

    def test_completions_are_shell(self):
        for name in CRATES:
            for shell, pattern in SHELLS.items():
                script = self.directory / name / "completions" / shell / pattern.format(name)
                self.assertGreater(script.stat().st_size, 500)
                if shell == "bash" or shutil.which(shell):
                    checked = run(shell, "-n", script)
                    self.assertEqual(checked.returncode, 0, checked.stderr)


class Packages(unittest.TestCase):
    """Packages that were made, if there are any."""

    def test_contents(self):
        for name, package in root.packages().items():
            self.assertEqual(root.field(package, "Package"), name)
            listed = run("dpkg-deb", "--contents", package).stdout
            self.assertNotRegex(listed, r"(?m)^\S+ (?!0/0|root/root)")
            paths = {line.split()[5] for line in listed.splitlines()}
            self.assertIn(f"./usr/bin/{name}", paths)
            for path in (f"./usr/share/man/man1/{name}.1.gz", f"./usr/share/doc/{name}/copyright",
                         f"./usr/share/doc/{name}/changelog.Debian.gz"):
                self.assertIn(path, paths)
        depends = root.field(root.packages()["weir-node"], "Depends")
        self.assertRegex(depends, r"librte-eal\d+ \(>= ")
        self.assertRegex(depends, r"lib(vectorscan|hyperscan)5")
        files = run("dpkg-deb", "--info", root.packages()["weir-node"], "conffiles").stdout
        self.assertEqual(files.split(), ["/etc/weir/node.toml"])

    def test_the_same_sources_give_the_same_changelog(self):
        package = root.packages()["weir-node"]
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run(["dpkg-deb", "-x", str(package), directory], check=True)
            changelog = Path(directory) / "usr" / "share" / "doc" / "weir-node" / "changelog.Debian.gz"
            # Bytes 4 to 7 of gzip's head are a time.
            self.assertEqual(changelog.read_bytes()[4:8], bytes(4))
            text = gzip.decompress(changelog.read_bytes()).decode()
        self.assertIn(f"weir-node ({root.field(package, 'Version')})", text)


if __name__ == "__main__":
    unittest.main()
