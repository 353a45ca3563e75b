"""Settings: from flags, RANK_RERANK_… variables and a file, in this order."""

import json
import re
import tomllib
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from rank_rerank.arguments import is_file
from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.devices import Precision, Runtime
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions, RuntimeOptions
from rank_rerank.serving.dialects.fields import DocumentForm, IsNumber

LOOPBACK_NAMES = ("localhost",)


def _split(value: Any) -> Any:
    """A variable of the environment holds a list with white space between."""
    return value.split() if isinstance(value, str) else value


def _as_prefix(value: Any) -> Any:
    """Slashes round a prefix may be there or not."""
    if not isinstance(value, str):
        return value
    parts = value.strip("/")
    return f"/{parts}" if parts else ""


Words: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
FORMS = "It must be TOML, or JSON if its name ends in .json"
# a year in seconds, and more megabytes than any machine has: what is larger would not fit where numbers are whole
MOST = 3e7
Positive: TypeAlias = Annotated[float, IsNumber, Field(gt=0, le=MOST)]
NotNegative: TypeAlias = Annotated[float, IsNumber, Field(ge=0, le=MOST)]
Count: TypeAlias = Annotated[int, IsNumber, Field(ge=1)]


class Settings(BaseSettings):
    """What the server is told; each field is also a flag of ``rank-rerank serve`` and a variable RANK_RERANK_FIELD.

    Attributes:
        model: NAME=MODEL or MODEL, each a folder, a Hub name or "bundled"; the first answers unknown names.
        cascade: NAME=FIRST>NEXT:KEEP, of names of models.
        store: NAME=DIR or DIR: stores whose documents are ranked by ids.
        host: address to listen at.
        port: 0 for a free one.
        api_key_file: a key in each line.
        api_key: more keys.
        open: listen beyond this machine without a key.
        strict_model: refuse model names that are not served.
        document: how results carry their document: as an object with text, as a string, or not at all.
        deadline_s: within which a request is answered or refused.
        max_deadline_s: the longest that a request may name or need.
        max_documents: of a request.
        max_body_mb: of a request's body.
        max_waiting_mb: of all bodies at once.
        max_answer_mb: of an answer of vectors or explanations, which may be a thousand times its request.
        body_timeout_s: within which a body must be there.
        header_timeout_s: within which a request's head must be there.
        max_connections: at once; more are refused.
        cors_origin: origins of other pages whose scripts may ask; none by default.
        prefix: a path in front of every route.
        metrics: "key" asks for a key where there are keys, "open" does not, "off" has no /metrics.
        workers: processes that share the port.
        drain_s: on SIGTERM, how long the server says that it is not ready before it stops listening.
        log_level: of the server's own messages.
        text_cache: a folder in which the vectors of texts are kept, so that they are not encoded again.
        text_cache_mb: of all of it.
        share_text_cache: between keys; the cache in memory too.
        budget_ms: of a request that names none: it reads the most promising documents in so many milliseconds.
        cache_mb: of memory for the vectors of texts that came lately, which are not encoded again; 0 for none.
        device, precision, num_threads, runtime, label: what computes the models, as of ``load``.
        revision, token, local_files_only, cache_dir: how the Hub is asked, as of ``load``.
    """

    # containers are often given variables of which some are empty: these are not given
    model_config = SettingsConfigDict(
        env_prefix="RANK_RERANK_", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    model: Words = ("bundled",)
    cascade: Words = ()
    store: Words = ()
    host: str = "127.0.0.1"
    port: Annotated[int, IsNumber, Field(ge=0, le=65535)] = 8808
    api_key_file: Path | None = None
    api_key: Words = ()
    open: bool = False
    strict_model: bool = False
    document: DocumentForm = "object"
    deadline_s: Positive = 9.0
    max_deadline_s: Positive = 60.0
    max_documents: Count = 4096
    max_body_mb: Positive = 32.0
    max_waiting_mb: Positive = 512.0
    max_answer_mb: Positive = 256.0
    body_timeout_s: Positive = 10.0
    header_timeout_s: Positive = 10.0
    max_connections: Count = 1024
    cors_origin: Words = ()
    prefix: Annotated[str, BeforeValidator(_as_prefix), Field(pattern=r"^(/[\w.~-]+)*$")] = ""
    metrics: Literal["key", "open", "off"] = "key"
    workers: Count = 1
    drain_s: NotNegative = 0.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    text_cache: Path | None = None
    text_cache_mb: Positive = 1024.0
    share_text_cache: bool = False
    budget_ms: Positive | None = None
    cache_mb: NotNegative = 256.0
    device: str = "auto"
    precision: Precision = "auto"
    num_threads: Annotated[Annotated[int, Field(ge=1, le=256)] | None, IsNumber] = None
    runtime: Runtime = "auto"
    label: str | None = None
    revision: str | None = None
    token: str | None = None
    local_files_only: bool = False
    cache_dir: str | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then variables; a file comes in through ``read_settings``."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings

    @property
    def load_options(self) -> LoadOptions:
        """How each model is loaded."""
        device = self.device.split(",") if "," in self.device else self.device
        return LoadOptions(
            hub=HubOptions(self.revision, self.token, self.local_files_only, self.cache_dir),
            runtime=RuntimeOptions(device, self.precision, self.num_threads, self.runtime),
            label=self.label,
        )


def read_settings(given: dict[str, Any], file: Path | None = None) -> Settings:
    """Settings from flags, variables and a file.

    Args:
        given: flags that were given.
        file: .toml or .json; None for none.

    Raises:
        InvalidArgumentError: one is unknown or out of its range; the message has its name.
    """
    if file is not None and not is_file(file):
        raise InvalidArgumentError(f"there is no settings file {file}")

    class WithFile(Settings):
        # a variable may be another program's, and a word in the file is meant for this one
        model_config = SettingsConfigDict(extra="forbid")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            return init_settings, env_settings, InitSettingsSource(settings_cls, written)

    written = {} if file is None else _read_file(file)
    try:
        return Settings(**given) if file is None else Settings(**WithFile(**given).model_dump())
    except ValidationError as error:
        raise InvalidArgumentError(_reason(error)) from None


def _read_file(file: Path) -> dict[str, Any]:
    """The values of a file; editors may begin it with a mark of its encoding."""
    try:
        text = file.read_text("utf-8-sig")
        values: object = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (ValueError, OSError, RecursionError) as error:  # a text of another kind, or nested without end
        raise InvalidArgumentError(
            f"the settings file {file} cannot be read: {type(error).__name__}{_position_of(error)}. {FORMS}"
        ) from None
    if not isinstance(values, dict):
        raise InvalidArgumentError(f"the settings file {file} cannot be read: it holds no object. {FORMS}")
    return cast("dict[str, Any]", values)


def _position_of(error: Exception) -> str:
    """Where parsing ended, without what stands there."""
    if isinstance(error, json.JSONDecodeError):
        return f" at line {error.lineno}, column {error.colno}"
    found = re.search(r"at line \d+, column \d+|at end of document", str(error))
    return "" if found is None else f" {found[0]}"


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "a setting"
    if first["type"] != "extra_forbidden":
        return f"--{name.replace('_', '-')} (or RANK_RERANK_{name.upper()}, or {name} in a file): {first['msg']}"
    near = get_close_matches(name, Settings.model_fields, 1)
    meant = f"; did you mean {near[0]}?" if near else "; rank-rerank serve --help lists them, with _ for -"
    return f"the settings file has {name!a}, which is no setting{meant}"


def check_exposure(settings: Settings, *, has_keys: bool) -> None:
    """Refuse to listen beyond this machine without a key, unless a flag says that this is meant.

    Raises:
        InvalidArgumentError: it was not.
    """
    if not (has_keys or settings.open or is_loopback(settings.host)):
        raise InvalidArgumentError(
            f"{settings.host} can be reached from other machines, and no key is asked for. Give --api-key-file FILE, "
            "or say --open if everyone may ask"
        )


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK_NAMES
