"""LoadOptions: which model, from where, on what. Plain data that can be pickled, written once for every entry."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeAlias, TypedDict, Unpack

from rank_rerank.arguments import check_choice, check_kind
from rank_rerank.arrays import check_whole_number
from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.find import find_checkpoint, find_model
from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.checkpoints.labels import Label
from rank_rerank.devices import PRECISIONS, RUNTIMES, Precision, Runtime, check_num_threads, suggest_device
from rank_rerank.errors import DeviceError, InvalidArgumentError
from rank_rerank.inference.execution_provider import ExecutionProvider, is_provider

# several devices compute one model together
Device: TypeAlias = str | Sequence[str] | ExecutionProvider


@dataclass(frozen=True)
class RuntimeOptions:
    """What computes a model, and how.

    Attributes:
        device: "auto", "cpu"; "cuda", "cuda:N" or "mps" for weights, and for INT8 files of this library where PyTorch
            sees such a GPU; for an ONNX file an execution provider of ONNX Runtime, by name or as an
            ExecutionProvider; ["cuda:0", "cuda:1"] for devices that share the texts.
        precision: "auto" (INT8 where the model has it; for weights fp32 on a CPU, fp16 on a GPU), "int8", "fp32",
            "fp16" or "bf16".
        num_threads: threads that work; None for RANK_RERANK_NUM_THREADS, else the processors there are. PyTorch has a
            setting of its own.
        runtime: "numba" for kernels compiled for this processor, "onnx" for the model's ONNX file, "torch" for its
            weights; "auto" for what the model is made for: for INT8 on a CPU compiled kernels, where they compute it.

    Raises:
        InvalidArgumentError: an option is unknown or out of its range.
        DeviceError: the device is of another type, or a name that is nearly one.
    """

    device: Device = "auto"
    precision: Precision = "auto"
    num_threads: int | None = None
    runtime: Runtime = "auto"

    def __post_init__(self) -> None:
        _check_device(self.device)
        check_choice(self.precision, "precision", PRECISIONS)
        check_choice(self.runtime, "runtime", RUNTIMES)
        if self.num_threads is not None:
            check_num_threads(self.num_threads)

    @property
    def is_on_cpu(self) -> bool:
        """Whether the CPU is named, or chosen where nothing is."""
        return isinstance(self.device, str) and self.device in {"auto", "cpu"}


def _check_device(device: object) -> None:
    """Refuse what is no device, before a model is looked for.

    Raises:
        DeviceError: it is of another type, or a name that is nearly one.
    """
    if not isinstance(device, str | Sequence | ExecutionProvider):
        kind = type(device).__name__
        # PyTorch's own objects
        hint = f', as device="{str(device)[:20]}"' if kind == "device" else ""
        raise DeviceError(f'a device is named by a word such as "cpu" or "cuda"{hint}, not by a value of type {kind}')
    if isinstance(device, str) and not is_provider(device) and (hint := suggest_device(device)):
        raise DeviceError(f'the device "{device[:40]}" is not known.{hint}')


class LoadKeywords(TypedDict, total=False):
    """The keyword arguments of ``load``, from_pretrained and LoadOptions.of, which explain them."""

    revision: str | None
    token: str | bool | None
    local_files_only: bool
    cache_dir: str | Path | None
    device: Device
    precision: Precision
    num_threads: int | None
    runtime: Runtime
    instruction: str | None
    cache_bytes: int | None
    label: Label | None


@dataclass(frozen=True)
class LoadOptions:
    """Everything that is decided about a model before it is loaded: ``load_with(options)`` loads it, in any process.

    Attributes:
        model: None for the bundled model, a folder, or a Hub name.
        hub: how the Hub is asked, where the model is one of its.
        runtime: what computes it.
        instruction: what a causal reranker, as Qwen3-Reranker, judges documents by; None for the checkpoint's own.
        cache_bytes: of memory for the vectors of documents that were encoded lately; None for no cache.
        label: which of a cross-encoder's two labels a document has that answers the query, by name or index.

    Raises:
        InvalidArgumentError: cache_bytes is no whole number above 0, or hub or runtime of another type.
    """

    model: str | Path | None = None
    hub: HubOptions = field(default_factory=HubOptions)
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    instruction: str | None = None
    cache_bytes: int | None = None
    label: Label | None = None

    def __post_init__(self) -> None:
        check_kind(self.hub, "hub", HubOptions)
        check_kind(self.runtime, "runtime", RuntimeOptions)
        if self.cache_bytes is not None:
            check_whole_number(self.cache_bytes, "cache_bytes", 1)

    @classmethod
    def of(cls, model: str | Path | None = None, **keywords: Unpack[LoadKeywords]) -> "LoadOptions":
        """Sort the keywords of ``load`` into one object.

        Args:
            model: None for the bundled model, a folder, or a Hub name.
            keywords: as of ``load``.

        Raises:
            TypeError: a keyword that ``load`` does not have.
            InvalidArgumentError: an option is unknown or out of its range.
        """
        values: dict[str, object] = dict(keywords)
        parts = [{each.name: values.pop(each.name) for each in fields(kind) if each.name in values} for kind in _PARTS]
        instruction, cache_bytes = keywords.get("instruction"), keywords.get("cache_bytes")
        label = keywords.get("label")
        for name in ("instruction", "cache_bytes", "label"):
            values.pop(name, None)
        if values:
            known = ", ".join(LoadKeywords.__annotations__)
            raise TypeError(f"unexpected keyword argument {next(iter(values))!r}; there are {known}")
        # the keywords' types are those of the fields they are named as
        hub, runtime = HubOptions(**parts[0]), RuntimeOptions(**parts[1])  # pyright: ignore[reportArgumentType]
        return cls(model, hub, runtime, instruction, cache_bytes, label)

    def find(self) -> Checkpoint | CrossEncoderCheckpoint:
        """Find the model and read its settings; errors as of ``load``."""
        return find_model(
            self.model,
            hub=self.hub,
            precision=self.runtime.precision,
            runtime=self.runtime.runtime,
            instruction=self.instruction,
            label=self.label,
        )

    def find_encoder(self) -> Checkpoint:
        """Find a late-interaction model; errors as of ``load``.

        Raises:
            CheckpointFormatError: it is a cross-encoder.
            InvalidArgumentError: there is an instruction or a label, which no late-interaction model takes.
        """
        if self.instruction is not None:
            raise InvalidArgumentError("a late-interaction model takes no instruction: that is for causal rerankers")
        if self.label is not None:
            raise InvalidArgumentError("a late-interaction model takes no label: that is for cross-encoders")
        return find_checkpoint(self.model, hub=self.hub, precision=self.runtime.precision, runtime=self.runtime.runtime)


_PARTS = (HubOptions, RuntimeOptions)
