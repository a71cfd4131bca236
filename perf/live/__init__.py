"""A live device under test between two DPDK ports, and the generator at their other ends: what perf/latency, perf/swap and
perf/flood are made of. Two cores: the generator has one, what forwards the other.

    with Bench(cores) as bench:
        policy = bench.policy(rules=10_000)
        with bench.loop("virtio-user", frame_bytes=64, forwarder=Weir(policy)) as loop:
            most = loop.most(seconds=2)
            print(loop.play(seconds=2, rate=most["rate"] / 2))
"""

from .bench import Bench
from .forwarders import Testpmd, Weir

__all__ = ["Bench", "Testpmd", "Weir"]
