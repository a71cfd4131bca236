"""How well weir-node inspect --flows names the flows of the labelled captures.

Scored by the score.py that lies beside the labels: strictly, on the labels of grades A and B. What it finds
must not fall below floor.tsv, a line per figure: name, precision, recall, F1, cut to three decimals. Names are
applications, `micro` and `macro` over all of them, `ja3`, `ja3s` and `ja4` (precision: of the fingerprints that
were told, how many are right; recall: of those that are known), and `product/NAME` for servers of HTTP.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

GRADES = "AB"
BATCH = 200
BATCH_TIMEOUT_S = 300
FINGERPRINTS = ("ja3", "ja3s", "ja4")
HEAD = "name\tprecision\trecall\tf1\n"
# Figures are compared as they are written: in thousandths.
SCALE = 1000


class Figure(NamedTuple):
    """Shares between 0 and 1."""

    precision: float
    recall: float
    f1: float

    @classmethod
    def counted(cls, right, told, known):
        precision = right / told if told else 0.0
        recall = right / known if known else 0.0
        both = precision + recall
        return cls(precision, recall, 2 * precision * recall / both if both else 0.0)

    def cut(self):
        return Figure(*(int(share * SCALE + 1e-6) / SCALE for share in self))


class Board:
    """Figures by name, the scorer's own words, and the flows they were drawn from."""

    def __init__(self, node, corpus, out):
        self.corpus, self.out = corpus, out
        self.flows = out / "flows.jsonl"
        out.mkdir(parents=True, exist_ok=True)
        self.inspect(node)
        self.words, result = self.score()
        self.rows = [row for row in result["strict"]["rows"] if row["flows"]]
        self.figures = {row["name"]: figure(row) for row in self.rows}
        self.totals = {name: figure(result["strict"][name]) for name in ("micro", "macro")}
        self.prints = self.compare_fingerprints()
        products = result.get("server", {})
        self.products = {
            f"product/{name}": Figure.counted(count["found"], count["found"] + count["false"], count["flows"])
            for name, count in sorted(products.items())
        }

    def all(self):
        return {**self.totals, **self.figures, **self.products, **{name: found[0] for name, found in self.prints.items()}}

    def inspect(self, node):
        captures = sorted((self.corpus / "pcap").iterdir())
        with self.flows.open("w", encoding="utf-8") as out:
            for start in range(0, len(captures), BATCH):
                command = [node, "inspect", "--flows", *captures[start : start + BATCH]]
                run = subprocess.run(command, capture_output=True, text=True, timeout=BATCH_TIMEOUT_S, check=False)
                # 1: a capture was of a kind that cannot be read; test_corpus.py bounds how many may be.
                if run.returncode not in (0, 1):
                    raise RuntimeError(f"{node} ended with {run.returncode}: {run.stderr[-2000:]}")
                out.write(run.stdout)

    def score(self):
        result = self.out / "score.json"
        command = [sys.executable, self.corpus / "score.py", "flows", self.corpus / "labels.tsv", self.flows]
        command += ["--conf", GRADES, "--errors", "1000000", "--json", result]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        return run.stdout, json.loads(result.read_text())

    def compare_fingerprints(self):
        """For each kind: its figure, and the flows where another was told than is known."""
        with (self.corpus / "fingerprints.tsv").open(encoding="utf-8") as lines:
            known = {ends(row): row for row in csv.DictReader(lines, delimiter="\t")}
        told = {}
        with self.flows.open(encoding="utf-8") as lines:
            for flow in map(json.loads, lines):
                if ends(flow) in known:
                    told.setdefault(ends(flow), []).append(flow["fields"])
        return {kind: compare(kind, known, told) for kind in FINGERPRINTS}

    def confusions(self):
        """The part of the scorer's words that says what was taken for what."""
        _, _, rest = self.words.partition("== most frequent confusions")
        lines = rest.splitlines()[1:]
        return [line for line in lines[: lines.index("") if "" in lines else None] if "->" in line]

    def errors(self):
        return [line for line in self.words.splitlines() if line.startswith("ERR ")]

    def show(self):
        print(f"\n{'application':<24}{'flows':>7}{'precision':>11}{'recall':>9}{'F1':>9}")
        flows = {row["name"]: row["flows"] for row in self.rows}
        flows |= {name: known for name, (_, known, _) in self.prints.items()}
        for name, found in {**self.figures, **self.totals, **self.products}.items():
            print(line_of(name, flows.get(name, ""), found))
        for name, (found, known, wrong) in self.prints.items():
            print(line_of(name, known, found), *(f"\n    {line}" for line in wrong[:5]))
        print("\nlabelled as -> taken for")
        print("\n".join(self.confusions()))


def line_of(name, flows, found):
    return f"{name:<24}{flows:>7}{found.precision:>11.3f}{found.recall:>9.3f}{found.f1:>9.3f}"


def figure(row):
    return Figure(row["precision"], row["recall"], row["f1"])


def ends(row):
    sides = sorted([(row["src_ip"], int(row["src_port"])), (row["dst_ip"], int(row["dst_port"]))])
    return (row["capture"], row["proto"], *sides)


def compare(kind, known, told):
    expected = {flow: row[kind] for flow, row in known.items() if row.get(kind)}
    right, seen, wrong = 0, 0, []
    for flow, value in expected.items():
        values = [one for fields in told.get(flow, []) for name, all in fields.items() if name.endswith("." + kind) for one in all]
        seen += bool(values)
        right += value in values
        if values and value not in values:
            wrong.append(f"{flow}: {value} told as {values}")
    return Figure.counted(right, seen, len(expected)), len(expected), wrong


def read_floor(path: Path):
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines if line)
    return {name: Figure(*map(float, shares)) for name, *shares in rows}


def write_floor(path: Path, floor):
    rows = sorted((row for row in floor.items() if any(row[1])), key=lambda row: (row[0] not in ("micro", "macro"), row[0]))
    text = "".join(f"{name}\t" + "\t".join(f"{share:.3f}" for share in found) + "\n" for name, found in rows)
    path.write_text(HEAD + text, encoding="utf-8")


def raised(floor, found):
    """The floor with every figure that has become better; none becomes worse."""
    names = {**floor, **found}
    nothing = Figure(0.0, 0.0, 0.0)
    return {name: Figure(*map(max, floor.get(name, nothing), found.get(name, nothing).cut())) for name in names}


def below(floor, found):
    """What has fallen under the floor, in words."""
    nothing = Figure(0.0, 0.0, 0.0)
    faults = []
    for name, least in floor.items():
        for kind, is_, was in zip(Figure._fields, found.get(name, nothing).cut(), least):
            if is_ < was:
                faults.append(f"{name}: {kind} {is_:.3f} is below {was:.3f}")
    return faults
