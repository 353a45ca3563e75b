"""What every command that loads a model is told about it, as LoadOptions."""

import argparse

from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.inference.load_options import LoadOptions, RuntimeOptions


def read_load_options(arguments: argparse.Namespace) -> LoadOptions:
    """The options of a model, of the arguments that a command has of them; errors are those of load()."""
    values = vars(arguments)

    def given(*names: str) -> dict[str, object]:
        return {name: values[name] for name in names if name in values}

    device = values.get("device", "auto")
    hub = HubOptions(**given("revision", "token", "local_files_only", "cache_dir"))  # pyright: ignore[reportArgumentType] - the parser's types
    runtime = RuntimeOptions(
        # several devices have commas between them
        device=device.split(",") if "," in device else device,
        **given("precision", "num_threads", "runtime"),  # pyright: ignore[reportArgumentType]
    )
    return LoadOptions(values.get("model"), hub, runtime, values.get("instruction"), label=values.get("label"))


def load_encoder(options: LoadOptions) -> TokenEncoder:
    """Load the encoder of a late-interaction model."""
    return TokenEncoder.from_checkpoint(options.find_encoder(), options.runtime)
