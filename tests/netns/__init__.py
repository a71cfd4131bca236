"""Real clients and servers in network namespaces, joined through an inline node.

    tests/run netns 2                                    everything, two laboratories at a time
    python3 -m unittest tests.netns.test_links -v           one module

Root, the packages of deploy/baremetal/install-dependencies and the binaries ($WEIR_BIN, or
target/release) are needed; a test that lacks something is skipped and says what.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
