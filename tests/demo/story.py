"""The reference story, chapter by chapter. Each chapter shows what was printed and checks what it tells."""

import time
from collections import Counter

from cast import API_PORT, NEW_API_PORT, PYTHON, Cast, workload, workload_documents
from intruder import Intruder
from lab import wait_until

LEARNED = {
    (workload("ai-model"), workload("photo-db"), "mysql", 3306, "tcp"),
    (workload("ai-model"), workload("frontend"), "http", 5000, "tcp"),
    (workload("internet"), workload("frontend"), "http", 80, "tcp"),
}
# The scan may find what the allowlist lets ai-model reach, and nothing else.
ALLOWED_PORTS = {"photo-db:3306", "frontend:5000"}
LEARN_TIMEOUT_S = 30
REQUESTS_PER_CHAPTER = 40


class Story:
    """One telling: Story(lab, narrator).tell()."""

    def __init__(self, lab, narrator):
        self.lab = lab
        self.narrator = narrator
        self.cast = Cast(lab)
        self.intruder = Intruder(self.cast, narrator)

    def tell(self):
        self.raise_the_curtain()
        self.discover()
        self.write_the_allowlist()
        self.monitor()
        self.protect()
        self.summary()

    # -- chapters -------------------------------------------------------------------------------

    def raise_the_curtain(self):
        self.narrator.heading("The hosts")
        self.narrator.say(
            "frontend (nginx), ai-model (Python), photo-db (MariaDB) and internet (curl) are network namespaces. "
            "Between each of them and the switch sits an inline pair of weir-node's ports: every packet crosses DPDK."
        )
        self.lab.write_policy("workloads.yaml", workload_documents(self.lab))
        self.cast.start_servers()
        self.lab.start_controller()
        self.lab.start_node()
        for host in self.lab.hosts.values():
            print(f"  {host.label:10} {host.ipv4:12} {host.ipv6}")
        self.weir("status")

    def discover(self):
        self.narrator.heading("1  discover: the application runs, Weir learns")
        self.cast.start_application()
        self.after_requests(REQUESTS_PER_CHAPTER)
        for program in self.cast.application:
            self.narrator.show(f"tail {program.log.name}", program.log_text(), lines=4)
        try:
            wait_until(lambda: LEARNED <= self.proposals(), "the conversations are learned", LEARN_TIMEOUT_S, 0.5)
        finally:
            self.weir("learn", "review")
        for client, server, application, port, protocol in sorted(LEARNED):
            self.narrator.check(f"learned {client} → {server} {application}:{port}/{protocol}", True)
        others = self.proposals() - LEARNED
        self.narrator.check("learned nothing that did not happen", not others)
        self.check_undisturbed()

    def write_the_allowlist(self):
        self.narrator.heading("2  review, accept, export, apply: the allowlist")
        exported = self.lab.directory / "exported"
        self.weir("learn", "accept", "--all")
        self.weir("policy", "export", "--learned", "--directory", str(exported))
        files = sorted(exported.rglob("*.yaml"))
        for path in files:
            self.narrator.show(f"cat {path.relative_to(exported.parent)}", path.read_text())
        self.weir("policy", "apply", str(exported))
        self.lab.programs.wait_for_policy()
        listed = {f"{policy['namespace']}/{policy['name']}" for policy in self.lab.weir("policy", "list")["policies"] if policy["kind"] == "Allowlist"}
        self.narrator.check("allowlists of all four workloads are in force", len(files) > 0 and {workload(name) for name in self.lab.hosts} <= listed)
        answer = self.lab.weir("what-if", "--from", workload("ai-model"), "--to", workload("photo-db"), "--application", "mysql", "--port", "3306", check=False)
        self.narrator.check("the allowlist allows what was learned", answer["rule_action"] == "allow")

    def monitor(self):
        self.narrator.heading("3  monitor: an update of the application makes a new connection")
        self.set_mode("monitor")
        self.narrator.say(f"ai-model is updated: it now posts to version 2 of the API, on port {NEW_API_PORT}.")
        answers = self.updated_application()
        self.narrator.check("the new connection still works, over both families", all("taken by version 2" in answer for answer in answers.values()))
        reported = self.wait_for_flows("would-deny", "monitor", f":{NEW_API_PORT}")
        self.narrator.say("(A flow is seen twice: at the pair of its client and at that of its server.)")
        self.weir("flows", "--verdict", "would-deny", "-n", "8")
        self.narrator.check("it is reported as would be denied, over both families", self.families(reported) == {4, 6})
        nearest = sorted({flow["nearest"] for flow in reported if flow.get("nearest")})
        for sentence in nearest:
            self.narrator.say(f"Nearest: {sentence}")
        self.narrator.check("with the rule that came nearest, and what differed", any(str(API_PORT) in sentence for sentence in nearest))
        self.narrator.say("An intruder with a shell on ai-model can do as he likes, while Weir only monitors:")
        redis, loot = self.intruder.speak_redis(), self.intruder.exfiltrate()
        self.narrator.check("redis on the mysql port answers, the loot leaves: nothing is dropped in monitor", all(answer == "OK" for answer in redis.values()) and all("thank you" in answer for answer in loot.values()))
        self.check_undisturbed()

    def protect(self):
        self.narrator.heading("4  protect: the same, and the attack")
        self.set_mode("protect")
        answers = self.updated_application()
        self.narrator.check("the update's new connection is denied, over both families", not any("taken by version 2" in answer for answer in answers.values()))
        found = self.intruder.scan()
        self.narrator.show("scan.sh  (every host, both families)", "\n".join(sorted(found)), prompt="ai-model#")
        unexpected = {port for port in found if port.split("/")[0] not in ALLOWED_PORTS}
        self.narrator.check("the scan finds only what ai-model may reach", not unexpected and len(found) == 2 * len(ALLOWED_PORTS))
        redis, loot = self.intruder.speak_redis(), self.intruder.exfiltrate()
        self.narrator.check("redis on the mysql port gets no answer, over both families", not any("OK" in answer for answer in redis.values()))
        self.narrator.check("no loot leaves by HTTPS, over both families", not any("thank you" in answer for answer in loot.values()))
        by_content = [flow for flow in self.wait_for_flows("denied", "protect", ":3306") if flow["application"] == "redis"]
        self.weir("flows", "--verdict", "denied", "-n", "8")
        self.narrator.check("redis was recognised by its content, over both families", self.families(by_content) == {4, 6})
        self.narrator.check("the exfiltration was seen and dropped, over both families", self.families(self.wait_for_flows("denied", "protect", ":443")) == {4, 6})
        self.after_requests(REQUESTS_PER_CHAPTER)
        self.check_undisturbed()

    def summary(self):
        self.narrator.heading("5  summary")
        self.weir("map")
        self.weir("status")
        succeeded, failed = self.cast.requests()
        denied = Counter()
        for conversation in self.lab.weir("map")["conversations"]:
            denied[conversation["client"], conversation["server"]] += conversation["denied"]
        print(f"\nlearned   {len(LEARNED)} conversations, now the allowlists of {len(self.lab.hosts)} workloads")
        print(f"allowed   {succeeded} requests of the application and its visitors; {len(failed)} failed")
        for (client, server), count in sorted(denied.items()):
            if count:
                print(f"dropped   {count} connections {client} → {server}")
        intruded = {server for (client, server), count in denied.items() if count and client == workload("ai-model")}
        self.narrator.check("drops are counted towards all three other hosts", len(intruded) == 3)
        self.narrator.check("no drop is counted for the visitors", not any(client != workload("ai-model") for (client, _), count in denied.items() if count))

    # -- what the chapters are made of ------------------------------------------------------------

    def weir(self, *words):
        """Runs `weir` and shows what it printed."""
        result = self.lab.programs.run(*words)
        shown = " ".join(words).replace(f"{self.lab.directory}/", "")
        self.narrator.show(f"weir {shown}", result.stdout)

    def set_mode(self, mode):
        self.weir("mode", "set", "--all", mode)
        self.lab.programs.wait_for_policy()

    def proposals(self):
        fields = ("client", "server", "application", "port", "protocol")
        return {tuple(proposal[field] for field in fields) for proposal in self.lab.weir("learn", "review")["proposals"]}

    def updated_application(self):
        """The update posts once to the new version of the API; what it was answered, by family."""
        program = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], b'{}', 5).read().decode())"
        answers = {}
        for family in (4, 6):
            url = f"http://{self.cast.frontend.authority(family)}:{NEW_API_PORT}/api/v2/labels"
            result = self.cast.ai_model.run([PYTHON, "-c", program, url], check=False)
            said = (result.stdout + result.stderr).strip().splitlines()
            answers[family] = said[-1] if said else ""
            self.narrator.show(f"updated-application {url}", answers[family], prompt="ai-model$")
        return answers

    def wait_for_flows(self, verdict, mode, server_port, timeout_s=10):
        """Records with this verdict, once there are some of both families."""

        def matching():
            flows = self.lab.weir("flows", "--verdict", verdict, "-n", "2000")
            return [flow for flow in flows if flow["mode"] == mode and flow["server_address"].endswith(server_port)]

        deadline = time.monotonic() + timeout_s
        while self.families(matching()) != {4, 6} and time.monotonic() < deadline:
            time.sleep(0.3)
        return matching()

    def families(self, flows):
        return {6 if flow["server_address"].startswith("[") else 4 for flow in flows}

    def after_requests(self, more):
        """Waits until the application has made so many more requests."""
        before = sum(map(self._count, self.cast.application))
        wait_until(lambda: sum(map(self._count, self.cast.application)) >= before + more, f"{more} more requests", 60, 0.2)

    def _count(self, program):
        return program.log_text().count("\n")

    def check_undisturbed(self):
        succeeded, failed = self.cast.requests()
        self.narrator.check(f"the legitimate traffic is undisturbed: {succeeded} requests succeeded, {len(failed)} failed", succeeded > 0 and not failed)
        for line in failed[:5]:
            self.narrator.say(f"  {line}")
