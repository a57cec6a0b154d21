"""What a packet of MPEG-4 part 2 (XviD, DivX) says of its pictures without being decoded.

Source: ISO/IEC 14496-2, 6.2.3 (VideoObjectLayer) and 6.2.5 (VideoObjectPlane).
"""

import re

_LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f](.{1,40})", re.DOTALL)
_PLANE = re.compile(rb"\x00\x00\x01\xb6(.{1,16})", re.DOTALL)
_KINDS = "IPBS"


def time_bits_of(*headers: bytes | None) -> int | None:
    """How many bits the time of a picture has, by the first layer header that stands in any of some bytes."""
    for header in headers:
        found = _LAYER.search(header or b"")
        if found:
            return _time_bits(_Bits(found[1]))
    return None


def picture_kinds(packet: bytes, time_bits: int) -> str:
    """The kinds of the pictures that a packet makes a decoder show: "", "I", "P", "PB", ...; S is built on others as P.

    Left out are those that are not coded: they stand for a picture that another packet has shown already.
    """
    planes = (_Bits(found[1]) for found in _PLANE.finditer(packet))
    return "".join(kind for kind, is_coded in (_kind(plane, time_bits) for plane in planes) if is_coded)


def _time_bits(bits: "_Bits") -> int:
    bits.take(1 + 8)  # random access, type
    version = 1
    if bits.take(1):
        version = bits.take(4)
        bits.take(3)  # priority
    if bits.take(4) == 15:  # aspect ratio
        bits.take(16)
    if bits.take(1):  # control parameters
        bits.take(2 + 1)
        if bits.take(1):
            bits.take(79)
    if bits.take(2) == 3 and version != 1:  # shape
        bits.take(4)
    bits.take(1)
    return max(1, (bits.take(16) - 1).bit_length())


def _kind(bits: "_Bits", time_bits: int) -> tuple[str, bool]:
    kind = _KINDS[bits.take(2)]
    while bits.take(1):  # seconds
        pass
    bits.take(1 + time_bits + 1)
    return kind, bool(bits.take(1))


class _Bits:
    """Bits from the left; zeros after the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        return (self._value >> self._left if self._left >= 0 else 0) & ((1 << count) - 1)
