import inspect
import re

from rank_rerank import errors


def test_the_tree_in_the_docstring_is_the_tree_in_the_code():
    drawn: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^    ([│├└─ ]*)(\w*Error)\b", line):
            depth = len(match[1]) // 4
            path = [*path[:depth], match[2]]
            drawn[match[2]] = path[-2] if depth else None
    defined = {
        name: None if value.__bases__[0] is Exception else value.__bases__[0].__name__
        for name, value in inspect.getmembers(errors, inspect.isclass)
    }
    assert drawn == defined


def test_each_error_is_its_nearest_standard_error_too():
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.InvalidItemError, TypeError)
    assert issubclass(errors.CheckpointNotFoundError, FileNotFoundError)
    assert issubclass(errors.MissingDependencyError, ImportError)
    assert issubclass(errors.ResourceLimitError, MemoryError)
