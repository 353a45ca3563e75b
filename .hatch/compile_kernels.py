"""Compile kernels of one vector path for the wheel, with numba and LLVM alone.

usage: python compile_kernels.py FOLDER PATH PART [--common]      writes them into FOLDER/SYSTEM

PART is "decoders", "passes", "scores" or "matches". --common leaves out what few stores need; it then compiles at its
first use.

The package is read from the folder beside this one and need not be installed. The same sources and compilers give the
same bytes, on whatever processor of a family this runs: numba is told what it compiles for, and nothing is executed.
"""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COMMON = ("maxsim-float32-", "maxsim-float16-", "maxsim-int8-tokens-", "maxsim-parts-", "maxsim-prepare-")
# their __init__ files import what a build has no need of
FACADES = ("rank_rerank", "rank_rerank.cli", "rank_rerank.scoring", "rank_rerank.inference", "rank_rerank.encoding")


def import_without_facades() -> None:
    """Let modules of the package be imported without the names that its packages gather."""
    for name in FACADES:
        module = ModuleType(name)
        module.__path__ = [str(ROOT.joinpath(*name.split(".")))]
        sys.modules[name] = module


def tell_numba(path: Any, *, is_foreign: bool) -> None:
    """What to compile for, and that nothing will be called."""
    os.environ["NUMBA_CPU_NAME"] = "generic"
    os.environ["NUMBA_CPU_FEATURES"] = "" if is_foreign else ",".join(f"+{feature}" for feature in path.features)
    from numba.core import codegen, cpu

    def get_executable(_context: Any, library: Any, function: Any, environment: Any) -> Any:
        """As numba's own, for a function that has no address; linking a library is what numba leaves to the address."""
        library._ensure_finalized()  # noqa: SLF001
        make = cpu._dynfunc.make_function  # noqa: SLF001
        name = function.qualname.rpartition(".")[2]
        return make(function.lookup_module(), name, "compiled ahead of time", 0, environment, (library,))

    cpu.CPUContext.get_executable = get_executable
    codegen.JITCodeLibrary._finalize_specific = lambda _library: None  # noqa: SLF001


def is_wanted(kernel: str, part: str, *, only_common: bool) -> bool:
    """Whether a kernel of that name belongs to the part."""
    if not kernel.startswith("maxsim-"):
        return part == ("decoders" if kernel.startswith("decoder-") else "passes")
    is_part = part == ("matches" if kernel.endswith("-matches") else "scores")
    return is_part and (not only_common or kernel.startswith(COMMON))


def main() -> None:
    """Compile and write."""
    folder, name, part = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    import_without_facades()
    from rank_rerank.cli.every_kernel import every_kernel
    from rank_rerank.kernels.code_files import pack_code
    from rank_rerank.kernels.loading import compiler_versions, make_code
    from rank_rerank.kernels.prebuilt import TRIPLES, file_name, sources_digest, this_system
    from rank_rerank.kernels.processor import VECTOR_PATHS, target_of

    [path] = [path for path in VECTOR_PATHS if path.name == name]
    system = {"x86": "linux-x86_64", "arm": "linux-aarch64"}[path.architecture]
    tell_numba(path, is_foreign=this_system() != system)
    (folder / system).mkdir(exist_ok=True)
    for spec in every_kernel(path):
        if not is_wanted(spec.name, part, only_common="--common" in sys.argv):
            continue
        code = make_code(spec, target_of(path, TRIPLES[system]))
        if code.kind != "image":
            raise SystemExit(f"{spec.name} needs a linker")
        file = file_name(spec.name, spec.num_arguments)
        packed = pack_code(f"{system}/{file}", sources_digest(spec.sources), code, compiler_versions())
        (folder / system / file).write_bytes(packed)


if __name__ == "__main__":
    main()
