"""What a caller passes to a job, checked before a model is loaded or a folder is made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from rank_rerank.arguments import check_callback, check_kind, check_path
from rank_rerank.distributed.engines import Engine
from rank_rerank.distributed.local_engine import LocalEngine
from rank_rerank.documents import list_items
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions

Sources: TypeAlias = str | Path | Sequence[str | Path]
Settings = TypeVar("Settings")


def list_sources(source: Any, name: str = "source") -> list[Path]:
    """One path or several.

    Raises:
        InvalidItemError, InvalidArgumentError: it is another thing, or there is none.
    """
    listed = [source] if isinstance(source, str | Path) else list_items(source, name, "paths")
    if not listed:
        raise InvalidArgumentError(f"{name} names no file. Pass a file, a folder, or a list of them")
    return [in_home(each, name) for each in listed]


def in_home(path: Any, name: str) -> Path:
    """A path, of which a leading "~" is the home of the user.

    Raises:
        InvalidArgumentError: it is no path, or there is no home.
    """
    try:
        return check_path(path, name).expanduser()
    except RuntimeError as error:
        raise InvalidArgumentError(f'{name}: "~" stands for no folder here. Pass the whole path') from error


def check_settings(settings: Any, kind: type[Settings], name: str = "settings") -> Settings:
    """Settings of a kind, the usual ones for None.

    Raises:
        InvalidArgumentError: they are another thing.
    """
    return kind() if settings is None else check_kind(settings, name, kind)


def check_engine(engine: Any) -> Engine:
    """An engine, that of this process for None.

    Raises:
        InvalidArgumentError: it has no way to do units.
    """
    if engine is None:
        return LocalEngine()
    if isinstance(engine, type) or not all(callable(getattr(engine, name, None)) for name in ("fit", "run")):
        raise InvalidArgumentError(
            f"engine must be a LocalEngine, a RayEngine or None, not of type {type(engine).__name__}"
        )
    return engine


def check_report(report: Any) -> Any:
    """A function to call, or None; errors as of check_callback."""
    return check_callback(report, "report")


def read_loading(model: Any, engine: Engine) -> LoadOptions:
    """How each worker loads the model; errors as of LoadOptions."""
    return engine.fit(model if isinstance(model, LoadOptions) else LoadOptions.of(model))
