"""The machine code of the forward pass holds the instructions it was made for, on processors that are not here too."""

import re

import pytest
from assembly_of_paths import assembly, by_name

from rank_rerank.inference.compiled.kernels.rows import emit_quantize
from rank_rerank.inference.compiled.kernels.tiles import (
    NUM_MIX_ARGUMENTS,
    NUM_PROJECT_ARGUMENTS,
    NUM_SCORE_ARGUMENTS,
    emit_mix,
    emit_project,
    emit_score,
)

PROJECTIONS = {
    "avx512-vnni": r"vpdpbusd\s.*%zmm",
    "avx512": r"vpmaddwd\s.*%zmm",
    "avx2-vnni": r"\{vex\}\s+vpdpbusd\s.*%ymm",
    "avx2": r"vpmaddwd\s.*%ymm",
    "neon-dotprod": r"sdot\s+v\d+\.4s, v\d+\.16b",
}


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
    text = assembly(path, 4, lambda builder, args: emit_quantize(builder, path, *args))
    assert re.search({"x86": r"vcvttps2dq", "arm": r"fcvtzs"}[path.architecture], text)
    assert not re.search(r"\b(call|bl)\s", text)
