"""load() and the rerankers: each joins the stages into one call."""

from rank_rerank.inference.load_options import LoadOptions, RuntimeOptions
from rank_rerank.rerankers.blending import Blend
from rank_rerank.rerankers.calibrating import calibrate
from rank_rerank.rerankers.cascade_reranker import CascadeReranker
from rank_rerank.rerankers.cascade_stages import CascadeStage
from rank_rerank.rerankers.colbert_reranker import ColbertReranker
from rank_rerank.rerankers.cross_encoder_reranker import CrossEncoderReranker
from rank_rerank.rerankers.dense_reranker import DenseReranker
from rank_rerank.rerankers.loading import load, load_with
from rank_rerank.rerankers.requests import RerankRequest, aanswer, answer, check_fields, check_request, instructed
from rank_rerank.rerankers.reranker import Reranker

__all__ = [
    "Blend",
    "CascadeReranker",
    "CascadeStage",
    "ColbertReranker",
    "CrossEncoderReranker",
    "DenseReranker",
    "LoadOptions",
    "RerankRequest",
    "Reranker",
    "RuntimeOptions",
    "aanswer",
    "answer",
    "calibrate",
    "check_fields",
    "check_request",
    "instructed",
    "load",
    "load_with",
]
