"""What may import what."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import channels
import ris

KERNELS = sorted(
    path for package in (channels, ris) for path in Path(package.__file__).parent.glob("_kernels/*.py")
)


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: "/".join(path.parts[-3:]))
def test_kernels_import_numba_numpy_math_and_the_kernels_of_channels_alone(path):
    allowed = {"math", "numba", "numpy", "typing", "channels._kernels"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module]
        else:
            continue
        for module in modules:
            root = ".".join(module.split(".")[:2]) if module.startswith("channels") else module.split(".")[0]
            assert root in allowed, f"{path.name} imports {module}"


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: "/".join(path.parts[-3:]))
def test_kernels_of_channels_leave_fastmath_to_no_caller(path):
    """Each says that it takes no liberty, or that a product and a sum may be rounded once."""
    module = importlib.import_module(".".join([*path.parts[-3:-1], path.stem]).removesuffix(".__init__"))
    kernels = [kernel for kernel in vars(module).values() if hasattr(kernel, "targetoptions")]
    for kernel in kernels:
        if kernel.py_func.__module__.startswith("channels."):
            assert kernel.targetoptions.get("fastmath") in (False, {"contract"}), kernel


@pytest.mark.parametrize("package", ["channels", "ris"])
def test_import_loads_nothing_heavy(package):
    heavy = {"torch", "matplotlib", "pydantic", "dask", "distributed", "xarray", "h5netcdf", "cyclopts"}
    code = f"import sys, {package}; print(*sorted(set(sys.modules) & {heavy!r}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
