"""Models that the Hub's cache on this machine holds, by name: what a user may have meant."""

from difflib import get_close_matches
from pathlib import Path

REPOSITORY = "models--"
MAX_NAMES = 3
# of difflib: letters alike, as a share; "modle" and "model" are 0.8
LIKENESS = 0.75
MAX_ENTRIES = 5000


def near_names(name: str, cache_dir: str | Path | None = None) -> tuple[str, ...]:
    """Names of cached models that are near a name: with its owner left out or another, or with letters changed.

    Args:
        name: what a user wrote.
        cache_dir: the folder of the cache; None for huggingface-hub's, which HF_HUB_CACHE and HF_HOME lead to.
    """
    cached = {known.lower(): known for known in cached_names(cache_dir)}
    wanted = name.lower()
    short = wanted.rpartition("/")[2]
    same = [known for low, known in cached.items() if low.rpartition("/")[2] == short]
    near = get_close_matches(wanted, cached, MAX_NAMES, LIKENESS)
    by_short = {low.rpartition("/")[2]: low for low in cached}
    near += [by_short[found] for found in get_close_matches(short, by_short, MAX_NAMES, LIKENESS)]
    found = dict.fromkeys([*same, *(cached[low] for low in near)])
    return tuple(known for known in found if known.lower() != wanted)[:MAX_NAMES]


def suggestion(name: str, cache_dir: str | Path | None = None) -> str:
    """A sentence with near names, after a space; "" where there are none."""
    names = near_names(name, cache_dir)
    return f" The cache has {' and '.join(f'{known[:100]!a}' for known in names)}." if names else ""


def cached_names(cache_dir: str | Path | None = None) -> list[str]:
    """The names of all models in a cache, sorted; none where there is no cache."""
    if cache_dir is None:
        from huggingface_hub import constants  # noqa: PLC0415 - only where a name is not found

        cache_dir = constants.HF_HUB_CACHE
    names: list[str] = []
    try:
        for number, path in enumerate(Path(cache_dir).expanduser().iterdir()):
            if number == MAX_ENTRIES:
                break
            if path.name.startswith(REPOSITORY):
                names.append(path.name.removeprefix(REPOSITORY).replace("--", "/", 1))
    except (OSError, ValueError, RuntimeError):
        return []
    return sorted(names)
