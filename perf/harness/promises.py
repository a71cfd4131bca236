"""The promises of perf/promises.toml: judged by figures, and rendered into SPECIFICATION.md."""

import tomllib

from .figures import REPOSITORY, recorded, shown

FILE = REPOSITORY / "perf" / "promises.toml"
SPECIFICATION = REPOSITORY / "perf" / "SPECIFICATION.md"
BEGIN, END = "<!-- promises: made by perf/bench --render -->", "<!-- end of promises -->"


def read():
    with open(FILE, "rb") as file:
        promises = tomllib.load(file)["promise"]
    for promise in promises:
        promise["sign"], number, promise["unit"] = promise["limit"].split(maxsplit=2)
        promise["number"] = float(number)
    return promises


def kept(promise, value):
    return value <= promise["number"] if promise["sign"] == "<=" else value >= promise["number"]


def ratio(promise, value):
    """How much of the way there is gone: 1 and more is kept."""
    if promise["sign"] == ">=":
        return value / promise["number"]
    if value == 0:
        return float("inf")
    return promise["number"] / value


def limit(promise):
    sign = "≤" if promise["sign"] == "<=" else "≥"
    return f"{sign} {promise['number']:,g} {promise['unit']}" if promise["number"] < 1e5 else \
        f"{sign} {promise['number']:,.0f} {promise['unit']}"


def last_records():
    """The last record of each figure."""
    return {row["figure"]: row for row in recorded()}


def rendered():
    """The table, of the promises and their last records."""
    records = last_records()
    lines = ["| Promise | Load | Command | Limit | Last record |", "|---|---|---|---|---|"]
    for promise in read():
        record = records.get(promise["figure"])
        if record is None:
            last = "not measured yet" + (f": needs {promise['needs']}" if "needs" in promise else "")
        else:
            verdict = "" if kept(promise, record["value"]) else " **not reached**"
            last = f"{shown(record)} {record['unit']}, {record['date']}{verdict}"
        lines.append(f"| {promise['name']} | {promise['load']} | `{promise['command']}` | {limit(promise)} | {last} |")
    return "\n".join(lines)


def specification(table):
    """The specification with this table in its place."""
    text = SPECIFICATION.read_text()
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"
