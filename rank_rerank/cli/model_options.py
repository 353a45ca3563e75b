"""ModelOptions: what every command that loads a model is told about it."""

from dataclasses import dataclass, field

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.inference.choose import Device
from rank_rerank.rerankers import ColbertReranker, CrossEncoderReranker, load


@dataclass(frozen=True)
class ModelOptions:
    """Which model, from where, on what; the fields are the commands' arguments, and errors are those of load()."""

    model: str | None = None
    num_threads: int | None = None
    device: str = "auto"
    revision: str | None = None
    token: str | None = field(default=None, repr=False)
    local_files_only: bool = False
    cache_dir: str | None = None

    @property
    def devices(self) -> Device:
        """The device, or several with commas between."""
        return self.device.split(",") if "," in self.device else self.device

    @property
    def hub(self) -> HubOptions:
        """How the Hub is asked."""
        return HubOptions(self.revision, self.token, self.local_files_only, self.cache_dir)

    def find(self, runtime: str = "auto") -> Checkpoint | CrossEncoderCheckpoint:
        """Find the model, and read its settings."""
        return find_model(self.model, hub=self.hub, runtime=runtime)

    def load(self, instruction: str | None = None) -> ColbertReranker | CrossEncoderReranker:
        """Load the reranker."""
        return load(
            self.model,
            revision=self.revision,
            token=self.token,
            local_files_only=self.local_files_only,
            cache_dir=self.cache_dir,
            device=self.devices,
            num_threads=self.num_threads,
            instruction=instruction,
        )

    def load_encoder(self) -> TokenEncoder:
        """Load the encoder of a late-interaction model."""
        return TokenEncoder.from_pretrained(
            self.model,
            revision=self.revision,
            token=self.token,
            local_files_only=self.local_files_only,
            cache_dir=self.cache_dir,
            device=self.devices,
            num_threads=self.num_threads,
        )
