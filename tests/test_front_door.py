"""`import affectnet_plus_modeling as ap`: what is there, that it costs nothing, and that editors see the same."""

import ast
import importlib.resources
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import affectnet_plus_modeling as ap

HEAVY = ("torch", "transformers", "datasets", "numpy", "PIL", "pyarrow", "sklearn", "scipy", "matplotlib")
PROMISED = (
    "prepare doctor train pretrain evaluate compare calibrate predict label train_ensemble fit_fusion export publish "
    "align remap AffectNetPlusConfig AffectNetPlusForSoftLabels FacialAffectPipeline soft_label_loss "
    "valence_arousal_loss TrainingOptions PretrainingOptions EvaluationOptions CalibrationOptions LabelOptions "
    "EnsembleOptions"
).split()


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_package_alone_loads_nothing_heavy_and_takes_no_time():
    code = (
        "import sys, time; before = time.process_time(); import affectnet_plus_modeling as ap;"
        "taken = time.process_time() - before; names = dir(ap);"
        f"print([name for name in {HEAVY} if name in sys.modules], taken < 0.1, 'train' in names)"
    )
    assert in_a_new_process(code) == "[] True True"


def test_a_name_loads_what_it_needs_alone():
    code = "import sys, affectnet_plus_modeling as ap; ap.remap, ap.align; print('torch' in sys.modules)"
    assert in_a_new_process(code) == "False"


@pytest.mark.parametrize("name", PROMISED)
def test_every_promised_name_is_there(name):
    assert callable(getattr(ap, name)) and name in dir(ap) and name in ap.__all__


@pytest.mark.slow
def test_a_verb_stays_a_function_when_its_module_was_imported_before():
    code = (
        "import affectnet_plus_modeling.cli.data, affectnet_plus_modeling.examination, affectnet_plus_modeling as ap"
    )
    assert in_a_new_process(f"{code}; print(all(callable(getattr(ap, name)) for name in ap._NAMES))") == "True"


def test_what_is_offered_is_what_is_promised():
    assert {name for name in dir(ap) if not name.startswith("__")} == {*ap.__all__}


def test_another_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'affectnet_plus_modeling' has no attribute 'trian'"):
        ap.trian  # noqa: B018


def test_editors_and_mypy_see_the_same_names_from_the_same_places():
    tree = ast.parse(Path(ap.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: node.module + (f":{alias.name}" if alias.asname else "")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == ap._NAMES


def test_it_is_typed_and_knows_its_version():
    assert importlib.resources.files(ap).joinpath("py.typed").is_file()
    assert ap.__version__ == version("affectnet-plus")
