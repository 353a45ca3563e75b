"""The seeded causal reranker in llama.cpp: its weights as a Q8_0 file, and a pair as a prompt of one answer token.

Needs `pip install xllamacpp gguf`: xllamacpp brings llama.cpp for the CPU, and gguf writes the file.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import xllamacpp
from causal_model import HEAD, HEADS, HIDDEN, INNER, KEY_HEADS
from gguf.quants import quantize

from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.tokenization.token_batch import TokenBatch

Q8 = gguf.GGMLQuantizationType.Q8_0
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(source: Path, file: Path, num_layers: int, vocabulary: int) -> Path:
    """Write the weights in Q8_0, unless the file is there."""
    if file.is_file():
        return file
    partial = file.with_suffix(".partial")
    writer = gguf.GGUFWriter(str(partial), "qwen3", use_temp_file=True)
    writer.add_context_length(32_768)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(num_layers)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    # tokens come as numbers; llama.cpp wants a vocabulary all the same
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"t{number}" for number in range(vocabulary)])
    writer.add_token_types([gguf.TokenType.NORMAL] * vocabulary)
    writer.add_token_merges(["t 0"])
    tensors = TensorFiles(source / "model.safetensors")
    for name in tensors:
        values = np.ascontiguousarray(tensors[name])
        if values.ndim == 1:
            writer.add_tensor(_name(name), values)
        else:
            writer.add_tensor(_name(name), quantize(values, Q8), raw_dtype=Q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(file)
    return file


def _name(name: str) -> str:
    bare = name.removeprefix("model.").removesuffix(".weight")
    if bare == "embed_tokens":
        return "token_embd.weight"
    if bare == "norm":
        return "output_norm.weight"
    _, layer, part = bare.split(".", 2)
    return f"blk.{layer}.{NAMES[part]}.weight"


class LlamaReranker:
    """Asks llama.cpp for one token after each pair; what a pair shares with the one before it is kept.

    Args:
        file: of write_gguf.
        num_threads: threads.
        num_tokens: the longest pair.
    """

    def __init__(self, file: Path, num_threads: int, num_tokens: int) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx = max(1024, 2 * num_tokens)
        params.n_batch = params.n_ubatch = 512
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.warmup = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = num_threads
        self._server = xllamacpp.Server(params)
        self.description = f"llama.cpp of xllamacpp {version('xllamacpp')}, Q8_0: {xllamacpp.get_system_info()}"

    def run(self, batch: TokenBatch) -> None:
        """Read every pair and compute the answer's odds."""
        for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
            asked: dict[str, Any] = {
                "prompt": batch.token_ids[start:end].tolist(),
                "n_predict": 1,
                "temperature": 0,
                "cache_prompt": True,
            }
            self.answer = self._server.handle_completions(asked)
            if "error" in self.answer:
                raise RuntimeError(str(self.answer)[:500])
