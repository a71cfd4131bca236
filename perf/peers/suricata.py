"""Suricata on one thread: parses, follows flows, looks for signatures."""

import os
import re

from harness.peers import program, unpacked

ABOUT = "Suricata (SURICATA, PATH, or what perf/peers/install unpacked; its configuration: SURICATA_CONFIG)"
SCANS = True
# Without logs: writing them doubles the cost. Room for all flows of the loads: with the default 32 MB it forgets some of them
# in haste, which is another load.
PLAIN = """%YAML 1.1
---
vars:
  address-groups: {HOME_NET: "[10.0.0.0/8,fd00::/8]", EXTERNAL_NET: any, HTTP_SERVERS: $HOME_NET, SMTP_SERVERS: $HOME_NET,
    SQL_SERVERS: $HOME_NET, DNS_SERVERS: $HOME_NET, TELNET_SERVERS: $HOME_NET, AIM_SERVERS: any, DC_SERVERS: $HOME_NET,
    DNP3_SERVER: $HOME_NET, DNP3_CLIENT: $HOME_NET, MODBUS_CLIENT: $HOME_NET, MODBUS_SERVER: $HOME_NET,
    ENIP_CLIENT: $HOME_NET, ENIP_SERVER: $HOME_NET}
  port-groups: {HTTP_PORTS: 80, SHELLCODE_PORTS: "!80", ORACLE_PORTS: 1521, SSH_PORTS: 22, DNP3_PORTS: 20000,
    MODBUS_PORTS: 502, FILE_DATA_PORTS: "[80,110,143]", FTP_PORTS: 21, GENEVE_PORTS: 6081, VXLAN_PORTS: 4789, TEREDO_PORTS: 3544}
outputs: []
stats: {enabled: no}
app-layer: {protocols: {}}
flow: {memcap: 4gb, hash-size: 1048576}
stream: {memcap: 2gb, reassembly: {memcap: 4gb}}
"""
# What rules may name.
CLASS, REFERENCE = re.compile(r"classtype: *([\w-]+)"), re.compile(r"reference: *(\w+)")


def find():
    return unpacked("suricata") or program("SURICATA", "suricata", "suricata")


def command(found, capture, folder, rules):
    # -S is exclusive: an empty file is no rules at all.
    if rules is None:
        rules = folder / "none.rules"
        rules.write_text("")
    config = os.environ.get("SURICATA_CONFIG") or configuration(folder, rules.read_text())
    command = [found, "-c", str(config), "-r", str(capture), "-S", str(rules), "-k", "none", "--runmode", "single"]
    return [*command, "-l", str(folder)]


def configuration(folder, rules):
    """Its files in this folder; returns the first of them."""
    files = {
        "classification": [f"config classification: {name},{name},3\n" for name in sorted(set(CLASS.findall(rules)))],
        "reference": [f"config reference: {name} http://\n" for name in sorted(set(REFERENCE.findall(rules)))],
        "threshold": [],
    }
    config = folder / "suricata.yaml"
    lines = []
    for kind, text in files.items():
        path = folder / f"{kind}.config"
        path.write_text("".join(text))
        lines.append(f"{kind}-file: {path}\n" if kind == "threshold" else f"{kind}-{'config-' * (kind == 'reference')}file: {path}\n")
    config.write_text(PLAIN + "".join(lines))
    return config


def rules_loaded(said):
    """How many rules it took, of what it prints."""
    found = re.search(r"(\d+) signatures processed", said)
    return int(found.group(1)) if found else None
