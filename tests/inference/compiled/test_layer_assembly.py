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
    project_rows,
)
from rank_rerank.inference.compiled.loading import is_supported
from rank_rerank.inference.compiled.tables import linear_products
from rank_rerank.kernels.processor import VECTOR_PATHS

PROJECTIONS = {
    ("avx512-vnni", "int8"): r"vpdpbusd\s.*%zmm",
    ("avx512", "byte-pairs"): r"vpmaddubsw\s.*%zmm",
    ("avx512", "bytes-less-128"): r"vpmaddubsw\s.*%zmm",
    ("avx2-vnni", "int8"): r"\{vex\}\s+vpdpbusd\s.*%ymm",
    ("avx2", "byte-pairs"): r"vpmaddubsw\s.*%ymm",
    ("avx2", "bytes-less-128"): r"vpsignb\s.*%ymm",
    ("neon-dotprod", "int8"): r"sdot\s+v\d+\.4s, v\d+\.16b",
}
PUT_ASIDE = r"mov\w*\s+%[xyz]mm\d+, .*\(%rsp"


@pytest.mark.parametrize(("name", "product"), PROJECTIONS)
def test_a_projection_multiplies_with_the_instruction_of_its_path(name, product):
    path = by_name(name)
    rows, _ = project_rows(path)
    text = assembly(
        path, NUM_PROJECT_ARGUMENTS, lambda builder, args: emit_project(builder, path, rows, True, product, *args)
    )
    assert re.search(PROJECTIONS[name, product], text)
    assert not re.search(r"\b(call|bl)\s", text)
    # VNNI's form for sixteen registers puts something aside; of the others, no loop that multiplies does
    loops = [block for block in re.split(r"\n(?=\.LBB)", text) if re.search(PROJECTIONS[name, product], block)]
    assert loops
    assert name == "avx2-vnni" or not any(re.search(PUT_ASIDE, loop) for loop in loops)


def test_every_way_of_a_path_is_tested():
    expected = {(path.name, way) for path in VECTOR_PATHS if is_supported(path) for way in linear_products(path)}
    assert set(PROJECTIONS) == expected


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
        assert name != "avx512-vnni" or not re.search(PUT_ASIDE, text)


@pytest.mark.parametrize("name", ["avx512", "avx2"])
def test_attention_in_pairs_puts_nothing_aside_without_vnni(name):
    path = by_name(name)
    for emit, num_arguments in ((emit_score, NUM_SCORE_ARGUMENTS), (emit_mix, NUM_MIX_ARGUMENTS)):
        text = assembly(
            path, num_arguments, lambda builder, args, emit=emit: emit(builder, path, path.rows, True, "int16", *args)
        )
        first, *_ = [block for block in re.split(r"\n(?=\.LBB)", text) if re.search(r"vpmaddwd\s", block)]
        assert not re.search(PUT_ASIDE, first)
        assert not re.search("vpdpwssd", text)


@pytest.mark.parametrize("name", sorted({name for name, _ in PROJECTIONS}))
def test_rows_are_rounded_without_calls(name):
    path = by_name(name)
    text = assembly(path, 4, lambda builder, args: emit_quantize(builder, path, *args))
    assert re.search({"x86": r"vcvttps2dq", "arm": r"fcvtzs"}[path.architecture], text)
    assert not re.search(r"\b(call|bl)\s", text)
