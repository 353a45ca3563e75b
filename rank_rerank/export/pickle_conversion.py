"""Convert a model folder, once, by request: weights in a pickle to safetensors, a vocabulary to tokenizer.json.

A pickle can run code when it is opened. PyTorch's ``weights_only`` refuses that, and has been broken before
(CVE-2025-32434, CVE-2026-24747), so versions before 2.10 are refused, and the file is opened in a process of its own.
Convert only files whose origin you trust.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rank_rerank.arguments import is_folder, is_there
from rank_rerank.checkpoints.model_files import PICKLE_FILE, SAFETENSORS_FILE, file_inside
from rank_rerank.checkpoints.safetensors_file import SafetensorsFile
from rank_rerank.checkpoints.special_tokens import TOKENIZER_FILE, find_bare_vocabulary
from rank_rerank.devices import import_optional, install_command
from rank_rerank.errors import CheckpointNotFoundError, ExportError, MissingDependencyError
from rank_rerank.export.tokenizer_conversion import write_tokenizer

PURPOSE = "Converting a pickle"
OLDEST_TORCH = (2, 10)
TIMEOUT_S = 1800
PICKLE_SUFFIXES = (".bin", ".pkl", ".pt", ".pth")
# what runs in the process of its own: two paths, the pickle and the file to write
PROGRAM = """
import sys, torch
from safetensors.torch import save_file
state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
    sys.exit("the file holds something else than tensors by name")
save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, sys.argv[2])
"""


def convert_folder(folder: Path, output: Path) -> list[str]:
    """Copy a model folder with every pytorch_model.bin turned into model.safetensors, and tokenizer.json made.

    tokenizer.json is made of vocab.txt or a SentencePiece model, where one is there and the other is not.

    Args:
        folder: the model's folder.
        output: the folder to make; it must not exist.

    Returns:
        The names of what was converted, relative to the folder.

    Raises:
        CheckpointNotFoundError: there is no such folder.
        CheckpointFormatError: a file is a link out of the folder, or no plain file.
        ExportError: output exists, there is nothing to convert, or a file holds something else than tensors or words.
        MissingDependencyError: there is a pickle, and PyTorch 2.10 or newer, or safetensors, is not installed.
    """
    if not is_folder(folder):
        raise CheckpointNotFoundError(f'there is no model folder "{folder}"')
    if is_there(output):
        raise ExportError(f"{output} exists already; name a folder that does not")
    pickles = sorted(path.relative_to(folder).as_posix() for path in folder.rglob(PICKLE_FILE))
    vocabulary = find_bare_vocabulary(folder)
    if not pickles and vocabulary is None:
        raise ExportError(f"{folder} has no {PICKLE_FILE} to convert, and no {TOKENIZER_FILE} is to be made")
    if pickles:
        _check_torch()
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.absolute().parent) as scratch:
        target = Path(scratch) / "model"
        _copy(folder, target)
        for name in pickles:
            _convert(file_inside(folder, name), (target / name).with_name(SAFETENSORS_FILE))
        if vocabulary is not None:
            write_tokenizer(folder, target, vocabulary)
        target.rename(output)
    return [*pickles, *([] if vocabulary is None else [vocabulary])]


def _copy(folder: Path, target: Path) -> None:
    """Copy a folder's plain files; what is no plain file inside it is refused."""
    target.mkdir()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_dir() and not path.is_symlink():
            (target / name).mkdir()
        elif path.suffix not in PICKLE_SUFFIXES:
            # the content of a link, as of a Hub's cache, not the link
            shutil.copyfile(file_inside(folder, name.as_posix()), target / name)


def _convert(pickle: Path, target: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM, str(pickle), str(target)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"the process ended with {done.returncode}"]
        raise ExportError(f"{pickle.name} cannot be converted: {last[0][:300]}")
    SafetensorsFile(target)


def _check_torch() -> None:
    torch = import_optional("torch", "export", PURPOSE)
    import_optional("safetensors", "export", PURPOSE)
    found = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if found < OLDEST_TORCH:
        raise MissingDependencyError(
            f"{PURPOSE} needs torch 2.10 or newer, this is {torch.__version__}: older ones can be made to run code. "
            f"Install it with: {install_command('export')}"
        )
