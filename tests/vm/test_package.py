"""The packages under systemd, on a machine with cards: started, confined, watched, reloaded, upgraded, booted again,
removed. Two namespaces of the machine are the two sides: each has a card whose wire leads to one of the node's.

    make test-vm
"""

import tempfile
import unittest

from tests.package import root

from . import guest
from .installed import Disk

HIGHER = "99.0-1"
TIMEOUT_S = 1500
# client ═ (wire 0) ═ node ═ (wire 1) ═ server
CARDS = ["e1000e"] * 4
WIRES = [0, 0, 1, 1]

COMMON = """
part() { name=$1; shift; echo "part $name"; "$@" 2>&1; echo "exit $?"; }
# until SECONDS COMMAND…
until_true() {
    left=$1; shift
    while ! "$@" >/dev/null 2>&1; do
        left=$((left - 1)); [ $left -gt 0 ] || return 1; sleep 1
    done
}
shows() { systemctl show "$1" -p "$2" --value; }
says() { shows weir-node StatusText | grep -q "$1"; }
node() { systemctl show weir-node -p ActiveState -p SubState -p StatusText -p NRestarts -p Result; }
sides() {
    for side in client:eth0:10.0.0.1/24 server:eth3:10.0.0.2/24; do
        name=${side%%:*}; rest=${side#*:}; card=${rest%%:*}
        ip netns add $name
        ip link set $card netns $name
        ip -n $name address add ${rest#*:} dev $card
        ip -n $name link set lo up
        ip -n $name link set $card up
    done
    ip -n server address add 10.0.0.3/24 dev eth3
}
drivers() {
    for one in /sys/bus/pci/devices/*; do
        case $(cat $one/class) in
        0x020000) echo "$(basename $one) $(basename $(readlink $one/driver))" ;;
        esac
    done
}
ping_of() { ip netns exec client ping -n -q -c 3 -i 0.3 -W ${2:-30} $1 | grep received; }
refused() { ping_of $1 2; }
# Links take their time, and so do neighbours.
arrives() { ip netns exec client ping -n -q -c 1 -W 1 10.0.0.2; }
"""
FIRST = COMMON + """
# It comes when it is called: until then the node has no policy.
systemctl mask --runtime --now weir-controller
until_true 150 test -e /sys/class/net/eth3
sides
part unconfigured node
cp /test/node.toml /etc/weir/node.toml
cp /test/policy.yaml /etc/weir/policy/
part host systemctl start weir-host
part drivers drivers
systemctl start --no-block weir-node
until_true 150 says 'waiting for policy'
part waiting node
part up systemctl show multi-user.target -p After
systemctl unmask --runtime weir-controller
part controller systemctl start weir-controller
part started timeout 150 systemctl start weir-node
part ready node
until_true 150 arrives
part allowed ping_of 10.0.0.2
part denied refused 10.0.0.3
part status weir status
useradd --groups weir-controller asker
useradd stranger
part operator setpriv --reuid asker --init-groups weir mode get
part stranger setpriv --reuid stranger --init-groups weir mode get
part doctor weir doctor
before=$(shows weir-node MainPID)
part confined cat /proc/$before/status
part controller_confined cat /proc/$(shows weir-controller MainPID)/status
sed -i 's/^tunnels = .*/tunnels = 1/' /etc/weir/node.toml
part reload systemctl reload weir-node
reread() { journalctl -u weir-node -o cat --no-pager | grep -q 'configuration read again'; }
part reread until_true 150 reread
part reloaded test "$(shows weir-node MainPID)" = $before
part journal journalctl -u weir-node -o cat --no-pager
part fields journalctl -u weir-node -N --no-pager
kill -STOP $before
until_true 150 test "$(shows weir-node NRestarts)" != 0
watched() { [ "$(shows weir-node NRestarts)" -ge 1 ] && says 'is in force'; }
until_true 150 watched
part watchdog node
part watchdog_journal journalctl -u weir-node _PID=1 -o cat --no-pager
until_true 150 arrives
part watchdog_allowed ping_of 10.0.0.2
# The process lives, one worker of it gets no processor any more.
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
taskset -c 1 chrt -f 50 sh -c 'while :; do :; done' &
hog=$!
lost() { says 'is lost'; }
until_true 150 lost
part starved node
part starved_closed refused 10.0.0.2
noticed() { [ "$(journalctl -u weir-node -o cat --no-pager | grep -c 'Watchdog timeout')" -ge 2 ]; }
part noticed until_true 150 noticed
kill -KILL $hog
echo 950000 >/proc/sys/kernel/sched_rt_runtime_us
recovered() { [ "$(shows weir-node NRestarts)" -ge 2 ] && says 'is in force'; }
part recovered until_true 150 recovered
until_true 150 arrives
part recovered_allowed ping_of 10.0.0.2
kill -KILL $(shows weir-controller MainPID)
again() { [ "$(shows weir-controller NRestarts)" -ge 1 ] && [ "$(shows weir-controller ActiveState)" = active ]; }
until_true 150 again
part controller_again weir status
ip netns exec server perl /test/server.pl &
until_true 150 sh -c 'ip netns exec server ss -ltn | grep -q :7000'
ip netns exec client perl /test/client.pl >/run/connection 2>&1 &
talks=$!
until_true 150 test -e /run/answered
before=$(shows weir-node MainPID)
shows weir-node NRestarts >/run/restarts
ip netns exec client ping -n -q -i 0.2 10.0.0.2 >/run/gap 2>&1 &
pings=$!
ip netns exec client ping -n -q -i 0.2 10.0.0.3 >/run/denied 2>&1 &
denied=$!
part upgrade dpkg -i /test/weir_99.0-1_amd64.deb /test/weir-node_99.0-1_amd64.deb
in_force() { says 'is in force'; }
until_true 150 in_force
until_true 150 arrives
touch /run/enough
part connection_kept wait $talks
part connection cat /run/connection
for one in $pings $denied; do kill -INT $one; wait $one; done
part gap cat /run/gap
part denied_meanwhile cat /run/denied
part another_process test "$(shows weir-node MainPID)" != $before
part not_restarted test "$(shows weir-node NRestarts)" = "$(cat /run/restarts)"
part upgrade_journal journalctl -u weir-node -o cat --no-pager
# Who took over is watched as the one before.
kill -STOP $(shows weir-node MainPID)
started_again() { [ "$(shows weir-node NRestarts)" -gt "$(cat /run/restarts)" ] && says 'is in force'; }
part started_again until_true 150 started_again
until_true 150 arrives
part upgraded node
part upgraded_policy ping_of 10.0.0.2
part upgraded_denied refused 10.0.0.3
systemctl disable weir-controller
cp /test/boot2 /test/boot
sync
"""
SECOND = COMMON + """
until_true 150 test -e /sys/class/net/eth3
sides
in_force() { says 'is in force'; }
until_true 150 in_force
part again node
part controller_away systemctl is-active weir-controller
until_true 150 arrives
part again_allowed ping_of 10.0.0.2
part again_denied refused 10.0.0.3
part remove dpkg --remove weir-node
part given_back drivers
part left ls /etc/weir/node.toml /var/lib/weir/node
part purge dpkg --purge weir-node weir-controller weir
part nothing ls /etc/weir /var/lib/weir /var/log/weir
"""
# A connection that lasts: a line a tenth of a second, and its answer.
SERVER = """use IO::Socket::INET;
my $listener = IO::Socket::INET->new(LocalPort => 7000, Listen => 5, ReuseAddr => 1) or die $!;
my $peer = $listener->accept;
print $peer $_ while <$peer>;
"""
CLIENT = """use IO::Socket::INET;
use Time::HiRes qw(time sleep);
my $peer = IO::Socket::INET->new(PeerAddr => '10.0.0.2:7000') or die $!;
my ($count, $longest) = (0, 0);
while (!-e '/run/enough') {
    my $begun = time;
    print $peer "$count\\n";
    my $answer = <$peer>;
    die "no answer to $count" unless defined $answer && $answer eq "$count\\n";
    $longest = time - $begun if time - $begun > $longest;
    open(my $file, '>', '/run/answered') unless $count++;
    sleep 0.1;
}
printf "%d answers, the longest wait %.1f s\\n", $count, $longest;
"""
# Memory for two processes at once, the old one and the one that takes over.
HOST = """[Service]
ExecStart=
ExecStart=/usr/bin/weir host prepare --owner weir-node --memory-mb 512
"""
NODE = """[eal]
devices = ["0000:02:00.0", "0000:03:00.0"]
""" + guest.SMALL_NODE + """\
[inspection]
tunnels = 2
shipped_rules = false
[controller]
address = "http://127.0.0.1:7443"
[[pair]]
name = "uplink"
ports = ["0000:02:00.0", "0000:03:00.0"]
"""
POLICY = """
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: client, namespace: test}
spec: {addresses: [10.0.0.1]}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: server, namespace: test}
spec: {addresses: [10.0.0.2]}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: secret, namespace: test}
spec: {addresses: [10.0.0.3]}
---
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: client, namespace: test}
spec: {target: {workload: client}, egress: [{to: [{any: true}]}]}
---
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: server, namespace: test}
spec:
  target: {workload: server}
  ingress: [{from: [{workload: client}], applications: [icmp]}, {from: [{workload: client}], ports: [7000]}]
""" + "".join(f"""---
apiVersion: weir.dev/v1alpha1
kind: Mode
metadata: {{name: {name}, namespace: test}}
spec: {{target: {{workload: {name}}}, mode: protect}}
""" for name in ("client", "server", "secret"))
ALLOWED, DENIED = "3 received", " 0 received"


