"""ModelSource: the reranker of an adapter, loaded at its first use and shared by all adapters that ask for the same."""

import sys
from dataclasses import dataclass, field
from threading import Lock
from weakref import WeakValueDictionary

from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.kernels.forking import renew_after_fork
from rank_rerank.rerankers import Reranker, load_with

_lock = Lock()
renew_after_fork(sys.modules[__name__], lambda module: setattr(module, "_lock", Lock()))
# what is loaded already, by all the options it was loaded with; forgotten with the last adapter that uses it
_loaded: WeakValueDictionary[str, Reranker] = WeakValueDictionary()


@dataclass
class ModelSource:
    """Where an adapter's reranker comes from. Another process loads it again from the same options.

    Attributes:
        options: of the model; not used where ``ready`` is given.
        ready: a reranker that the user has made, such as a cascade.
    """

    options: LoadOptions
    ready: Reranker | None = None
    _kept: Reranker | None = field(default=None, repr=False, compare=False)

    def reranker(self) -> Reranker:
        """The reranker; the first call loads the model. Errors are those of load()."""
        if self.ready is not None:
            return self.ready
        if self._kept is None:
            with _lock:
                key = repr(self.options)
                found = _loaded.get(key)
                self._kept = load_with(self.options) if found is None else found
                _loaded[key] = self._kept
        return self._kept

    def check_writable(self) -> None:
        """Refuse to be written down where that would lose the reranker.

        Raises:
            InvalidArgumentError: the reranker was made by the user.
        """
        if self.ready is not None:
            raise InvalidArgumentError(
                "an adapter that was given a reranker object cannot be written down, as the object would be lost. "
                "Name the model and its options instead"
            )

    def __deepcopy__(self, _: object) -> "ModelSource":
        """The same: what it holds does not change."""
        return self

    def __getstate__(self) -> dict[str, object]:
        self.check_writable()
        return {"options": self.options, "ready": None, "_kept": None}
