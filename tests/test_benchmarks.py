"""The programs of benchmarks/ take what the package has: they are run by hand, and each would break unseen."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
OURS = ("affectnet_plus", "affectnet_plus_modeling")


@pytest.mark.parametrize("script", sorted(path.name for path in BENCHMARKS.glob("*.py")))
def test_what_it_imports_is_there(script):
    tree = ast.parse((BENCHMARKS / script).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in OURS:
            exec(compile(ast.Module([node], []), script, "exec"), {})
        elif isinstance(node, ast.ImportFrom) and (BENCHMARKS / f"{node.module}.py").exists():
            defined = names_of(ast.parse((BENCHMARKS / f"{node.module}.py").read_text()))
            assert {alias.name for alias in node.names} <= defined
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in OURS:
                    import_module(alias.name)


def names_of(tree: ast.Module) -> set[str]:
    """What a module defines at its top, what it imports included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found