class Package(guest.Parts):
    @classmethod
    def setUpClass(cls):
        guest.emulator()
        packages = root.packages()
        root.archive()
        with tempfile.TemporaryDirectory() as directory:
            higher = [root.raised(packages[name], HIGHER, directory) for name in ("weir", "weir-node")]
            files = {"test/boot": FIRST, "test/boot2": SECOND, "test/node.toml": NODE, "test/policy.yaml": POLICY,
                     "test/server.pl": SERVER, "test/client.pl": CLIENT,
                     "etc/systemd/system/weir-host.service.d/both.conf": HOST}
            disk = Disk(files, higher)
        cls.addClassCleanup(disk.remove)
        machine = {"cards": CARDS, "wires": WIRES, "memory_mb": 2048, "timeout_s": TIMEOUT_S}
        said = disk.boot(**machine)
        cls.listen(said + disk.boot(**machine))
        (guest.OUT / "package.txt").write_text(cls.said)

    def holds(self, name, *expected, code=0):
        text, ended = self.part(name)
        for one in expected:
            self.assertIn(one, text)
        self.assertEqual(ended, code, text)
        return text

    def test_01_without_ports_nothing_is_done(self):
        self.holds("unconfigured", "ActiveState=inactive", "NRestarts=0")

    def test_02_ready_when_a_policy_is_in_force(self):
        self.holds("host")
        self.holds("drivers", "0000:02:00.0 vfio-pci", "0000:03:00.0 vfio-pci", "0000:01:00.0 e1000e")
        self.holds("waiting", "ActiveState=activating", "StatusText=ports are up, waiting for policy")
        text = self.holds("up")
        self.assertNotIn("weir-node", text, "the machine is up without a policy")
        self.holds("controller")
        self.holds("started")
        self.holds("ready", "ActiveState=active", "is in force, 1 workers", "NRestarts=0")

    def test_03_it_enforces_on_cards(self):
        self.holds("allowed", ALLOWED)
        self.holds("denied", DENIED)
        self.holds("status", "guest")

    def test_03_its_group_may_ask_the_controller(self):
        self.holds("operator", "test/client")
        self.assertNotEqual(self.part("stranger")[1], 0)

    def test_03_the_doctor_is_content(self):
        text = self.part("doctor")[0]
        self.assertIn("hugepages", text)
        self.assertNotRegex(text, r"(?m)^failure  (hugepages|iommu|vfio|nic)")

    def test_04_confined(self):
        for name, capabilities in (("confined", 1 << 12 | 1 << 13 | 1 << 14), ("controller_confined", 0)):
            text = self.holds(name, "Seccomp:\t2", "NoNewPrivs:\t1", f"CapBnd:\t{capabilities:016x}",
                              f"CapEff:\t{capabilities:016x}")
            self.assertNotRegex(text, r"(?m)^Uid:\t0")

    def test_05_reload_keeps_the_process(self):
        self.holds("reload")
        self.holds("reread")
        self.holds("reloaded")

    def test_06_the_journal_has_fields(self):
        self.holds("fields", "WEIR_NODE", "WEIR_WORKERS")
        self.holds("journal", "weir-node is ready")

    def test_07_the_watchdog_starts_it_again(self):
        self.holds("watchdog", "ActiveState=active", "NRestarts=1", "is in force")
        self.assertRegex(self.part("watchdog_journal")[0], r"Watchdog timeout")
        self.holds("watchdog_allowed", ALLOWED)

    def test_07_the_watchdog_sees_one_worker(self):
        self.holds("starved", "StatusText=worker 0 is lost: its ports follow their fail mode")
        self.holds("starved_closed", DENIED)
        self.holds("noticed")
        self.holds("recovered")
        self.holds("recovered_allowed", ALLOWED)

    def test_08_a_controller_that_was_killed_comes_back(self):
        self.holds("controller_again", "guest")

    def test_09_an_upgrade_keeps_connections(self):
        self.holds("connection_kept")
        self.assertRegex(self.holds("connection"), r"[1-9]\d* answers")
        self.assertIn(DENIED, self.holds("denied_meanwhile"))
        self.holds("another_process")
        self.holds("not_restarted")
        self.holds("upgrade_journal", "another process has taken over")
        self.holds("started_again")

    def test_09_an_upgrade_keeps_the_policy(self):
        self.holds("upgrade", "Setting up weir-node (99.0-1)")
        self.holds("upgraded", "ActiveState=active", "is in force")
        self.holds("upgraded_policy", ALLOWED)
        self.holds("upgraded_denied", DENIED)

    def test_10_booted_again_it_enforces_without_a_controller(self):
        self.holds("again", "ActiveState=active", "is in force")
        self.holds("controller_away", "inactive", code=3)
        self.holds("again_allowed", ALLOWED)
        self.holds("again_denied", DENIED)

    def test_11_removed_it_gives_the_cards_back(self):
        self.holds("remove")
        text = self.holds("given_back")
        self.assertEqual(text.count("e1000e"), 4, text)
        self.holds("left")
        self.holds("purge")
        self.holds("nothing", "No such file", code=2)


if __name__ == "__main__":
    unittest.main()
