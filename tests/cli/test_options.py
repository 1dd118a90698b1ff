"""From dataclasses to flags: words of each, files of options, refusals that cost nothing, completion."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace

import pytest

from affectnet_plus_modeling.cli import VERBS, main
from affectnet_plus_modeling.cli.arguments import Verb, leaves, parse
from affectnet_plus_modeling.options import check_options, option
from affectnet_plus_modeling.training.options import Augmentation, TrainingOptions

TRAIN = VERBS["train"]


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_explains_every_word_and_gives_two_examples(capsys, name):
    verb = VERBS[name]
    assert all(leaf.told.get("help") for leaf in leaves(verb.options)), "an option without a help"
    with pytest.raises(SystemExit):
        main([name, "--help"])
    said = capsys.readouterr().out
    assert all(leaf.name in said for leaf in leaves(verb.options)) and "None" not in said
    assert verb.options.__doc__ in said
    _, _, examples = said.partition("\nexamples:\n")
    assert examples.count(f"  affectnet-plus {name} ") == 2


@pytest.mark.parametrize("name", [name for name in VERBS if name != "completion"])
def test_the_examples_can_be_parsed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("ebc-options.yaml", "training.json"):
        (tmp_path / file).write_text("{seed: 3}")
    for example in VERBS[name].examples:
        words = example.replace("model/training", "training").partition(" > ")[0]
        assert isinstance(parse(VERBS[name], words.split()), VERBS[name].options)


def test_the_version_is_said(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("affectnet-plus 0.")


@pytest.mark.parametrize(
    "words, meant",
    [
        (["trian"], "there is no verb trian; did you mean train?"),
        (["train", "a", "b", "--sized", "tiny"], "there is no option --sized; did you mean --size?"),
        (["train", "a", "b", "--lerning-rate=1"], "did you mean --learning-rate?"),
        (["label", "a", "b"], "required: --ensemble"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_one_that_was_meant(capsys, words, meant):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2 and meant in capsys.readouterr().err


# ---- fields


@dataclass(frozen=True)
class Later:
    """Fields that nobody has told the command line of."""

    teachers: tuple[str, ...] = ()
    teaching: float = 0.5
    strict: bool | None = None
    random: Augmentation = Augmentation()


def test_a_field_of_any_options_becomes_a_flag():
    verb = Verb("later", Later, lambda _: 0, ("", ""))
    found = parse(verb, "--teachers a b --teachers c --teaching 1 --strict no --gamma .5".split())
    assert found == Later(("a", "b", "c"), 1.0, False, Augmentation(gamma=0.5))
    assert parse(verb, []) == Later()


def test_augmentation_scales_what_is_given_beside_it():
    found = parse(TRAIN, "data out --augmentation .5 --rotation 10 --flip .2".split()).options
    assert found.augmentation == replace(Augmentation(), rotation=10, flip=0.2).scaled(0.5)


@dataclass(frozen=True)
class Ranged:
    share: float = option(0.5, help="a share", low=0, below=1)
    most: float | None = option(None, help="a most", above=0)
    words: tuple[str, ...] = option((), help="words", choices=("a", "b"))

    def __post_init__(self):
        check_options(self)


@pytest.mark.parametrize(
    "given, complaint",
    [
        ({"share": 1}, r"share is 1; it must be in \[0, 1\)"),
        ({"share": float("nan")}, "share is nan"),
        ({"most": 0}, "most is 0; it must be above 0"),
        ({"words": ("a", "c")}, "words is 'c'; it must be one of a, b"),
    ],
)
def test_a_value_out_of_the_range_of_its_field_is_refused(given, complaint):
    with pytest.raises(ValueError, match=complaint):
        Ranged(**given)
    Ranged(0, 3, ("b",))


# ---- files of options


def test_a_file_of_options_stands_between_defaults_and_flags(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("size: mini\nlearning-rate: 1e-4\nepochs: 3\naugmentation:\n  rotation: 20\n  gamma: 1\n")
    found = parse(TRAIN, ["data", "out", "--options", str(file), "--epochs", "5", "--gamma", ".5"]).options
    expected = Augmentation(rotation=20, gamma=0.5)
    assert found == TrainingOptions(size="mini", learning_rate=1e-4, epochs=5, augmentation=expected)
    file.write_text("augmentation: 0.5")
    assert parse(TRAIN, ["data", "out", "--options", str(file)]).options.augmentation == Augmentation().scaled(0.5)


def test_the_record_of_a_run_gives_its_options(tmp_path):
    ran = TrainingOptions(class_weights=(1.0,) * 8, bf16=True, augmentation=Augmentation(erase=0.1), patience=3)
    (tmp_path / "training.json").write_text(json.dumps({"options": asdict(ran), "steps": 3}))
    assert parse(TRAIN, ["data", "out", "--options", str(tmp_path / "training.json")]).options == ran


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("learning_rat: 1", "there is no option learning_rat; did you mean learning_rate?"),
        ("augmentation: {rotatoin: 1}", "augmentation: there is no option rotatoin; did you mean rotation?"),
        ("data: elsewhere", "there is no option data"),
        ("epochs: many", "epochs is 'many', expected a number"),
        ("batch_size: 1.5", "batch_size is 1.5, expected a whole number"),
        ("class_weights: 1", "class_weights is 1, expected a list"),
        ("holdout: 2", "holdout is 2.0; it must be in [0, 1)"),
        ("- size", "holds list, expected a mapping"),
        ("size: [", "is neither YAML nor JSON"),
        ("size: " + "[" * 33 + "]" * 33, "is no file of options: it is nested more than 32 deep"),
    ],
)
def test_a_file_that_says_nothing_of_use_is_refused(tmp_path, capsys, text, complaint):
    (tmp_path / "options.yaml").write_text(text)
    assert main(["train", "data", "out", "--options", str(tmp_path / "options.yaml")]) == 1
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1


# ---- mistakes are cheap


MISTAKES = [
    "draw there",
    "draw new --validation-fraction 2",
    "prepare gone out",
    "prepare there there",
    "doctor gone",
    "doctor there --view easy",
    "doctor there there --workers 2",
    "train there out",
    "train prepared there",
    "train prepared out --epochs 0",
    "train prepared out --from-pretrained there",
    "train prepared out --from-vit ./gone",
    "pretrain gone out",
    "pretrain prepared there",
    "evaluate there prepared",
    "evaluate gone.csv prepared --out out",
    "calibrate gone prepared",
    "calibrate there prepared --coverage 1.5",
    "predict there prepared",
    "app there",
    "train-ensemble there out",
    "train-ensemble prepared there",
    "train-au prepared gone.csv out",
    "label gone out --ensemble there",
    "label there out --ensemble gone",
    "fit-fusion gone prepared out.json",
    "publish gone you/name",
    "publish there you/name",
    "publish there there",
    "publish there out --to-folder --private",
    "publish there you/name --overwrite",
    "publish there you/name --public --private",
    "export gone out",
    "import-ferplus gone out",
]


def test_mistakes_are_refused_in_one_sentence_before_anything_heavy_is_imported(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "manifest.json").touch()
    script = """
