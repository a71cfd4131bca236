"""The four hosts and the programs that run on them."""

from pathlib import Path

from lab import tcp

PROGRAMS = Path(__file__).resolve().parent / "programs"
# Debian's own: the MySQL client is installed for it.
PYTHON = "/usr/bin/python3"
HOSTS = ["frontend", "ai-model", "photo-db", "internet"]
NAMESPACE = {"internet": "outside"}
MYSQL_PORT, API_PORT, NEW_API_PORT = 3306, 5000, 5001
# photo-db has a second address of each family; somebody put a Redis there, on MySQL's port.
SECOND_IPV4, SECOND_IPV6 = "10.91.0.103", "fd91::103"

NGINX = """
daemon off;
user root;
pid {directory}/nginx.pid;
error_log {directory}/nginx.error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    default_type text/plain;
    server {{
        listen 80;
        listen [::]:80;
        return 200 "Welcome to the photo shop\\n";
    }}
    server {{
        listen 5000;
        listen [::]:5000;
        location /api/labels {{ return 200 "label taken\\n"; }}
    }}
    server {{
        listen 5001;
        listen [::]:5001;
        location /api/v2/labels {{ return 200 "label taken by version 2\\n"; }}
    }}
}}
"""

PHOTOS = """
CREATE DATABASE photos;
CREATE TABLE photos.photo (id INT PRIMARY KEY, name VARCHAR(40));
INSERT INTO photos.photo VALUES (1,'cat.jpg'), (2,'harbour.jpg'), (3,'bicycle.jpg'), (4,'mountain.jpg'), (5,'bread.jpg');
CREATE USER model IDENTIFIED BY 'model';
GRANT SELECT ON photos.* TO model;
"""


def workload(name):
    """The name that Weir prints."""
    return f"{NAMESPACE.get(name, 'shop')}/{name}"


def workload_documents(lab):
    """One Workload document for each host, with its addresses of both families."""
    documents = []
    for name, host in lab.hosts.items():
        addresses = list(host.addresses)
        if name == "photo-db":
            addresses += [SECOND_IPV4, SECOND_IPV6]
        quoted = ", ".join(f'"{address}"' for address in addresses)
        documents.append(
            "apiVersion: weir.dev/v1alpha1\n"
            "kind: Workload\n"
            f"metadata: {{name: {name}, namespace: {NAMESPACE.get(name, 'shop')}, labels: {{app: {name}}}}}\n"
            f"spec: {{addresses: [{quoted}]}}\n"
        )
    return "---\n".join(documents)


class Cast:
    """Starts the programs; remembers those that make the legitimate traffic."""

    def __init__(self, lab):
        self.lab = lab
        self.frontend, self.ai_model, self.photo_db, self.internet = (lab.hosts[name] for name in HOSTS)
        self.application = []

    def start_servers(self):
        self._start_database()
        self._start_frontend()
        self._start_redis()
        self._start_collector()

    def start_application(self):
        """The legitimate traffic: it goes on until the end."""
        frontend, database = self.frontend, self.photo_db
        model = [PYTHON, PROGRAMS / "ai_model.py", ",".join(database.addresses), ",".join(frontend.addresses)]
        visitor = [PROGRAMS / "visitor.sh", *(f"http://{frontend.authority(family)}/" for family in (4, 6))]
        self.application = [self.ai_model.start(model, name="application"), self.internet.start(visitor, name="visitor")]

    def requests(self):
        """Legitimate requests so far: (succeeded, lines about those that failed)."""
        lines = [line for program in self.application for line in program.log_text().splitlines()]
        failed = [line for line in lines if not line.startswith("ok ")]
        return len(lines) - len(failed), failed

    def _start_database(self):
        directory = self.lab.directory / "mariadb"
        data, socket, first = directory / "data", directory / "socket", directory / "photos.sql"
        directory.mkdir()
        first.write_text(PHOTOS.replace("\n", " ").replace("; ", ";\n"))
        host = self.photo_db
        host.run(["ip", "address", "add", f"{SECOND_IPV4}/24", "dev", "eth0"])
        host.run(["ip", "address", "add", f"{SECOND_IPV6}/64", "dev", "eth0", "nodad"])
        host.run(["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db", "--skip-name-resolve"], timeout_s=120)
        command = ["mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={socket}"]
        command += [f"--port={MYSQL_PORT}", f"--bind-address={host.ipv4},{host.ipv6}", f"--init-file={first}"]
        command += ["--skip-name-resolve", f"--pid-file={directory / 'pid'}"]
        host.start(command, ready=tcp(MYSQL_PORT), timeout_s=60)

    def _start_frontend(self):
        directory = self.lab.directory / "nginx"
        directory.mkdir()
        configuration = directory / "nginx.conf"
        configuration.write_text(NGINX.format(directory=directory))
        self.frontend.start(["nginx", "-c", configuration, "-e", directory / "nginx.error.log"], ready=tcp(API_PORT))

    def _start_redis(self):
        command = ["redis-server", "--port", MYSQL_PORT, "--bind", SECOND_IPV4, SECOND_IPV6]
        command += ["--protected-mode", "no", "--save", "", "--dir", self.lab.directory]
        self.photo_db.start(command, ready=lambda process: "Ready to accept connections" in process.log_text())

    def _start_collector(self):
        key, certificate = self.lab.directory / "collector.key", self.lab.directory / "collector.crt"
        subject = ["-subj", "/CN=collector.example", "-days", "1"]
        self.internet.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", certificate, *subject])
        self.internet.start([PYTHON, PROGRAMS / "collector.py", certificate, key], name="collector", ready=tcp(443))
