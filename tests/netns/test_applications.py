"""Each application by its real programs: allowed it works, denied it fails at once, over both
families, on its usual port and, recognised by its content, on another one.

client    may speak every application to the server
suspect   may reach the server, but speak none of the applications: only content gives them away
stranger  may not reach the server at all
"""

import itertools
import shutil
import unittest
from pathlib import Path

from lab import LabError, tcp, udp, wait_until

from . import support
from .support import FAMILIES, PROGRAMS, PYTHON, documents, says, with_module, with_programs

APPLICATIONS = (
    "[dcerpc, dhcp, dns, http, icmp, ldap, memcached, mqtt, mysql, nfs, ntp, postgresql, redis, smb, snmp, socks, ssh, syslog, tls]"
)
OTHER_PORTS_BEGIN = 4000
LAB = None


def setUpModule():
    global LAB
    if support.UNAVAILABLE:
        return
    LAB = support.build_lab("client", "suspect", "stranger", "server")
    LAB.write_policy("hosts.yaml", support.hosts_policy(LAB))
    LAB.write_policy("server.yaml", server_policy())
    LAB.start_controller()
    LAB.start_node()


def server_policy():
    ingress = [
        f"from: [{{workload: client}}], applications: {APPLICATIONS}",
        f"from: [{{workload: suspect}}], applications: {APPLICATIONS}, action: deny",
        "from: [{workload: suspect}]",
    ]
    return support.allowlist("server", ingress=ingress)


