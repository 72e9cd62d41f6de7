"""Settings of the test session."""

import os

# Workers share the processors. Threads of torch and BLAS beyond them would spin, waiting for one another: ten
# times slower. It counts when these libraries are loaded, which the test modules do.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # those of Numba, which counts its own
