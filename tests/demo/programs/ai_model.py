"""The application: reads photos from photo-db, labels them, posts the labels to the frontend's API.

    ai_model.py DATABASE,DATABASE… API,API…      addresses of either family; port 3306 and 5000

One line per request: "ok …" or "FAILED …". Every round uses a connection that it keeps and a new
one, to each address, so that connections of all ages meet a change of policy.
"""

import http.client
import itertools
import json
import sys
import time

import pymysql

DATABASE_PORT, API_PORT = 3306, 5000
TIMEOUT_S = 5
ROUND_S = 0.25
LABELS = ["cat", "harbour", "bicycle", "mountain", "bread"]


class Database:
    """Photos of one address."""

    def __init__(self, address):
        self.address = address
        self.connection = None

    def request(self, round_number):
        if self.connection is None:
            login = {"user": "model", "password": "model", "database": "photos"}
            self.connection = pymysql.connect(host=self.address, port=DATABASE_PORT, connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, **login)
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT name FROM photo WHERE id = %s", (round_number % 5 + 1,))
            return f"mysql [{self.address}]:{DATABASE_PORT} {cursor.fetchone()[0]}"

    def close(self):
        if self.connection is not None:
            connection, self.connection = self.connection, None
            connection.close()


class Api:
    """The frontend's API at one address."""

    def __init__(self, address):
        self.address = address
        self.connection = None

    def request(self, round_number):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, API_PORT, timeout=TIMEOUT_S)
        label = json.dumps({"photo": round_number % 5 + 1, "label": LABELS[round_number % 5]})
        self.connection.request("POST", "/api/labels", label, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        body = answer.read().decode()
        if answer.status != 200:
            raise OSError(f"HTTP status {answer.status}")
        return f"http [{self.address}]:{API_PORT} {body.strip()}"

    def close(self):
        if self.connection is not None:
            connection, self.connection = self.connection, None
            connection.close()


def once(peer, round_number):
    try:
        print("ok", peer.request(round_number), flush=True)
    except Exception as error:  # whatever goes wrong is a request that failed
        print(f"FAILED {type(peer).__name__} [{peer.address}]: {error!r}", flush=True)
        peer.close()


def main():
    databases, apis = (argument.split(",") for argument in sys.argv[1:3])
    kinds = [(Database, address) for address in databases] + [(Api, address) for address in apis]
    kept = [kind(address) for kind, address in kinds]
    for round_number in itertools.count():
        for peer in kept:
            once(peer, round_number)
        for kind, address in kinds:
            peer = kind(address)
            once(peer, round_number)
            peer.close()
        time.sleep(ROUND_S)


main()
