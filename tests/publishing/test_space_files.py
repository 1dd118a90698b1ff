"""The files of a Space: what they say, and that they need nothing but what their requirements name."""

import ast
import sys
from pathlib import PurePosixPath

import yaml
from huggingface_hub import RepoCard

import affectnet_plus
from affectnet_plus_modeling.publishing.space_files import GRADIO, space_files

FILES = {
    name: content.decode() for name, content in space_files("someone/soft-faces").items() if not name.endswith(".png")
}
OPTIONAL = "simplejpeg"  # taken where it is there, see `images`
PACKAGES = {"PIL": "pillow", "dlib": "dlib-bin"}  # by another name than they are imported by


def test_the_card_says_what_the_hub_needs():
    data = RepoCard(FILES["README.md"]).data
    found = {name: data.get(name) for name in ("sdk", "sdk_version", "app_file", "license", "models")}
    assert found == {
        "sdk": "gradio",
        "sdk_version": GRADIO,
        "app_file": "app.py",
        "license": "apache-2.0",
        "models": ["someone/soft-faces"],
    }
    assert len(data.get("short_description")) <= 60  # the Hub refuses more


def test_the_card_says_what_is_prohibited():
    text = " ".join(FILES["README.md"].split())
    for words in ("not a felt emotion", "workplace", "education", "lie detection", "policing", "terms of the weights"):
        assert words in text


def test_every_import_is_in_the_space_or_in_its_requirements():
    required = {line.split()[0] for line in FILES["requirements.txt"].splitlines()}
    for path, text in FILES.items():
        if not path.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = PurePosixPath(path).parents[node.level - 1]
                names = [node.module.replace(".", "/")] if node.module else [name.name for name in node.names]
                assert all(f"{folder / name}.py" in FILES for name in names), (path, names)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
                for name in names:
                    root = name.split(".")[0]
                    ours = f"{name.replace('.', '/')}.py" in FILES
                    known = root in (*sys.stdlib_module_names, OPTIONAL) or PACKAGES.get(root, root) in required
                    assert ours or known, (path, name)


def test_the_constants_are_those_of_the_package():
    found: dict = {}
    exec(FILES["affectnet_plus.py"], found)
    assert found["EMOTIONS"] == affectnet_plus.EMOTIONS


def test_a_name_with_quotes_stays_a_name():
    files = {name: content.decode("utf-8", "ignore") for name, content in space_files('it\'s: a "name"').items()}
    assert yaml.safe_load(files["README.md"].split("---\n")[1])["models"] == ['it\'s: a "name"']
    assigned = [node for node in ast.parse(files["app.py"]).body if isinstance(node, ast.Assign)]
    assert ast.literal_eval(assigned[0].value) == 'it\'s: a "name"'
