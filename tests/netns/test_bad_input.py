"""Bad documents, bad configurations and bad surroundings: each gives one clear message that says what
is wrong, where, and what to do; what cannot go on ends with a status other than 0; what was there stays.

A controller that speaks another version is proved by the controller's own tests.
"""

import shutil
import subprocess
import unittest
from pathlib import Path

from lab import tcp, wait_until
from lab.weir import program

from . import support
from .support import PYTHON, allowlist, documents, with_programs

LAB = None
GOOD = ["from: [{workload: client}], applications: [icmp]"]
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
NULL_DEVICES = ["--no-huge", "--vdev", "net_null0", "--vdev", "net_null1"]
ENDS_WITHIN_S = 30


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab("client", "server")
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB))
    LAB.write_policy("server.yaml", allowlist("server", ingress=GOOD))
    LAB.start_controller()
    LAB.start_node()


class BadInput(unittest.TestCase):
    def check_goes_on(self):
        """The policy from before is enforced."""
        self.assertEqual(support.ping(LAB.hosts["client"], LAB.hosts["server"].ipv4), 1)
        self.assertEqual(support.ping(LAB.hosts["server"], LAB.hosts["client"].ipv6), 0)

    def check_refused(self, command, *words):
        """Ends by itself, says all of these words, and does not panic."""
        result = LAB.network.node.run(command, check=False, timeout_s=ENDS_WITHIN_S)
        self.check_message(result, *words)
        return result

    def check_message(self, result, *words):
        said = result.stdout + result.stderr
        self.assertNotEqual(result.returncode, 0, said)
        for word in words:
            self.assertIn(str(word), said)
        self.assertNotIn("panicked", said)

    def small_disk(self, name, size):
        """A file system of its own, of this size."""
        path = LAB.directory / name
        path.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, text=True)
        if mounted.returncode != 0:
            self.skipTest(f"no file system of its own can be mounted here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", path], check=True)
        return path


