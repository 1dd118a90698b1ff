"""The configuration, the model and its ways in and out of a folder, with and without this package installed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    BertConfig,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
    pipeline,
)

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling import vit
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from affectnet_plus_modeling.vit.losses import soft_label_loss, valence_arousal_loss
from support.alone import ALONE
from support.models import CODE

SIZE = 16
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": SIZE,
    "patch_size": 4,
}
STEM = {"stem_channels": [8, 16]}
AUTO_MAP = {
    "AutoConfig": "configuration_affectnet_plus.AffectNetPlusConfig",
    "AutoModel": "modeling_affectnet_plus.AffectNetPlusForSoftLabels",
    "AutoModelForImageClassification": "modeling_affectnet_plus.AffectNetPlusForSoftLabels",
}


@torch.no_grad()
def scattered(model):
    """The model in eval mode with no parameter left at an initial value, so that each one lost shows."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tiny(**options) -> AffectNetPlusForSoftLabels:
    return scattered(AffectNetPlusForSoftLabels(AffectNetPlusConfig(**(SHAPE | options))))


def some_pixels(rows=3, size=SIZE) -> torch.Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(0))


def some_soft_labels(rows=3) -> torch.Tensor:
    return torch.rand(rows, 8, generator=torch.Generator().manual_seed(1)).softmax(dim=1)


def some_affect(rows=3) -> torch.Tensor:
    return torch.rand(rows, 2, generator=torch.Generator().manual_seed(2)) * 2 - 1


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.equal(first, second)


# ---- configuration


def test_the_default_classes_are_the_emotions_of_the_dataset():
    config = AffectNetPlusConfig()
    assert tuple(config.id2label[index] for index in range(8)) == EMOTIONS
    assert config.label2id == {name: index for index, name in enumerate(EMOTIONS)}
    assert config.num_labels == 8


def test_the_default_is_a_plain_unweighted_vit():
    config, stock = AffectNetPlusConfig(), ViTConfig()
    assert (tuple(config.stem_channels), config.stem_stride, config.pooling) == ((), 1, "cls")
    assert (config.label_smoothing, config.class_weights, config.valence_arousal_weight) == (0, None, 1)
    for name in SHAPE:
        assert getattr(config, name) == getattr(stock, name)


@pytest.mark.parametrize(
    "labels", [{}, {"id2label": {0: "calm", 1: "not calm"}}, {"num_labels": 2}, {"num_labels": 3}, {"num_labels": 8}]
)
def test_a_saved_configuration_comes_back_whole(tmp_path, labels):
    options = {"stem_channels": [8, 16], "pooling": "mean", "label_smoothing": 0.1, "valence_arousal_weight": 0.5}
    config = AffectNetPlusConfig(**SHAPE, **options, **labels)
    config.class_weights = [1.5] * config.num_labels
    config.save_pretrained(tmp_path)
    for loader in (AffectNetPlusConfig, AutoConfig):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is AffectNetPlusConfig
        for name in [*SHAPE, *options, "class_weights", "id2label", "label2id", "num_labels", "problem_type"]:
            assert getattr(loaded, name) == getattr(config, name), name


def test_given_class_names_are_kept():
    config = AffectNetPlusConfig(id2label={0: "negative", 1: "neutral", 2: "positive"})
    assert config.id2label == {0: "negative", 1: "neutral", 2: "positive"}
    assert config.label2id == {"negative": 0, "neutral": 1, "positive": 2}
    assert config.num_labels == 3


def test_another_number_of_classes_reaches_the_head_and_survives_saving(tmp_path):
    model = tiny(num_labels=3, class_weights=[1.0, 2.0, 3.0])
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert loaded(some_pixels()).logits.shape == (3, 3)
    assert same(loaded(some_pixels()).logits, model(some_pixels()).logits)


