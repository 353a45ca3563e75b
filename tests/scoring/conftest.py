"""One fixture over every MaxSim kernel."""

import pytest
from maxsim_kernels import KERNELS, KernelUnderTest


@pytest.fixture(scope="session", params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request) -> KernelUnderTest:
    if request.param.skip_reason():
        pytest.skip(request.param.skip_reason())
    return request.param
