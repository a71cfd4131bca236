"""What goes wrong, and what holds: each fault under traffic, with figures in a table at the end.

    tests/run faults                                        all of them, small
    WEIR_FAULTS=full python3 -m unittest tests.faults.test_faults -v    with a million half-open connections, 20 restarts
    make soak                                               SOAK_MINUTES (30) of mixed traffic, changes and churn

Root and the binaries ($WEIR_BIN, or target/release) are needed; a test that lacks something is skipped and says what.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
