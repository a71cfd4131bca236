"""Suricata on one thread: parses, follows flows, looks for signatures."""

import os

from harness.peers import program

ABOUT = "Suricata (SURICATA; its configuration: SURICATA_CONFIG)"
SCANS = True
# Without logs: writing them doubles the cost.
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
"""


def find():
    return program("SURICATA", "suricata", None)


def command(found, capture, folder, rules):
    config = os.environ.get("SURICATA_CONFIG")
    if not config:
        config = folder / "suricata.yaml"
        config.write_text(PLAIN)
    # -S is exclusive: an empty file is no rules at all.
    if rules is None:
        rules = folder / "none.rules"
        rules.write_text("")
    return [found, "-c", str(config), "-r", str(capture), "-S", str(rules), "-k", "none", "--runmode", "single", "-l", str(folder)]
