"""The Helm chart and the kustomize overlays: they say the same, Kubernetes' schemas take them, and values do
what they promise.

    tests/run deploy
    UPDATE_EXPECTED=1 python3 -m unittest tests.deploy.test_deploy     renews expected/
"""

import copy
import os
import unittest
from pathlib import Path

from .renderers import DEPLOY, KUBERNETES, chart, key, kustomized, module, parse, quiet, rendered

EXPECTED = Path(__file__).resolve().parent / "expected"
STAGES = ["discover", "monitor", "protect"]
NODE = "DaemonSet/weir-nodes/weir-node"
CONTROLLER = "Deployment/weir-system/weir-controller"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def bare(thing):
    """An object without what tells who installed it."""
    thing = copy.deepcopy(thing)
    labels = thing["metadata"].get("labels", {})
    for label in ("managed-by", "instance", "part-of"):
        labels.pop(f"app.kubernetes.io/{label}", None)
    labels.pop("helm.sh/chart", None)
    if not labels:
        thing["metadata"].pop("labels", None)
    return thing


def without_definitions(things):
    return {name: thing for name, thing in things.items() if thing["kind"] != "CustomResourceDefinition"}


class OneSourceOfTruth(unittest.TestCase):
    maxDiff = None

    def test_chart_and_overlays_say_the_same(self):
        for stage in STAGES:
            with self.subTest(stage):
                made = without_definitions(kustomized(f"overlays/{stage}"))
                # The namespace of a release is Helm's to make.
                made.pop("Namespace//weir-system")
                chart = rendered({"stage": stage})
                self.assertEqual(sorted(chart), sorted(made))
                for name, thing in made.items():
                    own = bare(chart[name])
                    # Said although it is the default, so that values can change it.
                    if thing["kind"] in ("Deployment", "DaemonSet"):
                        container = own["spec"]["template"]["spec"]["containers"][0]
                        self.assertEqual(container.pop("imagePullPolicy"), "IfNotPresent")
                    self.assertEqual(own, bare(thing))

    def test_the_chart_is_as_expected(self):
        yaml = module("yaml")
        for stage in STAGES:
            with self.subTest(stage):
                things = rendered({"stage": stage})
                text = yaml.safe_dump_all([things[name] for name in sorted(things)], sort_keys=True)
                file = EXPECTED / f"helm-{stage}.yaml"
                if "UPDATE_EXPECTED" in os.environ:
                    file.write_text(text)
                self.assertEqual(text, file.read_text())

    def test_the_chart_carries_every_definition(self):
        names = sorted(path.name for path in (DEPLOY / "crds").glob("*.yaml"))
        self.assertEqual(sorted(path.name for path in (DEPLOY / "helm" / "crds").glob("*.yaml")), names)
        kinds = [thing["kind"] for name in names for thing in parse((DEPLOY / "crds" / name).read_text())]
        self.assertEqual(set(kinds), {"CustomResourceDefinition"})

    def test_values_and_their_schema_name_the_same(self):
        values = parse((DEPLOY / "helm" / "values.yaml").read_text())[0]
        schema = parse((DEPLOY / "helm" / "values.schema.json").read_text())[0]

        def compare(values, schema, path):
            known = schema.get("properties", {})
            if not known:
                return
            self.assertEqual(sorted(values), sorted(set(known) - {"global"}), path)
            for name, value in values.items():
                if isinstance(value, dict) and "$ref" not in known[name]:
                    compare(value, known[name], f"{path}.{name}")

        compare(values, schema, "values")


class Schemas(unittest.TestCase):
    def validate(self, things):
        validator = module("kubernetes_validate")
        for name, thing in things.items():
            # Weir's own kinds are held to their schemas by cargo test -p weir-model.
            if thing["apiVersion"].startswith("weir.dev/"):
                continue
            with self.subTest(name):
                validator.validate(thing, KUBERNETES, strict=True)

    def test_overlays(self):
        for stage in STAGES:
            self.validate(kustomized(f"overlays/{stage}"))

    def test_chart_with_everything_set(self):
        for mode in ("none", "plugin", "privileged"):
            nodes = {"vfio": {"mode": mode, "resource": "example.com/card"}, "hugepages": {"size": "1Gi", "amount": "2Gi"}}
            tolerations = [{"key": "a", "operator": "Exists"}]
            self.validate(rendered({
                "stage": "protect",
                "controller": {"args": ["--log=debug"], "tolerations": tolerations, "podAnnotations": {"a": "b"}},
                "network": {"externalAddresses": ["203.0.113.0/24", "2001:db8::/32"]},
                "networkPolicy": {"egress": [{"ports": [{"port": 8443, "protocol": "TCP"}]}]},
                "nodes": nodes,
            }))

    def test_the_chart_has_no_errors(self):
        helm = module("helm_python")
        with quiet():
            messages = helm.chart.lint(str(DEPLOY / "helm"))
        self.assertEqual(messages["errors"], [])


