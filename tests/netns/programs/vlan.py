"""An 802.1Q sub-interface for kernels without one: vlan.py INTERFACE ID NAME

Makes a TAP device NAME; its frames go out by INTERFACE with the tag, tagged ones come in by it.
"""

import fcntl
import os
import selectors
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
ETH_P_ALL, ETH_P_8021Q = 0x0003, 0x8100
SOL_PACKET, PACKET_AUXDATA = 263, 8
# The kernel takes the tag out of a frame and tells it beside (struct tpacket_auxdata).
AUXDATA = struct.Struct("=IIIHHHH")
TAG_VALID = 1 << 4
FRAME_BYTES = 65536
VLAN_MASK = 0x0FFF

interface, identifier, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
tag = struct.pack("!HH", ETH_P_8021Q, identifier)
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
link.bind((interface, ETH_P_ALL))
link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
print("tags and untags", flush=True)


def identifier_of(ancillary):
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, *_, control, _protocol = AUXDATA.unpack(data[: AUXDATA.size])
            return control & VLAN_MASK if status & TAG_VALID else None
    return None


def receive():
    frame, ancillary, _flags, address = link.recvmsg(FRAME_BYTES, 256)
    if address[2] == socket.PACKET_OUTGOING:
        return
    if identifier_of(ancillary) == identifier:
        hand_in(frame)
    elif frame[12:16] == tag:
        hand_in(frame[:12] + frame[16:])


def hand_in(frame):
    try:
        os.write(tap, frame)
    except OSError:
        pass  # the device is not up yet


def send():
    frame = os.read(tap, FRAME_BYTES)
    link.send(frame[:12] + tag + frame[12:])


selector = selectors.DefaultSelector()
selector.register(tap, selectors.EVENT_READ, send)
selector.register(link, selectors.EVENT_READ, receive)
while True:
    for key, _ in selector.select():
        key.data()
