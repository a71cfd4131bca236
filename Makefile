# Weir. `make` lists what there is to ask for.

CARGO ?= cargo
# Debian's own Python: the MySQL client of the demo is installed for it.
PYTHON ?= /usr/bin/python3
CARGO_TARGET_DIR ?= $(CURDIR)/target
FUZZ_SECONDS ?= 60
PROGRAMS = -p weir-node -p weir-controller -p weir-cli
KEEP ?= 0
SOAK_MINUTES ?= 30

export CARGO_TARGET_DIR
export PYTHON
export PYTHONDONTWRITEBYTECODE = 1
# An error with a backtrace costs hundreds of microseconds; panics say where they happened anyway.
export RUST_BACKTRACE = 0
PATH := $(PATH):$(HOME)/.cargo/bin
export PATH

.DEFAULT_GOAL := help
.PHONY: help deps deps-bench build build-perf build-cluster demo demo-cluster demo-stop test unit test-cluster test-deploy test-vm package test-package images netns faults soak corpus lint fuzz bench bench-live bench-quick instructions signatures push clean

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## installs what building and testing need (Debian, root); quick when nothing is missing
	@deploy/baremetal/install-dependencies

deps-bench: ## brings the peers of make bench that Debian has: nDPI, Suricata, nftables (root); NEUVECTOR_DP names NeuVector's
	@perf/peers/install

build: deps ## builds weir-node, weir-controller and weir into target/release
	$(CARGO) build --locked --release $(PROGRAMS)

# Together with the programs: what they share is built once, and links side by side.
build-perf: deps ## builds the same, and weir-perf, which makes and measures loads
	$(CARGO) build --locked --release $(PROGRAMS) -p weir-perf

build-cluster: deps ## builds the API server of the tests into target/release
	$(CARGO) build --locked --release -p weir-cluster --bin weir-apiserver

demo: build ## plays the reference story live (root); KEEP=1 leaves it running
	@KEEP=$(KEEP) $(PYTHON) tests/demo/run

demo-cluster: build build-cluster ## plays the story of a cluster: kubectl apply, sign, and a packet is dropped (root)
	@$(PYTHON) tests/demo/run-cluster

demo-stop: ## ends what make demo KEEP=1 left running
	@$(PYTHON) tests/demo/run --stop

test: build-perf build-cluster ## runs every test; what cannot run here is named and counted as skipped
	@.ci/test

unit: build ## only the Rust tests: units, laws, properties, scenarios, short fuzzing, a real EAL
	@.ci/test unit

test-cluster: deps ## only Weir against a Kubernetes API server; KUBEBUILDER_ASSETS (etcd, kube-apiserver) makes it a real one
	@.ci/test cluster

test-deploy: ## only the Helm chart and the kustomize overlays (Helm's engine comes from PyPI)
	@.ci/test deploy

package: build ## makes weir.deb, weir-node.deb and weir-controller.deb (target/debian; cargo-deb is installed once)
	@deploy/baremetal/install-dependencies package
	@deploy/baremetal/packages/build

test-package: package ## installs, upgrades, removes and purges the packages in a clean Debian (root, mmdebstrap)
	@.ci/test package

images: build ## builds the images of node and controller with buildah, again, and compares (root; target/images)
	@deploy/baremetal/install-dependencies package
	@IMAGES=$(CARGO_TARGET_DIR)/images deploy/baremetal/containers/build $(BASE)
	@WEIR_IMAGES=$(CARGO_TARGET_DIR)/images PYTHONPATH=tests $(PYTHON) -m unittest -v tests.package.test_images

test-vm: package ## only hosts with real drivers in virtual machines, the packages under systemd too (qemu-system-x86)
	@.ci/test vm

netns: build build-cluster ## only real clients and servers in network namespaces (root)
	@.ci/test netns

faults: build ## only faults, a table of what held (root); WEIR_FAULTS=full floods with a million half-open connections
	@.ci/test faults

soak: build ## SOAK_MINUTES (30) of mixed traffic, changes and churn through a live node: nothing grows (root)
	@PYTHONPATH=tests SOAK_MINUTES=$(SOAK_MINUTES) $(PYTHON) -m unittest -v tests.faults.test_soak

corpus: build ## only recorded captures: scored against the floor, UPDATE_FLOOR=1 raises it (WEIR_CORPUS, or shared/corpus beside the repository)
	@.ci/test corpus

lint: deps ## formatting, clippy with warnings as errors, licences
	@.ci/lint

fuzz: deps ## fuzzes each target for FUZZ_SECONDS (60), led by coverage
	@tests/fuzz/run $(FUZZ_SECONDS)

bench: build-perf ## every promise of speed beside its limit: one table (peers where installed; WEIR_RULES); RECORD=1 keeps it
	$(CARGO) build --locked --release -p weir-sigs --example cost
	@perf/bench $(if $(filter 1,$(RECORD)),--record)

bench-quick: build-perf ## the short form; fails where instructions, cache lines or allocations of a stage got worse
	@perf/bench --quick

instructions: build-perf ## instructions, cache lines and allocations of each stage (callgrind), beside the committed baseline
	@perf/instructions

signatures: deps ## what signatures cost beside the bare scan (WEIR_RULES, or shared/rules/etopen beside the repository)
	$(CARGO) build --locked --release -p weir-sigs --example cost
	@perf/signatures

push: deps ## how long policy takes to 1,000 nodes, and a full resync of 100,000 workloads
	@perf/push

bench-live: build-perf ## latency, policy swaps, floods: a live node beside testpmd, a bridge and none (20 minutes)
	@perf/latency --hugepages
	@perf/client
	@perf/swap --live --hugepages
	@perf/flood --hugepages

clean: ## removes what was built
	$(CARGO) clean
	rm -rf tests/out
