"""ModelIdentity: which model, in which settings, made a store's vectors."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from rank_rerank.arguments import check_kind
from rank_rerank.arrays import check_whole_number
from rank_rerank.checkpoints.checkpoint import Checkpoint, EncodingSettings
from rank_rerank.errors import InvalidArgumentError, StoreMismatchError

# what changes a document's vectors; a longer query needs no new documents
DOCUMENT_SETTINGS = ("document_prefix", "document_prefix_id", "document_length", "skiplist_words")
# likewise, but written only where they are not the default, so that the identity of older stores stays what it was
RARE_DOCUMENT_SETTINGS = ("document_prompt", "strip_text", "do_lower_case", "skiplist_of_encoded_words")
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class ModelIdentity:
    """A model as far as its document vectors depend on it.

    Attributes:
        name: what the user asked for, for people; it is not compared.
        dim: numbers per vector.
        weights_sha256: of the model file; for vectors made elsewhere, any text that names the model and its revision.
        tokenizer_sha256: of tokenizer.json.
        settings: how documents are encoded, as canonical JSON.
    """

    name: str
    dim: int
    weights_sha256: str
    tokenizer_sha256: str = ""
    settings: str = ""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "ModelIdentity":
        """The identity of a loaded checkpoint; its files are hashed once per process."""
        return _identity_of(checkpoint)

    @classmethod
    def foreign(cls, name: str, dim: int, revision: str = "") -> "ModelIdentity":
        """A model that this library does not load: its vectors come in as arrays, and so do the queries'.

        Args:
            name: of the model.
            dim: numbers per vector.
            revision: of the model.

        Raises:
            InvalidArgumentError: the name is empty or no text, or dim no whole number above 0.
        """
        for value in (name, revision):
            if not isinstance(value, str) or not value.isprintable():  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidArgumentError("the name and the revision of a model must be printable texts")
        if not name:
            raise InvalidArgumentError("a model needs a name")
        return cls(name, check_whole_number(dim, "dim", 1), f"foreign:{name}@{revision}")

    def check(self, other: "ModelIdentity") -> None:
        """Refuse another model than this one, which made a store's vectors.

        Raises:
            StoreMismatchError: weights, tokenizer, settings or dim differ; the message says which.
            InvalidArgumentError: the other is no ModelIdentity.
        """
        check_kind(other, "the identity of a model", ModelIdentity)
        names = {
            "weights_sha256": "weights",
            "tokenizer_sha256": "tokenizer",
            "settings": "document settings",
            "dim": "dim",
        }
        different = [words for field, words in names.items() if getattr(self, field) != getattr(other, field)]
        if different:
            raise StoreMismatchError(
                f"the store's vectors were made by the model {self.name!a}, this is {other.name!a}: they differ in "
                f"{', '.join(different)}. Use the store's model, or encode the documents into a new store"
            )


@lru_cache(maxsize=32)
def _identity_of(checkpoint: Checkpoint) -> ModelIdentity:
    return ModelIdentity(
        name=checkpoint.name,
        dim=checkpoint.dim,
        weights_sha256=_hash_all(checkpoint.weight_files),
        tokenizer_sha256=_hash(checkpoint.tokenizer_file),
        settings=_settings(checkpoint),
    )


def _settings(checkpoint: Checkpoint) -> str:
    values, defaults = asdict(checkpoint.settings), asdict(EncodingSettings())
    wanted = {name: values[name] for name in DOCUMENT_SETTINGS}
    wanted |= {name: values[name] for name in RARE_DOCUMENT_SETTINGS if values[name] != defaults[name]}
    if checkpoint.pooling is not None:
        wanted["pooling"] = asdict(checkpoint.pooling)
    return json.dumps(wanted, sort_keys=True)


def _hash_all(paths: tuple[Path, ...]) -> str:
    """The checksum of one file, or of the checksums of several."""
    checksums = [_hash(path) for path in paths]
    return checksums[0] if len(checksums) == 1 else hashlib.sha256("".join(checksums).encode()).hexdigest()


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
