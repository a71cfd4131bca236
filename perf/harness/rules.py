"""Signatures to measure with."""

import os
import sys
from pathlib import Path

from . import figures


def rules_folder():
    named = Path(os.environ.get("WEIR_RULES", figures.REPOSITORY.parent / "shared" / "rules" / "etopen"))
    if any(named.glob("*.rules")):
        return named
    print(f"no rules in {named} (set WEIR_RULES): the rules that Weir brings are used", file=sys.stderr)
    return figures.REPOSITORY / "sigs" / "rules"
