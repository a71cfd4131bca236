"""Dashboards, alert rules and monitors: what they name is in the daemons' tables of metrics, Prometheus takes
them, every alert has been seen to fire and to be silent, and each says what to do.

    tests/run deploy
    UPDATE_EXPECTED=1 python3 -m unittest tests.deploy.test_monitoring     renews prometheus-rule.yaml
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from .renderers import DEPLOY, ROOT, kustomized_at, module, parse, rendered

MONITORING = DEPLOY / "components" / "monitoring"
# What Prometheus and the monitors put on every sample.
COMMON_LABELS = {"instance", "job", "namespace", "pod", "node", "le"}
OWN_METRICS = {"up": set()}
HISTOGRAM_ENDS = ("_bucket", "_sum", "_count")
ON = {"enabled": True}


def metrics():
    """Name and labels of every metric, from the reference, which the daemons' own tests hold to their tables."""
    rows = re.findall(r"^\| `(weir_\w+)` \| (\w+) \| (.*?) \|", (DEPLOY / "METRICS.md").read_text(), re.M)
    known = dict(OWN_METRICS)
    for name, kind, labels in rows:
        for end in HISTOGRAM_ENDS if kind == "histogram" else ("",):
            known[name + end] = set(re.findall(r"`(\w+)`", labels))
    assert len(rows) > 60, "the reference lacks its tables"
    return known


METRICS = metrics()


def rules():
    return [rule for group in parse((MONITORING / "rules.yaml").read_text())[0]["groups"] for rule in group["rules"]]


def dashboards():
    return {path.name: json.loads(path.read_text()) for path in sorted((DEPLOY / "dashboards").glob("*.json"))}


def queries(board):
    """Expression and legend of every panel, and the metrics of its variables."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target.get("legendFormat", "")
    for variable in board["templating"]["list"]:
        if found := re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"] if variable["type"] == "query" and
                                 isinstance(variable["query"], str) else variable.get("definition", "")):
            yield variable["name"], f"{found[1]}{{{found[2]}=\"x\"}}", ""


def unknown(expression, legend=""):
    """Metrics and labels that nobody tells."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    used = re.findall(r"\b(weir_\w+|up)\b(?:\{([^}]*)\})?", bare)
    wrong = [name for name, _ in used if name not in METRICS]
    labels = set().union(*(METRICS.get(name, set()) for name, _ in used)) | COMMON_LABELS
    for name, selector in used:
        selected = set(re.findall(r"(\w+)\s*[=!]", selector))
        wrong += sorted(selected - METRICS.get(name, set()) - COMMON_LABELS)
    for listed in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", bare):
        wrong += sorted(set(re.findall(r"\w+", listed)) - labels)
    wrong += sorted(set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", legend)) - labels)
    return wrong


def promtool(*arguments):
    tool = shutil.which("promtool")
    if tool is None:
        raise unittest.SkipTest("promtool is not installed (Debian's package prometheus; make deps)")
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


class Names(unittest.TestCase):
    def test_rules_name_what_is_told(self):
        for rule in rules():
            told = " ".join(rule["annotations"].values())
            self.assertEqual(unknown(rule["expr"], told), [], rule["alert"])

    def test_dashboards_name_what_is_told(self):
        for name, board in dashboards().items():
            for title, expression, legend in queries(board):
                with self.subTest(f"{name}: {title}"):
                    self.assertTrue(re.search(r"\bweir_", expression), expression)
                    self.assertEqual(unknown(expression, legend), [])

    def test_what_is_not_told_is_found(self):
        self.assertEqual(unknown("weir_node_flow / weir_node_flows"), ["weir_node_flow"])
        self.assertEqual(unknown('weir_node_flows{worker="0"}'), ["worker"])
        self.assertEqual(unknown("sum by (reason) (weir_node_flows)"), ["reason"])
        self.assertEqual(unknown("weir_node_flows", "{{ $labels.reason }}"), ["reason"])


class Rules(unittest.TestCase):
    maxDiff = None

    def test_each_says_how_bad_and_what_to_do(self):
        text = (DEPLOY / "ALERTS.md").read_text()
        sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.M | re.S))
        alerts = [rule["alert"] for rule in rules()]
        self.assertEqual(sorted(sections), sorted(alerts))
        for rule in rules():
            with self.subTest(rule["alert"]):
                severity = rule["labels"]["severity"]
                self.assertIn(severity, ("critical", "warning"))
                self.assertEqual(sorted(rule["annotations"]), ["description", "runbook", "summary"])
                self.assertEqual(rule["annotations"]["runbook"], f"deploy/baremetal/ALERTS.md#{rule['alert'].lower()}")
                wait = f"after {rule['for']}" if "for" in rule else "at once"
                self.assertIn(f"*{severity}, {wait}.*", sections[rule["alert"]])
                self.assertIn("**What to do.**", sections[rule["alert"]])

    def test_each_is_tested(self):
        tested = re.findall(r'alertname="(\w+)"', (ROOT / "tests" / "deploy" / "rules_test.yaml").read_text())
        self.assertEqual(sorted(tested), sorted(rule["alert"] for rule in rules()))

    def test_prometheus_takes_them(self):
        code, told = promtool("check", "rules", MONITORING / "rules.yaml")
        self.assertEqual(code, 0, told)

    def test_they_fire_when_they_should(self):
        code, told = promtool("test", "rules", ROOT / "tests" / "deploy" / "rules_test.yaml")
        self.assertEqual(code, 0, told)

    def test_the_example_configuration_is_right(self):
        code, told = promtool("check", "config", "--syntax-only", MONITORING / "prometheus.yml")
        self.assertEqual(code, 0, told)

    def test_the_operator_gets_the_same(self):
        groups = parse((MONITORING / "rules.yaml").read_text())[0]["groups"]
        labels = {"app.kubernetes.io/name": "weir"}
        metadata = {"name": "weir", "namespace": "weir-system", "labels": labels}
        thing = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": metadata,
                 "spec": {"groups": groups}}
        text = "# rules.yaml for the Prometheus operator; made from it by tests/deploy/test_monitoring.py.\n"
        text += module("yaml").safe_dump(thing, sort_keys=False, width=110)
        file = MONITORING / "prometheus-rule.yaml"
        if "UPDATE_EXPECTED" in os.environ:
            file.write_text(text)
        self.assertEqual(text, file.read_text())


