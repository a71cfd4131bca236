"""What weir-node inspect --threats tells on the labelled captures: recall by threat, and what is told unlabelled.

Labels say which threats a capture holds, by capture; they do not say that it holds no others. So recall is held
against threat-floor.tsv (threat, recall, cut to three decimals), and every finding without a label must be
explained in threat-findings.tsv: capture, threat, and what the finding is. A capture `*` explains a threat
wherever it is told: what is a fact to be read off the packets, not a judgement.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from corpus.scoreboard import BATCH, BATCH_TIMEOUT_S, SCALE

ANYWHERE = "*"
FLOOR_HEAD = "threat\trecall\n"


class Row(NamedTuple):
    """How a threat was found."""

    captures: int
    found: int
    unlabelled: int

    @property
    def recall(self):
        return self.found / self.captures if self.captures else 0.0


class ThreatBoard:
    """Findings of every labelled capture, the figures by threat, and what no label speaks of."""

    def __init__(self, node, corpus, out):
        self.corpus, self.out = corpus, out
        self.findings = out / "threats.jsonl"
        out.mkdir(parents=True, exist_ok=True)
        self.inspect(node)
        result = self.score()
        self.rows = {row["name"]: Row(row["flows"], row["tp"], row["fp"]) for row in result["rows"]}
        self.recalls = {name: row.recall for name, row in self.rows.items() if row.captures}
        self.unlabelled = unlabelled(self.told(), self.labelled())

    def inspect(self, node):
        captures = sorted((self.corpus / "pcap").iterdir())
        with self.findings.open("w", encoding="utf-8") as out:
            for start in range(0, len(captures), BATCH):
                command = [node, "inspect", "--threats", *captures[start : start + BATCH]]
                run = subprocess.run(command, capture_output=True, text=True, timeout=BATCH_TIMEOUT_S, check=False)
                # 1: a capture was of a kind that cannot be read; test_corpus.py bounds how many may be.
                if run.returncode not in (0, 1):
                    raise RuntimeError(f"{node} ended with {run.returncode}: {run.stderr[-2000:]}")
                out.write(run.stdout)

    def score(self):
        result = self.out / "threat-score.json"
        command = [sys.executable, self.corpus / "score.py", "threats", self.corpus / "threats.tsv", self.findings]
        command += ["--captures", self.corpus / "manifest.tsv", "--json", result]
        subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(result.read_text())

    def told(self):
        with self.findings.open(encoding="utf-8") as lines:
            return {(Path(found["capture"]).name, found["threat"]) for found in map(json.loads, lines)}

    def labelled(self):
        with (self.corpus / "threats.tsv").open(encoding="utf-8") as lines:
            return {(row["capture"], row["threat"]) for row in csv.DictReader(lines, delimiter="\t")}

    def show(self):
        print(f"\n{'threat':<32}{'captures':>9}{'found':>7}{'recall':>8}{'unlabelled':>12}")
        for name, row in sorted(self.rows.items()):
            print(f"{name:<32}{row.captures:>9}{row.found:>7}{row.recall:>8.3f}{row.unlabelled:>12}")
        print(f"told without a label: {len(self.unlabelled)} (each is explained in threat-findings.tsv)")


def unlabelled(told, labelled):
    return sorted(told - labelled)


def read_rows(path: Path):
    """Rows of a table, without its head."""
    if not path.exists():
        return []
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:] if line]


def read_floor(path: Path):
    return {threat: float(recall) for threat, recall in read_rows(path)}


def write_floor(path: Path, floor):
    path.write_text(FLOOR_HEAD + "".join(f"{name}\t{recall:.3f}\n" for name, recall in sorted(floor.items())), encoding="utf-8")


def cut(share):
    return int(share * SCALE + 1e-6) / SCALE


def raised(floor, found):
    """The floor with every recall that has become better; none becomes worse."""
    return {name: max(floor.get(name, 0.0), cut(found.get(name, 0.0))) for name in {**floor, **found}}


def below(floor, found):
    """What has fallen under the floor, in words."""
    recalls = ((name, cut(found.get(name, 0.0)), least) for name, least in sorted(floor.items()))
    return [f"{name}: recall {is_:.3f} is below {least:.3f}" for name, is_, least in recalls if is_ < least]


def unexplained(findings, explanations):
    """Findings that no row speaks of, and rows that speak of no finding."""
    known = {(capture, threat) for capture, threat, _ in explanations}
    threats = {threat for _, threat in findings}
    new = [f"{threat} on {capture}: new" for capture, threat in findings if not {(capture, threat), (ANYWHERE, threat)} & known]
    spoken = {*findings, *((ANYWHERE, threat) for threat in threats)}
    return new, [f"{threat} on {capture}: no longer told" for capture, threat in sorted(known - spoken)]
