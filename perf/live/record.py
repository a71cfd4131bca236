"""Results as lines of a CSV file: when, of which commit, on which processor; and how they are printed."""

import csv
import datetime
import platform
import statistics
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class Record:
    """perf/record/NAME.csv with these columns behind date, commit and processor."""

    def __init__(self, name, columns):
        self.path = REPOSITORY / "perf" / "record" / f"{name}.csv"
        self.columns = columns

    def add(self, rows):
        """Rows by column; numbers are rounded to what can be read."""
        self.path.parent.mkdir(exist_ok=True)
        fresh = not self.path.exists()
        head = [datetime.date.today(), commit(), processor()]
        with open(self.path, "a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if fresh:
                writer.writerow(["date", "commit", "processor", *self.columns])
            for row in rows:
                writer.writerow(head + [readable(row.get(column)) for column in self.columns])


def readable(value):
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else value


def commit():
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def spread(values, digits=2):
    """Median and range."""
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"
