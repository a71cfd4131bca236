"""A cluster's API server in the laboratory, and kubectl.

There is no scheduler and no kubelet: pods are what is applied, and `run_pod` says what a kubelet would.
With KUBEBUILDER_ASSETS the API server is the real one, otherwise that of the tests (tests/cluster).
"""

import json

from .processes import log_line, run
from .weir import ROOT, program

CRDS = ROOT / "deploy" / "baremetal" / "crds"
INSTALLED = [ROOT / "deploy" / "baremetal" / "kustomize" / name for name in ("namespace.yaml", "rbac.yaml")]
# Starting a real API server takes a while on a slow machine.
READY_TIMEOUT_S = 90


class Cluster:
    """The API server beside the node, on its namespace's loopback: Cluster(lab).start()."""

    def __init__(self, lab):
        self.lab = lab
        self.kubeconfig = lab.directory / "admin.kubeconfig"
        self.server = None

    def start(self):
        command = [program("weir-apiserver"), "--kubeconfig-out", self.kubeconfig]
        self.server = self.lab.network.node.start(command, name="apiserver", ready=log_line("ready: "), timeout_s=READY_TIMEOUT_S)
        return self

    def kubectl(self, *words, check=True, stdin=None):
        """Runs kubectl as an administrator of the cluster and returns subprocess's result."""
        command = ["kubectl", "--kubeconfig", self.kubeconfig, "--request-timeout=30s", *words]
        # kubectl keeps what it discovered in its home: nobody's home is to be touched.
        home = {"HOME": str(self.lab.directory)}
        return run(command, namespace=self.lab.network.node.name, check=check, stdin=stdin, env=home)

    def apply(self, text):
        return self.kubectl("apply", "-f", "-", stdin=text).stdout

    def get(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)

    def run_pod(self, namespace, name, addresses):
        """Says of a pod what its kubelet would: it runs and has these addresses."""
        status = {"phase": "Running", "podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses]}
        status["conditions"] = [{"type": "Ready", "status": "True"}]
        patch = json.dumps({"status": status})
        self.kubectl("patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)

    def kubeconfig_of(self, namespace, account):
        """A kubeconfig with a service account's own token, as its pod would have one."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [], "expirationSeconds": 3600}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        issued = self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(request)).stdout
        token = json.loads(issued)["status"]["token"]
        config = json.loads(self.kubectl("config", "view", "--raw", "-o", "json").stdout)
        for user in config["users"]:
            user["user"] = {"token": token}
        path = self.lab.directory / f"{account}.kubeconfig"
        path.write_text(json.dumps(config))
        return path
