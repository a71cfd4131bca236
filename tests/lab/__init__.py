"""A laboratory for Weir: hosts in network namespaces of this machine, joined through a weir-node.

    from lab import Lab

    with Lab("client", "server") as lab:
        lab.start_controller()
        lab.start_node()
        server, client = lab.hosts["server"], lab.hosts["client"]
        server.start(["python3", "-m", "http.server", "80"], ready=tcp(80))
        client.run(["curl", "-s", f"http://{server.ipv4}/"])
        print(lab.weir("flows"))

Everything is removed when the block ends, however it ends; see README.md for the picture.
Only Python's standard library and Debian's iproute2 and ethtool are used.
"""

from .cluster import Cluster
from .laboratory import Interrupted, Lab, needs, remove_stale
from .network import Host
from .processes import CommandFailed, LabError, Process, log_line, tcp, udp, wait_until

__all__ = [
    "Cluster",
    "CommandFailed",
    "Host",
    "Interrupted",
    "Lab",
    "LabError",
    "Process",
    "log_line",
    "needs",
    "remove_stale",
    "tcp",
    "udp",
    "wait_until",
]