class Dashboards(unittest.TestCase):
    def test_they_can_be_told_apart(self):
        boards = dashboards()
        self.assertEqual(sorted(boards), ["weir-controller.json", "weir-node.json", "weir-threats.json"])
        for name, board in boards.items():
            self.assertEqual(f"{board['uid']}.json", name)
            numbers = [panel["id"] for panel in board["panels"]]
            self.assertEqual(len(set(numbers)), len(numbers), name)
        self.assertEqual(len({board["title"] for board in boards.values()}), len(boards))

    def test_panels_do_not_cover_each_other(self):
        for name, board in dashboards().items():
            cells = [(x, y) for panel in board["panels"] for place in [panel["gridPos"]]
                     for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])]
            self.assertEqual(len(set(cells)), len(cells), name)
            self.assertLess(max(x for x, _ in cells), 24, name)

    def test_prometheus_reads_their_queries(self):
        found = [(f"{name}: {title}", expression) for name, board in dashboards().items()
                 for title, expression, _ in queries(board)]
        settings = {"$__rate_interval": "5m", "$__range": "1h", "$instance": "x"}
        with tempfile.TemporaryDirectory() as directory:
            records = []
            for number, (_, expression) in enumerate(found):
                for variable, value in settings.items():
                    expression = expression.replace(variable, value)
                records.append({"record": f"query:{number}", "expr": expression})
            file = Path(directory) / "queries.yaml"
            file.write_text(json.dumps({"groups": [{"name": "queries", "rules": records}]}))
            code, told = promtool("check", "rules", file)
        self.assertEqual(code, 0, told)