@support.here_only
class Applications(unittest.TestCase):
    """speak(host, address, port) gives what the server said, or nothing."""

    def check(self, application, port, speak):
        for family in FAMILIES:
            for each_port in (port, OTHER_PORTS_BEGIN + port):
                with self.subTest(family=family, port=each_port):
                    self.check_one(application, family, each_port, speak)

    def check_one(self, application, family, port, speak):
        client, suspect, stranger, server = (LAB.hosts[name] for name in ("client", "suspect", "stranger", "server"))
        address = server.address(family)
        self.assertTrue(speak(client, address, port), f"allowed {application} got no answer")
        self.assertEqual(support.drops(LAB, client.address(family), address, port), [])
        for host in (suspect, stranger):
            self.assertFalse(speak(host, address, port), f"denied {application} of {host.label} got an answer")
        denial = self.denial(suspect, family, port)
        self.assertEqual(denial["app_proto"], application)
        self.assertIn("server", denial["weir"]["decider"])
        self.denial(stranger, family, port)

    def denial(self, host, family, port):
        server = LAB.hosts["server"]
        event = support.wait_for_drop(LAB, host.address(family), server.address(family), port)
        verdict = event["weir"]
        self.assertEqual((verdict["rule_action"], verdict["mode"]), ("deny", "protect"))
        self.assertIn(verdict["wire_action"], ("drop", "reset"))
        self.assertEqual((verdict["client"], verdict["server"]), (f"test/{host.label}", "test/server"))
        return event

    def serve(self, command, *, relay=None, **options):
        """Starts a server for this test; `relay` is a TCP port that it should answer elsewhere, too."""
        process = LAB.hosts["server"].start(command, **options)
        self.addCleanup(process.stop)
        if relay:
            other = OTHER_PORTS_BEGIN + relay
            relay = LAB.hosts["server"].start([PYTHON, PROGRAMS / "relay.py", f"{other}={relay}"], name=f"relay{other}", ready=tcp(other))
            self.addCleanup(relay.stop)

    def directory(self, name):
        path = LAB.directory / name
        path.mkdir()
        return path

    @with_programs("curl")
    def test_http(self):
        directory = self.directory("http")
        (directory / "index.html").write_text("welcome")
        self.serve([PYTHON, "-m", "http.server", "80", "--bind", "::", "--directory", directory], ready=tcp(80), relay=80)

        def speak(host, address, port):
            authority = f"[{address}]" if ":" in address else address
            return "welcome" in says(host, ["curl", "-sS", "--max-time", "60", f"http://{authority}:{port}/"])

        self.check("http", 80, speak)

    @with_programs("openssl", "curl")
    def test_tls(self):
        directory = self.directory("tls")
        key, certificate = directory / "key", directory / "certificate"
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        LAB.hosts["server"].run([*request, "-subj", "/CN=server.test", "-keyout", key, "-out", certificate])
        self.serve(["openssl", "s_server", "-accept", "443", "-www", "-key", key, "-cert", certificate], ready=tcp(443), relay=443)

        def speak(host, address, port):
            where = f"server.test:{port}:[{address}]" if ":" in address else f"server.test:{port}:{address}"
            command = ["curl", "-sS", "--max-time", "60", "--cacert", certificate, "--resolve", where, f"https://server.test:{port}/"]
            return "TLS" in says(host, command)

        self.check("tls", 443, speak)

    @with_programs("dnsmasq", "dig")
    def test_dns(self):
        for port in (53, OTHER_PORTS_BEGIN + 53):
            command = ["dnsmasq", "-k", "-C", "/dev/null", "-u", "root", "--pid-file=", "--no-resolv", "--no-hosts"]
            self.serve([*command, "-p", port, "--address=/weir.test/192.0.2.7"], name=f"dns{port}", ready=udp(port))

        def over(transport):
            def speak(host, address, port):
                command = ["dig", f"@{address}", "-p", port, transport, "+short", "+time=2", "+tries=1", "www.weir.test", "A"]
                return "192.0.2.7" in says(host, command)

            return speak

        self.check("dns", 53, over("+notcp"))
        with self.subTest(transport="tcp"):
            self.assertTrue(over("+tcp")(LAB.hosts["client"], LAB.hosts["server"].ipv6, 53))
            self.assertFalse(over("+tcp")(LAB.hosts["suspect"], LAB.hosts["server"].ipv6, 53))

    @with_programs("sshd", "ssh-keyscan", "ssh-keygen")
    def test_ssh(self):
        directory = self.directory("ssh")
        key, configuration = directory / "key", directory / "sshd_config"
        LAB.hosts["server"].run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
        configuration.write_text(f"HostKey {key}\nPidFile none\nPort 22\nPort {OTHER_PORTS_BEGIN + 22}\n")
        separation = Path("/run/sshd")
        if not separation.exists():
            separation.mkdir(mode=0o755)
            self.addCleanup(separation.rmdir)
        self.serve([shutil.which("sshd"), "-D", "-e", "-f", configuration], ready=tcp(OTHER_PORTS_BEGIN + 22))

        def speak(host, address, port):
            return "ssh-ed25519" in says(host, ["ssh-keyscan", "-T", "60", "-p", port, "-t", "ed25519", address])

        self.check("ssh", 22, speak)

    @with_programs("mariadbd", "mariadb-install-db", "mariadb")
    def test_mysql(self):
        directory = self.directory("mysql")
        data, first = directory / "data", directory / "first.sql"
        first.write_text("CREATE USER model IDENTIFIED BY 'model';\n")
        make = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db", "--skip-name-resolve"]
        LAB.hosts["server"].run(make, timeout_s=120)
        command = ["mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={directory / 'socket'}"]
        command += ["--port=3306", "--bind-address=*", f"--init-file={first}", "--skip-name-resolve", f"--pid-file={directory / 'pid'}"]
        self.serve(command, ready=tcp(3306), timeout_s=60, relay=3306)

        def speak(host, address, port):
            login = ["--no-defaults", "-h", address, "-P", port, "-u", "model", "-pmodel", "--protocol=tcp", "--connect-timeout=60"]
            return "42" in says(host, ["mariadb", *login, "-e", "SELECT 6 * 7"])

        self.check("mysql", 3306, speak)

    @with_programs("postgres", "initdb", "psql", "setpriv")
    def test_postgresql(self):
        directory = self.directory("postgresql")
        data = directory / "data"
        # It refuses to run as root.
        user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        shutil.chown(directory, "nobody", "nogroup")
        LAB.hosts["server"].run([*user, "initdb", "-D", data, "-U", "model", "-A", "trust", "--no-sync"], timeout_s=120, cwd="/")
        with (data / "pg_hba.conf").open("a") as access:
            access.write("host all all all trust\n")
        command = [*user, "postgres", "-D", data, "-p", "5432", "-h", "*", "-k", directory]
        self.serve(command, name="postgres", ready=tcp(5432), timeout_s=60, cwd="/", relay=5432)

        def speak(host, address, port):
            where = f"host={address} port={port} user=model dbname=postgres connect_timeout=60 sslmode=disable"
            return "42" in says(host, ["psql", where, "-At", "-c", "SELECT 6 * 7"])

        self.check("postgresql", 5432, speak)

    @with_programs("redis-server", "redis-cli")
    def test_redis(self):
        command = ["redis-server", "--port", "6379", "--bind", "*", "::", "--protected-mode", "no", "--save", ""]
        self.serve([*command, "--dir", LAB.directory], ready=tcp(6379), relay=6379)

        def speak(host, address, port):
            return "hello" in says(host, ["redis-cli", "-h", address, "-p", port, "ECHO", "hello"])

        self.check("redis", 6379, speak)

    @with_programs("memcached")
    @with_module("pymemcache")
    def test_memcached(self):
        self.serve(["memcached", "-u", "root", "-p", "11211", "-U", "0", "-l", "0.0.0.0,::"], ready=tcp(11211), relay=11211)
        ask = "import sys; from pymemcache import Client; c = Client((sys.argv[1], int(sys.argv[2])), timeout=15); "
        ask += "c.set('weir', 'hello', noreply=False); print(c.get('weir'))"

        def speak(host, address, port):
            return "hello" in says(host, [PYTHON, "-c", ask, address, port])

        self.check("memcached", 11211, speak)

    @with_programs("mosquitto", "mosquitto_pub", "mosquitto_sub")
    def test_mqtt(self):
        configuration = self.directory("mqtt") / "mosquitto.conf"
        configuration.write_text("listener 1883\nallow_anonymous true\npersistence false\nuser root\n")
        self.serve(["mosquitto", "-c", configuration], ready=tcp(1883), relay=1883)
        LAB.hosts["server"].run(["mosquitto_pub", "-h", "127.0.0.1", "-r", "-t", "weir", "-m", "hello"])

        def speak(host, address, port):
            return "hello" in says(host, ["mosquitto_sub", "-h", address, "-p", port, "-t", "weir", "-C", "1", "-W", "15"])

        self.check("mqtt", 1883, speak)

    @with_programs("slapd", "ldapwhoami")
    def test_ldap(self):
        directory = self.directory("ldap")
        configuration = directory / "slapd.conf"
        database = f'database mdb\nsuffix "dc=test"\nrootdn "cn=model,dc=test"\nrootpw model\ndirectory {directory}\n'
        modules = "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n"
        configuration.write_text(f"{modules}pidfile {directory / 'pid'}\n{database}")
        listen = "ldap://0.0.0.0:389/ ldap://[::]:389/"
        self.serve(["slapd", "-f", configuration, "-h", listen, "-d", "0"], ready=tcp(389), relay=389)

        def speak(host, address, port):
            where = f"ldap://[{address}]:{port}" if ":" in address else f"ldap://{address}:{port}"
            return "cn=model" in says(host, ["ldapwhoami", "-x", "-H", where, "-D", "cn=model,dc=test", "-w", "model"])

        self.check("ldap", 389, speak)

    @with_programs("snmpd", "snmpget")
    def test_snmp(self):
        configuration = self.directory("snmp") / "snmpd.conf"
        configuration.write_text("rocommunity weir\nrocommunity6 weir\nsysName photo\n")
        other = OTHER_PORTS_BEGIN + 161
        listen = ",".join(f"{family}:{port}" for family in ("udp", "udp6") for port in (161, other))
        self.serve(["snmpd", "-f", "-Lo", "-C", "-c", configuration, listen], ready=udp(other))

        def speak(host, address, port):
            where = f"udp6:[{address}]:{port}" if ":" in address else f"udp:{address}:{port}"
            return "photo" in says(host, ["snmpget", "-v2c", "-c", "weir", "-t", "2", "-r", "0", where, "1.3.6.1.2.1.1.5.0"])

        self.check("snmp", 161, speak)

    @with_programs("rsyslogd", "logger")
    def test_syslog(self):
        directory = self.directory("syslog")
        configuration, log = directory / "rsyslog.conf", directory / "log"
        other = OTHER_PORTS_BEGIN + 514
        inputs = f'module(load="imudp")\ninput(type="imudp" port=["514", "{other}"])\n'
        configuration.write_text(f'{inputs}action(type="omfile" file="{log}")\n')
        self.serve(["rsyslogd", "-n", "-f", configuration, "-i", directory / "pid"], ready=udp(other))
        count = itertools.count()

        def speak(host, address, port):
            message = f"message {next(count)} from {host.label}"
            host.run(["logger", "--server", address, "--port", port, "--udp", message])
            try:
                wait_until(lambda: log.exists() and message in log.read_text(), message, 1, 0.1)
            except LabError:
                return False
            return True

        self.check("syslog", 514, speak)

    @with_programs("rpcbind", "rpcinfo")
    def test_nfs(self):
        # Its socket and lock stay apart from the machine's own: a namespace's programs have mounts of their own.
        self.serve(["sh", "-c", "mount -t tmpfs tmpfs /run && exec rpcbind -f"], name="rpcbind", ready=tcp(111), relay=111)

        def speak(host, address, port):
            where = f"{address}.{port >> 8}.{port & 255}"
            transport = "tcp6" if ":" in address else "tcp"
            return "ready" in says(host, ["rpcinfo", "-a", where, "-T", transport, "100000", "4"])

        self.check("nfs", 111, speak)

    @with_programs("curl", "microsocks")
    def test_socks(self):
        directory = self.directory("socks")
        (directory / "index.html").write_text("welcome")
        self.serve([PYTHON, "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", directory], name="behind", ready=tcp(8000))
        self.serve(["microsocks", "-i", "::", "-p", "1080"], ready=tcp(1080), relay=1080)

        def speak(host, address, port):
            proxy = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            command = ["curl", "-sS", "--max-time", "60", "--socks5-hostname", proxy, "http://127.0.0.1:8000/"]
            return "welcome" in says(host, command)

        self.check("socks", 1080, speak)

    def windows(self):
        """Shares a file and answers calls, on the usual ports and on others."""
        directory = self.directory(f"windows-{self._testMethodName}")
        (directory / "welcome.txt").write_text("welcome")
        self.serve([PYTHON, PROGRAMS / "windows.py", "serve", "1445", "1135", directory], name="windows", ready=tcp(1445))
        ports = [f"{more + port}={1000 + port}" for port in (135, 445) for more in (0, OTHER_PORTS_BEGIN)]
        self.serve([PYTHON, PROGRAMS / "relay.py", *ports], name="windows-relay", ready=tcp(OTHER_PORTS_BEGIN + 445))

    @with_module("impacket")
    def test_smb(self):
        self.windows()

        def speak(host, address, port):
            return "welcome" in says(host, [PYTHON, PROGRAMS / "windows.py", "smb", address, port, "welcome.txt"])

        self.check("smb", 445, speak)

    @with_module("impacket")
    def test_dcerpc(self):
        self.windows()

        def speak(host, address, port):
            return "platform" in says(host, [PYTHON, PROGRAMS / "windows.py", "rpc", address, port])

        self.check("dcerpc", 135, speak)

    @with_programs("ntpdig")
    def test_ntp(self):
        other = OTHER_PORTS_BEGIN + 123
        self.serve([PYTHON, PROGRAMS / "ntp.py", "serve", "123", other], name="ntp", ready=udp(other))

        def speak(host, address, port):
            if port == 123:
                return address in says(host, ["ntpdig", "-t", "2", address], env={"TZ": "UTC"})
            return "stratum 2" in says(host, [PYTHON, PROGRAMS / "ntp.py", "ask", address, port])

        self.check("ntp", 123, speak)

    @with_programs("ping")
    def test_icmp(self):
        server = LAB.hosts["server"]
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertEqual(support.ping(LAB.hosts["client"], server.address(family), count=3), 3)
                for name in ("suspect", "stranger"):
                    self.assertEqual(support.ping(LAB.hosts[name], server.address(family)), 0)
                event = support.wait_for_drop(LAB, LAB.hosts["suspect"].address(family), server.address(family), protocol=support.ICMP)
                self.assertEqual(event["app_proto"], "icmp" if family == 4 else "icmpv6")
