"""The story of a cluster: from `kubectl apply` to a packet that is dropped, and what a signature adds.

Pods are hosts of the laboratory; they and policy are objects of an API server. Everything is changed with
kubectl, nothing by Weir's own commands, and each step is checked on the wire.
"""

import time

from lab import Cluster, tcp, wait_until
from lab.cluster import CRDS, INSTALLED

HOSTS = ["frontend", "cart", "intruder"]
NAMESPACE, NODE = "shop", "lab"
REDIS_PORT, HTTP_PORT = 6379, 8080
ENDS = (f"{NAMESPACE}/frontend", f"{NAMESPACE}/cart")
LEARNED = {(*ENDS, "redis", REDIS_PORT, "tcp"), (*ENDS, "http", HTTP_PORT, "tcp")}
PROGRAMS = ["curl", "kubectl", "python3", "redis-server", "redis-cli", "timeout"]
SCRIPT = "/?greeting=%3Cscript%3Ealert(1)%3C/script%3E"
ACCOUNT_NAMESPACE, ACCOUNT = "weir-system", "weir-controller"
SETTLE_TIMEOUT_S = 20
THREATS = f"""apiVersion: weir.dev/v1alpha1
kind: ThreatPolicy
metadata: {{name: cart, namespace: {NAMESPACE}}}
spec:
  target: {{workload: cart}}
  rules: [{{threats: [cross-site-scripting], action: drop}}]
"""
UNSIGNED = """apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: back-door, namespace: shop}
spec:
  target: {workload: cart}
  ingress: [{from: [{workload: intruder}]}]
---
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: back-door-out, namespace: shop}
spec:
  target: {workload: intruder}
  egress: [{to: [{any: true}]}]
"""


def pod(name):
    """A pod as the controllers of a Deployment make it; the kubelet's part comes with run_pod."""
    return f"""apiVersion: v1
kind: Pod
metadata:
  name: {name}-5d4f8c7b9-x2x7p
  namespace: {NAMESPACE}
  labels: {{app: {name}, pod-template-hash: 5d4f8c7b9}}
  ownerReferences:
    - {{apiVersion: apps/v1, kind: ReplicaSet, name: {name}-5d4f8c7b9, uid: 0c000000-0000-4000-8000-{HOSTS.index(name):012}, controller: true}}
spec:
  serviceAccountName: default
  nodeName: {NODE}
  containers: [{{name: main, image: "registry.example/{name}:1"}}]
"""


def mode(name, value):
    return f"""apiVersion: weir.dev/v1alpha1
kind: Mode
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec: {{target: {{workload: {name}}}, mode: {value}}}
"""


def modes(value):
    return "---\n".join(mode(name, value) for name in HOSTS)


