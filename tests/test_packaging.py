"""The package as a stranger meets it: metadata, wheel, README, citation file."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from cffconvert import Citation
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def block(mark):
    """The code block of the README after a comment."""
    (found,) = re.findall(rf"^<!-- {mark} -->\n```\w+\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(directory), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_wheel_holds_the_three_packages_and_their_data(wheel):
    names = wheel.namelist()
    top = {name.split("/")[0] for name in names}
    assert top == {"channels", "ris", "studies", f"double_ris-{PROJECT['version']}.dist-info"}
    for package in ("channels", "ris", "studies"):
        assert f"{package}/py.typed" in names
        sources = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert sources <= set(names)
    figures = {str(path.relative_to(ROOT)) for path in (ROOT / "studies" / "figures").glob("*.toml")}
    assert figures
    assert figures <= set(names)


def test_wheel_has_licence_and_command(wheel):
    info = f"double_ris-{PROJECT['version']}.dist-info"
    assert "ris = studies.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_citation_file_is_valid_and_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    Citation(text).validate()
    assert f"\nversion: {PROJECT['version']}\n" in text
    assert f"\nlicense: {PROJECT['license']}\n" in text
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("mark", ["main command", "test command"])
def test_commands_of_the_readme_are_one_complete_line(mark):
    command = block(mark)
    assert "\n" not in command
    assert command.startswith("python3 -m venv .venv")
    assert "pip install" in command


def test_ci_runs_the_test_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)
    extract = re.search(r"^readme_command\(\).*$", script, re.MULTILINE).group()
    found = subprocess.run(
        ["bash", "-c", f"{extract}; readme_command 'test command'"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == block("test command")


def test_script_of_the_readme_runs():
    script = block("script")
    code = script + "\nassert H.shape == (100, 16, 4)"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stderr == ""
    assert len(told.stdout.splitlines()) >= 2


def test_readme_names_all_studies_and_the_shared_import_name():
    for path in (ROOT / "studies" / "figures").glob("*.toml"):
        assert f"`{path.stem}`" in README
    assert "Django Channels" in README


def test_links_and_pictures_of_the_readme_are_there():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if not target.startswith("https://"):
            assert (ROOT / target).is_file(), target


def imported(path):
    """Top-level packages that a module imports, anywhere."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        yield from (name.split(".")[0] for name in names)


def test_every_import_is_declared():
    declared = {re.split(r"[<>=\[]", name)[0].lower().replace("-", "_") for name in PROJECT["dependencies"]}
    declared |= {"channels", "ris", "studies"}
    for package in ("channels", "ris", "studies"):
        for path in (ROOT / package).rglob("*.py"):
            for name in imported(path):
                known = name in sys.stdlib_module_names or name in declared or name == "pydantic_core"
                extra = name in ("torch", "distributed", "onnx", "onnxruntime")
                assert known or extra, f"{path} imports {name}"
