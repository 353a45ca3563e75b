"""Ways to damage a file: its JSON, the header of its tensors, its bytes, or what stands under its name."""

import json
import os
import random
import shutil
import struct
from pathlib import Path

VALUES = (
    None, True, False, 0, -1, 1, 2, 7, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, "", "a", "..",
    "../../etc/passwd", "\x00", "\ud800", "x" * 5000, [], {}, [0], [[]], {"a": 1}, ["a", None], "F32", "float16",
    "bert", "relu", "[MASK]",
)  # fmt: skip


def mutate_json(rng: random.Random, value):
    """One change somewhere in it: a value replaced, a key removed, renamed or added."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        if rng.random() < 0.6:
            return {**value, key: mutate_json(rng, value[key])}
        kept = {name: item for name, item in value.items() if name != key}
        return rng.choice((kept, {**kept, key + "_": value[key]}, {**value, rng.choice(("a", "")): rng.choice(VALUES)}))
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        return [*value[:place], mutate_json(rng, value[place]), *value[place + 1 :]]
    return rng.choice(VALUES)


def mutate_text(rng: random.Random, content: bytes) -> bytes:
    """A change that a parser of JSON may stumble over."""
    return rng.choice(
        (
            b"", b"[]", b"null", b"{", b"[" * 20_000, b"\xff" * 9, b"\xef\xbb\xbf" + content,
            content[: len(content) // 2], content + b"}", content.replace(b"{", b'{"a": 1, "a": 2, ', 1),
            content.replace(b"1", b"NaN", 1), content.replace(b"1", b"1e999", 1), content + b"\x00",
            content.decode("utf-8", "ignore").encode("utf-16"),
        )
    )  # fmt: skip


def damage_json(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.15:
        return mutate_text(rng, content)
    try:
        return json.dumps(mutate_json(rng, json.loads(content))).encode()
    except ValueError:
        return damage_bytes(rng, content)


def damage_tensors(rng: random.Random, content: bytes) -> bytes:
    """Another header over the same numbers, a length that lies, or damaged bytes."""
    kind = rng.random()
    if kind < 0.3 or len(content) < 9:
        return damage_bytes(rng, content)
    (length,) = struct.unpack("<Q", content[:8])
    header, data = content[8 : 8 + length], content[8 + length :]
    if kind < 0.4:
        return struct.pack("<Q", rng.choice((0, 1, length - 1, length + 1, 2**40, 2**63, 2**64 - 1))) + content[8:]
    header = damage_json(rng, header)
    return struct.pack("<Q", len(header)) + header + data


def damage_bytes(rng: random.Random, content: bytes) -> bytes:
    """Cut, grown, or some bytes changed."""
    kind, place = rng.random(), rng.randrange(len(content) + 1)
    if kind < 0.15:
        return content[:place]
    if kind < 0.25:
        return content[:place] + rng.randbytes(rng.randint(1, 20)) + content[place:]
    changed = bytearray(content)
    # the beginning of a file says what the rest means
    reach = min(len(changed), rng.choice((64, 4096, 1 << 40)))
    for _ in range(rng.randint(1, 8)):
        if reach:
            changed[rng.randrange(reach)] = rng.randrange(256)
    return bytes(changed)


def flip_bit(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def damage_file(rng: random.Random, path: Path, outside: Path) -> None:
    """Damage a file, or put something else under its name.

    Args:
        rng: of the case.
        path: what to damage.
        outside: a file that nothing may read or write through a link.
    """
    if rng.random() < 0.12:
        replace_file(rng, path, outside)
        return
    content = path.read_bytes()
    if path.suffix == ".json" or path.name.startswith("manifest"):
        damaged = damage_json(rng, content)
    elif ".safetensors" in path.name:
        damaged = damage_tensors(rng, content)
    else:
        damaged = damage_bytes(rng, content)
    path.write_bytes(damaged)


def replace_file(rng: random.Random, path: Path, outside: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    kind = rng.randrange(6)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        outside.write_bytes(content)
        path.symlink_to(outside)
    elif kind == 3:
        path.symlink_to(path)
    elif kind == 4:
        path.symlink_to("/dev/zero" if rng.random() < 0.5 else "/dev/null")


class Original:
    """A folder as it was, to which it is brought back after each case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    def restore(self) -> None:
        for path, content in self.files.items():
            is_same = not path.is_symlink() and path.is_file() and path.stat().st_size == len(content)
            if not (is_same and path.read_bytes() == content):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                path.unlink(missing_ok=True)
                path.write_bytes(content)
        for path in set(self.folder.rglob("*")) - set(self.files):
            if not path.is_dir():
                path.unlink()
