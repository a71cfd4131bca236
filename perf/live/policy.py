"""A controller with a policy of many rules, of which two are the bench's: client 10.0.0.0/9, server 10.128.0.0/9."""

import contextlib
import json

from lab.processes import Process, log_line, run, wait_until
from lab.weir import program

RULES_OF_AN_ALLOWLIST = 10
ENFORCED_S = 60


def workload(name, address):
    return document("Workload", name, f"{{addresses: [{address}]}}")


def document(kind, name, spec):
    return f"apiVersion: weir.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: bench}}\nspec: {spec}\n---\n"


def documents(rules):
    """Both ends in protect; the other rules are for workloads that nobody hears of."""
    parts = [workload("client", '"10.0.0.0/9"'), workload("server", '"10.128.0.0/9"')]
    for name in ("client", "server"):
        parts.append(document("Mode", name, f"{{target: {{workload: {name}}}, mode: protect}}"))
    parts.append(document("Allowlist", "server", "{target: {workload: server}, ingress: [{from: [{workload: client}]}]}"))
    parts.append(document("Allowlist", "client", "{target: {workload: client}, egress: [{to: [{workload: server}]}]}"))
    others = rules // RULES_OF_AN_ALLOWLIST
    for number in range(others):
        parts.append(workload(f"w{number}", f'"172.16.{number >> 8}.{number & 255}"'))
        lines = (
            f"{{from: [{{workload: w{(number * 7 + 1 + rule) % others}}}], ports: [{1000 + rule}]}}"
            for rule in range(RULES_OF_AN_ALLOWLIST)
        )
        parts.append(document("Allowlist", f"w{number}", f"{{target: {{workload: w{number}}}, ingress: [{', '.join(lines)}]}}"))
    return "".join(parts)


class Controller(contextlib.AbstractContextManager):
    """weir-controller over a directory of documents."""

    def __init__(self, directory, rules):
        self.directory = directory / f"controller-{rules}"
        self.policy = self.directory / "policy"
        self.policy.mkdir(parents=True, exist_ok=True)
        (self.policy / "rules.yaml").write_text(documents(rules))
        self.address = f"unix:{self.directory / 'nodes.sock'}"
        self.operators = f"unix:{self.directory / 'operators.sock'}"
        command = [program("weir-controller"), "--directory", self.policy, "--state", self.directory / "state"]
        command += ["--listen", self.operators, "--node-listen", self.address]
        self.process = Process("controller", command, self.directory / "controller.log")
        self.process.wait_ready(log_line("listening"), ENFORCED_S)

    def __exit__(self, *_):
        self.process.stop()

    def change(self, number):
        """One more rule of the server's: the next version."""
        rule = f"{{target: {{workload: server}}, ingress: [{{from: [{{workload: client}}], ports: [{1 + number % 60_000}]}}]}}"
        changed = self.policy / "changed.yaml"
        temporary = changed.with_suffix(".tmp")
        temporary.write_text(document("Allowlist", "changed", rule))
        temporary.rename(changed)

    def status(self):
        words = [program("weir"), "--controller", self.operators, "-o", "json", "status"]
        return json.loads(run(words).stdout)

    def enforced(self):
        """The version that the node enforces; 0: none."""
        nodes = [node for node in self.status()["nodes"] if node["connected"]]
        return min((node["enforced_version"] for node in nodes), default=0)

    def wait_until_enforced(self, beyond=0):
        """Waits until the node enforces the newest version; returns it."""

        def enforced():
            status = self.status()
            nodes = [node for node in status["nodes"] if node["connected"]]
            wanted = max(status["policy_version"], beyond + 1)
            return nodes and all(node["enforced_version"] >= wanted for node in nodes) and wanted

        return wait_until(enforced, "the node enforces the policy", ENFORCED_S, 0.05)