class ClusterStory:
    """One telling: ClusterStory(lab, narrator).tell()."""

    def __init__(self, lab, narrator):
        self.lab = lab
        self.narrator = narrator
        self.cluster = Cluster(lab)
        self.frontend, self.cart, self.intruder = (lab.hosts[name] for name in HOSTS)
        self.bundle = lab.directory / "bundle.json"
        self.keys = lab.directory / "policy"
        self.policy = lab.directory / "policy-as-code"
        self.policy.mkdir()

    def tell(self):
        self.raise_the_curtain()
        self.discover()
        self.monitor()
        self.sign()
        self.protect()
        self.threats()
        self.attack()

    # -- chapters -------------------------------------------------------------------------------

    def raise_the_curtain(self):
        self.narrator.heading("The cluster")
        self.cluster.start()
        self.narrator.say(f"API server: {self.cluster.server.said().splitlines()[0].removeprefix('backend: ')}")
        self.kubectl("apply", "-f", str(CRDS), said="deploy/baremetal/crds")
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/allowlists.weir.dev", "crd/modes.weir.dev")
        for path in INSTALLED:
            self.kubectl("apply", "-f", str(path))
        self.apply("pods.yaml", "---\n".join([f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n", *map(pod, HOSTS)]))
        for name, host in self.lab.hosts.items():
            self.cluster.run_pod(NAMESPACE, f"{name}-5d4f8c7b9-x2x7p", host.addresses)
        self.kubectl("get", "pods", "-n", NAMESPACE, "-o", "wide")
        self.start_servers()
        kubeconfig = self.cluster.kubeconfig_of(ACCOUNT_NAMESPACE, ACCOUNT)
        self.lab.start_controller("--source", "kubernetes", "--kubeconfig", kubeconfig, "--namespace", ACCOUNT_NAMESPACE, "--bundle", self.bundle)
        wait_until(lambda: self.workloads() >= {f"{NAMESPACE}/{name}" for name in HOSTS}, "the controller knows the pods", SETTLE_TIMEOUT_S, 0.2)
        self.lab.start_node()
        self.weir("status")
        self.narrator.check("every pod is a workload of Weir's, by the service account that Weir ships", True)

    def discover(self):
        self.narrator.heading("1  discover: the application runs, Weir learns")
        self.check_redis(self.frontend, True)
        self.check_http("/", True)
        try:
            wait_until(lambda: LEARNED <= self.proposals(), "the conversations are learned", 30, 0.5)
        finally:
            self.weir("learn", "review")
        self.narrator.check("learned frontend → cart redis and http, by their content", True)
        self.check_redis(self.intruder, True)

    def monitor(self):
        self.narrator.heading("2  review, export, kubectl apply: monitor")
        learned = [proposal["id"] for proposal in self.lab.weir("learn", "review")["proposals"] if proposal["client"] == ENDS[0]]
        self.weir("learn", "accept", *learned)
        self.weir("policy", "export", "--learned", "--directory", str(self.policy))
        for path in sorted(self.policy.rglob("*.yaml")):
            self.narrator.show(f"cat {path.relative_to(self.policy.parent)}", path.read_text())
        (self.policy / "modes.yaml").write_text(modes("monitor"))
        self.kubectl("apply", "-R", "-f", str(self.policy))
        self.wait_for_modes("monitor")
        self.wait_for_condition("Programmed", "allowlists", "modes")
        self.kubectl("get", "allowlists,modes", "-n", NAMESPACE)
        self.check_redis(self.frontend, True)
        self.check_redis(self.intruder, True)
        self.narrator.check("what the intruder does is reported as would be denied", self.flows("would-deny"))

    def sign(self):
        self.narrator.heading("3  sign: from now on the node takes only what this key signed")
        self.narrator.say("Whoever may write to the API server may not therefore change policy: nodes hold a public key, and the private one is not in the cluster.")
        self.weir("bundle", "keygen", str(self.keys))
        self.weir_sign()
        self.lab.stop_node()
        self.lab.start_node(policy={"public_keys": [f"{self.keys}.pub"]})
        self.check_redis(self.frontend, True)
        self.check_redis(self.intruder, True)
        self.narrator.check("the signed policy is in force: monitor", True)

    def protect(self):
        self.narrator.heading("4  protect: applied, refused by the node; signed, enforced")
        (self.policy / "modes.yaml").write_text(modes("protect"))
        self.kubectl("apply", "-f", str(self.policy / "modes.yaml"))
        self.wait_for_modes("protect")
        refused = wait_until(self.refusal, "the node refuses what is not signed", SETTLE_TIMEOUT_S, 0.2)
        self.narrator.say(f"The node: {refused}")
        self.wait_for_condition("Degraded", "modes")
        self.check_redis(self.intruder, True)
        self.weir_sign()
        self.wait_enforced()
        self.wait_for_condition("Programmed", "allowlists", "modes")
        self.kubectl("get", "allowlists,modes", "-n", NAMESPACE)
        self.check_redis(self.frontend, True)
        self.check_redis(self.intruder, False)
        denied = self.flows("denied")
        self.weir("flows", "--verdict", "denied", "-n", "4")
        self.narrator.check("the intruder's packets were dropped by policy", denied)

    def threats(self):
        self.narrator.heading("5  what an allowed peer may not say: a ThreatPolicy")
        self.narrator.say("Somebody has a shell on frontend, which may speak http with cart. By default a script in a request is told of, and no more.")
        self.check_http(SCRIPT, True)
        self.narrator.check("an alert tells of it", wait_until(lambda: self.alerts(blocked=False), "the alert", 15, 0.3))
        path = self.policy / "threats.yaml"
        path.write_text(THREATS)
        self.narrator.show("cat policy-as-code/threats.yaml", THREATS)
        self.weir_sign()
        self.kubectl("apply", "-f", str(path))
        self.wait_enforced()
        self.wait_for_condition("Programmed", "threatpolicies")
        self.kubectl("get", "threatpolicies", "-n", NAMESPACE)
        self.check_http(SCRIPT, False)
        self.check_http("/", True)
        self.narrator.check("an alert tells that it was dropped", wait_until(lambda: self.alerts(blocked=True), "the alert", 15, 0.3))
        self.weir("alerts", "-n", "2")

    def attack(self):
        self.narrator.heading("6  somebody has the API server, and not the key")
        self.apply("back-door.yaml", UNSIGNED)
        refused = wait_until(self.refusal, "the node refuses what is not signed", SETTLE_TIMEOUT_S, 0.2)
        self.narrator.say(f"The node: {refused}")
        self.check_redis(self.intruder, False)
        self.kubectl("delete", "modes,allowlists", "--all", "-n", NAMESPACE)
        time.sleep(1)
        self.check_redis(self.intruder, False)
        self.check_redis(self.frontend, True)
        self.weir("status")

    # -- what the chapters are made of ------------------------------------------------------------

    def start_servers(self):
        command = ["redis-server", "--port", REDIS_PORT, "--bind", *self.cart.addresses, "--protected-mode", "no", "--save", "", "--dir", self.lab.directory]
        self.cart.start(command, ready=lambda process: "Ready to accept connections" in process.log_text())

        page = self.lab.directory / "page"
        page.mkdir()
        (page / "index.html").write_text("bread 2.10\n")
        command = ["python3", "-m", "http.server", HTTP_PORT, "--bind", "::", "--directory", page]
        self.cart.start(command, ready=tcp(HTTP_PORT))

    def check_http(self, path, expected):
        """frontend asks cart for a page over both families."""
        works = []
        for family in (4, 6):
            url = f"http://{self.cart.authority(family)}:{HTTP_PORT}{path}"
            command = ["curl", "-s", "--max-time", "4", url]
            result = self.frontend.run(command, check=False)
            self.narrator.show(" ".join(command), result.stdout.strip() or f"nothing (exit status {result.returncode})", prompt=f"{self.frontend.label}$")
            works.append("bread" in result.stdout)
        what = "passes" if expected else "gets nothing through"
        self.narrator.check(f"on the wire: frontend → cart {path} {what}, over both families", works == [expected] * 2)

    def alerts(self, blocked):
        """Alerts of the script, of both families."""
        told = [alert for alert in self.lab.weir("alerts", "--threat", "cross-site-scripting")["alerts"] if (alert["outcome"] == "blocked") == blocked]
        return {alert["server_address"].startswith("[") for alert in told} == {True, False}

    def wait_for_condition(self, condition, *kinds):
        """kubectl itself waits until every object of these kinds has the condition."""
        self.kubectl("wait", f"--for=condition={condition}", ",".join(kinds), "--all", "-n", NAMESPACE, "--timeout=30s")

    def check_redis(self, client, expected):
        """Speaks Redis from a pod over both families; what is expected must happen over each."""
        works = []
        for family in (4, 6):
            command = ["timeout", "4", "redis-cli", "-h", self.cart.address(family), "-p", REDIS_PORT, "SET", "cart:1", "bread"]
            result = client.run(command, check=False)
            answer = (result.stdout + result.stderr).strip() or f"nothing (exit status {result.returncode})"
            self.narrator.show(" ".join(map(str, command)), answer, prompt=f"{client.label}$")
            works.append(answer == "OK")
        what = "passes" if expected else "gets nothing through"
        self.narrator.check(f"on the wire: {client.label} → cart redis {what}, over both families", works == [expected] * 2)

    def kubectl(self, *words, said=None):
        result = self.cluster.kubectl(*words)
        shown = " ".join(words).replace(f"{self.lab.directory}/", "")
        self.narrator.show(f"kubectl {shown}", result.stdout, lines=12)

    def apply(self, name, text):
        path = self.lab.directory / name
        path.write_text(text)
        self.kubectl("apply", "-f", str(path))

    def weir(self, *words):
        result = self.lab.programs.run(*words)
        shown = " ".join(words).replace(f"{self.lab.directory}/", "")
        self.narrator.show(f"weir {shown}", result.stdout)

    def weir_sign(self):
        self.weir("bundle", "sign", str(self.policy), "--key", f"{self.keys}.key", "--out", str(self.bundle))

    def workloads(self):
        return {workload["workload"] for workload in self.lab.weir("status")["workloads"]}

    def proposals(self):
        fields = ("client", "server", "application", "port", "protocol")
        return {tuple(proposal[field] for field in fields) for proposal in self.lab.weir("learn", "review")["proposals"]}

    def wait_for_modes(self, value):
        wanted = {f"{NAMESPACE}/{name}" for name in HOSTS}

        def reached():
            return wanted <= {workload["workload"] for workload in self.lab.weir("status")["workloads"] if workload["mode"] == value}

        wait_until(reached, f"the controller says {value}", SETTLE_TIMEOUT_S, 0.2)
        if not self.bundle.exists():
            self.wait_enforced()

    def wait_enforced(self):
        self.lab.programs.wait_for_policy()

    def node(self):
        return next(node for node in self.lab.weir("status")["nodes"] if node["node"] == NODE)

    def refusal(self):
        return self.node()["refusal"]

    def flows(self, verdict):
        """Flows of the intruder with this verdict, over both families."""

        def matching():
            flows = self.lab.weir("flows", "--verdict", verdict, "-n", "2000")
            found = [flow for flow in flows if flow["client"] == f"{NAMESPACE}/intruder" and flow["server_address"].endswith(f":{REDIS_PORT}")]
            families = {flow["server_address"].startswith("[") for flow in found}
            return found if families == {True, False} else None

        return wait_until(matching, f"flows {verdict}", 15, 0.3)
