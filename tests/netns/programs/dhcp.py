"""Asks once for an address and prints the one that is offered: dhcp.py 4|6 INTERFACE SERVER_PORT CLIENT_PORT"""

import ipaddress
import socket
import struct
import sys

TRANSACTION = b"\x57\x45\x49"
PATIENCE_S = 3

# RFC 2131
BOOTP = struct.Struct("!BBBB4sHH4s4s4s4s16s64s128s4s")
REQUEST, ETHERNET, BROADCAST, COOKIE = 1, 1, 0x8000, b"\x63\x82\x53\x63"
DISCOVER = bytes([53, 1, 1, 255])

# RFC 8415
SOLICIT, ADVERTISE = 1, 2
CLIENT_ID, IA_NA, IA_ADDRESS, ELAPSED = 1, 3, 5, 8


def exchange(family, interface, client_port, message, server):
    with socket.socket(family, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(PATIENCE_S)
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        endpoint.bind(("", client_port))
        endpoint.sendto(message, server)
        return endpoint.recv(4096)


def ask_ipv4(interface, mac, server_port, client_port):
    nobody = bytes(4)
    fields = (REQUEST, ETHERNET, len(mac), 0, TRANSACTION + b"!", 0, BROADCAST, nobody, nobody, nobody, nobody)
    message = BOOTP.pack(*fields, mac, b"", b"", COOKIE) + DISCOVER
    answer = exchange(socket.AF_INET, interface, client_port, message, ("255.255.255.255", server_port))
    return ipaddress.ip_address(BOOTP.unpack_from(answer)[8])


def option(code, value):
    return struct.pack("!HH", code, len(value)) + value


def options(data):
    while len(data) >= 4:
        code, length = struct.unpack_from("!HH", data)
        yield code, data[4 : 4 + length]
        data = data[4 + length :]


def ask_ipv6(interface, mac, server_port, client_port):
    client = option(CLIENT_ID, struct.pack("!HH", 3, ETHERNET) + mac)
    message = bytes([SOLICIT]) + TRANSACTION + client + option(ELAPSED, bytes(2)) + option(IA_NA, bytes(12))
    server = ("ff02::1:2", server_port, 0, socket.if_nametoindex(interface))
    answer = exchange(socket.AF_INET6, interface, client_port, message, server)
    if answer[0] != ADVERTISE or answer[1:4] != TRANSACTION:
        sys.exit("the answer is no advertisement")
    found = (inner for code, value in options(answer[4:]) if code == IA_NA for inner in options(value[12:]))
    return next(ipaddress.ip_address(value[:16]) for code, value in found if code == IA_ADDRESS)


family, interface, *ports = sys.argv[1:]
with open(f"/sys/class/net/{interface}/address") as file:
    own = bytes.fromhex(file.read().strip().replace(":", ""))
print({"4": ask_ipv4, "6": ask_ipv6}[family](interface, own, *map(int, ports)))