class Monitors(unittest.TestCase):
    maxDiff = None

    def things(self, **values):
        made = rendered({"monitoring": values})
        return {name: thing for name, thing in made.items()
                if thing["apiVersion"].startswith("monitoring.coreos.com") or name.endswith("/weir-dashboards")}

    def test_nothing_of_it_unless_asked(self):
        self.assertEqual(self.things(), {})

    def test_chart_and_component_say_the_same(self):
        (ROOT / "tests" / "out").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ROOT / "tests" / "out") as directory:
            up = "../../../deploy/baremetal"
            text = f"resources: [{up}/overlays/discover]\ncomponents: [{up}/components/monitoring]\n"
            (Path(directory) / "kustomization.yaml").write_text(text)
            made = kustomized_at(Path(directory))
        chart = self.things(monitors=ON, rules=ON, dashboards=ON)
        self.assertEqual(len(chart), 4)
        for name, thing in chart.items():
            other = made[name]
            self.assertEqual(thing.get("spec"), other.get("spec"), name)
            self.assertEqual(thing.get("data"), other.get("data"), name)
            labels = thing["metadata"]["labels"]
            for label, value in other["metadata"].get("labels", {}).items():
                self.assertEqual(labels.get(label), value, f"{name}: {label}")

    def test_monitors_find_ports_that_are_there(self):
        made = rendered({"monitoring": {"monitors": ON}})
        pods, service = made["PodMonitor/weir-nodes/weir-node"], made["ServiceMonitor/weir-system/weir-controller"]
        container = made["DaemonSet/weir-nodes/weir-node"]["spec"]["template"]
        self.assertEqual(pods["spec"]["selector"]["matchLabels"], container["metadata"]["labels"])
        ports = [port["name"] for port in container["spec"]["containers"][0]["ports"]]
        self.assertIn(pods["spec"]["podMetricsEndpoints"][0]["port"], ports)
        found = made["Service/weir-system/weir-controller"]
        wanted = service["spec"]["selector"]["matchLabels"]
        self.assertEqual(wanted, {label: found["metadata"]["labels"].get(label) for label in wanted})
        self.assertIn(service["spec"]["endpoints"][0]["port"], [port["name"] for port in found["spec"]["ports"]])

    def test_values_do_what_they_promise(self):
        made = self.things(monitors={"enabled": True, "interval": "10s", "labels": {"release": "prometheus"}},
                           rules={"enabled": True, "labels": {"role": "alerts"}},
                           dashboards={"enabled": True, "labels": {"board": "yes"}, "annotations": {"folder": "Weir"}})
        pods = made["PodMonitor/weir-nodes/weir-node"]
        self.assertEqual(pods["metadata"]["labels"]["release"], "prometheus")
        self.assertEqual(pods["spec"]["podMetricsEndpoints"][0]["interval"], "10s")
        self.assertEqual(made["PrometheusRule/weir-system/weir"]["metadata"]["labels"]["role"], "alerts")
        boards = made["ConfigMap/weir-system/weir-dashboards"]["metadata"]
        self.assertEqual((boards["labels"]["board"], boards["annotations"]), ("yes", {"folder": "Weir"}))
        without = rendered({"monitoring": {"monitors": ON}, "nodes": {"enabled": False}})
        self.assertEqual([name for name in without if name.startswith("PodMonitor")], [])

    def test_scrapers_are_let_in(self):
        policy = "NetworkPolicy/weir-system/weir-controller"
        peers = [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]
        rules = rendered({"networkPolicy": {"scrapers": peers}})[policy]["spec"]["ingress"]
        self.assertEqual([(rule.get("from"), [port["port"] for port in rule["ports"]]) for rule in rules],
                         [(None, ["nodes", "webhook"]), (peers, ["metrics"])])
        rules = rendered({"networkPolicy": {"scrapers": []}})[policy]["spec"]["ingress"]
        self.assertEqual(len(rules), 1)

    def test_probes_ask_the_daemons(self):
        made = rendered()
        for name in ("DaemonSet/weir-nodes/weir-node", "Deployment/weir-system/weir-controller"):
            container = made[name]["spec"]["template"]["spec"]["containers"][0]
            probes = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
            paths = {probe: asked["path"] for probe, asked in probes.items()}
            self.assertEqual(list(paths.values()), ["/healthz", "/healthz", "/readyz"], name)
            port = next(port["containerPort"] for port in container["ports"] if port["name"] == "metrics")
            self.assertEqual({asked["port"] for asked in probes.values()}, {"metrics"})
            self.assertIn(f"--metrics-listen=$(POD_IP):{port}", container["args"])


if __name__ == "__main__":
    unittest.main()
