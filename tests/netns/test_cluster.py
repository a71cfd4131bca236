"""From kubectl apply to a packet that is dropped: the story of a cluster, as make demo-cluster tells it."""

import unittest

from demo.cluster_story import HOSTS, PROGRAMS, ClusterStory
from demo.narrator import Narrator
from lab import Lab
from lab.weir import binaries

from .support import here_only, with_programs

SERVER = binaries() / "weir-apiserver"


@here_only
@with_programs(*PROGRAMS)
@unittest.skipUnless(SERVER.exists(), f"not built: {SERVER} (make build-cluster)")
class OfACluster(unittest.TestCase):
    def test_policy_of_kubectl_is_enforced_and_what_is_not_signed_changes_nothing(self):
        """What is applied holds on the wire, and with keys only what they signed."""
        narrator = Narrator()
        with Lab(*HOSTS) as lab:
            ClusterStory(lab, narrator).tell()
            if narrator.failures:
                lab.show_logs()
        self.assertEqual(narrator.failures, [])


if __name__ == "__main__":
    unittest.main()