class Values(unittest.TestCase):
    def node(self, values):
        return rendered({"nodes": values})[NODE]["spec"]["template"]["spec"]

    def test_wrong_values_are_refused(self):
        error = module("helm_python").HelmError
        for wrong in (
            {"stage": "enforce"},
            {"stages": "protect"},
            {"controller": {"replicas": -1}},
            {"controller": {"image": {"digest": "sha256:1"}}},
            {"controller": {"args": ["x"]}},
            {"network": {"externalAddresses": ["10.0.0.1"]}},
            {"nodes": {"vfio": {"mode": "plugin", "resource": ""}}},
            {"nodes": {"hugepages": {"amount": "512"}}},
            {"nodes": {"tlsDirectory": "tls"}},
            {"webhook": {"failurePolicy": "Maybe"}},
        ):
            with self.subTest(wrong), self.assertRaises(error):
                rendered(wrong)

    def test_another_namespace_goes_everywhere(self):
        things = rendered({"stage": "monitor", "nodes": {"namespace": "edge"}}, namespace="guard")
        text = module("yaml").safe_dump_all(things.values())
        self.assertNotIn("weir-system", text)
        self.assertNotIn("weir-nodes", text)
        self.assertIn("https://weir-controller.guard.svc:7443", text)

    def test_nothing_is_privileged_unless_asked(self):
        container = self.node({})["containers"][0]
        self.assertIs(container["securityContext"]["privileged"], False)
        self.assertEqual(container["securityContext"]["capabilities"]["drop"], ["ALL"])
        plugin = self.node({"vfio": {"mode": "plugin", "resource": "example.com/card", "count": 4}})
        self.assertIs(plugin["containers"][0]["securityContext"]["privileged"], False)
        self.assertEqual(plugin["containers"][0]["resources"]["limits"]["example.com/card"], "4")
        privileged = self.node({"vfio": {"mode": "privileged"}})
        self.assertIs(privileged["containers"][0]["securityContext"]["privileged"], True)
        self.assertIn("/dev/vfio", [it["mountPath"] for it in privileged["containers"][0]["volumeMounts"]])

    def test_the_component_takes_cards_as_the_chart_does(self):
        made = parse((DEPLOY / "components" / "vfio" / "kustomization.yaml").read_text())[0]
        patches = [one for patch in made["patches"] for one in parse(patch["patch"])[0]]
        values = {patch["path"].rsplit("/", 1)[0].rsplit("/", 1)[-1]: patch["value"] for patch in patches}
        spec = self.node({"vfio": {"mode": "privileged"}})
        container = spec["containers"][0]
        self.assertIn(values["volumes"], spec["volumes"])
        self.assertIn(values["volumeMounts"], container["volumeMounts"])
        self.assertEqual(patches[0]["value"], container["securityContext"])

    def test_images(self):
        image = rendered({"controller": {"image": {"tag": "1.2.3"}}})[CONTROLLER]["spec"]["template"]["spec"]
        self.assertTrue(image["containers"][0]["image"].endswith("/weir-controller:1.2.3"))
        image = self.node({"image": {"repository": "example.com/node", "tag": "1", "digest": DIGEST}})
        self.assertEqual(image["containers"][0]["image"], f"example.com/node@{DIGEST}")

    def test_parts_can_be_left_out(self):
        kinds = {key(thing) for thing in rendered({
            "webhook": {"enabled": False},
            "networkPolicy": {"enabled": False},
            "nodes": {"enabled": False},
        }).values()}
        self.assertIn(CONTROLLER, kinds)
        left = [kind for kind in kinds if kind.split("/")[0] in (
            "ValidatingWebhookConfiguration", "NetworkPolicy", "DaemonSet", "Namespace", "ClusterAllowlist")]
        self.assertEqual(left, [])

    def test_hugepages_come_with_their_size(self):
        resources = self.node({"hugepages": {"size": "1Gi", "amount": "4Gi"}})["containers"][0]["resources"]
        self.assertEqual(resources["limits"]["hugepages-1Gi"], "4Gi")
        self.assertEqual(resources["requests"]["hugepages-1Gi"], "4Gi")
        resources = self.node({"hugepages": {"amount": "0"}})["containers"][0]["resources"]
        self.assertFalse([name for name in resources["limits"] if name.startswith("hugepages")])

    def test_the_chart_says_what_it_is(self):
        with chart() as loaded:
            self.assertEqual((loaded.name, loaded.metadata["type"]), ("weir", "application"))


if __name__ == "__main__":
    unittest.main()
