"""ExecutionProvider: what ONNX Runtime should compute on, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rank_rerank.arguments import check_flag
from rank_rerank.errors import InvalidArgumentError

SUFFIX = "ExecutionProvider"
# the spellings of ONNX Runtime for what people write
NAMES = {
    "cpu": "CPU",
    "cuda": "CUDA",
    "tensorrt": "Tensorrt",
    "coreml": "CoreML",
    "directml": "Dml",
    "dml": "Dml",
    "openvino": "OpenVINO",
    "rocm": "ROCM",
    "migraphx": "MIGraphX",
    "qnn": "QNN",
    "xnnpack": "Xnnpack",
}


@dataclass(frozen=True)
class ExecutionProvider:
    """What ONNX Runtime should compute on.

    Attributes:
        name: "OpenVINO", "CUDA", "TensorRT", "CoreML", "DirectML", or as ONNX Runtime spells it.
        options: the provider's own, as its documentation names them.
        strict: refuse to load a model of which a part would run on the CPU instead.

    Raises:
        InvalidArgumentError: the name is no str, options are no mapping, or strict is neither True nor False.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    strict: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError('the name of an execution provider must be a str, as "OpenVINO"')
        if not isinstance(self.options, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("the options of an execution provider must be a mapping of names to values")
        object.__setattr__(self, "strict", check_flag(self.strict, "strict"))

    @property
    def full_name(self) -> str:
        """The name in ONNX Runtime's spelling, as "OpenVINOExecutionProvider"."""
        bare = self.name.removesuffix(SUFFIX)
        return NAMES.get(bare.lower(), bare) + SUFFIX

    def session_arguments(self) -> list[Any]:
        """The list of providers that a session is opened with; ONNX Runtime adds the CPU itself."""
        return [(self.full_name, dict(self.options))]


def is_provider(device: str) -> bool:
    """Whether a device's name is that of a provider."""
    return device.removesuffix(SUFFIX).lower() in NAMES and device.lower() not in ("cpu", "auto")
