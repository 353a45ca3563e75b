"""The Triton kernel compiles for a real GPU, for every storage, and multiplies on its tensor cores."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="the fused kernel needs triton")

SHARED_BYTES = 232_448  # what a program may take on an H100
SCRIPT = """
import sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rank_rerank.scoring.tensors.blocks import plan_kernel
from rank_rerank.scoring.tensors.maxsim_triton import _maxsim_kernel
from rank_rerank.scoring.tensors.query_parts import PARTS

storage, numbers, with_matches = sys.argv[1], sys.argv[2], sys.argv[3] == "1"
dim, num_query_tokens, shared_bytes = (int(each) for each in sys.argv[4:])
blocks = plan_kernel(storage, dim, num_query_tokens, shared_bytes)
constants = dict(
    STORAGE=storage, PARTS=PARTS[storage], TOKEN_SCALES=storage == "int8", DOCUMENT_SCALES=False,
    DIM_BLOCKS=blocks.num_dim, IS_WIDE=blocks.is_wide, WITH_MATCHES=with_matches,
    BLOCK_QUERY=blocks.query, BLOCK_TOKENS=blocks.tokens, BLOCK_DIM=blocks.dim,
)
types = dict(
    words="*i32", parts={"signs": "*fp16"}.get(storage, "*" + numbers), vectors="*" + numbers, row_stride="i64",
    starts="*i64", ends="*i64", token_scales="*fp32", document_scales="*fp32", scores="*fp32",
    similarities="*fp32", indices="*i32", answer="*i32", num_documents="i32", num_query_tokens="i32", dim="i32",
)
signature = {name: types.get(name, "constexpr") for name in _maxsim_kernel.arg_names}
aligned = ("words", "parts", "vectors", "row_stride", "dim", "token_scales", "scores")
attributes = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(_maxsim_kernel.arg_names) if name in aligned}
source = ASTSource(fn=_maxsim_kernel, signature=signature, constexprs=constants, attrs=attributes)
options = {"num_stages": blocks.stages, "num_warps": blocks.warps, "maxnreg": blocks.registers}
compiled = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
print("mma" in compiled.asm["ptx"], compiled.metadata.shared <= shared_bytes)
"""


def compile_for_hopper(folder, kind, *, with_matches=False, dim=128, query=32, shared_bytes=SHARED_BYTES):
    storage, numbers = kind
    environment = {**os.environ, "TRITON_CACHE_DIR": str(folder), "TRITON_INTERPRET": "0"}
    arguments = [storage, numbers, int(with_matches), dim, query, shared_bytes]
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.split() == ["True", "True"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("storage", "numbers"),
    [("float32", "fp32"), ("float16", "fp16"), ("bfloat16", "bf16"), ("int8", "i8"), ("signs", "u8")],
)
@pytest.mark.parametrize("with_matches", [False, True])
def test_compiles_for_a_hopper_gpu(storage, numbers, with_matches, tmp_path):
    compile_for_hopper(tmp_path, (storage, numbers), with_matches=with_matches)


@pytest.mark.slow
@pytest.mark.parametrize("shared_bytes", [101_376, SHARED_BYTES])  # of a small GPU and of a large one
@pytest.mark.parametrize("dim", [384, 1024])
@pytest.mark.parametrize(("storage", "numbers"), [("float32", "fp32"), ("float16", "fp16"), ("bfloat16", "bf16")])
def test_wide_vectors_fit_into_shared_memory(storage, numbers, dim, shared_bytes, tmp_path):
    compile_for_hopper(tmp_path, (storage, numbers), dim=dim, query=64, shared_bytes=shared_bytes)


@pytest.mark.parametrize("storage", ["float32", "float16", "bfloat16", "int8", "signs"])
def test_blocks_cover_a_vector_and_fit(storage):
    from rank_rerank.scoring.tensors.blocks import ITEM_BYTES, PARTS, plan_kernel

    for dim in (8, 16, 48, 128, 384, 768, 1024, 4096):
        for query in (1, 17, 32, 64, 300):
            blocks = plan_kernel(storage, dim, query, SHARED_BYTES)
            assert blocks.dim * blocks.num_dim >= dim
            at_once = 1 if blocks.is_wide else blocks.num_dim
            in_flight = (
                blocks.stages * (blocks.tokens + PARTS[storage] * blocks.query)
                if blocks.is_wide
                else (blocks.stages * blocks.tokens + PARTS[storage] * blocks.query)
            )
            assert at_once * blocks.dim * ITEM_BYTES[storage] * in_flight <= SHARED_BYTES
