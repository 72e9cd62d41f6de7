"""What may import what."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import channels
import ris

ROOTS = [Path(package.__file__).parent for package in (channels, ris)]
KERNELS = sorted(path for root in ROOTS for path in root.glob("**/_kernels/*.py"))


def module_name(path):
    """Name of the module in a file of `channels` or `ris`, which may lie in different places."""
    root = next(root for root in ROOTS if root in path.parents)
    return ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: "/".join(path.parts[-3:]))
def test_kernels_import_numba_numpy_math_and_kernels_of_their_package_and_channels_alone(path):
    allowed = ["math", "numba", "numpy", "typing", "channels._kernels", module_name(path.parent)]
    # Single instructions are written with the compiler behind Numba.
    if module_name(path) in ("channels._kernels.products", "channels._kernels.vectors"):
        allowed += ["llvmlite"]
    if module_name(path).startswith("ris.predictors."):
        allowed += ["llvmlite"]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module]
        else:
            continue
        for module in modules:
            assert any(f"{module}.".startswith(f"{one}.") for one in allowed), f"{path.name} imports {module}"


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: "/".join(path.parts[-3:]))
def test_kernels_of_channels_and_predictors_leave_fastmath_to_no_caller(path):
    """Each says that it takes no liberty, or that a product and a sum may be rounded once."""
    module = importlib.import_module(module_name(path))
    kernels = [kernel for kernel in vars(module).values() if hasattr(kernel, "targetoptions")]
    for kernel in kernels:
        if kernel.py_func.__module__.startswith(("channels.", "ris.predictors.")):
            assert kernel.targetoptions.get("fastmath") in (False, {"contract"}), kernel


@pytest.mark.parametrize("package", ["channels", "ris"])
def test_import_loads_nothing_heavy(package):
    heavy = {"torch", "matplotlib", "pydantic", "dask", "distributed", "xarray", "h5netcdf", "cyclopts"}
    code = f"import sys, {package}; print(*sorted(set(sys.modules) & {heavy!r}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_inference_loads_no_torch():
    code = "import sys; from ris.predictors import model_file, runtime; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]