@pytest.mark.parametrize("asked", [None, "multi_label_classification", "regression"])
def test_the_problem_type_stays_single_label(asked):
    config = AffectNetPlusConfig(**SHAPE, problem_type=asked)
    assert config.problem_type == "single_label_classification"
    AffectNetPlusForSoftLabels(config)(some_pixels(), labels=some_soft_labels())
    assert config.problem_type == "single_label_classification"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, "pooling is 'max'"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"image_size": 18}, "the patch must divide the image"),
        ({"stem_channels": [8, 8, 8, 8]}, "stem of stride 8: .*the stem's stride must divide the patch"),
        ({"class_weights": [1.0] * 7}, "class_weights is .* 8 positive numbers"),
        ({"class_weights": [1.0] * 7 + [0.0]}, "class_weights is .* 8 positive numbers"),
        ({"class_weights": [1.0] * 7 + [float("nan")]}, "class_weights is .* 8 positive numbers"),
        ({"class_weights": [1.0] * 7 + [float("inf")]}, "class_weights is .* 8 positive numbers"),
        ({"class_weights": [1.0] * 8, "num_labels": 3}, "class_weights is .* 3 positive numbers"),
        ({"valence_arousal_weight": -1}, "valence_arousal_weight is -1"),
        ({"valence_arousal_weight": float("nan")}, "valence_arousal_weight is nan"),
        ({"num_labels": 1}, "num_labels > 1"),
    ],
)
def test_an_option_outside_its_range_is_refused(options, message):
    AffectNetPlusConfig(**SHAPE)
    with pytest.raises(ValueError, match=message):
        AffectNetPlusConfig(**(SHAPE | options))


# ---- what the model says


@pytest.mark.parametrize("options", [{}, STEM, {"pooling": "mean"}])
def test_the_output_begins_with_the_loss_and_has_its_shapes(options):
    model = tiny(**options)
    output = model(some_pixels(), labels=some_soft_labels(), valence_arousal=some_affect())
    assert list(output) == ["loss", "logits", "valence_arousal"]
    assert [tuple(value.shape) for value in output.values()] == [(), (3, 8), (3, 2)]
    assert list(model(some_pixels())) == ["logits", "valence_arousal"]


def test_valence_and_arousal_are_bounded():
    model = tiny()
    with torch.no_grad():
        model.valence_arousal.bias.copy_(torch.tensor([50.0, -50.0]))
    assert same(model(some_pixels()).valence_arousal, torch.tensor([[1.0, -1.0]]).expand(3, 2))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_heads_read_the_stock_transformer(pooling):
    model = tiny(pooling=pooling)
    tokens = model.vit(some_pixels()).last_hidden_state
    pooled = {"cls": tokens[:, 0], "mean": tokens.mean(dim=1)}[pooling]
    output = model(some_pixels())
    torch.testing.assert_close(output.logits, pooled @ model.classifier.weight.T + model.classifier.bias)
    affect = torch.tanh(pooled @ model.valence_arousal.weight.T + model.valence_arousal.bias)
    torch.testing.assert_close(output.valence_arousal, affect)


def test_the_loss_is_the_sum_of_both_with_the_options_of_the_configuration():
    weights = [0.5, 1.0, 2.0, 0.3, 4.0, 1.5, 0.7, 3.0]
    model = tiny(class_weights=weights, label_smoothing=0.2, valence_arousal_weight=0.3)
    soft, affect = some_soft_labels(), some_affect()
    soft[1], affect[2, 0] = float("nan"), float("nan")
    output = model(some_pixels(), labels=soft, valence_arousal=affect)
    first = soft_label_loss(output.logits, soft, torch.tensor(weights), 0.2)
    second = valence_arousal_loss(output.valence_arousal, affect)
    torch.testing.assert_close(output.loss, first + 0.3 * second)
    torch.testing.assert_close(model(some_pixels(), labels=soft).loss, first)
    torch.testing.assert_close(model(some_pixels(), valence_arousal=affect).loss, 0.3 * second)


def test_without_a_target_there_is_no_loss():
    assert tiny()(some_pixels()).loss is None


def test_labels_are_class_numbers_or_distributions_and_some_may_be_unknown():
    model, numbers = tiny(label_smoothing=0.1, class_weights=[1, 2, 3, 4, 5, 6, 7, 8]), torch.tensor([0, 7, 3])
    hard = model(some_pixels(), labels=numbers).loss
    assert same(hard, model(some_pixels(), labels=torch.eye(8)[numbers]).loss)
    assert same(hard, model(some_pixels(), labels=numbers.int()).loss)
    one_less = torch.eye(8)[numbers]
    one_less[1] = float("nan")
    unknown = torch.tensor([0, -100, 3])
    assert same(model(some_pixels(), labels=unknown).loss, model(some_pixels(), labels=one_less).loss)
    assert model(some_pixels(), labels=torch.full((3,), -100)).loss.item() == 0


