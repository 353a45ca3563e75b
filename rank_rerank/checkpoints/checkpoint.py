"""Checkpoint: a model's files and the settings that say how its authors encode text."""

from dataclasses import dataclass
from pathlib import Path

from rank_rerank.checkpoints.classifier_head import ClassifierHead
from rank_rerank.checkpoints.decoder_config import DecoderConfig
from rank_rerank.checkpoints.safetensors_file import weight_files
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError

FAMILIES = ("next-plaid ONNX", "PyLate", "Stanford ColBERT", "multi-vector", "ColBERT ONNX", "plain encoder")
DENSE_ACTIVATIONS = ("identity", "tanh", "relu", "gelu", "sigmoid", "silu")
MAX_LENGTH = 1 << 20
MAX_DIM = 1 << 17
MAX_POOL_FACTOR = 64
MAX_PROTECTED_TOKENS = 8192


@dataclass(frozen=True)
class EncodingSettings:
    """How a text becomes tokens, and which of them are scored.

    Lengths count tokens, special ones and the marker included. A marker is inserted by id after the first special
    token, never as text. Query expansion fills a query up to ``query_length`` with the expansion token.

    Attributes:
        query_prefix: the query marker as it stands in the vocabulary; "" for none.
        document_prefix: the document marker; "" for none.
        query_length: the most tokens a query may have.
        document_length: the most tokens a document may have.
        do_query_expansion: fill queries up to query_length.
        attend_to_expansion_tokens: whether the model may look at the filler.
        skiplist_words: words whose vectors are left out of documents (queries keep them).
        query_prefix_id: the marker's id where the checkpoint states it; None to look it up.
        document_prefix_id: likewise.
        expansion_token_id: the filler; None for expansion_token.
        expansion_token: the filler as it stands in the vocabulary; "" for the tokenizer's mask token.
        expansion_length: fill queries up to so many tokens; None for query_length. A longer query stays as it is.
        query_prompt: text before every query, after the marker.
        document_prompt: likewise for documents.
        strip_text: leave white space around a text out.
        do_lower_case: lower-case a text before it is tokenized.
        skiplist_of_encoded_words: a skiplist word stands for the first token it is encoded to (Stanford's rule), not
            for the token that is spelt like it. They differ where a vocabulary marks the beginning of words.
        skiplist_queries: leave skiplist words out of queries too.
    """

    query_prefix: str = ""
    document_prefix: str = ""
    query_length: int = 32
    document_length: int = 180
    do_query_expansion: bool = False
    attend_to_expansion_tokens: bool = False
    skiplist_words: tuple[str, ...] = ()
    query_prefix_id: int | None = None
    document_prefix_id: int | None = None
    expansion_token_id: int | None = None
    expansion_token: str = ""
    expansion_length: int | None = None
    query_prompt: str = ""
    document_prompt: str = ""
    strip_text: bool = True
    do_lower_case: bool = False
    skiplist_of_encoded_words: bool = False
    skiplist_queries: bool = False

    def __post_init__(self) -> None:
        for name in ("query_length", "document_length"):
            # [CLS], a marker, one word, [SEP]
            if not 4 <= getattr(self, name) <= MAX_LENGTH:  # noqa: PLR2004
                raise CheckpointFormatError(f"{name} must be at least 4 tokens, and at most {MAX_LENGTH}")
        if self.expansion_length is not None and not 1 <= self.expansion_length <= self.query_length:
            raise CheckpointFormatError("the length of query expansion must be from 1 to query_length")


@dataclass(frozen=True)
class DenseLayer:
    """One step of a projection: y = act(W x + b), plus x (or V x where the sizes differ) if it is residual.

    Attributes:
        weights: the file that holds ``linear.weight`` [out, in], ``linear.bias`` [out] and ``residual.weight``
            [out, in].
        in_features: numbers per vector that comes in.
        out_features: numbers per vector that goes out.
        has_bias: whether there is a bias.
        activation: one of DENSE_ACTIVATIONS.
        is_residual: whether what comes in is added.
    """

    weights: Path
    in_features: int
    out_features: int
    has_bias: bool = False
    activation: str = "identity"
    is_residual: bool = False


@dataclass(frozen=True)
class DocumentPooling:
    """Pooling of document vectors that a checkpoint asks for; fields as in rank_rerank.Pooling, method Ward's."""

    factor: int
    protected_tokens: int
    normalize: bool

    def __post_init__(self) -> None:
        for name, low, high in (("factor", 1, MAX_POOL_FACTOR), ("protected_tokens", 0, MAX_PROTECTED_TOKENS)):
            if not low <= getattr(self, name) <= high:
                raise CheckpointFormatError(f"the {name} of a document's pooling must be from {low} to {high}")


