"""Which of a classifier's labels says that a document answers the query.

A reranker gives one number for a pair. A classifier of two labels gives two, and which of them means "relevant" is
told by nothing in its folder that could be trusted: whoever loads it says so. Its score is then the log-odds of that
label, the logit less the other one's, whose sigmoid is the probability that softmax gives it.
"""

from typing import TypeAlias

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError, InvalidArgumentError

Label: TypeAlias = str | int
NUM_CHOICES = 2
MAX_SHOWN = 40


def choose_label(config: JsonSettings, name: str, label: Label | None) -> int | None:
    """The index of the label that means "relevant"; None for a classifier of one label, which needs no choice.

    Args:
        config: config.json.
        name: of the model.
        label: an index, or a name of "id2label"; None where none was given.

    Raises:
        CheckpointFormatError: there are two labels, and none was given; or more than two.
        InvalidArgumentError: the model has no such label, or has one label only.
    """
    num_labels = count_labels(config)
    if num_labels == 1:
        if label is not None:
            raise InvalidArgumentError(f"{name} has one label, so that label must be left out")
        return None
    if num_labels != NUM_CHOICES:
        raise CheckpointFormatError(f"{name}: a reranker gives one number for a pair, this model gives {num_labels}")
    names = _names(config)
    listed = " and ".join(f"{each[:MAX_SHOWN]!a}" for each in names)
    if label is None:
        raise CheckpointFormatError(
            f"{name}: a reranker gives one number for a pair, this model gives 2, for the labels {listed}. Say which "
            f"of them a document has that answers the query: label={names[1][:MAX_SHOWN]!a}, or label=1 (--label)"
        )
    # a name goes before the index that it may be spelt like
    choices = {names[index]: index for index in reversed(range(NUM_CHOICES))}
    found = choices.get(str(label), {"0": 0, "1": 1}.get(str(label)))
    if found is None or isinstance(label, bool):
        raise InvalidArgumentError(f"{name} has no such label; its labels are {listed}, or by their index 0 and 1")
    return found


def count_labels(config: JsonSettings) -> int:
    """How many labels a classifier has."""
    labels = config.get_object("id2label")
    default = NUM_CHOICES if labels is None else len(labels.keys())
    return config.get_optional_int("num_labels") or default


def _names(config: JsonSettings) -> list[str]:
    labels = config.get_object("id2label")
    stated = [None if labels is None else labels.get_optional_str(str(index)) for index in range(NUM_CHOICES)]
    return [f"LABEL_{index}" if each is None else each for index, each in enumerate(stated)]
