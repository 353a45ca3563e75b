"""One fixture over every MaxSim kernel."""

import os
from importlib.util import find_spec

import pytest

if find_spec("torch") is not None:
    import torch

    torch.set_num_threads(1)  # its threads spin, and these arrays are small
    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")  # before the kernel is imported

from maxsim_kernels import KERNELS, KernelUnderTest


@pytest.fixture(scope="session", params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request) -> KernelUnderTest:
    if reason := request.param.missing():
        pytest.skip(reason)
    return request.param
