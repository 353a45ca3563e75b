"""SavedPlan: how an input was cut into units, kept so that a restart need not read and parse it once more.

It holds for the very bytes it was made of: a restart hashes the files, some thirty times as fast as it could cut them.
They are hashed before and after they are cut, and a plan of what changed meanwhile is not kept.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rank_rerank.devices import installed_version
from rank_rerank.distributed.items import Rejected
from rank_rerank.distributed.job_folder import JobFolder
from rank_rerank.distributed.planning import Planner
from rank_rerank.errors import FileFormatError
from rank_rerank.storage.durable_files import read_small_file, write_file

PLAN_FILE = "plan.json"
MAX_PLAN_BYTES = 1 << 30


@dataclass(frozen=True)
class SavedPlan:
    """What came of reading a whole input.

    Attributes:
        input: a digest of everything that the plan depends on.
        names: of the units, in order.
        num_items: in all of them.
        num_repeated: items that came twice.
        rejected: items that cannot be worked on, in order.
    """

    input: str
    names: tuple[str, ...]
    num_items: int
    num_repeated: int
    rejected: tuple[Rejected, ...]

    def save(self, folder: JobFolder) -> None:
        """Keep it in the job's folder."""
        write_file(folder.path, PLAN_FILE, [json.dumps(asdict(self)).encode()])

    def tell(self, planner: Planner) -> None:
        """Let a planner know what it would have found."""
        planner.rejected += self.rejected
        planner.num_repeated += self.num_repeated


def read_plan(folder: JobFolder, digest: str) -> SavedPlan | None:
    """The plan that was saved for an input; None where there is none."""
    try:
        values = json.loads(read_small_file(folder.path / PLAN_FILE, MAX_PLAN_BYTES))
        rejected = tuple(Rejected(**each) for each in values.pop("rejected"))
        plan = SavedPlan(**values | {"names": tuple(values["names"])}, rejected=rejected)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return plan if plan.input == digest else None


def digest_of_files(list_files: Callable[[], Sequence[Path]], facts: Sequence[str]) -> str:
    """A digest of files, by name and content, and of how they are read.

    Args:
        list_files: gives them, in order.
        facts: how they are read.

    Raises:
        FileFormatError: one is missing or cannot be read.
    """
    digest = hashlib.sha256()
    for fact in (*facts, installed_version("rank-rerank") or ""):
        digest.update(json.dumps(fact).encode())
    for path in list_files():
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise FileFormatError(f"{path} cannot be read: {error.strerror}. Check the path") from error
        digest.update(json.dumps([str(path), content]).encode())
    return digest.hexdigest()
