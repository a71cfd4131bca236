"""What the modules share: a laboratory for each, policy documents, and what clients say."""

import re
import shutil
import subprocess
import sys
import unittest
from ipaddress import ip_address
from pathlib import Path

from lab import Lab, needs, wait_until

PROGRAMS = Path(__file__).resolve().parent / "programs"
# Debian's own: its packages (pymysql, ntpdig) belong to it.
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
UNAVAILABLE = needs()
FAMILIES = (4, 6)
# A client's own patience is longer: only an answer or a reset ends it before.
PROMPT_S = 20
ICMP = "ICMP IPv6-ICMP"

here_only = unittest.skipIf(UNAVAILABLE, UNAVAILABLE)


def with_programs(*names):
    """Skips a test by name where a program of it is not installed."""
    missing = [name for name in names if shutil.which(name) is None]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


def with_module(name):
    """Skips a test by name where a Python module of it is not installed."""
    found = subprocess.run([PYTHON, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0
    return unittest.skipIf(not found, f"not installed: Python's {name}")


def build_lab(*hosts, **options):
    """The laboratory of a module or of a test case; removed after its last test, also on failure."""
    return unittest.enterModuleContext(Lab(*hosts, **options))


def workload(name, addresses, **labels):
    quoted = ", ".join(f'"{address}"' for address in addresses)
    words = ", ".join(f"{key}: {value}" for key, value in {"app": name, **labels}.items())
    return document("Workload", name, f"{{addresses: [{quoted}]}}", labels=f"{{{words}}}")


def document(kind, name, spec, labels=None):
    """One YAML document; `spec` in flow or (indented) block style."""
    metadata = f"name: {name}, namespace: test" + (f", labels: {labels}" if labels else "")
    return f"apiVersion: weir.dev/v1alpha1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {spec}\n"


def allowlist(name, ingress=(), egress=(), target=None):
    """Rules in YAML's flow style, without the braces: 'from: [{workload: client}], ports: [80]'."""
    lines = [f"\n  target: {{{target or 'workload: ' + name}}}"]
    for direction, rules in (("ingress", ingress), ("egress", egress)):
        if rules:
            lines += [f"  {direction}:", *(f"    - {{{rule}}}" for rule in rules)]
    return document("Allowlist", name, "\n".join(lines))


def mode(name, value="protect"):
    return document("Mode", f"{name}-mode", f"{{target: {{workload: {name}}}, mode: {value}}}")


def documents(*texts):
    return "---\n".join(texts)


def hosts_policy(lab, mode_value="protect", **addresses):
    """A managed workload for each host, which may send anywhere; `addresses` adds to a host's own."""
    texts = []
    for name, host in lab.hosts.items():
        texts += [workload(name, [*host.addresses, *addresses.get(name, [])]), mode(name, mode_value)]
        texts.append(allowlist(f"{name}-egress", egress=["to: [{any: true}]"], target=f"workload: {name}"))
    return documents(*texts)


def put_in_force(lab, name, text, timeout_s=20):
    """Writes a policy file and waits until the node enforces what it says."""
    before = lab.weir("status")["policy_version"]
    lab.write_policy(name, text)
    wait_until(lambda: lab.weir("status")["policy_version"] > before, f"the controller reads {name}", timeout_s, 0.1)
    lab.programs.wait_for_policy()


def says(host, command, **options):
    """What a command says on standard output if it succeeds; else the empty string."""
    result = host.run(command, check=False, timeout_s=PROMPT_S, **options)
    return result.stdout if result.returncode == 0 else ""


def drops(lab, client, server, port=None, protocol="TCP UDP"):
    """The node's denials between two addresses."""
    wanted = (ip_address(client), ip_address(server))
    found = [event for event in lab.programs.events() if event["event_type"] == "drop" and event["proto"] in protocol.split()]
    found = [event for event in found if (ip_address(event["src_ip"]), ip_address(event["dest_ip"])) == wanted]
    return [event for event in found if port is None or event["dest_port"] == port]


def wait_for_drop(lab, client, server, port=None, protocol="TCP UDP", timeout_s=8):
    """The first denial between two addresses."""
    what = f"a denial {client} → {server}:{port} ({protocol}) is told"
    return wait_until(lambda: drops(lab, client, server, port, protocol), what, timeout_s, 0.1)[0]


def ping(host, address, *flags, count=1, wait_s=2):
    """Replies received."""
    result = host.run(["ping", "-n", "-q", "-c", count, "-i", "0.2", "-W", wait_s, *flags, address], check=False, timeout_s=60)
    match = re.search(r"(\d+) received", result.stdout)
    return int(match[1]) if match else 0
