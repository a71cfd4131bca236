"""nDPI's reader: recognises applications, follows flows; decides nothing, scans nothing."""

from harness.peers import program

ABOUT = "nDPI's ndpiReader (package libndpi-bin, or NDPI_READER)"
SCANS = False


def find():
    return program("NDPI_READER", "ndpiReader", "libndpi-bin")


def command(found, capture, folder, rules):
    return [found, "-q", "-i", str(capture)]
