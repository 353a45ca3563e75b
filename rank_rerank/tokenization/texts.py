"""What a text must be before it is tokenized."""

from rank_rerank.errors import InvalidItemError, InvalidTextError

# lone surrogates are looked for in pieces, so that the check of a large text stays small in memory
PIECE = 1 << 20


def check_text(text: object, name: str) -> str:
    """Give the text back if it is a string of valid Unicode.

    Args:
        text: what the caller passed.
        name: what to call it in an error, as in "documents[3]"; the text itself never appears there.

    Raises:
        InvalidItemError: it is not a str.
        InvalidTextError: it holds lone surrogates, which no encoding can carry.
    """
    if not isinstance(text, str):
        raise InvalidItemError(f"{name} must be a str, this is of type {type(text).__name__}")
    if not text.isascii():
        _refuse_surrogates(text, name)
    return text


def _refuse_surrogates(text: str, name: str) -> None:
    for first in range(0, len(text), PIECE):
        try:
            text[first : first + PIECE].encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidTextError(
                f"{name} is not valid Unicode: a lone surrogate stands at character {first + error.start}. "
                'Repair the text where it was decoded, or replace it with text.encode("utf-8", "replace").decode()'
            ) from None
