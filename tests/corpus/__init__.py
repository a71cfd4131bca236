"""Captures that others recorded: python3 -m unittest discover -s tests/corpus -t ."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