@dataclass(frozen=True)
class OnnxOutput:
    """Which output of an ONNX file holds token vectors, and what is still to be done with them.

    Attributes:
        name: of the output; "" for the file's only one.
        normalize: the vectors are of any length, and are divided by it here.
    """

    name: str = ""
    normalize: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """A late-interaction model on disk.

    Attributes:
        name: what the user asked for, or "bundled".
        folder: where its files are.
        model_file: what the runtime opens: an ONNX file that ends with token vectors; model.safetensors with the
            encoder's weights; or the index of its parts.
        tokenizer_file: tokenizer.json.
        dim: numbers per token vector.
        settings: how its authors encode.
        precision: "int8" or "fp32": what the model file computes in.
        family: the layout on disk, for people: one of FAMILIES.
        transformer: the encoder's shape; None for an ONNX file, which has it inside.
        dense: the projection's steps, in order; none for an ONNX file, and for a plain encoder.
        similarity: "maxsim", or "meanmaxsim", which is divided by the number of the query's vectors.
        pooling: what the checkpoint does with the vectors of documents; None for nothing.
        output: which output of an ONNX file is read, and how.
    """

    name: str
    folder: Path
    model_file: Path
    tokenizer_file: Path
    dim: int
    settings: EncodingSettings
    precision: str
    family: str = "next-plaid ONNX"
    transformer: TransformerConfig | None = None
    dense: tuple[DenseLayer, ...] = ()
    similarity: str = "maxsim"
    pooling: DocumentPooling | None = None
    output: OnnxOutput = OnnxOutput()

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= MAX_DIM:
            raise CheckpointFormatError(f"{self.name}: a token vector must have from 1 to {MAX_DIM} numbers")

    @property
    def is_onnx(self) -> bool:
        """Whether model_file is an ONNX graph, rather than weights for an encoder of this library."""
        return self.model_file.suffix == ".onnx"

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """Every file that holds weights, the encoder's first, each once."""
        encoder = [self.model_file] if self.is_onnx else weight_files(self.model_file)
        return tuple(dict.fromkeys([*encoder, *(layer.weights for layer in self.dense)]))


@dataclass(frozen=True)
class CrossEncoderCheckpoint:
    """A model that reads query and document together and gives one number.

    Attributes:
        name: what the user asked for.
        folder: where its files are.
        model_file: an ONNX file with the output ``logits``, model.safetensors, or the index of its parts.
        tokenizer_file: tokenizer.json.
        max_length: the most tokens a pair may have, special ones included.
        activation: "sigmoid" or "identity": what turns the logit into the score.
        precision: "int8" or "fp32": what the model file computes in.
        transformer: the encoder's shape; None for an ONNX file.
        head: how the logit is made of the encoder's output; None for an ONNX file.
        do_lower_case: lower-case texts before they are tokenized.
        has_token_types: tell the model which tokens are the query's and which the document's, if it has types.
        decoder: the shape of a causal language model, used instead of ``transformer`` and ``head``.
        prompt: how a causal language model is asked.
        query_prompt: text before every query.
        label: of an ONNX file that gives two numbers for a pair, which counts: the score is their difference.
    """

    name: str
    folder: Path
    model_file: Path
    tokenizer_file: Path
    max_length: int
    activation: str
    precision: str
    transformer: TransformerConfig | None = None
    head: ClassifierHead | None = None
    do_lower_case: bool = False
    has_token_types: bool = True
    decoder: DecoderConfig | None = None
    prompt: "YesNoPrompt | None" = None
    query_prompt: str = ""
    label: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_length <= MAX_LENGTH:
            raise CheckpointFormatError(f"{self.name}: a pair must have from 1 to {MAX_LENGTH} tokens")

    @property
    def family(self) -> str:
        """The kind of model, for people."""
        if self.prompt is not None:
            return "causal reranker"
        return "modular cross-encoder" if self.head is not None and self.head.is_modular else "cross-encoder"

    @property
    def is_onnx(self) -> bool:
        """Whether model_file is an ONNX graph."""
        return self.model_file.suffix == ".onnx"


@dataclass(frozen=True)
class YesNoPrompt:
    """How a causal language model is asked whether a document answers a query.

    The model reads ``before + before_instruction + instruction + before_query + query + before_document + document +
    after``. The score is the log-odds of its answer: the logit of "yes" minus that of "no" after the last token.

    Attributes:
        before: text with control tokens.
        before_instruction: plain text, as all up to the document.
        before_query: plain text.
        before_document: plain text.
        after: text with control tokens.
        instruction: what the document is to be judged by.
        yes_id: the token of the answer yes.
        no_id: the token of the answer no; None where the logit of yes alone is the score.
        score_tensor: the tensor [1, hidden_size] that gives the log-odds in a model that was converted to a
            classifier; "" where the two answers' rows of the table of words do.
    """

    before: str
    before_instruction: str
    before_query: str
    before_document: str
    after: str
    instruction: str
    yes_id: int = 0
    no_id: int | None = None
    score_tensor: str = ""
