"""The machine code that LLVM makes of a kernel for a vector path, on processors that are not here too."""

from llvmlite import binding, ir

from rank_rerank.kernels.processor import VECTOR_PATHS, WHOLE_PAIR_PRODUCTS, VectorPath
from rank_rerank.kernels.vectors import INT64

TRIPLES = {"x86": "x86_64-unknown-linux-gnu", "arm": "aarch64-unknown-linux-gnu", "any": "x86_64-unknown-linux-gnu"}


def by_name(name: str) -> VectorPath:
    return next(path for path in VECTOR_PATHS if path.name == name)


def assembly(path: VectorPath, num_arguments: int, emit) -> str:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = TRIPLES[path.architecture]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT64] * num_arguments), "kernel")
    builder = ir.IRBuilder(function.append_basic_block())
    emit(builder, function.args)
    builder.ret_void()
    compiled = binding.parse_assembly(str(module))
    compiled.verify()
    cpu = "generic" if path.architecture == "arm" else "x86-64"
    features = ",".join(f"+{feature}" for feature in path.features)
    features += WHOLE_PAIR_PRODUCTS if path.integer_product == "x86-bytes" else ""
    machine = binding.Target.from_triple(module.triple).create_target_machine(cpu=cpu, features=features, opt=3)
    tuning = binding.create_pipeline_tuning_options(speed_level=3)
    binding.create_pass_builder(machine, tuning).getModulePassManager().run(
        compiled, binding.create_pass_builder(machine, tuning)
    )
    return machine.emit_assembly(compiled)
