"""The table of disguises: ways to write a message down so that who looks for words in it finds none.

Each makes the bytes of a whole exchange's client side from a text that is to reach the server's application.
"""

import gzip
import struct
import zlib
from dataclasses import dataclass
from typing import Callable
from urllib.parse import quote_from_bytes

CRLF = b"\r\n"
H2_DATA, H2_HEADERS, H2_SETTINGS, H2_CONTINUATION = 0, 1, 4, 9
H2_END_STREAM, H2_END_HEADERS = 1, 4
BOUNDARY = b"a-boundary"


@dataclass(frozen=True)
class Disguise:
    name: str
    write: Callable


TABLE = []


def disguise(name):
    def enter(write):
        TABLE.append(Disguise(name, write))
        return write

    return enter


def request(body, *headers, path=b"/upload", method=b"POST"):
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: shop", *headers]
    return CRLF.join(lines) + CRLF + CRLF + body


def with_length(body, *headers, **line):
    return request(body, b"Content-Length: %d" % len(body), *headers, **line)


def chunked(body, *headers, size=16):
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x;part=%d\r\n%s\r\n" % (len(piece), number, piece) for number, piece in enumerate(pieces))
    return request(chunks + b"0\r\nTrailer: x\r\n\r\n", b"Transfer-Encoding: chunked", *headers)


@disguise("control: the body as it is")
def as_it_is(text):
    return with_length(text)


@disguise("every byte of the path as %XX")
def percent(text):
    encoded = b"".join(b"%%%02x" % byte for byte in text)
    return with_length(b"", path=b"/get?file=" + encoded, method=b"GET")


@disguise("dots and slashes in the path")
def detour(text):
    return with_length(b"", path=b"/x/." + quote_from_bytes(text, safe="/").encode().replace(b"/", b"/./"), method=b"GET")


@disguise("chunks of one byte, with extensions and a trailer")
def one_byte_chunks(text):
    return chunked(text, size=1)


@disguise("gzip")
def zipped(text):
    return with_length(gzip.compress(text), b"Content-Encoding: gzip")


@disguise("gzip in several members")
def members(text):
    return with_length(b"".join(gzip.compress(text[at:at + 5]) for at in range(0, len(text), 5)), b"Content-Encoding: gzip")


@disguise("deflate, with and without its header")
def deflated(text):
    packer = zlib.compressobj(wbits=-15)
    raw = packer.compress(text) + packer.flush()
    return with_length(raw, b"Content-Encoding: deflate") + with_length(zlib.compress(text), b"Content-Encoding: deflate")


@disguise("gzip within chunks, second on a kept-alive connection")
def zipped_chunks(text):
    return with_length(b"", method=b"HEAD") + chunked(gzip.compress(text), b"Content-Encoding: gzip", size=3)


@disguise("gzip within gzip")
def zipped_twice(text):
    return with_length(gzip.compress(gzip.compress(text)), b"Content-Encoding: gzip, gzip")


@disguise("a file in a form of several parts")
def multipart(text):
    part = [b"--" + BOUNDARY, b'Content-Disposition: form-data; name="file"; filename="notes.txt"', b"", text, b"--" + BOUNDARY + b"--", b""]
    return with_length(CRLF.join(part), b"Content-Type: multipart/form-data; boundary=" + BOUNDARY)


@disguise("a string of JSON in \\uXXXX")
def json_escapes(text):
    escaped = b"".join(b"\\u%04x" % byte for byte in text)
    return with_length(b'{"a": ["' + escaped + b'"]}', b"Content-Type: application/json")


@disguise("a field of a form as %XX")
def form_field(text):
    encoded = b"".join(b"%%%02X" % byte for byte in text)
    return with_length(b"a=1&file=" + encoded, b"Content-Type: application/x-www-form-urlencoded")


def frame(kind, flags, stream, content):
    return struct.pack("!I", len(content))[1:] + struct.pack("!BBI", kind, flags, stream) + content


def literal(name, value):
    """A header of HPACK without indexing (RFC 7541, 6.2.2); lengths below 127."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def h2_head(path, method=b"GET"):
    pairs = [(b":method", method), (b":scheme", b"http"), (b":authority", b"shop"), (b":path", path)]
    return b"".join(literal(*pair) for pair in pairs)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(H2_SETTINGS, 0, 0, b"")


@disguise("HTTP/2: the path in many CONTINUATION frames")
def continuations(text):
    block = h2_head(b"/get?file=" + text)
    frames = [frame(H2_HEADERS, H2_END_STREAM, 1, b"")]
    frames += [frame(H2_CONTINUATION, 0, 1, block[at:at + 3]) for at in range(0, len(block), 3)]
    return PREFACE + b"".join(frames) + frame(H2_CONTINUATION, H2_END_HEADERS, 1, b"")


@disguise("HTTP/2: two bodies, a byte of each in turn")
def interleaved(text):
    heads = [frame(H2_HEADERS, H2_END_HEADERS, stream, h2_head(b"/upload", b"POST")) for stream in (1, 3)]
    other = b"." * len(text)
    bodies = [frame(H2_DATA, 0, stream, said[at:at + 1]) for at in range(len(text)) for stream, said in ((1, text), (3, other))]
    ends = [frame(H2_DATA, H2_END_STREAM, stream, b"") for stream in (1, 3)]
    return PREFACE + b"".join([*heads, *bodies, *ends])
