"""Whether a model's classes stand in the order that it says: real models whose heads are exchanged."""

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.evaluation.model_order import agreements, best_permutation, declared_order, examine_model
from affectnet_plus_modeling.examination import format_examination
from affectnet_plus_modeling.labels import CIRCUMPLEX, ORDERS
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.tree import annotation, writing_tree
from affectnet_plus_modeling.training.saving import save_model
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from support.trees import picture

SIDE, FACES = 8, 400
COLOURS = [tuple(60 + 130 * part for part in parts) for parts in itertools.product((0, 1), repeat=3)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pictures of one colour for each emotion; a tenth have another's label. Valence and arousal are the label's."""
    root = tmp_path_factory.mktemp("orders")
    rng = np.random.default_rng(0)
    with writing_tree(root / "raw") as tree:
        for number in range(FACES):
            seen = number % 8
            label = int(rng.integers(8)) if rng.random() < 0.1 else seen
            affect = np.clip(np.array(CIRCUMPLEX[EMOTIONS[label]]) + rng.normal(0, 0.1, 2), -1, 1)
            record = annotation(label=label, valence=float(affect[0]), arousal=float(affect[1]))
            tree.add("validation", number, picture(COLOURS[seen], "PNG", (SIDE, SIDE)), record, suffix=".png")
    prepare(root / "raw", root / "orders")
    return root / "orders"


def model_of_ours(folder, order: list[int]):
    """One of ours that names colours, class k that of the emotion `order[k]`."""
    config = AffectNetPlusConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=SIDE,
        patch_size=SIDE,
        pooling="mean",
    )
    model = AffectNetPlusForSoftLabels(config)
    fit(model, order)
    save_model(model, SIDE, folder)
    return folder


def fit(model, order: list[int]) -> None:
    """Teach a model its colours, class k that of emotion `order[k]`, in some hundred steps."""
    pixels = torch.tensor(COLOURS).float()[order] / 127.5 - 1
    pixels = pixels[:, :, None, None].expand(-1, -1, SIDE, SIDE).contiguous()
    target = torch.arange(len(order))
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(300):
        loss = torch.nn.functional.cross_entropy(model(pixel_values=pixels).logits, target)
        if loss < 0.02:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError("premise: eight colours can be told apart")


def codes(order: str) -> list[int]:
    return [EMOTIONS.index(name) for name in ORDERS[order]]


def checks(report: dict) -> dict[tuple[str, str], str]:
    return {(finding["level"], finding["check"]): finding["message"] for finding in report["findings"]}


def test_a_rightly_ordered_model_is_no_finding(data, tmp_path):
    report = examine_model(model_of_ours(tmp_path / "model", codes("affectnet")), data)
    assert list(checks(report)) == [("note", "label order")]
    assert "in its order 'affectnet'; no other order is clearly better" in checks(report)["note", "label order"]
    assert report["counts"]["validation"]["rows"] == FACES


@pytest.mark.parametrize("order", ["alphabetical", "ferplus", "openface3"])
def test_a_wrongly_ordered_model_is_found_by_labels_and_by_valence_and_arousal(data, tmp_path, order):
    report = examine_model(model_of_ours(tmp_path / "model", codes(order)), data)
    found = checks(report)
    assert f"in the order '{order}'. Remap its answers from that to 'affectnet'" in found["error", "label order"]
    if order != "openface3":  # anger and disgust lie close together on the circumplex
        assert f"those of the order '{order}'" in found["error", "valence and arousal"]
    assert "error: label order: " in format_examination(report)


def test_an_unknown_permutation_is_spelled_out(data, tmp_path):
    order = [1, 0, 3, 2, 5, 4, 7, 6]
    report = examine_model(model_of_ours(tmp_path / "model", order), data)
    words = f"if its classes are {', '.join(EMOTIONS[code] for code in order)}"
    assert words in checks(report)["warning", "label order"]


def stranger(folder, names: list[str], order: list[int]):
    """An ordinary image classifier of transformers with classes of those names."""
    config = ViTConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=SIDE,
        patch_size=SIDE,
        id2label=dict(enumerate(names)),
        label2id={name: code for code, name in enumerate(names)},
    )
    model = ViTForImageClassification(config)
    fit(model, order)
    model.save_pretrained(folder)
    ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        resample=Image.Resampling.BILINEAR,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    ).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_strangers_model_is_judged_by_the_order_that_its_names_spell(data, tmp_path):
    names = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    right = examine_model(stranger(tmp_path / "right", names, codes("fer2013")), data)
    assert "its order 'fer2013'; no other order" in checks(right)["note", "label order"]
    wrong = examine_model(stranger(tmp_path / "wrong", names, codes("rafdb")), data)
    assert "in the order 'rafdb'. Remap its answers from that to 'fer2013'" in checks(wrong)["error", "label order"]


def test_a_model_that_names_no_class_is_told_its_order(data, tmp_path):
    names = [f"LABEL_{number}" for number in range(8)]
    found = checks(examine_model(stranger(tmp_path / "model", names, codes("alphabetical")), data))
    assert "which is no known order; judged as AffectNet's" in found["warning", "class names"]
    assert "in the order 'alphabetical'" in found["error", "label order"]


@pytest.mark.slow
def test_the_command_exits_with_1_on_a_wrong_order(data, tmp_path, capsys):
    folder = model_of_ours(tmp_path / "model", codes("alphabetical"))
    assert main(["doctor", str(folder), str(data), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["kind"] == "model"
    assert main(["doctor", str(folder)]) == 1
    assert "holds a model. Name faces after it that prepare wrote" in capsys.readouterr().err


def test_too_few_faces_and_another_number_of_classes_are_refused(drawn, data, tmp_path):
    with pytest.raises(ValueError, match="8 faces of .* have a label, expected at least 50"):
        examine_model(model_of_ours(tmp_path / "model", codes("affectnet")), drawn)
    names = [f"LABEL_{number}" for number in range(3)]
    with pytest.raises(ValueError, match="has 3 classes, expected 7 or 8"):
        examine_model(stranger(tmp_path / "three", names, [0, 1, 2]), data)
    with pytest.raises(FileNotFoundError, match="holds no config.json"):
        examine_model(tmp_path, data)


def test_the_words_of_other_tools_spell_their_orders():
    assert declared_order(EMOTIONS) == "affectnet"
    ferplus = "neutral happiness surprise sadness anger disgust fear contempt"
    assert declared_order(ferplus.split()) == "ferplus"
    assert declared_order("Angry Disgusted Fearful Happy Sad Surprised Neutral".split()) == "fer2013"
    assert declared_order(["LABEL_0", "LABEL_1"]) is None


def test_agreement_and_the_best_permutation_are_those_of_every_permutation():
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 4, 200)
    hidden = np.array([5, 0, 7, 2])
    labels = np.where(rng.random(200) < 0.6, hidden[classes], rng.integers(0, 8, 200))
    best = max(itertools.permutations(range(8), 4), key=lambda reading: (np.array(reading)[classes] == labels).sum())
    assert best_permutation(classes, labels, 4) == tuple(EMOTIONS[code] for code in best)
    eight = rng.integers(0, 8, 50)
    found = agreements(eight, eight, 8)
    assert found["affectnet"].all() and not found["alphabetical"].all()
    assert set(found) == {order for order, names in ORDERS.items() if len(names) == 8}
