"""Counts what is lost: sequence.py ADDRESS PORT INTERVAL_S

Sends numbered datagrams to an echo server until SIGTERM, waits for the last ones, and prints how
many were sent, lost and doubled, and the longest silence.
"""

import select
import signal
import socket
import sys
import time

LAST_ONES_S = 1.5

address, port, interval = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
stopping = False


def stop(_number, _frame):
    global stopping
    stopping = True


signal.signal(signal.SIGTERM, stop)
endpoint = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
endpoint.connect((address, port))
endpoint.setblocking(False)
sent, came, doubled = 0, set(), 0
heard = time.monotonic()
silence = 0.0


def listen(timeout):
    global doubled, heard, silence
    if not select.select([endpoint], [], [], timeout)[0]:
        return
    try:
        number = int(endpoint.recv(2048))
    except OSError:
        return
    doubled += number in came
    came.add(number)
    now = time.monotonic()
    heard, silence = now, max(silence, now - heard)


following = time.monotonic()
while not stopping:
    try:
        endpoint.send(b"%d" % sent)
        sent += 1
    except OSError:
        pass
    following += interval
    while not stopping and (rest := following - time.monotonic()) > 0:
        listen(rest)
deadline = time.monotonic() + LAST_ONES_S
while len(came) < sent and time.monotonic() < deadline:
    listen(0.05)
print(f"sent {sent} lost {sent - len(came)} doubled {doubled} silence_s {silence:.2f}", flush=True)
