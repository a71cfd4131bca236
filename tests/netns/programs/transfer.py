"""A transfer that is compared by its hash.

transfer.py serve PORT MEGABYTES                  random bytes and then their SHA-256 to everyone who connects
transfer.py fetch ADDRESS PORT [BYTES_A_SECOND]   prints "identical" and the size, or what was wrong
"""

import hashlib
import os
import socket
import sys
import threading
import time

MEGABYTE = 1 << 20
HASH_BYTES = hashlib.sha256().digest_size
PATIENCE_S = 30


def send(connection, blocks, megabytes):
    digest = hashlib.sha256()
    with connection:
        for number in range(megabytes):
            # Different at every place, without making random bytes for all of it.
            block = number.to_bytes(8, "big") + blocks[number % len(blocks)]
            digest.update(block)
            connection.sendall(block)
        connection.sendall(digest.digest())


def serve(port, megabytes):
    blocks = [os.urandom(MEGABYTE - 8) for _ in range(min(megabytes, 7))]
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        threading.Thread(target=send, args=(listener.accept()[0], blocks, megabytes), daemon=True).start()


def fetch(address, port, bytes_a_second):
    digest, size, tail = hashlib.sha256(), 0, b""
    began = time.monotonic()
    with socket.create_connection((address, port), timeout=PATIENCE_S) as connection:
        while data := connection.recv(MEGABYTE if not bytes_a_second else 16384):
            size += len(data)
            data = tail + data
            tail = data[-HASH_BYTES:]
            digest.update(data[:-HASH_BYTES])
            if bytes_a_second:
                time.sleep(max(0, began + size / bytes_a_second - time.monotonic()))
    verdict = "identical" if digest.digest() == tail else "different or cut off"
    print(f"{verdict}: {size - HASH_BYTES} bytes in {time.monotonic() - began:.1f} s")


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]), int(sys.argv[3]))
else:
    fetch(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0)
