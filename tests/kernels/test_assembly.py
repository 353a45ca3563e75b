"""The machine code of every vector path holds the instructions it was made for, on processors that are not here too."""

import re

import pytest
from llvmlite import binding, ir

from rank_rerank.inference.transformer_rows import emit_quantise
from rank_rerank.inference.transformer_tiles import (
    NUM_MIX_ARGUMENTS,
    NUM_PROJECT_ARGUMENTS,
    NUM_SCORE_ARGUMENTS,
    emit_mix,
    emit_project,
    emit_score,
)
from rank_rerank.kernels.outer_product import Tile
from rank_rerank.kernels.processor import VECTOR_PATHS, WHOLE_PAIR_PRODUCTS, VectorPath
from rank_rerank.kernels.staging import stage_row
from rank_rerank.kernels.vectors import INT64
from rank_rerank.scoring.maxsim_tile import NUM_TILE_ARGUMENTS, TileArguments, TileKind, emit_tile

TRIPLES = {"x86": "x86_64-unknown-linux-gnu", "arm": "aarch64-unknown-linux-gnu", "any": "x86_64-unknown-linux-gnu"}
PRODUCTS = {
    ("avx512-vnni", "float32"): r"vfmadd231ps\s.*%zmm",
    ("avx512-vnni", "int8"): r"vpdpbusd\s.*%zmm",
    ("avx512-vnni", "bits"): r"vpxord\s.*%zmm",
    ("avx512", "float32"): r"vfmadd231ps\s.*%zmm",
    ("avx512", "int8"): r"vpmaddwd\s.*%zmm",
    ("avx512", "bits"): r"vpshufb\s.*%zmm",
    ("avx2-vnni", "float32"): r"vfmadd231ps\s.*%ymm",
    ("avx2-vnni", "int8"): r"\{vex\}\s+vpdpbusd\s.*%ymm",
    ("avx2-vnni", "bits"): r"vpshufb\s.*%ymm",
    ("avx2", "float32"): r"vfmadd231ps\s.*%ymm",
    ("avx2", "int8"): r"vpmaddwd\s.*%ymm",
    ("avx2", "bits"): r"vpshufb\s.*%ymm",
    ("neon-dotprod", "float32"): r"fmla\s+v\d+\.4s",
    ("neon-dotprod", "int8"): r"sdot\s+v\d+\.4s, v\d+\.16b",
    ("neon-dotprod", "bits"): r"cnt\s+v\d+\.",
    ("neon", "float32"): r"fmla\s+v\d+\.4s",
    ("neon", "int8"): r"mla\s+v\d+\.4s",
    ("neon", "bits"): r"cnt\s+v\d+\.",
    ("portable", "float32"): r"mulps\s",
    ("portable", "int8"): r"pmuludq\s",
    ("portable", "bits"): r"pand\s",
}
PROJECTIONS = {name: PRODUCTS[name, "int8"] for name in ("avx512-vnni", "avx512", "avx2-vnni", "avx2", "neon-dotprod")}
CONVERSIONS = {
    "avx512-vnni": r"vcvtph2ps\s.*%zmm",
    "avx2": r"vcvtph2ps\s.*%ymm",
    "neon": r"fcvtl\s+v\d+\.4s",
    "portable": r"mulps\s",
}
PREFETCHES = {"x86": r"prefetcht0", "arm": r"prfm\s+pldl1keep", "any": r"prefetcht0"}


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


@pytest.mark.parametrize("product", ["float32", "int8", "bits"])
@pytest.mark.parametrize("path", VECTOR_PATHS, ids=lambda path: path.name)
def test_a_tile_multiplies_with_the_instruction_of_its_path(path, product):
    tile = Tile(path, product, path.rows, path.panel_vectors)
    kind = TileKind(token_scales=False, with_indices=False, upcoming_bytes=48)
    text = assembly(
        path, NUM_TILE_ARGUMENTS, lambda builder, args: emit_tile(builder, tile, kind, TileArguments(*args))
    )
    assert re.search(PRODUCTS[path.name, product], text)
    assert re.search(PREFETCHES[path.architecture], text)
    assert not re.search(r"\b(call|bl)\s", text)


@pytest.mark.parametrize("path", [path for path in VECTOR_PATHS if path.name in {"avx512-vnni", "avx2", "neon"}])
def test_the_sums_of_a_tile_stay_in_registers(path):
    """Nothing is put aside on the stack."""
    tile = Tile(path, "float32", path.rows, path.panel_vectors)
    kind = TileKind(token_scales=False, with_indices=False, upcoming_bytes=0)
    text = assembly(
        path, NUM_TILE_ARGUMENTS, lambda builder, args: emit_tile(builder, tile, kind, TileArguments(*args))
    )
    assert not re.search(r"mov\w*\s+%[xyz]mm\d+, .*\(%rsp|st[rp]\s+q\d+,.*\[sp", text)


@pytest.mark.parametrize("name", sorted(CONVERSIONS))
def test_float16_is_converted_by_the_processor_where_it_can(name):
    path = by_name(name)
    text = assembly(path, 3, lambda builder, args: stage_row(builder, path, "float16", *args))
    assert re.search(CONVERSIONS[name], text)
    assert not re.search(r"\b(call|bl)\s", text)


@pytest.mark.parametrize("name", sorted(PROJECTIONS))
def test_a_projection_multiplies_with_the_instruction_of_its_path(name):
    path = by_name(name)
    text = assembly(
        path, NUM_PROJECT_ARGUMENTS, lambda builder, args: emit_project(builder, path, path.rows, True, *args)
    )
    assert re.search(PROJECTIONS[name], text)
    # with sixteen registers, or products that need one more, something is put aside
    assert name != "avx512-vnni" or not re.search(r"mov\w*\s+%[xyz]mm\d+, .*\(%rsp", text)
    assert not re.search(r"\b(call|bl)\s", text)


@pytest.mark.parametrize(
    ("name", "instruction"), [("avx512-vnni", r"vpdpwssd\s.*%zmm"), ("avx2-vnni", r"\{vex\}\s+vpdpwssd\s.*%ymm")]
)
def test_attention_multiplies_pairs_in_one_instruction(name, instruction):
    path = by_name(name)
    for emit, num_arguments in ((emit_score, NUM_SCORE_ARGUMENTS), (emit_mix, NUM_MIX_ARGUMENTS)):
        text = assembly(
            path, num_arguments, lambda builder, args, emit=emit: emit(builder, path, path.rows, True, "int16", *args)
        )
        assert re.search(instruction, text)
        assert not re.search("vpmaddwd", text)
        assert name != "avx512-vnni" or not re.search(r"mov\w*\s+%zmm\d+, .*\(%rsp", text)


@pytest.mark.parametrize("name", sorted(PROJECTIONS))
def test_rows_are_rounded_without_calls(name):
    path = by_name(name)
    text = assembly(path, 4, lambda builder, args: emit_quantise(builder, path, *args))
    assert re.search({"x86": r"vcvttps2dq", "arm": r"fcvtzs"}[path.architecture], text)
    assert not re.search(r"\b(call|bl)\s", text)
