"""Open tokenizer.json, and ask the package ``tokenizers`` for tokens with every failure typed.

The file is a program of its own: its patterns can fail on a text, and the package then ends in an exception that is no
``Exception``. All calls of the package go through here.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import tokenizers

from rank_rerank.checkpoints.model_files import read_bounded
from rank_rerank.checkpoints.special_tokens import MAX_TOKENIZER_BYTES
from rank_rerank.errors import CheckpointFormatError

# how the package's binding names a failure of its Rust code, a child of BaseException that cannot be imported
PANIC = "PanicException"


def open_tokenizer(tokenizer_file: Path) -> tokenizers.Tokenizer:
    """Open tokenizer.json without the truncation and padding frozen in it, and with control tokens read as text.

    Raises:
        CheckpointFormatError: it is damaged, or fails on a letter.
    """
    content = read_bounded(tokenizer_file, MAX_TOKENIZER_BYTES)
    with _typed(f"{tokenizer_file.name} is not a tokenizer"):
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
        # published files often have these frozen from the last save
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # "[MASK]" in a user's text is the word, not the control token
        tokenizer.encode_special_tokens = True
    return tokenizer


def encode(
    tokenizer: tokenizers.Tokenizer, text: str, second_text: str | None = None, *, add_special_tokens: bool = True
) -> tokenizers.Encoding:
    """Tokenise a text, or a pair of texts.

    Raises:
        CheckpointFormatError: the tokenizer's patterns or tables fail on it; the text is not quoted.
    """
    with _typed("tokenizer.json fails on a text, so the model cannot be used"):
        return tokenizer.encode(text, second_text, add_special_tokens=add_special_tokens)


def encode_bare(tokenizer: tokenizers.Tokenizer, text: str) -> tokenizers.Encoding:
    """Tokenize a text without special tokens; errors as encode."""
    return encode(tokenizer, text, add_special_tokens=False)


def encode_shared(tokenizer: tokenizers.Tokenizer, text: str) -> tokenizers.Encoding:
    """As encode_bare, while other threads may run Python: the package releases the GIL for batches only."""
    with _typed("tokenizer.json fails on a text, so the model cannot be used"):
        [encoding] = tokenizer.encode_batch([text], add_special_tokens=False)
        return encoding


def read_as_text(tokenizer: tokenizers.Tokenizer, markers: tuple[str, ...]) -> None:
    """Make markers in texts plain words, where the tokenizer has them as added tokens that are not special."""
    added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    # a token that is there already keeps its id; it is only remembered as special
    with _typed("tokenizer.json has added tokens that cannot be used"):
        tokenizer.add_special_tokens([tokenizers.AddedToken(word, special=True) for word in set(markers) & added])


@contextmanager
def _typed(wrong: str) -> Generator[None]:
    """Turn a failure of the package into a typed error, which does not say what it failed on."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == PANIC:
            wrong = f"{wrong}: a pattern of it gave up"
        elif type(error) is not Exception and not isinstance(error, ValueError):
            raise  # no failure of the package, whose binding raises plain Exception
        raise CheckpointFormatError(f"{wrong}. Fetch the model's file again") from error
