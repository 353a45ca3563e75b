"""Read protocol buffers field by field, without a schema or a package; every length is compared with what is left.

Format: protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1_000_000  # of one message: an ONNX graph has one for each node and weight
MAX_VARINT_BYTES = 10


class DamagedMessageError(ValueError):
    """The bytes are not what the format says."""


def read_fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Each field of a message: its number, its wire type, and an integer (VARINT) or a part of the message.

    Raises:
        DamagedMessageError: the bytes are not what the format says.
    """
    place = 0
    for _ in range(MAX_FIELDS):
        if place == len(message):
            return
        tag, place = read_varint(message, place)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise DamagedMessageError("a field has the number 0")
        if wire == VARINT:
            value, place = read_varint(message, place)
            yield number, wire, value
            continue
        if wire == LENGTH:
            size, place = read_varint(message, place)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise DamagedMessageError("a field is of an unknown kind")
        if size > len(message) - place:
            raise DamagedMessageError("a field ends after its message")
        yield number, wire, message[place : place + size]
        place += size
    raise DamagedMessageError("a message has too many fields")


def read_varint(message: memoryview, place: int) -> tuple[int, int]:
    """An integer of seven bits per byte, the lowest first, and the offset after it.

    Raises:
        DamagedMessageError: it does not end, or is too long.
    """
    value = 0
    for i in range(MAX_VARINT_BYTES):
        if place + i >= len(message):
            raise DamagedMessageError("it ends in the middle of a number")
        byte = message[place + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:  # noqa: PLR2004 - the last byte has its highest bit clear
            return value, place + i + 1
    raise DamagedMessageError("a number is too long")
