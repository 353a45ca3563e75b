"""numba's on-disk cache with our own place and key, and with no failure of the disk turned into an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache

from rank_rerank.kernels.compilation import logger, say_once


class KernelCache(FunctionCache):
    """Keeps one kernel's machine code for each kind of processor.

    Attributes:
        kernel_name: tells it from every other kernel.
    """

    def __init__(self, function: Callable[..., Any], folder: Path, kernel_name: str) -> None:
        self.kernel_name = kernel_name
        implementation = _Implementation(_Locator(folder, kernel_name))

        def give_implementation(_function: Any) -> _Implementation:
            return implementation

        self._impl_class = give_implementation
        super().__init__(function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Give what an earlier process compiled; None where there is nothing, or nothing that can be read."""
        try:
            loaded = super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001 - whatever a damaged file raises, compiling anew is the answer
            loaded = None
        if loaded is None:
            say_once("Compiling CPU kernels for this processor; this takes a few seconds, once a machine")
            logger.debug("compiling %s", self.kernel_name)
        return loaded

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code for the next process, if the disk allows."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            say_once("Compiled kernels could not be kept in %s: %s", self.cache_path, type(error).__name__)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return sig, codegen.magic_tuple(), self.kernel_name


class _Locator:
    """Where a kernel's files lie; the folder's name already says which source made them."""

    def __init__(self, folder: Path, kernel_name: str) -> None:
        self._folder = folder
        self._kernel_name = kernel_name

    def ensure_cache_path(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name

    def get_disambiguator(self) -> str:
        return self._kernel_name


class _Implementation(CompileResultCacheImpl):
    def __init__(self, locator: _Locator) -> None:
        self._locator: Any = locator
        self._lineno = 0
        self._filename_base = locator.get_disambiguator()
