"""Every error this library raises, drawn as a tree.

::

    RankRerankError
    ├── InputError (ValueError)               what the caller passed cannot be used
    │   ├── InvalidArgumentError              an option is out of its range
    │   ├── InvalidItemError (TypeError)      a query or document is not of a type that holds text
    │   ├── InvalidTextError                  a text is not valid Unicode
    │   ├── EmptyQueryError                   a query without a single word
    │   ├── DocumentTooLongError              a document is longer than is read, and none of it may be left out
    │   ├── ShapeError                        array axes or dims do not fit together
    │   ├── NonFiniteError                    NaN or infinity where a number is needed
    │   └── FileFormatError                   a file of candidates cannot be read
    ├── CheckpointError                       a model cannot be used
    │   ├── CheckpointNotFoundError (FileNotFoundError)
    │   ├── CheckpointFormatError (ValueError)   damaged, hostile or of an unknown kind
    │   ├── SelfCheckError (RuntimeError)        computes something else than it should
    │   └── ExportError (RuntimeError)           a converted model differs from its source
    ├── StoreError                            a store of embeddings cannot be used
    │   ├── StoreNotFoundError (FileNotFoundError)
    │   ├── StoreFormatError (ValueError)     damaged, truncated, or no store at all
    │   ├── StoreMismatchError (ValueError)   made by another model or other settings
    │   ├── StoreLockedError (RuntimeError)   another program is writing to it
    │   ├── StoreWriteError (OSError)         the disk is full, read-only or failing
    │   ├── DuplicateIdError (ValueError)     an id is there already, or given twice
    │   └── UnknownIdError (LookupError)      an id is not there
    ├── DeviceError (RuntimeError)            the device or runtime asked for is not there
    ├── MissingDependencyError (ImportError)  an optional package is needed
    └── ResourceLimitError (MemoryError)      the work would not fit

A message says what was needed, what came and what to do. It never holds a user's text;
of a store's documents it names the id.
"""


class RankRerankError(Exception):
    """Parent of every error raised on purpose by this library."""


class InputError(RankRerankError, ValueError):
    """What the caller passed cannot be used."""


class InvalidArgumentError(InputError):
    """An option is out of its range."""


class InvalidItemError(InputError, TypeError):
    """A query or a document is not of a type that holds text."""


class InvalidTextError(InputError):
    """A text holds lone surrogates, so it is not valid Unicode."""


class EmptyQueryError(InputError):
    """A query has no words: nothing can be ranked by it."""


class DocumentTooLongError(InputError):
    """A document is longer than the model reads, and the caller wants no part of it left out."""


class ShapeError(InputError):
    """Axes, lengths or dims of arrays do not fit together."""


class NonFiniteError(InputError):
    """A vector holds NaN or infinity."""


class FileFormatError(InputError):
    """A file of candidates cannot be read; the message names the file, the line and the cure."""


class CheckpointError(RankRerankError):
    """A model cannot be used."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no such model folder, or it could not be fetched."""


class CheckpointFormatError(CheckpointError, ValueError):
    """A model's files are damaged, hostile, or of a kind that is not supported."""


class SelfCheckError(CheckpointError, RuntimeError):
    """A model computes something else than its stored golden vectors."""


class ExportError(CheckpointError, RuntimeError):
    """A converted model differs from its source by more than the gate allows."""


class StoreError(RankRerankError):
    """A store of embeddings cannot be used."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no store in that folder."""


class StoreFormatError(StoreError, ValueError):
    """A store's files are damaged, truncated or of an unknown version; the message names the file and the cure."""


class StoreMismatchError(StoreError, ValueError):
    """A store's vectors are of another model, tokenizer or settings than the one that asks."""


class StoreLockedError(StoreError, RuntimeError):
    """Another program is writing to the store, and did not finish in time."""


class StoreWriteError(StoreError, OSError):
    """A store could not be written; it is as it was before."""


class DuplicateIdError(StoreError, ValueError):
    """An id is in the store already, or stands twice in one call."""


class UnknownIdError(StoreError, LookupError):
    """An id is not in the store."""


class DeviceError(RankRerankError, RuntimeError):
    """The device or runtime that was asked for is not available."""


class MissingDependencyError(RankRerankError, ImportError):
    """An optional package is needed; the message ends with the command that installs it."""


class ResourceLimitError(RankRerankError, MemoryError):
    """The work asked for would not fit into the stated limit."""
