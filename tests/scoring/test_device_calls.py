"""What a MaxSim call on a device keeps from earlier ones: compiled launches, buffers of requests, checked documents."""

import gc
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from maxsim_kernels import has_cuda, tensor_device

from rank_rerank import maxsim
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import NonFiniteError, ShapeError
from rank_rerank.scoring.tensors import collection, requests
from rank_rerank.scoring.tensors.launches import Launcher

HERE = torch.device("cpu")


class FakeKernel:
    """Compiles nothing; notes how it was started, and what its handle was given."""

    def __init__(self, error=None):
        self.compiled, self.repeated, self.error = [], [], error

    def __getitem__(self, grid):
        def start(*arguments, **options):
            self.compiled.append((grid, arguments, options))
            return FakeHandle(self)

        return start


class FakeHandle:
    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        def start(*arguments):
            if self.kernel.error:
                raise self.kernel.error
            self.kernel.repeated.append((grid, arguments))

        return start


def plan():
    return {"BLOCK": 64}, {"num_warps": 4}


def test_a_device_launch_is_repeated_with_addresses_numbers_and_constants():
    kernel, array = FakeKernel(), torch.zeros(8)
    launch = Launcher(kernel)
    launch((3, 1, 1), "key", (array,), (7,), plan)
    launch((5, 1, 1), "key", (array,), (9,), plan)
    assert kernel.compiled == [((3, 1, 1), (array, 7), {"BLOCK": 64, "num_warps": 4})]
    assert kernel.repeated == [((5, 1, 1), (array.data_ptr(), 9, 64))]


def test_a_device_launch_of_another_key_or_alignment_is_compiled():
    kernel, array = FakeKernel(), torch.zeros(8)
    launch = Launcher(kernel)
    for key, given in (("one", array), ("two", array), ("one", array[1:]), ("one", array[1:])):
        launch((1, 1, 1), key, (given,), (), plan)
    assert (len(kernel.compiled), kernel.repeated) == (4, [])
    launch.forget()
    launch((1, 1, 1), "one", (array,), (), plan)
    assert len(kernel.compiled) == 5


def test_a_device_launch_that_cannot_be_repeated_is_made_the_long_way():
    kernel, array = FakeKernel(TypeError("takes other arguments")), torch.zeros(8)
    launch = Launcher(kernel)
    for _ in range(3):
        launch((1, 1, 1), "key", (array,), (), plan)
    assert (len(kernel.compiled), kernel.repeated) == (3, [])


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(requests, "_waiting", {})
    monkeypatch.setattr(requests, "_alive", set())


@pytest.mark.usefixtures("fresh")
def test_a_buffer_for_a_device_is_used_again_and_grows():
    first = requests.take_buffer(HERE, 10, 100)
    second = requests.take_buffer(HERE, 10, 100)
    assert first is not second
    first.give_back()
    assert requests.take_buffer(HERE, 10, 100) is first
    first.give_back()
    large = requests.take_buffer(HERE, 10, 1 << 17)
    assert large.holds(10, 1 << 17)
    assert not large.holds(10, (1 << 17) + 1)
    assert first not in requests._alive
    huge = requests.take_buffer(HERE, 10, requests.MOST_KEPT_NUMBERS + 1)
    huge.give_back()
    assert huge not in requests._alive


@pytest.mark.usefixtures("fresh")
def test_a_busy_buffer_of_a_device_is_left_alone_until_too_many_wait(monkeypatch):
    monkeypatch.setattr(requests, "MOST_WAITING", 2)
    waited = []

    def wait(buffer):
        waited.append(buffer)

    monkeypatch.setattr(requests.RequestBuffer, "is_busy", lambda _: True)
    monkeypatch.setattr(requests.RequestBuffer, "wait", wait)
    first = requests.take_buffer(HERE, 10, 100)
    first.give_back()
    second = requests.take_buffer(HERE, 10, 100)
    assert (second is first, waited) == (False, [])
    second.give_back()
    assert requests.take_buffer(HERE, 10, 100) is first
    assert waited == [first]


