"""Put machine code of the kernels into the wheel, so that whoever installs it compiles nothing.

RANK_RERANK_BUILD_TARGETS says which: ``native`` (the default) the common ones for this machine's processor, which takes
seconds; ``all`` every one for every processor, for a release; ``none``; or vector paths, separated by commas. What a
wheel has not is compiled when it is needed, as everything is in an editable install.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "RANK_RERANK_BUILD_TARGETS"
ALL = ("avx2", "avx2-vnni", "avx512", "avx512-vnni", "neon", "neon-dotprod")
REQUIREMENT = "numba>=0.61"
# one process each; never depends on the machine, so that bytes do not either
PARTS = ("decoders", "passes", "scores", "matches")


class KernelHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles before a wheel is packed."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Numba, where something will be compiled."""
        # the frontend asks for the needs of an editable install by a call of another name, which compiles nothing
        is_editable = any("editable" in argument for argument in sys.argv[1:])
        return [] if is_editable or self.target_name != "wheel" or wanted() == "none" else [REQUIREMENT]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and name the files."""
        if version == "editable" or self.target_name != "wheel":
            return
        paths = choose_paths()
        if not paths:
            return
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        compile_all(Path(self.root), folder, paths)
        for file in sorted(folder.glob("*/*")):
            build_data["force_include"][str(file)] = f"rank_rerank/kernels/prebuilt/{file.parent.name}/{file.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what the wheel has now."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def wanted() -> str:
    """What the environment asks for."""
    return os.environ.get(VARIABLE, "").strip() or "native"


def choose_paths() -> list[str]:
    """The vector paths to compile for.

    Raises:
        SystemExit: one is unknown, or numba is missing where paths were asked for.
    """
    asked = wanted()
    if asked == "none":
        return []
    if find_spec("numba") is None:
        if asked == "native":
            print("numba is not installed: the wheel gets no machine code", file=sys.stderr)  # noqa: T201
            return []
        raise SystemExit(f"{VARIABLE}={asked} needs numba")
    if asked == "native":
        return native_paths()
    paths = list(ALL) if asked == "all" else [name.strip() for name in asked.split(",")]
    if unknown := sorted(set(paths) - set(ALL)):
        raise SystemExit(f"{VARIABLE} knows no {', '.join(unknown)}; it takes all, native, none, or {', '.join(ALL)}")
    return paths


def native_paths() -> list[str]:
    """This machine's best path, if its system maps images."""
    program = (
        "import compile_kernels; compile_kernels.import_without_facades()\n"
        "from rank_rerank.kernels.prebuilt import this_system\n"
        "from rank_rerank.kernels.processor import usable_vector_paths\n"
        "print(usable_vector_paths()[0].name if this_system() else '')"
    )
    here = Path(__file__).resolve().parent
    done = subprocess.run([sys.executable, "-c", program], cwd=here, capture_output=True, text=True, check=True)  # noqa: S603
    return [name for name in [done.stdout.strip()] if name in ALL]


def compile_all(root: Path, folder: Path, paths: list[str]) -> None:
    """Compile the kernels of some paths, each part in a process of its own, as many at once as there are processors."""
    script = root / ".hatch" / "compile_kernels.py"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}

    def compile_part(job: tuple[str, str]) -> None:
        command = [sys.executable, str(script), str(folder), *job, *(["--common"] if wanted() == "native" else [])]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise SystemExit(f"compiling kernels for {job[0]} failed:\n{done.stdout}{done.stderr}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_part, [(name, part) for name in paths for part in PARTS]))
