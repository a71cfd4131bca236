"""The packages in a clean Debian: installed, configured, upgraded, removed, purged. What was said is kept in
tests/out/package/transcript.txt.

    make test-package
"""

import stat
import tempfile
import unittest
from pathlib import Path

from . import root

HIGHER = "99.0-1"
UNITS = ["weir-node.service", "weir-host.service", "weir-controller.service"]
PAIR = '\n[[pair]]\nname = "mine"\nports = ["net_null0", "net_null1"]\n'


class Install(unittest.TestCase):
    """One life of the packages, in the order in which it is lived."""

    @classmethod
    def setUpClass(cls):
        packages = root.packages()
        root.archive()
        cls.transcript = (root.OUT / "transcript.txt").open("w")
        cls.addClassCleanup(cls.transcript.close)
        cls.debian = root.Root(cls.transcript)
        cls.addClassCleanup(cls.debian.remove)
        cls.before = cls.debian.files()
        cls.users_before = cls.text("etc/passwd")
        cls.first = cls.debian.bring(*packages.values())
        with tempfile.TemporaryDirectory() as directory:
            changed = {"weir-node": ("etc/weir/node.toml", "# Of the next version."),
                       "weir-controller": ("etc/weir/controller.env", "# Of the next version.")}
            raised = [root.raised(package, HIGHER, directory, changed.get(name)) for name, package in packages.items()]
            cls.next = cls.debian.bring(*raised)

    @classmethod
    def text(cls, path):
        return (cls.debian.path / path).read_text()

    def exists(self, path):
        return (self.debian.path / path).exists()

    def mode(self, path):
        found = (self.debian.path / path).stat()
        return stat.S_IMODE(found.st_mode), found.st_uid

    def states(self):
        """Whether each unit is enabled."""
        said, _ = self.debian.run("systemctl", "is-enabled", *UNITS, check=False)
        return dict(zip(UNITS, said.split()))

    def user(self, name):
        lines = [line.split(":") for line in self.text("etc/passwd").splitlines()]
        return next((int(line[2]) for line in lines if line[0] == name), None)

    def test_1_installed(self):
        debian = self.debian
        debian.apt("install", *self.first)
        self.assertEqual(self.states(), dict.fromkeys(UNITS, "enabled"))
        for name in root.NAMES:
            self.assertRegex(debian.run(f"/usr/bin/{name}", "--version"), rf"^{name} \d")
            self.assertIn("install ok installed", debian.run("dpkg-query", "-W", "-f", "${Status}\n", name))
        debian.run("dpkg", "--verify", *root.NAMES)
        node, controller = self.user("weir-node"), self.user("weir-controller")
        self.assertTrue(node and controller and node != controller)
        self.assertEqual(self.mode("etc/weir/policy"), (0o750, controller))
        self.assertEqual(self.mode("etc/weir/node.toml"), (0o644, 0))
        # Nothing is set up yet, so that nothing would be started.
        for path in ("usr/share/man/man1/weir-policy-apply.1.gz", "usr/share/man/man5/weir-node.toml.5.gz",
                     "usr/share/bash-completion/completions/weir", "usr/share/weir/rules/web.rules",
                     "usr/share/weir/sensors/credentials.yaml", "usr/share/weir/monitoring/rules.yaml",
                     "usr/share/weir/monitoring/dashboards/weir-node.json", "usr/share/doc/weir-node/copyright"):
            self.assertTrue(self.exists(path), path)
        self.assertEqual(debian.run("kubectl-weir", "--version"), debian.run("weir", "--version"))

    def test_2_used(self):
        said, code = self.debian.run("weir", "doctor", check=False)
        self.assertIn(code, (0, 1), said)
        self.assertIn("hugepages", said)
        # As it is shipped the configuration is right, and names no port.
        said, code = self.debian.run("weir-node", "run", "--config", "/etc/weir/node.toml", check=False)
        self.assertEqual(code, 1)
        self.assertIn("no port is configured", said)

    def test_3_scripts_may_run_again(self):
        for name in ("weir-node", "weir-controller"):
            self.debian.run("dpkg-reconfigure", name)
            self.debian.run("dpkg-reconfigure", name)
        self.assertEqual(self.text("etc/passwd").count("weir-node:"), 1)
        self.debian.apt("install", "--reinstall", *self.first)
        self.assertEqual(self.states(), dict.fromkeys(UNITS, "enabled"))

    def test_4_upgraded(self):
        debian = self.debian
        with (debian.path / "etc/weir/node.toml").open("a") as file:
            file.write(PAIR)
        state = debian.path / "var/lib/weir/node"
        state.mkdir(parents=True)
        (state / "last-good").write_text("policy")
        # What an administrator has switched off stays off.
        debian.run("systemctl", "disable", "weir-host.service")
        debian.apt("install", *self.next)
        said = debian.run("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *root.NAMES)
        self.assertEqual(said.split()[1::2], [HIGHER] * 3)
        self.assertTrue(self.text("etc/weir/node.toml").endswith(PAIR))
        self.assertIn("Of the next version.", self.text("etc/weir/node.toml.dpkg-dist"))
        # A file that nobody has changed is the new version's.
        self.assertIn("Of the next version.", self.text("etc/weir/controller.env"))
        self.assertEqual((state / "last-good").read_text(), "policy")
        self.assertEqual(self.states()["weir-host.service"], "disabled")
        self.assertEqual(self.states()["weir-node.service"], "enabled")

    def test_5_removed(self):
        debian = self.debian
        debian.apt("remove", *root.NAMES)
        for name in root.NAMES:
            self.assertFalse(self.exists(f"usr/bin/{name}"))
        self.assertTrue(self.text("etc/weir/node.toml").endswith(PAIR))
        self.assertTrue(self.exists("etc/weir/controller.env"))
        self.assertTrue(self.exists("var/lib/weir/node/last-good"))
        debian.apt("install", *self.next)
        self.assertTrue(self.text("etc/weir/node.toml").endswith(PAIR))

    def test_6_one_purged(self):
        debian = self.debian
        (debian.path / "etc/weir/policy/mine.yaml").write_text("# policy\n")
        debian.apt("purge", "weir-node")
        self.assertFalse(self.exists("etc/weir/node.toml"))
        self.assertFalse(self.exists("var/lib/weir/node"))
        self.assertIsNone(self.user("weir-node"))
        # What is the other's stays.
        self.assertTrue(self.exists("etc/weir/policy/mine.yaml"))
        self.assertTrue(self.exists("etc/weir/tls"))

    def test_7_nothing_is_left(self):
        debian = self.debian
        debian.apt("purge", *root.NAMES)
        after = debian.files()
        self.assertEqual({path for path in after if path not in self.before}, set())
        self.assertEqual({path for path in self.before if path not in after}, set())
        self.assertEqual(self.text("etc/passwd"), self.users_before)


if __name__ == "__main__":
    unittest.main()
