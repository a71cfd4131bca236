"""NeuVector's dataplane on a capture."""

import os
import shlex

from harness.peers import program

ABOUT = "NeuVector's dp (NEUVECTOR_DP; its arguments, with {capture} in them: NEUVECTOR_DP_ARGUMENTS)"
SCANS = False


def find():
    return program("NEUVECTOR_DP", None, None)


def command(found, capture, folder, rules):
    arguments = os.environ.get("NEUVECTOR_DP_ARGUMENTS", "-p {capture}")
    return [found, *(word.format(capture=capture) for word in shlex.split(arguments))]