import json, sys
from affectnet_plus_modeling.cli import main
statuses = [main(words.split()) for words in json.loads(sys.argv[1])]
heavy = {"torch", "transformers", "datasets", "numpy", "PIL", "scipy", "sklearn", "huggingface_hub"}
print(json.dumps([statuses, sorted(heavy & set(sys.modules))]))
"""
    words = [sys.executable, "-c", script, json.dumps(MISTAKES)]
    child = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=True)
    said = child.stderr.splitlines()
    assert [line.split(":")[0] for line in said] == [f"affectnet-plus {words.split()[0]}" for words in MISTAKES]
    assert json.loads(child.stdout) == [[1] * len(MISTAKES), []]
    assert sorted(os.listdir(tmp_path)) == ["prepared", "there"]


# ---- completion


def test_bash_completes_verbs_options_and_choices(capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    for line, expected in (
        (["affectnet-plus", "tr"], ["train", "train-ensemble", "train-au"]),
        (["affectnet-plus", "train", "a", "--rot"], ["--rotation"]),
        (["affectnet-plus", "train", "--size", "t"], ["tiny"]),
        (["affectnet-plus", "train", "--opt"], ["--options"]),
    ):
        quoted = " ".join(f"'{word}'" for word in line)
        ask = (
            f"COMP_WORDS=({quoted}); COMP_CWORD={len(line) - 1}; _affectnet_plus; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        told = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True)
        assert told.stdout.split() == expected, told.stderr


def test_zsh_and_fish_have_theirs(capsys):
    assert main(["completion", "zsh"]) == 0
    assert "bashcompinit" in capsys.readouterr().out
    assert main(["completion", "fish"]) == 0
    said = capsys.readouterr().out
    assert "'__fish_seen_subcommand_from train' -l size -xa 'mini tiny wide small base' -d 'size of a model" in said
