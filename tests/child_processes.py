"""What processes that tests start find: the package that is tested, and all that the tests' own process finds."""

import os
from pathlib import Path

import rank_rerank

PACKAGE = Path(rank_rerank.__file__).resolve().parents[1]


def child_environment(*folders, **variables):
    """The environment with other variables; folders of modules that a child imports come after the package's."""
    # what is on the path stays there: packages for another processor, whose programs an emulator runs, are found so
    paths = [str(PACKAGE), *map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables}
