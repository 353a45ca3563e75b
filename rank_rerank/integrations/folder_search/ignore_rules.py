"""What git ignores: the patterns of .gitignore files, as gitignore(5) describes them. Git itself is not needed."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rule:
    """One pattern.

    Attributes:
        pattern: of paths relative to the folder its file is in.
        base: that folder, relative to the folder that is searched, "" or with a slash at its end; "../" once for each
            folder that it lies above.
        is_negated: it takes an earlier pattern back.
        only_folders: it ends with a slash.
    """

    pattern: re.Pattern[str]
    base: str
    is_negated: bool
    only_folders: bool

    def matches(self, path: str, *, is_folder: bool) -> bool:
        """Whether a path, relative to the base, is meant."""
        return (is_folder or not self.only_folders) and self.pattern.fullmatch(path) is not None


class IgnoreRules:
    """The rules that hold for a folder, the strongest last.

    Args:
        rules: of its own file and of all folders above it.
        prefix: its path from where the rules' paths begin, "" or with a slash at its end.
    """

    def __init__(self, rules: tuple[Rule, ...], prefix: str) -> None:
        self._rules, self._prefix = rules, prefix

    @classmethod
    def above(cls, folder: Path) -> "IgnoreRules":
        """The rules from outside of a folder: the user's, the repository's, and those of folders above it."""
        folder = folder.resolve()
        repository = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)
        if repository is None:
            return cls((), "")
        parents = [each for each in (folder, *folder.parents) if each.is_relative_to(repository)][::-1]
        prefix = "".join(f"{part}/" for part in folder.relative_to(repository).parts)
        rules = [*_read(_users_file(), ""), *_read(repository / ".git" / "info" / "exclude", "")]
        for parent in parents[:-1]:
            base = "".join(f"{part}/" for part in parent.relative_to(repository).parts)
            rules += _read(parent / ".gitignore", base)
        return cls(tuple(rules), prefix)

    def within(self, folder: Path, path: str) -> "IgnoreRules":
        """The rules inside of a folder, with those of its own .gitignore.

        Args:
            folder: where it is.
            path: from the folder that is searched, "" or with a slash at its end.
        """
        return IgnoreRules((*self._rules, *_read(folder / ".gitignore", self._prefix + path)), self._prefix)

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Whether a file or folder is ignored, its folder not being so.

        Args:
            path: from the folder that is searched.
            is_folder: it is one.
        """
        whole = self._prefix + path
        for rule in reversed(self._rules):
            if whole.startswith(rule.base) and rule.matches(whole[len(rule.base) :], is_folder=is_folder):
                return not rule.is_negated
        return False


def _users_file() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "git" / "ignore"


def _read(file: Path, base: str) -> Iterator[Rule]:
    try:
        lines = file.read_bytes().decode("utf-8-sig", "surrogateescape").split("\n")
    except OSError:
        return
    for line in lines:
        if (rule := parse_rule(line, base)) is not None:
            yield rule


def parse_rule(line: str, base: str) -> Rule | None:
    """Read a line of a .gitignore file; None for what is no pattern."""
    line = line.removesuffix("\r")
    # spaces at the end do not count, unless a backslash is in front of them
    stripped = line.rstrip(" ")
    if len(stripped) < len(line) and (len(stripped) - len(stripped.rstrip("\\"))) % 2:
        stripped += " "
    is_negated = stripped.startswith("!")
    text = stripped[1:] if is_negated else stripped
    if not text or stripped.startswith("#"):
        return None
    only_folders = text.endswith("/")
    text = text.removesuffix("/")
    is_anchored = "/" in text
    text = text.removeprefix("/")
    pattern = _translate(text)
    if pattern is None or not text:
        return None
    return Rule(re.compile(pattern if is_anchored else f"(?:.*/)?{pattern}", re.DOTALL), base, is_negated, only_folders)


# two stars or more that are a part of a path of their own
_STARS = re.compile(r"\*\*+(/|\Z)")


def _translate(text: str) -> str | None:
    """A regular expression for a pattern; None for one that matches nothing."""
    parts: list[str] = []
    position = 0
    while position < len(text):
        stars = _STARS.match(text, position) if position == 0 or text[position - 1] == "/" else None
        if stars is not None:
            # any number of folders, or all that is inside of one
            parts.append("(?:.*/)?" if stars[1] else ".+")
            position = stars.end()
        else:
            piece, position = _translate_one(text, position)
            if piece is None:
                return None
            parts.append(piece)
    return "".join(parts)


def _translate_one(text: str, position: int) -> tuple[str | None, int]:
    character = text[position]
    if character == "*":
        while text[position : position + 1] == "*":
            position += 1
        return "[^/]*", position
    if character == "?":
        return "[^/]", position + 1
    if character == "[":
        return _translate_class(text, position)
    if character == "\\":
        # at the end it stands for nothing, and the pattern is not valid
        return (re.escape(text[position + 1]), position + 2) if position + 1 < len(text) else (None, position)
    return re.escape(character), position + 1


# what POSIX calls classes, as far as they occur
_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "lower": "a-z",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


def _translate_class(text: str, position: int) -> tuple[str | None, int]:
    """A set in brackets; without a closing bracket the pattern matches nothing."""
    position += 1
    is_negated = text[position : position + 1] in ("!", "^")
    position += is_negated
    members: list[str] = []
    first = position
    while position < len(text) and (text[position] != "]" or position == first):
        if text.startswith("[:", position) and (end := text.find(":]", position)) > 0:
            members.append(_CLASSES.get(text[position + 2 : end], ""))
            position = end + 2
            continue
        position += text[position] == "\\" and position + 1 < len(text)
        start = text[position]
        position += 1
        if text[position : position + 1] == "-" and text[position + 1 : position + 2] not in ("]", ""):
            position += 1 + (text[position + 1] == "\\" and position + 2 < len(text))
            if start <= text[position]:
                members.append(f"{re.escape(start)}-{re.escape(text[position])}")
            position += 1
        else:
            members.append(re.escape(start))
    if position >= len(text):
        return None, position
    inside = "".join(members)
    if is_negated:
        return f"[^/{inside}]", position + 1
    # an empty set matches nothing
    return (f"(?!/)[{inside}]" if inside else "(?!)"), position + 1
