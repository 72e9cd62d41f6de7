"""Settings of the test session."""

import os

import pytest

# Workers share the processors. Threads of torch and BLAS beyond them would spin, waiting for one another: ten
# times slower. It counts when these libraries are loaded, which the test modules do.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # those of Numba, which counts its own


@pytest.fixture
def one_torch_thread():
    """Torch works in one thread: on small arrays more of them wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
