"""Numbered datagrams one way: stream.py send ADDRESS PORT INTERVAL_S | stream.py count PORT

The counter prints, at SIGTERM, how many came, how many numbers are missing between the first and the last, and the
longest silence in milliseconds. A machine that is busy with other things must not look like a network that loses:
the sender makes up for no time that it was not let run, what waits to be counted has room, and silence is between the
times at which the kernel had datagrams.
"""

import signal
import socket
import struct
import sys
import threading
import time

# Not in Python's socket module.
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
RECEIVE_BYTES = 16 << 20
CATCH_UP_S = 0.02
stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
if sys.argv[1] == "send":
    address, port, interval = sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    endpoint = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.connect((address, port))
    number, following = 0, time.monotonic()
    while not stopping.is_set():
        try:
            endpoint.send(b"%d" % number)
        except OSError:
            pass
        if number == 0:
            print("begun", flush=True)
        number += 1
        following = max(following + interval, time.monotonic() - CATCH_UP_S)
        time.sleep(max(0, following - time.monotonic()))
else:
    endpoint = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    endpoint.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
    endpoint.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    endpoint.bind(("::", int(sys.argv[2])))
    endpoint.settimeout(0.1)
    numbers, heard, silence = set(), None, 0.0
    while True:
        if stopping.is_set():
            # What came before the end is counted, however late.
            endpoint.settimeout(0)
        try:
            datagram, told, _, _ = endpoint.recvmsg(64, 64)
        except TimeoutError:
            continue
        except BlockingIOError:
            break
        numbers.add(int(datagram))
        seconds, nanoseconds = struct.unpack("qq", told[0][2])
        now = seconds + nanoseconds / 1e9
        silence = max(silence, now - heard) if heard else 0.0
        heard = now
    missing = max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0
    print(f"came {len(numbers)} missing {missing} silence_ms {silence * 1000:.1f}", flush=True)
