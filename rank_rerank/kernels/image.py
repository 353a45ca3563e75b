"""Turn an object file that LLVM emitted into an image: bytes that run wherever in memory they begin a page.

A kernel calls nothing outside itself. All that a linker would do for it is to lay its sections out and to fill in the
distances between them, so an image needs no linker, neither LLVM's nor the system's, when it is loaded: it is mapped
and called. An object that asks for more (a function of the C library, a table of addresses) is refused.

Sources: the ELF-64 object file format; System V psABI for x86-64, section 4.4; ELF for the Arm 64-bit architecture.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

ImageMachine: TypeAlias = Literal["x86_64", "aarch64"]

MACHINES: dict[int, ImageMachine] = {62: "x86_64", 183: "aarch64"}
ALIGNMENT = 64  # of sections: no constant shares a cache line with code
PAGE = 4096

_PROGRAM_BITS, _SYMBOLS, _RELOCATIONS = 1, 2, 4
_WRITABLE, _ALLOCATED = 1, 2
_UNWINDING = b".eh_frame"  # nobody unwinds through a kernel
_RELOCATABLE = 1
_SPECIAL_SECTION = 0xFF00  # from here on an index means something else, 0 that a symbol is not defined


class ImageError(ValueError):
    """An object file cannot become an image."""


@dataclass(frozen=True)
class Image:
    """Machine code without loose ends.

    Attributes:
        code: what is mapped at the beginning of a page.
        entry: where in it the kernel begins.
    """

    code: bytes
    entry: int


@dataclass(frozen=True)
class _Section:
    name: bytes
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    target: int
    alignment: int


def make_image(content: bytes, symbol: str) -> Image:
    """Lay an object's sections out and fill in the distances between them.

    Args:
        content: an ELF-64 object file for x86-64 or 64-bit Arm.
        symbol: the name of the function to call.

    Raises:
        ImageError: it is none, or needs a linker.
    """
    try:
        return _make_image(content, symbol.encode())
    except (struct.error, IndexError) as error:
        raise ImageError("the object file is damaged") from error


def _make_image(content: bytes, symbol: bytes) -> Image:
    if content[:6] != b"\x7fELF\x02\x01":
        raise ImageError("this is not an ELF-64 object file")
    kind, machine = struct.unpack_from("<HH", content, 16)
    if kind != _RELOCATABLE or machine not in MACHINES:
        raise ImageError("an object file for x86-64 or 64-bit Arm is needed")
    sections = _read_sections(content)
    starts, code = _lay_out(content, sections)
    [table] = [section for section in sections if section.kind == _SYMBOLS]
    symbols = _read_symbols(content, table, sections, starts)
    apply = _apply_x86 if MACHINES[machine] == "x86_64" else _apply_arm
    for section in sections:
        if section.kind == _RELOCATIONS and section.target in starts:
            _relocate(content, section, code, (starts[section.target], symbols, apply))
    entries = [address for name, address in symbols if name == symbol]
    if len(entries) != 1 or entries[0] is None:
        raise ImageError("the kernel's function is not in the object file")
    return Image(bytes(code), entries[0])


def _read_sections(content: bytes) -> list[_Section]:
    [table] = struct.unpack_from("<Q", content, 0x28)
    size, count, names_index = struct.unpack_from("<HHH", content, 0x3A)
    rows = [struct.unpack_from("<IIQQQQIIQQ", content, table + index * size) for index in range(count)]
    names = rows[names_index][4]
    return [_Section(_text_at(content, names + row[0]), row[1], row[2], *row[4:9]) for row in rows]


def _text_at(content: bytes, offset: int) -> bytes:
    return content[offset : content.index(b"\0", offset)]


def _lay_out(content: bytes, sections: list[_Section]) -> tuple[dict[int, int], bytearray]:
    """Where each section that is needed at run time begins, by its index, and all of them one after another."""
    starts: dict[int, int] = {}
    code = bytearray()
    for index, section in enumerate(sections):
        if not section.flags & _ALLOCATED or section.size == 0 or section.name.startswith(_UNWINDING):
            continue
        if section.kind != _PROGRAM_BITS or section.flags & _WRITABLE or section.alignment > PAGE:
            raise ImageError(f"section {section.name.decode(errors='replace')} is more than code and constants")
        code.extend(bytes(-len(code) % max(ALIGNMENT, section.alignment)))
        starts[index] = len(code)
        code.extend(content[section.offset : section.offset + section.size])
    return starts, code


def _read_symbols(
    content: bytes, table: _Section, sections: list[_Section], starts: dict[int, int]
) -> list[tuple[bytes, int | None]]:
    """Names and addresses; None for what is not in the image."""
    names = sections[table.link].offset
    symbols: list[tuple[bytes, int | None]] = []
    for offset in range(table.offset, table.offset + table.size, 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", content, offset)
        is_here = 0 < section < _SPECIAL_SECTION and section in starts
        symbols.append((_text_at(content, names + name), starts[section] + value if is_here else None))
    return symbols


_Apply: TypeAlias = Callable[[bytearray, int, int, int], None]


def _relocate(
    content: bytes,
    section: _Section,
    code: bytearray,
    where: tuple[int, list[tuple[bytes, int | None]], _Apply],
) -> None:
    """Fill in what a section of relocations lists."""
    start, symbols, apply = where
    for offset in range(section.offset, section.offset + section.size, 24):
        at, info, addend = struct.unpack_from("<QQq", content, offset)
        _, address = symbols[info >> 32]
        if address is None:
            raise ImageError("the kernel needs a function or a variable from outside")
        apply(code, start + at, info & 0xFFFFFFFF, address + addend)


def _apply_x86(code: bytearray, at: int, kind: int, target: int) -> None:
    form = {2: "<i", 4: "<i", 24: "<q"}.get(kind)  # PC32, PLT32, PC64
    if form is None:
        raise ImageError(f"relocation {kind} of x86-64 depends on where the code is")
    struct.pack_into(form, code, at, target - at)


# what the lowest bits of an address are divided by, in the twelve bits that an instruction has for them
_ARM_LOW_BITS = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}
_ARM_CALLS, _ARM_PAGE, _ARM_WORDS = (282, 283), 275, {260: "<q", 261: "<i"}


def _apply_arm(code: bytearray, at: int, kind: int, target: int) -> None:
    if (form := _ARM_WORDS.get(kind)) is not None:
        struct.pack_into(form, code, at, target - at)
        return
    [word] = struct.unpack_from("<I", code, at)
    if kind in _ARM_CALLS:
        word |= (target - at) >> 2 & 0x3FFFFFF
    elif kind == _ARM_PAGE:
        pages = target // PAGE - at // PAGE
        word |= (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    elif kind in _ARM_LOW_BITS:
        word |= (target % PAGE >> _ARM_LOW_BITS[kind]) << 10
    else:
        raise ImageError(f"relocation {kind} of 64-bit Arm depends on where the code is")
    struct.pack_into("<I", code, at, word)
