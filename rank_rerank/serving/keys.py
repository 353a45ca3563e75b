"""API keys: read from a file, compared in constant time."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from pathlib import Path

from rank_rerank.errors import InvalidArgumentError

NO_KEY = "no key"
# round the value of a header; what else Python counts as white space may be a byte of a letter
BLANKS = " \t"


class Keys:
    """The keys that open the server; only their digests are held.

    Args:
        keys: texts; none leaves the server open.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = [_digest(key) for key in keys]

    @classmethod
    def read(cls, file: Path | None, listed: Iterable[str] = ()) -> "Keys":
        """Read a file with a key in each line; empty lines and those that begin with # are left out.

        Args:
            file: None for none.
            listed: more keys.

        Raises:
            InvalidArgumentError: the file cannot be read, or holds no key.
        """
        keys = [key for key in listed if key.strip()]
        if file is not None:
            try:
                lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
            except (OSError, UnicodeDecodeError):
                raise InvalidArgumentError(
                    "the file of API keys cannot be read: it must be text, one key per line"
                ) from None
            found = [line for line in lines if line and not line.startswith("#")]
            if not found:
                raise InvalidArgumentError("the file of API keys holds no key: write one in a line of its own")
            keys += found
        return cls(keys)

    @property
    def is_open(self) -> bool:
        """Whether no key is needed."""
        return not self._digests

    def owner(self, headers: Mapping[str, str]) -> str | None:
        """Whose a request is: a word for its key, the same for none where none is needed; None for a wrong key.

        The key may come as ``Authorization: Bearer KEY``, ``Authorization: KEY`` or ``x-api-key: KEY``.
        """
        if self.is_open:
            return NO_KEY
        found: str | None = None
        for digest in map(_digest, _given(headers)):
            # every key is compared, so that the time tells nothing
            for known in self._digests:
                if hmac.compare_digest(digest, known):
                    found = known.hex()
        return found


def _given(headers: Mapping[str, str]) -> list[str]:
    """Keys as they came: a header is read as Latin-1, and many clients write UTF-8."""
    authorization = headers.get("authorization", "").strip(BLANKS)
    scheme, _, rest = authorization.partition(" ")
    candidates = [
        rest.strip(BLANKS) if scheme.lower() == "bearer" else authorization,
        headers.get("x-api-key", "").strip(BLANKS),
    ]
    given = [candidate for candidate in candidates if candidate]
    return given + [_as_utf8(candidate) for candidate in given if not candidate.isascii()]


def _as_utf8(text: str) -> str:
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
