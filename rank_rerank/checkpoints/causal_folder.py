"""Read a causal language model that reranks by its answer, yes or no: Qwen3-Reranker and models of its kind.

Such a model is told in a prompt to judge whether a document answers a query under an instruction. Its authors give the
prompt in the model's card; sentence-transformers' saves have it as a chat template, with the module LogitScore that
names the two answers. Models that were converted to a classifier (Qwen3ForSequenceClassification with one label) hold
the difference of the two answers' rows, and are asked in the same words. A template is never run: it is compared with
the family's prompt.
"""

import re
from dataclasses import replace
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint, YesNoPrompt
from rank_rerank.checkpoints.cross_encoder_folder import HF_CONFIG_FILE, check_num_labels, read_activation_name
from rank_rerank.checkpoints.decoder_config import DecoderConfig, is_causal_classifier, read_decoder_config
from rank_rerank.checkpoints.encoder_folder import (
    CONFIG_FILE,
    TRANSFORMER_CONFIG_FILE,
    Module,
)
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import find_file, read_text
from rank_rerank.checkpoints.special_tokens import (
    TOKENIZER_CONFIG_FILE,
    find_token_ids,
    find_tokenizer,
    model_max_length,
)
from rank_rerank.errors import CheckpointFormatError

TEMPLATE_FILE = "chat_template.jinja"
SCORE_MODULE = "LogitScore"
# of a model that was converted to a classifier of one label
SCORE_TENSOR = "score.weight"
# the card's own limit; the positions go further
DEFAULT_LENGTH = 8192
TASK = "Judge whether the Document meets the requirements based on the Query and the Instruct provided."
PROMPT = YesNoPrompt(
    before=(
        f'<|im_start|>system\n{TASK} Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    ),
    before_instruction="<Instruct>: ",
    before_query="\n<Query>: ",
    before_document="\n<Document>: ",
    after="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    instruction="Given a web search query, retrieve relevant passages that answer the query",
)
CONTROL_TOKENS = ("<|im_start|>", "<|im_end|>")
ANSWERS = ("yes", "no")
# in a chat template, what stands where no system message gives an instruction
TEMPLATE_DEFAULT = re.compile(r"""default\(\s*(["'])(.{1,2000}?)\1""", re.DOTALL)


def read_causal_reranker(
    folder: Path,
    name: str,
    modules: tuple[Module, ...],
    weights: tuple[str, Path],
    instruction: str | None = None,
) -> CrossEncoderCheckpoint:
    """Read a causal reranker's folder.

    Args:
        folder: the model's folder.
        name: what to call the model.
        modules: of its modules.json.
        weights: of `find_decoder_file`.
        instruction: what the document is to be judged by; None for the checkpoint's own, else the family's.

    Raises:
        CheckpointFormatError: nothing says that the model is a reranker, its prompt is not this family's, or a file is
            missing or damaged.
    """
    template = _read_template(folder)
    score = next((module for module in modules if module.kind == SCORE_MODULE), None)
    if score is None and weights[0] != "int8":  # what was exported was known to be one
        _check_is_reranker(folder, name, modules, template, instruction)
    decoder = read_decoder_config(folder)
    prompt = _read_prompt(folder, name, template, must_have_template=score is not None)
    prompt = replace(prompt, instruction=instruction or prompt.instruction)
    config = JsonSettings.read(folder, HF_CONFIG_FILE)
    is_converted = score is None and is_causal_classifier(config)
    if is_converted:
        check_num_labels(config, name)
        find_token_ids(folder, CONTROL_TOKENS)
        prompt = replace(prompt, score_tensor=SCORE_TENSOR)
    else:
        prompt = _with_answers(folder, name, prompt, score, decoder)
    return CrossEncoderCheckpoint(
        name=name,
        folder=folder,
        model_file=weights[1],
        tokenizer_file=find_tokenizer(folder),
        max_length=_longest_pair(folder, decoder),
        # sentence-transformers takes the sigmoid where a save of its own says nothing; the card's score is the log-odds
        activation=read_activation_name(folder, default="Sigmoid" if score or is_converted else "Identity"),
        precision=weights[0],
        decoder=decoder,
        prompt=prompt,
    )


def _with_answers(
    folder: Path, name: str, prompt: YesNoPrompt, score: Module | None, decoder: DecoderConfig
) -> YesNoPrompt:
    yes_id, no_id = _read_answers(folder, score)
    for token in (yes_id, 0 if no_id is None else no_id):
        if not 0 <= token < decoder.vocab_size:
            raise CheckpointFormatError(f"{name}: the token of an answer is missing, or outside the vocabulary")
    return replace(prompt, yes_id=yes_id, no_id=no_id)


def _read_answers(folder: Path, score: Module | None) -> tuple[int, int | None]:
    """The tokens of the answers yes and no; the tokenizer must have the prompt's control tokens too."""
    words = CONTROL_TOKENS if score is not None else (*CONTROL_TOKENS, *ANSWERS)
    ids = find_token_ids(folder, words)
    if score is None:
        return ids[-2], ids[-1]
    stated = JsonSettings.read(folder, f"{score.where}/config.json")
    return stated.get("true_token_id", -1), stated.get_optional_int("false_token_id")


def _check_is_reranker(
    folder: Path, name: str, modules: tuple[Module, ...], template: str, instruction: str | None
) -> None:
    """A chat model of this architecture answers yes or no to anything: something has to state that it is a reranker."""
    names = f"{folder.resolve().name} {Path(name).name}".lower()
    says_so = "rerank" in names or TASK in template
    if modules or not (says_so or instruction):
        raise CheckpointFormatError(
            f"{name} is a causal language model, and nothing says that it is a reranker: neither its name, nor a chat "
            f"template, nor the module {SCORE_MODULE}. If it is one of the Qwen3-Reranker kind, load it with "
            'instruction="…", which is what documents are judged by'
        )


def _read_template(folder: Path) -> str:
    """The chat template, with escaped line ends as line ends; "" for none."""
    path = find_file(folder, TEMPLATE_FILE)
    if path is not None:
        content = read_text(path)
    else:
        content = JsonSettings.read_if_there(folder, TOKENIZER_CONFIG_FILE).get_value("chat_template") or ""
    return str(content).replace("\\n", "\n").replace('\\"', '"')


def _read_prompt(folder: Path, name: str, template: str, *, must_have_template: bool) -> YesNoPrompt:
    """The family's prompt, with the instruction that the checkpoint states.

    Raises:
        CheckpointFormatError: the checkpoint is used through its template, and that says something else.
    """
    stated = JsonSettings.read_if_there(folder, CONFIG_FILE)
    prompts, default_name = stated.get_object("prompts"), stated.get_optional_str("default_prompt_name")
    instruction = None if prompts is None or default_name is None else prompts.get_optional_str(default_name)
    if not must_have_template:
        return replace(PROMPT, instruction=instruction or PROMPT.instruction)
    parts = (PROMPT.before + PROMPT.before_instruction, PROMPT.before_query, PROMPT.before_document, PROMPT.after)
    places = [template.find(part) for part in parts]
    if -1 in places or places != sorted(places):
        raise CheckpointFormatError(
            f"{name}: the chat template is not that of Qwen3-Reranker, and templates of models are not run"
        )
    # Jinja drops one line end at the end of a template
    after = PROMPT.after.removesuffix("\n") if template.endswith(PROMPT.after) else PROMPT.after
    if instruction is None and (found := TEMPLATE_DEFAULT.search(template)) is not None:
        instruction = found[2]
    return replace(PROMPT, after=after, instruction=instruction or PROMPT.instruction)


def _longest_pair(folder: Path, decoder: DecoderConfig) -> int:
    stated = JsonSettings.read_if_there(folder, TRANSFORMER_CONFIG_FILE).get_optional_int("max_seq_length")
    limits = (stated or DEFAULT_LENGTH, model_max_length(folder), decoder.max_positions)
    return min(limit for limit in limits if limit is not None)
