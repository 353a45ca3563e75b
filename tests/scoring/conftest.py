"""One fixture over every MaxSim kernel."""

import pytest
from maxsim_kernels import KERNELS, KernelUnderTest


@pytest.fixture(scope="session", params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request) -> KernelUnderTest:
    return request.param