def fill(disk):
    """Leaves no byte free; returns what to delete to free them."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return ballast


def change_policy():
    """Allows one port more than before, and makes some traffic to learn of."""
    change_policy.port += 1
    LAB.write_policy("server.yaml", allowlist("server", ingress=[*GOOD, f"from: [{{workload: client}}], ports: [{change_policy.port}]"]))
    return support.ping(LAB.hosts["client"], LAB.hosts["server"].ipv4)


change_policy.port = 8000


@support.here_only
class Documents(BadInput):
    def check_document(self, text, *words):
        """Refused by `weir policy test` and `apply`; written into the directory, the last good policy holds."""
        directory = LAB.directory / self.id().split(".")[-1]
        directory.mkdir()
        (directory / "candidate.yaml").write_text(text)
        version = LAB.weir("status")["policy_version"]
        for action in ("test", "apply"):
            self.check_message(LAB.programs.run("policy", action, directory, check=False), "candidate.yaml", *words)
        path = LAB.write_policy("candidate.yaml", text)
        try:
            wait_until(lambda: self.problems("candidate.yaml"), "the problem is told", 10, 0.1)
            told = self.problems("candidate.yaml")[0]
            self.assertTrue(told["line"] and told["next_step"], told)
            self.assertEqual(LAB.weir("status")["policy_version"], version)
            self.check_goes_on()
        finally:
            path.unlink()
        wait_until(lambda: not self.problems("candidate.yaml"), "the problem is gone", 10, 0.1)

    def problems(self, name):
        problems = LAB.weir("status")["problems"]
        return [problem for problem in problems if problem["file"].endswith(name) and not problem["warning"]]

    def test_no_yaml(self):
        self.check_document("kind: [", "candidate.yaml:", "not YAML")

    def test_unknown_field(self):
        self.check_document(allowlist("other", ingress=["form: [{workload: client}]"]), ":7:", 'unknown field "form"', "did you mean from?")

    def test_duplicate_names(self):
        text = allowlist("twice", ingress=GOOD, target="workload: server")
        self.check_document(documents(text, text), "test/twice", "twice, first in")

    def test_conditions_that_cannot_be_enforced(self):
        conditions = {
            "http.body, prefix: [a]": ('unknown field "http.body"', "http.host"),
            "tls.sni, in: [a]": ("http has no tls.sni", "a rule of its own"),
        }
        for number, (condition, words) in enumerate(conditions.items()):
            with self.subTest(condition=condition):
                rule = f"from: [{{any: true}}], applications: [http], when: [{{field: {condition}}}]"
                directory = LAB.directory / f"condition{number}"
                directory.mkdir()
                (directory / "candidate.yaml").write_text(allowlist("server", ingress=[rule]))
                self.check_message(LAB.programs.run("policy", "apply", directory, check=False), *words, "nothing was changed")
        self.check_goes_on()

    def test_a_selector_that_matches_nothing_is_a_warning(self):
        text = allowlist("nothing", ingress=["from: [{matchLabels: {app: nobody}}]"], target="matchLabels: {app: nothing}")
        directory = LAB.directory / "nothing"
        directory.mkdir()
        (directory / "candidate.yaml").write_text(text)
        said = LAB.programs.run("policy", "test", directory)
        self.assertIn("selects no workload", said.stdout + said.stderr)
        path = LAB.write_policy("nothing.yaml", text)
        told = lambda: [problem for problem in LAB.weir("status")["problems"] if problem["file"] == str(path)]  # noqa: E731
        wait_until(told, "the warning is told", 10, 0.1)
        self.assertTrue(all(problem["warning"] for problem in told()))
        self.check_goes_on()
        path.unlink()


@support.here_only
class Controllers(BadInput):
    def command(self, **flags):
        """A second controller; `flags` replace those of the first."""
        files = LAB.programs.files
        settings = {
            "directory": files.policy,
            "state": LAB.directory / "second-state",
            "listen": f"unix:{LAB.directory / 'second.sock'}",
            "node-listen": f"unix:{LAB.directory / 'second-nodes.sock'}",
        }
        settings.update({name.replace("_", "-"): value for name, value in flags.items()})
        return [program("weir-controller"), *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def test_addresses_and_state_in_use(self):
        files = LAB.programs.files
        server = LAB.network.node.start([PYTHON, "-m", "http.server", "7443"], name="taken", ready=tcp(7443))
        self.addCleanup(server.stop)
        self.check_refused(self.command(listen=f"unix:{files.operators}"), files.operators, "another process", "choose another")
        self.check_refused(self.command(node_listen="127.0.0.1:7443"), "127.0.0.1:7443", "another process", "choose another")
        self.check_refused(self.command(state=files.state), files.state, "in use by another process", "choose another")
        self.assertEqual(LAB.programs.run("status").returncode, 0)
        self.check_goes_on()

    def test_a_directory_that_is_not_there(self):
        result = LAB.programs.run("policy", "test", LAB.directory / "nowhere", check=False)
        self.check_message(result, "nowhere")

    @with_programs("mount", "umount")
    def test_state_on_a_full_disk(self):
        disk = self.small_disk("full-state", "64k")
        fill(disk)
        self.check_refused(self.command(state=disk / "state"), disk, "No space left", "check")

    @with_programs("mount", "umount")
    def test_the_disk_is_full_for_a_while(self):
        files = LAB.programs.files
        disk = self.small_disk("state", "8m")
        LAB.programs.controller.stop()
        # Room that the store has taken already must not be there, either.
        subprocess.run(["cp", "-r", "--sparse=always", files.state, disk / "state"], check=True)
        before, files.state = files.state, disk / "state"
        LAB.start_controller()
        try:
            ballast = fill(disk)
            told = lambda: [problem["message"] for problem in LAB.weir("status")["problems"] if "store" in problem["message"]]  # noqa: E731
            wait_until(lambda: change_policy() and told(), "the full disk is told", 30, 0.3)
            self.assertIn("No space left", " ".join(told()))
            self.check_goes_on()
            ballast.unlink()
            # Nobody has to do anything else.
            wait_until(lambda: not told(), "the store is written again once there is room", 30, 0.3)
            version = LAB.weir("status")["policy_version"]
            change_policy()
            wait_until(lambda: LAB.weir("status")["policy_version"] > version, "policy is published again", 10, 0.2)
            LAB.programs.wait_for_policy()
            self.check_goes_on()
        finally:
            LAB.programs.controller.stop()
            shutil.copytree(files.state, before, dirs_exist_ok=True)
            files.state = before
            LAB.write_policy("server.yaml", allowlist("server", ingress=GOOD))
            LAB.start_controller()
            LAB.programs.wait_for_policy()


@support.here_only
class Nodes(BadInput):
    """Started beside the one that runs, which must not notice."""

    def refused(self, *flags, words, user=()):
        state = ["--state", LAB.directory / "second-node"]
        self.check_refused([*user, program("weir-node"), "run", *state, *flags], "weir-node:", *words)

    def test_devices_that_are_not_there(self):
        self.refused(*NULL_DEVICES, "--pair", "a=net_null0,net_null7", words=["net_null7 is not there", "net_null0, net_null1", "--vdev"])
        wrong = ["--no-huge", "--vdev", "net_af_packet0,iface=nosuch", "--pair", "a=net_af_packet0,net_af_packet0"]
        self.refused(*wrong, words=["net_af_packet0", "twice"])
        wrong[-1] = "a=net_af_packet0,net_null1"
        self.refused(*wrong, "--vdev", "net_null1", words=["net_af_packet0,iface=nosuch", "No such device", "next:"])
        self.refused("--no-huge", "--device", "0000:99:00.0", "--tap", "0000:99:00.0", words=["0000:99:00.0", "vfio-pci", "next:"])
        self.check_goes_on()

    def test_no_port_and_no_core(self):
        self.refused(words=["no port is configured", "[[pair]]"])
        self.refused(*NULL_DEVICES, "--pair", "a=net_null0,net_null1", "--cores", "4095", words=["core 4095", "taskset"])

    def test_huge_pages_that_are_not_there(self):
        free = Path("/sys/kernel/mm/hugepages")
        if any(int(pages.read_text()) for pages in free.glob("*/free_hugepages")):
            self.skipTest("this machine has free huge pages")
        flags = ["--huge-pages", "required", *NULL_DEVICES[1:], "--pair", "a=net_null0,net_null1"]
        self.refused(*flags, words=["hugepages are needed", "nr_hugepages"])

    def test_configurations_that_cannot_be_read(self):
        path = LAB.directory / "bad.toml"
        self.refused("--config", path, words=[path, "No such file", "check the path"])
        path.write_text('[node]\nnmae = "a"\n')
        self.refused("--config", path, words=[path, "line 2", "nmae", "expected one of"])

    @with_programs("setpriv")
    def test_without_permission(self):
        path = LAB.directory / "secret.toml"
        path.touch(mode=0o600)
        self.refused("--config", path, user=NOBODY, words=[path, "Permission denied", "permissions"])
        flags = ["--no-huge", "--vdev", "net_af_packet0,iface=h0", "--vdev", "net_null1", "--pair", "a=net_af_packet0,net_null1"]
        self.refused(*flags, user=NOBODY, words=["net_af_packet0,iface=h0", "run as root", "NET_RAW"])
        self.check_goes_on()

    @with_programs("mount", "umount")
    def test_the_last_good_policy_does_not_fit(self):
        disk = self.small_disk("node-state", "64k")
        LAB.stop_node()
        LAB.start_node(node={"state_directory": str(disk)})
        self.addCleanup(LAB.start_node)
        self.addCleanup(LAB.stop_node)
        kept = (disk / "policy.last-good").read_bytes()
        fill(disk)
        support.put_in_force(LAB, "server.yaml", allowlist("server", ingress=[*GOOD, "from: [{workload: client}], ports: [82]"]))
        said = wait_until(lambda: [line for line in LAB.programs.node.said().splitlines() if "No space left" in line], "the full disk is told", 10)
        self.assertIn("would not survive a restart", said[0])
        self.assertIn("free space", said[0])
        # Enforced all the same, and the older one is still whole.
        self.check_goes_on()
        self.assertEqual((disk / "policy.last-good").read_bytes(), kept)
