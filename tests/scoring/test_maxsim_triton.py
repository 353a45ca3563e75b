"""The Triton kernel compiles for a real GPU, for every storage, and multiplies on its tensor cores."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="the fused kernel needs triton")

SCRIPT = """
import sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rank_rerank.scoring.tensors.maxsim_triton import PARTS, _maxsim_kernel

storage, numbers, with_matches = sys.argv[1], sys.argv[2], sys.argv[3] == "1"
constants = dict(
    STORAGE=storage, PARTS=PARTS[storage], TOKEN_SCALES=storage == "int8", DOCUMENT_SCALES=False, DIM_BLOCKS=1,
    WITH_MATCHES=with_matches, BLOCK_QUERY=32, BLOCK_TOKENS=64, BLOCK_DIM=128,
)
query = {"signs": "*fp16"}.get(storage, "*" + numbers)
types = dict(
    query=query, query_scales="*fp32", weights="*fp32", query_offsets="*i64", vectors="*" + numbers, row_stride="i64",
    starts="*i64", lengths="*i64", token_scales="*fp32", document_scales="*fp32", scores="*fp32", is_suspect="*u8",
    similarities="*fp32", indices="*i32", num_documents="i32", num_query_tokens="i32", dim="i32",
)
signature = {name: types.get(name, "constexpr") for name in _maxsim_kernel.arg_names}
source = ASTSource(fn=_maxsim_kernel, signature=signature, constexprs=constants)
ptx = compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
print("mma" in ptx)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("storage", "numbers"),
    [("float32", "fp32"), ("float16", "fp16"), ("bfloat16", "bf16"), ("int8", "i8"), ("signs", "u8")],
)
@pytest.mark.parametrize("with_matches", [False, True])
def test_compiles_for_a_hopper_gpu(storage, numbers, with_matches, tmp_path):
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, storage, numbers, str(int(with_matches))],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.split() == ["True"]
