"""Machine code in a file: sealed, so that one that is not whole, or is another kernel's, is refused.

A file is a seal of 32 bytes, a line of JSON that says what follows, and the code. The seal is the SHA-256 of the file's
name, of a key that the reader knows too, and of everything after the seal. It tells damage and mistakes; what keeps
code from being forged is who may write the folder, as with ``__pycache__``.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal, TypeAlias

SEAL_BYTES = 32

CodeKind: TypeAlias = Literal["image", "object"]


@dataclass(frozen=True)
class MachineCode:
    """Machine code of a kernel.

    Attributes:
        kind: "image": it is mapped and called; "object": LLVM links it first.
        entry: where in an image the kernel begins.
        code: the bytes.
    """

    kind: CodeKind
    entry: int
    code: bytes


def pack_code(name: str, key: str, code: MachineCode, made_by: str) -> bytes:
    """The content of a file.

    Args:
        name: the file's.
        key: what the code depends on.
        code: the code.
        made_by: compilers and their versions, for people.
    """
    line = json.dumps({"kind": code.kind, "entry": code.entry, "made by": made_by}, sort_keys=True)
    rest = line.encode() + b"\n" + code.code
    return _seal(name, key, rest) + rest


def unpack_code(name: str, key: str, content: bytes) -> MachineCode | None:
    """The code of a file; None if the file is not whole, or is not that of this name and key."""
    seal, rest = content[:SEAL_BYTES], content[SEAL_BYTES:]
    if seal != _seal(name, key, rest):
        return None
    line, _, code = rest.partition(b"\n")
    told = json.loads(line)
    return MachineCode(told["kind"], told["entry"], code)


def _seal(name: str, key: str, rest: bytes) -> bytes:
    return hashlib.sha256(b"\0".join((name.encode(), key.encode(), rest))).digest()
