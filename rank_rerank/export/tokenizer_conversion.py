"""tokenizer.json from what older models have in its place: the choice of a reader, by the model's type."""

from pathlib import Path

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.special_tokens import TOKENIZER_FILE, VOCABULARY_FILE
from rank_rerank.errors import ExportError
from rank_rerank.export import sentencepiece_conversion, vocabulary_conversion


def write_tokenizer(folder: Path, target: Path, vocabulary_file: str) -> None:
    """Make tokenizer.json of a folder's vocab.txt or SentencePiece model.

    Args:
        folder: the model's folder.
        target: the folder to write to.
        vocabulary_file: the name of the file to read.

    Raises:
        CheckpointFormatError: a file is damaged, or no plain file inside the folder.
        ExportError: the model is of another type than those the file is read for, or as the reader says.
    """
    is_words = vocabulary_file == VOCABULARY_FILE
    reader = vocabulary_conversion if is_words else sentencepiece_conversion
    model_type = JsonSettings.read(folder, "config.json").get("model_type", "")
    if model_type not in reader.MODEL_TYPES:
        raise ExportError(
            f"{TOKENIZER_FILE} is missing, and {vocabulary_file} is read for {', '.join(reader.MODEL_TYPES)}, not for "
            f'"{model_type[:40]}"; make it with transformers{"" if is_words else " and sentencepiece"}: '
            "AutoTokenizer.from_pretrained(MODEL).save_pretrained(MODEL)"
        )
    reader.read_tokenizer(folder, vocabulary_file).save(str(target / TOKENIZER_FILE))
