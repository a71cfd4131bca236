"""What the daemons tell over HTTP, asked from the node's own machine."""

NODE, CONTROLLER = "127.0.0.1:9470", "127.0.0.1:9471"


def ask(lab, address, path):
    """Status and text of an answer; 0 where there is none."""
    command = ["curl", "-s", "-m", "5", "-w", "\n%{http_code}", f"http://{address}{path}"]
    result = lab.network.node.run(command, check=False)
    text, _, status = result.stdout.rpartition("\n")
    return int(status or 0), text.removesuffix("\n")


def samples(lab, address=NODE):
    """Every sample by its name and labels."""
    status, text = ask(lab, address, "/metrics")
    assert (status, text.splitlines()[-1]) == (200, "# EOF"), text[-200:]
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
