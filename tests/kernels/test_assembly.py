"""The machine code of every vector path holds the instructions it was made for, on processors that are not here too."""

import re

import pytest
from assembly_of_paths import assembly, by_name

from rank_rerank.kernels.outer_product import Tile
from rank_rerank.kernels.processor import VECTOR_PATHS
from rank_rerank.kernels.staging import stage_row
from rank_rerank.scoring.compiled.kernels.tile import NUM_TILE_ARGUMENTS, TileArguments, TileKind, emit_tile

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
CONVERSIONS = {
    "avx512-vnni": r"vcvtph2ps\s.*%zmm",
    "avx2": r"vcvtph2ps\s.*%ymm",
    "neon": r"fcvtl\s+v\d+\.4s",
    "portable": r"mulps\s",
}
PREFETCHES = {"x86": r"prefetcht0", "arm": r"prfm\s+pldl1keep", "any": r"prefetcht0"}


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