def test_columns_of_the_data_set_are_understood_under_their_own_names():
    model, numbers, soft, affect = tiny(), torch.tensor([0, 7, 3]), some_soft_labels(), some_affect()
    whole = {"soft_label": 99 * soft, "soft_label_normalized": soft, "label": numbers}
    whole |= {"valence": affect[:, 0], "arousal": affect[:, 1]}
    expected = model(some_pixels(), labels=soft, valence_arousal=affect).loss
    assert same(model(some_pixels(), **whole).loss, expected)
    assert same(model(some_pixels(), labels=numbers, **whole).loss, expected), "as the stock collator names label"
    assert same(model(some_pixels(), label=numbers).loss, model(some_pixels(), labels=numbers).loss)
    mixed = some_soft_labels().flip(0)
    assert same(model(some_pixels(), labels=mixed, label=numbers).loss, model(some_pixels(), labels=mixed).loss)
    affect[:, 1] = float("nan")
    alone = model(some_pixels(), valence=affect[:, 0]).loss
    assert same(alone, model(some_pixels(), valence_arousal=affect).loss)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"labels": torch.rand(3)}, r"labels has the shape \(3,\) and the type torch.float32, expected"),
        ({"labels": torch.rand(3, 7)}, r"the soft labels have the shape \(3, 7\), expected \(batch, 8\)"),
        ({"soft_label": torch.rand(3, 8)}, "soft_label holds raw confidences.*: give soft_label_normalized"),
        ({"soft_labels": torch.rand(3, 8)}, "takes no soft_labels: give labels, class numbers or soft labels"),
        ({"valence_arousal": torch.rand(3)}, r"valence and arousal have the shape \(3,\), expected \(batch, 2\)"),
    ],
)
def test_targets_that_would_be_misread_are_refused_by_name(targets, message):
    with pytest.raises(ValueError, match=message):
        tiny()(some_pixels(), **targets)


def test_valence_and_arousal_alone_are_refused_by_a_model_that_does_not_learn_them():
    blind = tiny(valence_arousal_weight=0)
    with pytest.raises(ValueError, match=r"this model does not learn them: .*valence_arousal_weight=1.0\) lets it"):
        blind(some_pixels(), valence_arousal=some_affect())
    both = blind(some_pixels(), labels=some_soft_labels(), valence_arousal=some_affect()).loss
    assert same(both, blind(some_pixels(), labels=some_soft_labels()).loss)


def test_a_tuple_is_returned_when_asked_for():
    model = tiny()
    named = model(some_pixels(), labels=some_soft_labels())
    for plain in (
        model(some_pixels(), labels=some_soft_labels(), return_dict=False),
        tiny(return_dict=False)(some_pixels(), labels=some_soft_labels()),
    ):
        assert type(plain) is tuple and len(plain) == 3
        assert all(map(same, plain, named.values()))


def test_hidden_states_and_attentions_come_out_when_asked_for():
    model = tiny(**STEM, attn_implementation="eager")
    output = model(some_pixels(), output_hidden_states=True, output_attentions=True)
    assert [tuple(state.shape) for state in output.hidden_states] == [(3, 17, 32)] * 3
    assert [tuple(attention.shape) for attention in output.attentions] == [(3, 2, 17, 17)] * 2
    torch.testing.assert_close(output.attentions[0].sum(dim=-1), torch.ones(3, 2, 17))


def test_the_model_has_no_buffers():
    assert not list(tiny(**STEM).named_buffers())


@pytest.mark.parametrize(
    ("image_size", "patch_size", "channels", "tokens"),
    [(16, 4, [], 16), (16, 4, [8], 16), (16, 4, [8, 16], 16), (16, 4, [8, 16, 24], 16), (48, 8, [8, 16, 24], 36)],
)
def test_a_patch_counts_pixels_of_the_image_whatever_the_stem(image_size, patch_size, channels, tokens):
    model = tiny(image_size=image_size, patch_size=patch_size, stem_channels=channels)
    pixels = some_pixels(size=image_size)
    assert model.vit(model.stem(pixels)).last_hidden_state.shape == (3, tokens + 1, 32)
    assert model.config.image_size == image_size and model.config.patch_size == patch_size
    assert model(pixels).logits.shape == (3, 8)


def test_stem_channels_that_its_groups_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="12.* must be divisible by .*8"):
        tiny(stem_channels=[12])


