"""Signed policy from end to end: weir signs, a controller carries, a node judges, and the wire shows it.

What somebody changes who has the controller's directory, or the way to the nodes, but no key: refused, the
last good policy stays in force, and an alarm names the difference.
"""

import json
import shutil
import unittest

from lab import LabError, tcp, wait_until

from . import support
from .support import FAMILIES, PROGRAMS, PYTHON, says

OPEN, SHUT = 8080, 8081
SETTLE_S = 20
LAB = None


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab("client", "server")
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB))
    files = LAB.directory / "files"
    files.mkdir()
    (files / "index.html").write_text("welcome")
    for port in (OPEN, SHUT):
        command = [PYTHON, "-m", "http.server", port, "--bind", "::", "--protocol", "HTTP/1.1", "--directory", files]
        LAB.hosts["server"].start(command, name=f"http{port}", ready=tcp(port))


def allow(*ports):
    """What client may reach of server."""
    return support.allowlist("server", ingress=[f"from: [{{workload: client}}], ports: [{', '.join(map(str, ports))}]"])


@support.here_only
class Signed(unittest.TestCase):
    """One node's life, in the order of its chapters."""

    def test_only_what_enough_keys_signed_is_enforced(self):
        self.bundle = LAB.directory / "shop.bundle"
        self.keys = {name: LAB.directory / name for name in ("first", "second", "next", "intruder")}
        for prefix in self.keys.values():
            LAB.programs.run("bundle", "keygen", prefix)
        self.write(OPEN)
        self.sign(1, "first")
        LAB.start_controller("--bundle", self.bundle)
        self.start_node("first", "second", "next", weakening_threshold=2)
        self.reached(OPEN)

        for chapter in (self.unsigned, self.altered, self.closing, self.replayed, self.weakening, self.rotated):
            with self.subTest(chapter.__name__):
                chapter()

    def unsigned(self):
        """The controller's documents say more than what is signed."""
        self.write(OPEN, SHUT)
        self.refused("allowlist test/server ingress[0] is not signed (opens)")
        self.alarmed("allowlist test/server ingress[0] is not signed (opens)")
        self.reached(OPEN)
        self.write(OPEN)
        self.enforced()

    def altered(self):
        """Other documents under a signature that was made for these, and then under nobody's."""
        good = self.bundle.read_text()
        self.write(OPEN, SHUT)
        self.sign(2, "intruder")
        self.refused("the signed policy is refused: 0 of the 1 signatures that are needed")
        forged = json.loads(self.bundle.read_text())
        forged["signatures"] = json.loads(good)["signatures"]
        self.carry(json.dumps(forged))
        self.refused("does not fit: what was signed has been altered")
        self.alarmed("what was signed has been altered")
        self.reached(OPEN)
        self.write(OPEN)
        self.carry(good)
        self.enforced()

    def closing(self):
        """One signature is enough for what opens nothing."""
        self.write(OPEN, SHUT)
        self.sign(2, "first", "second")
        self.enforced()
        self.reached(OPEN, SHUT)
        self.wide = self.bundle.read_text()
        self.write(OPEN)
        self.sign(3, "first")
        self.enforced()
        self.reached(OPEN)
        self.newest = self.bundle.read_text()

    def replayed(self):
        """What was good once, with the documents that it was signed for."""
        self.write(OPEN, SHUT)
        self.carry(self.wide)
        self.refused("2 is older than 3, which this node has taken: a replay")
        self.alarmed("is older than 3")
        self.reached(OPEN)
        self.write(OPEN)
        self.carry(self.newest)
        self.enforced()

    def weakening(self):
        """What opens needs two."""
        self.write(OPEN, SHUT)
        self.sign(4, "first")
        self.refused("opens what the policy in force keeps shut, and 1 of the 2 signatures")
        self.alarmed("allowlist test/server ingress[0]")
        self.reached(OPEN)
        self.sign(5, "first", "second")
        self.enforced()
        self.reached(OPEN, SHUT)

    def rotated(self):
        """The next key signs while nodes know both; then the old ones are taken away."""
        self.write(OPEN)
        self.sign(6, "next")
        self.enforced()
        LAB.stop_node()
        self.start_node("next")
        self.reached(OPEN)
        self.write(SHUT)
        self.sign(7, "first", "second")
        self.refused("the signed policy is refused: 0 of the 1 signatures that are needed")
        self.reached(OPEN)
        self.sign(8, "next")
        self.enforced()
        self.reached(SHUT)

    # -- what the chapters are made of ------------------------------------------------------------

    def start_node(self, *keys, **policy):
        policy["public_keys"] = [f"{self.keys[name]}.pub" for name in keys]
        LAB.start_node(policy=policy)

    def write(self, *ports):
        LAB.write_policy("server.yaml", allow(*ports))

    def sign(self, sequence, key, second=None):
        """Signs what stands in the controller's directory; the bundle comes whole or not at all."""
        new = LAB.directory / "new.bundle"
        words = ["--second-key", f"{self.keys[second]}.key"] if second else []
        LAB.programs.run("bundle", "sign", LAB.programs.files.policy, "--key", f"{self.keys[key]}.key", *words, "--sequence", sequence, "--out", new)
        shutil.move(new, self.bundle)

    def carry(self, text):
        new = self.bundle.with_suffix(".new")
        new.write_text(text)
        new.rename(self.bundle)

    def node(self):
        return LAB.weir("status")["nodes"][0]

    def refused(self, words):
        """The node refuses, and says why."""

        def told():
            self.refusal = self.node()["refusal"]
            return words in self.refusal

        try:
            wait_until(told, f"the node refuses: {words}", SETTLE_S, 0.1)
        except LabError as error:
            raise LabError(f"{error}; it says {self.refusal!r}") from None

    def alarmed(self, words):
        """The alarm, as operators see it, names the difference."""

        def told():
            alerts = LAB.weir("alerts", "--threat", "policy-forgery")["alerts"]
            return [alert for alert in alerts if words in alert["message"] and alert["outcome"] == "blocked"]

        wait_until(told, f"policy-forgery: {words}", SETTLE_S, 0.2)

    def enforced(self):
        """The node has what the controller has, and refuses nothing."""

        def well():
            status = LAB.weir("status")
            node = status["nodes"][0]
            return node["enforced_version"] == status["policy_version"] and not node["refusal"]

        wait_until(well, "the node enforces what is signed", SETTLE_S, 0.1)

    def reached(self, *ports):
        """These ports of server answer client, over both families, and the others do not; a new policy may
        be on its way."""
        wanted = {(port, family) for port in ports for family in FAMILIES}

        def answers(port, family):
            address = LAB.hosts["server"].address(family)
            command = ["timeout", "2", PYTHON, PROGRAMS / "keep_alive.py", address, port, 1, "/index.html"]
            return "answered 1" in says(LAB.hosts["client"], command)

        def as_wanted():
            return {(port, family) for port in (OPEN, SHUT) for family in FAMILIES if answers(port, family)} == wanted

        wait_until(as_wanted, f"exactly ports {ports} answer", SETTLE_S, 0.1)
