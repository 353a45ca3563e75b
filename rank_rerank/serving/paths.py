"""Which route a path means: clients put slashes, versions and prefixes of their own round the routes."""

from collections.abc import Sequence

#: where a model is described; its name follows, and may have slashes
MODELS = ("v1", "models")
MODEL_ROUTE = "/v1/models/"
# methods that look at something
LOOKS = ("GET", "HEAD")


class Paths:
    """The paths that are known.

    Args:
        routes: every path there is, but for those of single models.
        prefix: a path in front of every route.
    """

    def __init__(self, routes: frozenset[str], prefix: str = "") -> None:
        self._routes, self._prefix = routes, _parts(prefix)

    def known(self, path: str, method: str) -> str:
        """The route of a path: without prefix, double and last slashes, and whatever stands in front of a route.

        A model's name may be that of a route, as in ``/v1/models/rerank``.

        Args:
            path: as the client asked.
            method: of HTTP.
        """
        parts = _parts(path)
        if parts[: len(self._prefix)] == self._prefix:
            parts = parts[len(self._prefix) :]
        looks_at_models = method in LOOKS
        for first in range(len(parts)):
            rest = parts[first:]
            if looks_at_models and len(rest) > len(MODELS) and tuple(rest[:2]) == MODELS:
                return MODEL_ROUTE + "/".join(rest[2:])
            if (known := _joined(rest)) in self._routes:
                return known
        if looks_at_models and len(parts) > 1 and parts[0] == "models":
            return MODEL_ROUTE + "/".join(parts[1:])
        return _joined(parts)

    def label(self, path: str) -> str:
        """The name that requests of a known path are counted by: no text of a user's."""
        if path.startswith(MODEL_ROUTE):
            return MODEL_ROUTE.rstrip("/")
        return path if path in self._routes else "other"


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _joined(parts: Sequence[str]) -> str:
    return "/" + "/".join(parts)
