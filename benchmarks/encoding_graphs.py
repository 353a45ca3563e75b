"""The graphs that bench_encoding.py compares with: one model, as others export, fuse and quantize it."""

from pathlib import Path
from typing import Any

from rank_rerank.export.onnx_export import MIN_NORM

HEADS, HIDDEN = 12, 384
# what ONNX Runtime 1.20 reads, and what its fusions and bge-m3-lite's rewriting know
CLASSIC_OPSET = 17


def quantize_dynamic(fp32: bytes, folder: Path, *, fused: bool) -> bytes:
    """What peers ship: ONNX Runtime's dynamic quantizer, one weight scale per column."""
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from onnxruntime.transformers.optimizer import optimize_model

    before, prepared = (folder / f"{fused}_{name}.onnx" for name in ("before", "prepared"))
    before.write_bytes(fp32)
    if fused:
        optimizer = optimize_model(str(before), "bert", num_heads=HEADS, hidden_size=HIDDEN, opt_level=0)
        optimizer.save_model_to_file(str(prepared))
    else:
        quant_pre_process(str(before), str(prepared), skip_symbolic_shape=True)  # which fails on free axes
    # its quantizer takes the ONNX operator Attention for its own of the same name and makes an invalid model
    return quantize_file(prepared, ["MatMul", "Gather"])


def quantize_file(prepared: Path, operators: list[str]) -> bytes:
    """Quantize a graph's operators."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    after = prepared.with_name(f"{prepared.stem}_quantized.onnx")
    quantize_dynamic(
        prepared,
        after,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=operators,
        extra_options={"DefaultTensorType": 1},  # float32, where shape inference gives up
    )
    return after.read_bytes()


def classic_graph(source: Path, folder: Path) -> Path:
    """The model as PyTorch's older exporter writes it, whose attention ONNX Runtime's fusions know."""
    import torch
    import transformers

    file = folder / "classic.onnx"
    if file.exists():
        return file
    encoder = transformers.BertModel.from_pretrained(source, add_pooling_layer=False, attn_implementation="eager")

    class TokenVectors(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return hidden / hidden.norm(dim=-1, keepdim=True).clamp_min(MIN_NORM)

    token_ids = torch.arange(14).reshape(2, 7) + 1
    mask = torch.ones_like(token_ids)
    mask[1, 5:] = 0
    names = ["input_ids", "attention_mask", "output"]
    torch.onnx.export(
        TokenVectors().eval(),
        (token_ids, mask),
        str(file),
        dynamo=False,
        opset_version=CLASSIC_OPSET,
        input_names=names[:2],
        output_names=names[2:],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
    )
    return file


def fused_graph(source: Path, folder: Path) -> Path:
    """The same with attention, GELU and normalization in one operator each."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    file = folder / "fused.onnx"
    if not file.exists():
        settings = FusionOptions("bert")
        settings.enable_embed_layer_norm = False  # it would hide the table of words from the quantizers
        classic = str(classic_graph(source, folder))
        optimize_model(
            classic, "bert", num_heads=HEADS, hidden_size=HIDDEN, opt_level=0, optimization_options=settings
        ).save_model_to_file(str(file))
    return file


def fused_and_quantized(source: Path, folder: Path) -> bytes:
    """ONNX Runtime's dynamic quantizer on the graph whose attention is one operator."""
    return quantize_file(fused_graph(source, folder), ["MatMul", "Gather", "Attention"])


def row_wise(source: Path, folder: Path) -> bytes:
    """The INT8 scheme of bge-m3-lite, by its own rewriting: one scale and zero point per token.

    SmoothQuant, which it does first, is left out: it needs texts in that package's own tokens. It costs one
    multiplication before each product.
    """
    import onnx
    from bge_m3_lite.quantize import QuantConfig, quantize

    file = folder / "row_wise.onnx"
    quantize(fused_graph(source, folder), file, QuantConfig(smooth_alpha=None))
    return onnx.load(str(file)).SerializeToString()
