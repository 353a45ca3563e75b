"""Ward's hierarchical clustering of few points, from their distances.

Formula (Lance and Williams): when clusters x and y of sizes a and b merge at distance d, the distance of a cluster z of
size c to the new one is sqrt(((c + a) d_xz² + (c + b) d_yz² − c d²) / (a + b + c)). The nearest-neighbour chain finds
all merges in O(n²) steps (Murtagh, 1983). Memory: one float64 matrix [num_points, num_points]. Precision: float64
throughout. Chosen when documents are pooled hierarchically.
"""

import numba
import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector, check_whole_number
from rank_rerank.errors import NonFiniteError, ShapeError

# squares of distances, times sizes of clusters, stay finite
LARGEST_DISTANCE = 1e140


def ward_labels(distances: AnyArray, max_clusters: int) -> Int64Vector:
    """Cluster points into at most so many clusters, as SciPy's linkage("ward") and fcluster("maxclust") do.

    Args:
        distances: [num_points, num_points] float64, symmetric; overwritten.
        max_clusters: at least 1.

    Returns:
        [num_points] int64: the cluster of each point, numbered by first appearance.

    Raises:
        ShapeError: distances are no square matrix of float64.
        NonFiniteError: one is NaN or infinite, or so large that its square is.
        InvalidArgumentError: max_clusters is below 1.
    """
    num_points = _check_points(distances)
    max_clusters = check_whole_number(max_clusters, "max_clusters", 1)
    if max_clusters >= num_points:
        return np.arange(num_points, dtype=np.int64)
    pairs, heights = _merge(distances)
    order = np.argsort(heights, kind="stable")
    # merges at one height happen together, so that what is equally far is not told apart
    last_height = heights[order[num_points - max_clusters - 1]]
    count = int(np.searchsorted(heights[order], last_height, side="right"))
    return _label(pairs[order[:count]], num_points)


def _check_points(distances: AnyArray) -> int:
    """How many points there are; the kernel follows what it reads here without a question."""
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1] or distances.dtype != np.float64:  # noqa: PLR2004
        raise ShapeError("distances need the axes [num_points, num_points], of float64")
    if not bool((np.abs(distances) < LARGEST_DISTANCE).all()):
        raise NonFiniteError("distances are NaN, infinite or too large: bring vectors to unit length")
    return len(distances)


@numba.njit(nogil=True)
def _merge(distances: AnyArray) -> tuple[AnyArray, AnyArray]:  # noqa: C901 - a kernel  # pragma: no cover
    """All merges: two points that stand for the merged clusters, and the height of each merge."""
    num_points = len(distances)
    sizes = np.ones(num_points, np.float64)
    chain = np.empty(num_points, np.int64)
    length = 0
    pairs = np.empty((num_points - 1, 2), np.int64)
    heights = np.empty(num_points - 1, np.float64)
    for merge in range(num_points - 1):
        if length == 0:
            first = 0
            while sizes[first] == 0:
                first += 1
            chain[0] = first
            length = 1
        while True:
            x = chain[length - 1]
            y = chain[length - 2] if length > 1 else -1
            nearest = distances[x, y] if length > 1 else np.inf
            for z in range(num_points):
                if z != x and sizes[z] > 0 and distances[x, z] < nearest:
                    nearest = distances[x, z]
                    y = z
            # a chain of all points cannot grow; only distances that are not symmetric lead there
            if (length > 1 and y == chain[length - 2]) or length == num_points:
                break
            chain[length] = y
            length += 1
        length -= 2
        if x > y:
            x, y = y, x
        pairs[merge, 0], pairs[merge, 1], heights[merge] = x, y, nearest
        a, b = sizes[x], sizes[y]
        sizes[x], sizes[y] = 0, a + b
        for z in range(num_points):
            if sizes[z] == 0 or z == y:
                continue
            c = sizes[z]
            square = (c + a) * distances[z, x] ** 2 + (c + b) * distances[z, y] ** 2 - c * nearest * nearest
            distance = np.sqrt(max(square, 0.0) / (a + b + c))
            distances[z, y] = distance
            distances[y, z] = distance
    return pairs, heights


@numba.njit(nogil=True)
def _label(pairs: AnyArray, num_points: int) -> AnyArray:  # pragma: no cover - compiled
    """The clusters that some merges leave, numbered by first appearance."""
    parents = np.arange(num_points)
    for merge in range(len(pairs)):
        x, y = pairs[merge, 0], pairs[merge, 1]
        while parents[x] != x:
            x = parents[x]
        while parents[y] != y:
            y = parents[y]
        parents[x] = y
    names = np.full(num_points, -1, np.int64)
    labels = np.empty(num_points, np.int64)
    count = 0
    for point in range(num_points):
        root = point
        while parents[root] != root:
            root = parents[root]
        if names[root] < 0:
            names[root] = count
            count += 1
        labels[point] = names[root]
    return labels
