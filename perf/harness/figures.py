"""Figures, and the record of them: perf/record/MACHINE/DATE.csv."""

import csv
import datetime
import json
import os
import platform
import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
RECORD = REPOSITORY / "perf" / "record"
COLUMNS = ["commit", "figure", "value", "low", "high", "unit", "facts"]
# Where a script that runs under perf/bench appends what it tells.
GATHERED = "WEIR_FIGURES"


def tell(figure, value, unit, low=None, high=None, **facts):
    """A figure by its name (dots between its parts), with its range and what else is to be known of it."""
    told = {"figure": figure, "value": round(value, 4), "unit": unit, "facts": facts}
    told["low"] = round(value if low is None else low, 4)
    told["high"] = round(value if high is None else high, 4)
    if os.environ.get(GATHERED):
        with open(os.environ[GATHERED], "a") as file:
            file.write(json.dumps(told) + "\n")
    return told


def processor():
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found.group(1).strip() if found else platform.machine()


def machine():
    """A name for this machine's kind: processor and how many cores."""
    name = re.sub(r"\(R\)|\(TM\)|CPU|Processor|@.*", " ", processor())
    return "-".join(re.findall(r"[a-z0-9]+", name.lower())) + f"-{os.cpu_count()}"


def commit():
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def record(told, folder=None):
    """Adds figures to today's file of this machine; returns the file."""
    path = (folder or RECORD / machine()) / f"{datetime.date.today()}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    at = commit()
    with open(path, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        for one in told:
            facts = " ".join(f"{key}={value}" for key, value in one["facts"].items())
            writer.writerow([at, one["figure"], one["value"], one["low"], one["high"], one["unit"], facts])
    return path


def recorded():
    """Every recorded figure, oldest first: machine, date, and the columns."""
    for path in sorted(RECORD.glob("*/*.csv"), key=lambda path: (path.stem, path.parent.name)):
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                numbers = {name: float(row[name]) for name in ("value", "low", "high")}
                yield {**row, **numbers, "machine": path.parent.name, "date": path.stem}


def shown(one):
    """Value and range."""
    numbers = [f"{one[name]:.3g}" if abs(one[name]) < 1000 else f"{one[name]:,.0f}" for name in ("value", "low", "high")]
    return numbers[0] if numbers[1] == numbers[2] else f"{numbers[0]} ({numbers[1]}–{numbers[2]})"


def show(told):
    """A line each."""
    width = max((len(one["figure"]) for one in told), default=0)
    for one in told:
        facts = ", ".join(f"{key} {value}" for key, value in one["facts"].items())
        print(f"{one['figure']:<{width}}  {shown(one):>28} {one['unit']:<22} {facts}")
