"""The images: what they are made of, and, once they are built, what is in them.

    make images     # builds them, builds them again, and compares
"""

import os
import re
import shutil
import subprocess
import tempfile
import tomllib
import unittest
from functools import cache
from pathlib import Path

from . import root

DEPLOY = root.ROOT / "deploy" / "baremetal"
CONTAINERS = DEPLOY / "containers"
NAMES = ("weir-node", "weir-controller")
USER = "65532"
CAPABILITIES = "cap_ipc_lock,cap_net_admin,cap_net_raw"
BUILD_TIMEOUT_S = 600


def version():
    return tomllib.loads((root.ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def recipe(name):
    return (CONTAINERS / f"{name}.Containerfile").read_text()


class Recipes(unittest.TestCase):
    def test_names_are_those_of_the_manifests(self):
        manifests = {"weir-node": DEPLOY / "kustomize/node/node.yaml", "weir-controller": DEPLOY / "kustomize/controller.yaml"}
        values = (DEPLOY / "helm" / "values.yaml").read_text()
        for name, manifest in manifests.items():
            self.assertIn(f"image: registry.weir.dev/{name}:{version()}\n", manifest.read_text())
            self.assertIn(f"repository: registry.weir.dev/{name},", values)
        self.assertRegex((DEPLOY / "helm" / "Chart.yaml").read_text(), rf'(?m)^appVersion: "?{version()}"?$')

    def test_nobody_special_runs_them(self):
        for name in NAMES:
            self.assertEqual(re.findall(r"(?m)^USER (\S+)$", recipe(name)), [f"{USER}:{USER}"])
        self.assertIn(f"runAsUser: {USER}\n", (DEPLOY / "kustomize/controller.yaml").read_text())
        self.assertIn(f"collect capabilities weir-node {CAPABILITIES}", recipe("weir-node"))

    def test_bases_can_be_named_by_digest(self):
        for name in NAMES:
            bases = re.findall(r"(?m)^FROM (\S+)", recipe(name))
            self.assertEqual(bases, ["${RUST}", "scratch", "${PROGRAMS}", "${BASE}", "scratch"])
            self.assertNotIn(":latest", recipe(name))

    def test_what_they_run_is_there(self):
        for name in NAMES:
            asked = re.findall(r'"/usr/bin/([a-z-]+)"', recipe(name))
            self.assertIn(name, asked)
            programs = re.search(r"collect programs ([a-z -]+)", recipe(name)).group(1).split()
            self.assertEqual(set(asked) - set(programs), set())

    def test_scripts_are_shell(self):
        for script in (CONTAINERS / "build", CONTAINERS / "collect"):
            checked = subprocess.run(["sh", "-n", script], capture_output=True, text=True)
            self.assertEqual(checked.returncode, 0, checked.stderr)
            if shutil.which("shellcheck"):
                checked = subprocess.run(["shellcheck", script], capture_output=True, text=True)
                self.assertEqual(checked.returncode, 0, checked.stdout)


@cache
def storage():
    """Where the images are that make images built."""
    if "WEIR_IMAGES" not in os.environ:
        root.skip("no images were built (make images)")
    return Path(os.environ["WEIR_IMAGES"])


class Images(unittest.TestCase):
    """Images that were built."""

    @classmethod
    def setUpClass(cls):
        storage()

    def buildah(self, *words, place=None):
        place = place or storage()
        options = ["--root", place / "storage", "--runroot", place / "run", "--storage-driver", "vfs"]
        ran = subprocess.run(["buildah", *map(str, options), *map(str, words)], capture_output=True, text=True)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout.strip()

    def container(self, name):
        container = self.buildah("from", f"registry.weir.dev/{name}:{version()}")
        self.addCleanup(self.buildah, "rm", container)
        return container

    def test_they_run_as_nobody_special(self):
        for name in NAMES:
            container = self.container(name)
            for program in (name, "weir"):
                said = self.buildah("run", "--isolation", "chroot", "--cap-add", CAPABILITIES, container, "--",
                                    f"/usr/bin/{program}", "--version")
                self.assertEqual(said, f"{program} {version()}")

    def test_nothing_else_is_in_them(self):
        for name in NAMES:
            place = Path(self.buildah("mount", self.container(name)))
            self.assertEqual({file.name for file in (place / "usr/bin").iterdir()}, {name, "weir"})
            self.assertFalse([file for file in place.rglob("*") if file.is_file() and file.stat().st_mode & 0o6000])
            if name == "weir-node":
                drivers = {file.name.split(".")[0] for file in place.rglob("dpdk/pmds-*/*.so*")}
                self.assertLessEqual({"librte_net_e1000", "librte_net_mlx5", "librte_bus_pci", "librte_mempool_ring"}, drivers)
            else:
                self.assertTrue((place / "etc/ssl/certs/ca-certificates.crt").exists())

    def test_the_same_again(self):
        with tempfile.TemporaryDirectory(dir=storage().parent) as directory:
            again = Path(directory)
            base = storage() / "base.tar"
            if not base.exists():
                self.skipTest("the images were built from a base of a registry")
            shutil.copy(base, again)
            env = {**os.environ, "IMAGES": str(again)}
            ran = subprocess.run([CONTAINERS / "build"], env=env, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            for name in NAMES:
                digests = [self.buildah("images", "--no-trunc", "--format", "{{.Digest}}",
                                        f"registry.weir.dev/{name}:{version()}", place=place) for place in (storage(), again)]
                self.assertEqual(digests[0], digests[1], name)


if __name__ == "__main__":
    unittest.main()
