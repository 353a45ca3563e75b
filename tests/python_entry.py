"""The entry of a compiled job, written in Python, so that a test can have its threads meet."""

import ctypes
from collections.abc import Callable

_PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)


class PythonEntry:
    """A kernel of two arguments by its address; what it raises is kept."""

    def __init__(self, function: Callable[[int, int], object]) -> None:
        self.errors: list[BaseException] = []

        def call(_result: int, _error: int, job: int, number: int) -> int:
            try:
                function(job, number)
            except BaseException as error:  # noqa: BLE001 - the test asserts that there is none
                self.errors.append(error)
            return 0

        self._function = _PROTOTYPE(call)

    @property
    def address(self) -> int:
        return int(ctypes.cast(self._function, ctypes.c_void_p).value or 0)