@pytest.mark.parametrize("options", [{}, STEM])
def test_both_implementations_of_attention_agree_and_are_reached(options):
    model = tiny(**options, attn_implementation="sdpa")
    logits = model(some_pixels()).logits
    assert model.vit.layers[0].attention.config._attn_implementation == "sdpa"
    model.set_attn_implementation("eager")
    assert model.vit.layers[0].attention.config._attn_implementation == "eager"
    torch.testing.assert_close(model(some_pixels()).logits, logits, atol=1e-5, rtol=0)
    eager = tiny(**options, attn_implementation="eager")
    assert eager.vit.layers[0].attention.config._attn_implementation == "eager"


# ---- training


@pytest.mark.parametrize("options", [{}, STEM | {"pooling": "mean"}])
def test_the_gradient_reaches_every_parameter(options):
    model = tiny(**options).train()
    model(some_pixels(), labels=some_soft_labels(), valence_arousal=some_affect()).loss.backward()
    for name, parameter in model.named_parameters():
        # A bias of the keys shifts all scores of a query alike, which softmax does not see.
        if not name.endswith("k_proj.bias"):
            assert parameter.grad.abs().max() > 1e-7, name
        assert parameter.grad.isfinite().all(), name


def test_every_target_unknown_is_a_zero_step_and_no_nan():
    model = tiny()
    nothing = {"labels": torch.full((3, 8), float("nan")), "valence_arousal": torch.full((3, 2), float("nan"))}
    loss = model(some_pixels(), **nothing).loss
    loss.backward()
    assert loss.item() == 0
    assert all((parameter.grad == 0).all() for parameter in model.parameters())


@pytest.mark.parametrize("options", [{}, STEM])
def test_gradient_checkpointing_changes_nothing(options):
    grads = []
    for checkpointing in (False, True):
        model = tiny(**options).train()
        if checkpointing:
            model.gradient_checkpointing_enable()  # the name that all the releases we support know
            assert model.vit.layers[0].gradient_checkpointing
        loss = model(some_pixels(), labels=some_soft_labels(), valence_arousal=some_affect()).loss
        loss.backward()
        grads.append([loss, *(parameter.grad for parameter in model.parameters())])
    torch.testing.assert_close(*grads)


@pytest.mark.slow
def test_a_few_steps_learn_a_batch():
    torch.manual_seed(0)
    model = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**SHAPE, **STEM)).train()
    targets = {"labels": some_soft_labels(), "valence_arousal": some_affect()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        losses.append(model(some_pixels(), **targets).loss)
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]


# ---- to a folder and back


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved model with a stem and its image processor, and what the model says about `some_pixels()`."""
    folder = tmp_path_factory.mktemp("model")
    model = tiny(**STEM, class_weights=[1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return SimpleNamespace(folder=folder, model=model, logits=model(some_pixels()).logits.detach())


@pytest.mark.parametrize("loader", [AutoModel, AutoModelForImageClassification, AffectNetPlusForSoftLabels])
@pytest.mark.parametrize("trust", [None, True])
def test_a_saved_model_comes_back_the_same(saved, loader, trust):
    loaded = loader.from_pretrained(saved.folder, trust_remote_code=trust)
    assert type(loaded) is AffectNetPlusForSoftLabels  # the installed class, not a copy of its code
    assert same(loaded(some_pixels()).logits, saved.logits)
    assert loaded.config.class_weights == saved.model.config.class_weights


def test_the_model_imports_every_file_that_travels():
    """Saving follows imports, and transformers 4 copies from a folder what the model's own file imports alone."""
    text = (Path(vit.__file__).parent / "modeling_affectnet_plus.py").read_text()
    imported = {f"{name}.py" for name in re.findall(r"^from \.(\w+) import", text, flags=re.M)}
    assert imported | {"modeling_affectnet_plus.py"} == set(CODE)
    assert set(CODE) == {path.name for path in Path(vit.__file__).parent.glob("*.py")} - {"__init__.py"}


def test_the_folder_holds_the_code_and_says_where_the_classes_are(saved):
    assert sorted(path.name for path in saved.folder.glob("*.py")) == CODE
    config = json.loads((saved.folder / "config.json").read_text())
    assert config["auto_map"] == AUTO_MAP
    assert config["problem_type"] == "single_label_classification"
    assert config["image_size"] == SIZE and config["stem_channels"] == [8, 16]
    assert [config["id2label"][str(index)] for index in range(8)] == list(EMOTIONS)


