"""A PyTorch encoder → an fp32 ONNX graph of token vectors.

The graph takes ``input_ids`` and ``attention_mask``, int64 [batch, length], both axes free, and gives ``output``,
float32 [batch, length, dim], with unit rows: x / max(‖x‖₂, 1e-12).
"""

import copy
from ast import literal_eval
from typing import Any

from rank_rerank.devices import import_optional
from rank_rerank.export import graph_editing

INPUT_NAMES = ("input_ids", "attention_mask")
TYPES_NAME = "token_type_ids"
OUTPUT_NAME = "output"
# the first operator set with Attention, so that an attention arrives as one node
OPSET = 23
# what ONNX Runtime 1.20 and every execution provider's compiler know; an attention arrives as its parts
PORTABLE_OPSET = 18
MIN_NORM = 1e-12
PURPOSE = "Exporting a model"


def token_vector_module(encoder: Any, projection: Any = None) -> Any:
    """Wrap a transformers encoder so that it gives unit token vectors; a copy in evaluation mode.

    Args:
        encoder: a module that takes ``input_ids`` and ``attention_mask`` and has an output ``last_hidden_state``.
        projection: a module from its hidden states to unit vectors; None to bring them to unit length only.

    Returns:
        A module (input_ids, attention_mask) → [batch, length, dim]. Dropout is off for certain: an encoder left in
        training mode would make the reference wrong, not the export.
    """
    torch = import_optional("torch", "export", PURPOSE)

    class TokenVectors(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = copy.deepcopy(encoder)
            self.projection = copy.deepcopy(projection)

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            # a mask of four axes is taken as it is, which keeps index arithmetic out of the graph
            keys = attention_mask[:, None, None, :].to(torch.bool)  # [batch, 1, 1, length]
            mask = keys.expand(-1, -1, input_ids.shape[1], -1)  # [batch, 1, length, length]
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            hidden = self.encoder(input_ids=input_ids, attention_mask=mask, **types).last_hidden_state
            if projection is not None:
                return self.projection(hidden)
            return hidden / hidden.norm(dim=-1, keepdim=True).clamp_min(MIN_NORM)

    return TokenVectors().eval()


def export_onnx(
    encoder: Any,
    max_length: int = 512,
    projection: Any = None,
    opset: int = OPSET,
    *,
    has_token_types: bool = False,
) -> Any:
    """Trace an encoder into an fp32 ONNX model.

    Args:
        encoder: see token_vector_module.
        max_length: the longest text the model takes, in tokens.
        projection: see token_vector_module.
        opset: the ONNX operator set; the INT8 rewriting needs OPSET, other readers PORTABLE_OPSET.
        has_token_types: whether the graph takes ``token_type_ids`` too, as for pairs.

    Returns:
        An onnx_ir.Model whose initializers bear the names of the encoder's parameters; the matrix of a linear layer
        is stored transposed, [in, out], under the name of its parameter.
    """
    torch = import_optional("torch", "export", PURPOSE)
    import_optional("onnxscript", "export", PURPOSE)
    token_ids = torch.arange(14).reshape(2, 7) + 1
    attention_mask = torch.ones_like(token_ids)
    attention_mask[1, 5:] = 0
    # int64 [2, 7]: sizes of 0 and 1 would be taken for constants
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=2, max=max_length)}
    names = [*INPUT_NAMES, *([TYPES_NAME] if has_token_types else [])]
    inputs = (token_ids, attention_mask, torch.zeros_like(token_ids))[: len(names)]
    with torch.no_grad():
        program = torch.onnx.export(
            token_vector_module(encoder, projection),
            inputs,
            dynamo=True,
            input_names=names,
            output_names=[OUTPUT_NAME],
            dynamic_shapes=tuple(axes for _ in names),
            opset_version=opset,
            verbose=False,
        )
    model = program.model
    _name_weights(model)
    graph_editing.strip_traces(model)
    return model


def _name_weights(model: Any) -> None:
    """Give every initializer the name of the encoder's parameter it holds."""
    for node in model.graph:
        scopes = literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        if node.op_type == "MatMul" and len(scopes) > 1 and node.inputs[1].is_initializer():
            name = f"{scopes[-2]}.weight"
            # several matrices of one module keep the names they have
            if name not in model.graph.initializers:
                node.inputs[1].name = name
    for value in list(model.graph.initializers.values()):
        value.name = value.name.removeprefix("encoder.")