def stored(dtype=torch.float16):
    vectors = torch.nn.functional.normalize(torch.randn((30, 16), generator=torch.Generator().manual_seed(1)))
    return TokenEmbeddings(vectors.to(tensor_device("triton"), dtype), [0, 10, 10, 30])


def kernels():
    return ["torch", *(["triton"] if has_cuda() else [])]


@pytest.mark.parametrize("kernel", kernels())
def test_documents_on_a_device_are_checked_once_and_forgotten_with_their_embeddings(kernel):
    documents, query = stored(), np.eye(3, 16, dtype=np.float32)
    first = maxsim(query, documents, kernel=kernel)
    known = collection.read_collection(documents, "torch")
    assert collection.read_collection(documents, "torch") is known
    assert maxsim(query, documents, kernel=kernel).tolist() == first.tolist()
    alive = weakref.ref(documents)
    del documents, known
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("kernel", kernels())
def test_other_numbers_in_the_same_tensor_on_a_device_count_at_once(kernel):
    documents, query = stored(), np.eye(3, 16, dtype=np.float32)
    maxsim(query, documents, kernel=kernel)
    documents.vectors[:] = 0.5
    assert maxsim(query, documents, kernel=kernel).tolist() == [1.5, -np.inf, 1.5]
    documents.vectors[29, 3] = torch.nan
    with pytest.raises(NonFiniteError, match="document 2"):
        maxsim(query, documents, kernel=kernel)
    documents.vectors.resize_(10, 16)
    with pytest.raises(ShapeError, match="offsets"):
        maxsim(query, documents, kernel=kernel)


def test_documents_on_a_device_whose_offsets_can_be_changed_are_checked_each_time():
    documents = stored()
    object.__setattr__(documents, "offsets", documents.offsets.copy())
    maxsim(np.eye(3, 16, dtype=np.float32), documents, kernel="torch")
    documents.offsets[1] = 99
    with pytest.raises(ShapeError, match="offsets"):
        maxsim(np.eye(3, 16, dtype=np.float32), documents, kernel="torch")


@pytest.mark.parametrize("storage", ["float16", "bfloat16", "int8", "signs", "float32"])
@pytest.mark.parametrize("dim", [24, 64, 2080])
@pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")  # of Triton's interpreter
def test_the_parts_of_a_query_on_a_device_add_up_to_it(storage, dim):
    pytest.importorskip("triton")
    from rank_rerank.scoring.tensors.query_parts import PARTS, parts_of, send_query

    device = torch.device("cuda:0") if has_cuda() else HERE
    if storage == "bfloat16" and not has_cuda():
        pytest.skip("Triton's interpreter keeps bfloat16 as integers")
    rows = torch.randn((5, dim), generator=torch.Generator().manual_seed(2))
    factors = torch.tensor([1, 1e-30, 1e37, 0, 1e-39])
    query = torch.cat([rows * factors[:, None], torch.arange(dim)[None] % 100.0])
    weights = np.arange(len(query), dtype=np.float32)
    buffer = send_query(query.numpy(), np.array([0, 2, len(query)]), weights, storage, device)
    parts = parts_of(buffer, storage)[: PARTS[storage] * query.numel()].view(-1, *query.shape).cpu()
    words = buffer.words[: 3 + 2 * len(query)].cpu()
    scales = words[3 : 3 + len(query)].view(torch.float32)
    assert words[:3].tolist() == [0, 2, len(query)]
    assert words[3 + len(query) :].view(torch.float32).tolist() == weights.tolist()
    whole = parts.double().sum(dim=0) * scales.double()[:, None]
    allowed = {"bfloat16": 2.0**-23, "int8": 1 / 254}.get(storage, 2.0**-22)
    # float32 has no scale: below its normal numbers TF32 has fewer bits
    underflow = {"int8": 1e-38, "float32": 1e-41}.get(storage, 1e-44)
    least = allowed * 1.01 * query.double().abs().amax(dim=1, keepdim=True) + underflow
    assert ((whole - query.double()).abs() <= least).all()
    assert storage != "int8" or parts[0, 5].tolist() == query[5].tolist()
    buffer.give_back()