@pytest.mark.parametrize(("original", "layer"), [(True, "vit.encoder.layer.1."), (False, "vit.layers.1.")])
def test_both_formats_of_weights_load(saved, tmp_path, original, layer):
    saved.model.save_pretrained(tmp_path, save_original_format=original)
    with safe_open(tmp_path / "model.safetensors", "pt") as weights:
        assert any(name.startswith(layer) for name in weights.keys())
    assert same(AutoModel.from_pretrained(tmp_path)(some_pixels()).logits, saved.logits)


def test_a_model_loads_in_bfloat16(saved):
    model = AutoModel.from_pretrained(saved.folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    output = model(some_pixels(), labels=some_soft_labels(), valence_arousal=some_affect())
    assert output.logits.dtype == torch.bfloat16 and output.loss.dtype == torch.float32
    torch.testing.assert_close(output.logits.float(), saved.logits, atol=0.1, rtol=0)
    output.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_the_stock_pipeline_gives_the_softmax_of_all_eight(saved):
    processor = ViTImageProcessorPil.from_pretrained(saved.folder)
    face = Image.effect_noise((24, 20), 90).convert("RGB")
    # With top_k=None the stock pipeline falls back to its default of 5.
    classify = pipeline("image-classification", model=str(saved.folder), image_processor=processor, top_k=8)
    scores = {entry["label"]: entry["score"] for entry in classify(face)}
    assert sorted(scores) == sorted(EMOTIONS)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
    expected = saved.model(**processor(face, return_tensors="pt")).logits.softmax(dim=1)[0]
    assert [scores[name] for name in EMOTIONS] == pytest.approx(expected.tolist(), abs=1e-6)


STRANGER = (
    ALONE
    + """
import json, sys
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

folder, work = sys.argv[1], Path(sys.argv[2])
pixels = load_file(work / "pixels.safetensors")["pixels"]
again = work / "again"
logits, classes = {}, []
for name, loader, where in [
    ("classifier", AutoModelForImageClassification, folder),
    ("model", AutoModel, folder),
    ("again", AutoModelForImageClassification, again),
]:
    model = loader.from_pretrained(where, trust_remote_code=True)
    logits[name] = model(pixels).logits.detach()
    classes.append([type(model).__module__.split(".")[0], type(model).__name__])
    model.save_pretrained(again)
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
save_file(logits, work / "logits.safetensors")
loaded = sorted(name for name in sys.modules if name.partition(".")[0] in HIDDEN)
(work / "report.json").write_text(json.dumps({"classes": classes, "config": type(config).__name__, "loaded": loaded}))
"""
)


@pytest.mark.slow
def test_a_process_without_this_package_loads_the_folder_and_saves_it_again(saved, tmp_path):
    from safetensors.torch import load_file, save_file

    save_file({"pixels": some_pixels()}, tmp_path / "pixels.safetensors")
    caches = {"HF_HOME": str(tmp_path / "home"), "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, str(saved.folder), str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | caches,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["classes"] == [["transformers_modules", "AffectNetPlusForSoftLabels"]] * 3
    assert report["config"] == "AffectNetPlusConfig" and not report["loaded"]
    assert list((tmp_path / "modules").rglob("modeling_affectnet_plus.py"))
    logits = load_file(tmp_path / "logits.safetensors")
    assert sorted(logits) == ["again", "classifier", "model"]
    for name, found in logits.items():
        assert same(found, saved.logits), name
    assert sorted(path.name for path in (tmp_path / "again").glob("*.py")) == CODE
    for name in CODE:
        assert (tmp_path / "again" / name).read_bytes() == (saved.folder / name).read_bytes()
    assert json.loads((tmp_path / "again" / "config.json").read_text())["auto_map"] == AUTO_MAP


# ---- from a ViT


@pytest.fixture(scope="module")
def vits(tmp_path_factory):
    """Stock checkpoints by kind: their folder and their encoder."""
    config = ViTConfig(**SHAPE, layer_norm_eps=1e-6)
    made = {}
    for kind, model in [("encoder", ViTModel(config)), ("classifier", ViTForImageClassification(config))]:
        for original in (True, False):
            folder = tmp_path_factory.mktemp(kind)
            scattered(model).save_pretrained(folder, save_original_format=original)
            made[kind, original] = folder, getattr(model, "vit", model)
    return made


@pytest.mark.parametrize("kind", ["encoder", "classifier"])
@pytest.mark.parametrize("original", [True, False])
def test_every_weight_of_a_vit_is_taken(vits, kind, original):
    folder, source = vits[kind, original]
    model = AffectNetPlusForSoftLabels.from_vit(folder).eval()
    theirs, ours = source.state_dict(), model.vit.state_dict()
    assert sorted(ours) == sorted(name for name in theirs if not name.startswith("pooler."))
    assert not [name for name in ours if not same(ours[name], theirs[name])]
    assert same(model.vit(some_pixels()).last_hidden_state, source(some_pixels()).last_hidden_state)
    assert model.config.layer_norm_eps == 1e-6
    assert model.config.model_type == "affectnet_plus" and model.config.num_labels == 8


def test_options_reach_the_model_and_it_saves_as_ours(vits, tmp_path):
    model = AffectNetPlusForSoftLabels.from_vit(vits["encoder", True][0], label_smoothing=0.1, num_labels=3).eval()
    assert model.config.label_smoothing == 0.1
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert loaded.config.label_smoothing == 0.1
    assert same(loaded(some_pixels()).logits, model(some_pixels()).logits)


@pytest.mark.parametrize("size", [8, 24, 32])
def test_another_image_size_resizes_the_positions_as_the_stock_model_does(vits, size):
    folder, source = vits["classifier", True]
    model = AffectNetPlusForSoftLabels.from_vit(folder, image_size=size).eval()
    positions, stock = model.vit.embeddings.position_embeddings, source.embeddings.position_embeddings
    assert positions.shape == (1, (size // 4) ** 2 + 1, 32)
    assert same(positions[:, 0], stock[:, 0])
    torch.testing.assert_close(positions, source.embeddings.interpolate_pos_encoding(positions, size, size))
    expected = source(some_pixels(size=size), interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(model.vit(some_pixels(size=size)).last_hidden_state, expected, atol=1e-5, rtol=0)


def test_positions_of_the_same_size_are_not_touched(vits):
    folder, source = vits["encoder", True]
    model = AffectNetPlusForSoftLabels.from_vit(folder, image_size=SIZE)
    assert same(model.vit.embeddings.position_embeddings, source.embeddings.position_embeddings)


def test_a_bfloat16_checkpoint_starts_a_float32_model(vits, tmp_path):
    source = ViTModel.from_pretrained(vits["encoder", True][0], dtype=torch.bfloat16)
    source.save_pretrained(tmp_path)
    model = AffectNetPlusForSoftLabels.from_vit(tmp_path, image_size=2 * SIZE)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert same(model.vit.layers[1].mlp.fc1.weight, source.layers[1].mlp.fc1.weight.float())
    reference = source.float().embeddings
    expected = reference.interpolate_pos_encoding(model.vit.embeddings.position_embeddings, 2 * SIZE, 2 * SIZE)
    torch.testing.assert_close(model.vit.embeddings.position_embeddings, expected)


def test_what_is_not_a_vit_is_refused(saved, tmp_path):
    BertConfig(hidden_size=32).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a 'bert' checkpoint"):
        AffectNetPlusForSoftLabels.from_vit(tmp_path)
    with pytest.raises(ValueError, match="is a 'affectnet_plus' checkpoint"):
        AffectNetPlusForSoftLabels.from_vit(saved.folder)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"hidden_size": 64}, "hidden_size"),
        ({"num_hidden_layers": 1}, "num_hidden_layers"),
        ({"num_attention_heads": 4}, "num_attention_heads"),
        ({"patch_size": 8}, "patch_size"),
        ({"stem_channels": [8, 16]}, "stem_channels"),
        ({"hidden_size": 64, "num_channels": 1}, "hidden_size, num_channels"),
    ],
)
def test_options_that_contradict_the_checkpoint_are_refused(vits, options, named):
    with pytest.raises(ValueError, match=f"decides {named};"):
        AffectNetPlusForSoftLabels.from_vit(vits["encoder", True][0], **options)


def test_options_that_repeat_the_checkpoint_are_taken(vits):
    assert AffectNetPlusForSoftLabels.from_vit(vits["encoder", True][0], **SHAPE).config.hidden_size == 32


def test_a_model_of_ours_that_lacks_a_weight_is_no_start(saved, tmp_path):
    folder = shutil.copytree(saved.folder, tmp_path / "holed")
    weights = load_file(folder / "model.safetensors")
    del weights["stem.0.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks stem.0.weight; give a whole checkpoint"):
        AffectNetPlusForSoftLabels.from_faces(folder)
