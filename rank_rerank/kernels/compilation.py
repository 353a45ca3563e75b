"""Compile a kernel: numba turns its Python into LLVM's language, LLVM turns that into an object file.

A kernel takes integers and pointers only, allocates nothing and raises nothing, so its code needs nothing of numba.
What LLVM emits depends on the kernel's source, on the target, and on the versions of Python, numba and llvmlite.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rank_rerank.kernels.executable_memory import can_map_code
from rank_rerank.kernels.processor import Target

SYMBOL = "rank_rerank_kernel"
COMPILERS = ("numba", "llvmlite")


@dataclass(frozen=True)
class KernelSource:
    """A kernel in numba's Python.

    Attributes:
        function: takes integers and pointers, returns nothing, raises nothing.
        argument_types: numba types, one per argument.
    """

    function: Callable[..., None]
    argument_types: tuple[Any, ...]


def compile_kernel(source: KernelSource, target: Target) -> bytes:
    """Compile to an object file in memory, whose function is `SYMBOL`."""
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM
    from numba import njit, types  # noqa: PLC0415 - loads numba

    options: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher: Any = njit(**options)(source.function)
    signature: Any = types.void(*source.argument_types)
    dispatcher.compile(signature)
    [text] = dispatcher.inspect_llvm().values()
    machine = target_machine(target)
    module = binding.parse_assembly(_for_target(text, target, machine))
    [function] = [
        function for function in module.functions if not function.is_declaration and function.linkage.name == "external"
    ]
    function.name = SYMBOL
    _drop_unused(module)
    return machine.emit_object(module)


def target_machine(target: Target) -> Any:
    """LLVM's compiler for a target; with small distances where the code becomes an image."""
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM

    if target.triple:
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()
    else:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    return binding.Target.from_triple(target.triple or binding.get_process_triple()).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=3,
        reloc="pic",
        codemodel="small" if target.triple or can_map_code() else "jitdefault",
    )


# numba keeps a record of each error that a function may raise; a kernel raises none, and nobody reads the records,
# which hold addresses
_ERROR_RECORD = re.compile(r"^(@\.const\.picklebuf\S* = .*?constant )(\{[^{}]*\}) \{.*\}", re.MULTILINE)
_LAYOUT = re.compile(r'^target datalayout = ".*"$', re.MULTILINE)
_TRIPLE = re.compile(r'^target triple = ".*"$', re.MULTILINE)


def _for_target(text: str, target: Target, machine: Any) -> str:
    """The same program without error records, said to be for the target."""
    text = _ERROR_RECORD.sub(r"\1\2 zeroinitializer", text)
    if not target.triple:
        return text
    text = _LAYOUT.sub(f'target datalayout = "{machine.target_data}"', text)
    return _TRIPLE.sub(f'target triple = "{target.triple}"', text)


def _drop_unused(module: Any) -> None:
    """Keep the kernel and what it calls."""
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM

    for each in [*module.functions, *module.global_variables]:
        if not each.is_declaration and each.name != SYMBOL:
            each.linkage = "internal"
    make_manager: Any = getattr(binding, "create_new_module_pass_manager", None)
    manager: Any = None if make_manager is None else make_manager()
    if hasattr(manager, "add_global_dead_code_eliminate_pass"):
        manager.add_global_dead_code_eliminate_pass()
        tuning = binding.create_pipeline_tuning_options(speed_level=3)
        manager.run(module, binding.create_pass_builder(target_machine(Target("", "", "")), tuning))
