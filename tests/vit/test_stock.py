"""The model in the stock world: what transformers, accelerate and torch.compile make of it. See test_model.py too."""

import copy
import json
import logging
import shutil
import warnings

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
    pipeline,
)

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.training.saving import save_model
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels

SIZE = 16
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": SIZE,
    "patch_size": 4,
}
STEM = {"stem_channels": [8, 16], "pooling": "mean"}
SOFTMAX = "single_label_classification"
NEW = ["classifier.weight", "classifier.bias", "valence_arousal.weight", "valence_arousal.bias"]


@torch.no_grad()
def scattered(model):
    """The model in eval mode with no parameter left at an initial value."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tiny(**options) -> AffectNetPlusForSoftLabels:
    return scattered(AffectNetPlusForSoftLabels(AffectNetPlusConfig(**(SHAPE | options))))


def some_pixels(rows=3) -> torch.Tensor:
    return torch.randn(rows, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def some_soft_labels(rows=3) -> torch.Tensor:
    return torch.rand(rows, 8, generator=torch.Generator().manual_seed(1)).softmax(dim=1)


def some_affect(rows=3) -> torch.Tensor:
    return torch.rand(rows, 2, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_model(tiny(**STEM), SIZE, folder)
    return folder


@pytest.fixture(scope="module")
def logits():
    """What that model says of `some_pixels()`."""
    return tiny(**STEM)(some_pixels()).logits.detach()


def problem_type(folder) -> str:
    return json.loads((folder / "config.json").read_text())["problem_type"]


# ---- always a softmax


class Rows(torch.utils.data.Dataset):
    """Four faces with float labels under the name that makes the stock loss choose a sigmoid."""

    def __len__(self):
        return 4

    def __getitem__(self, row):
        return {"pixel_values": some_pixels(4)[row], "labels": some_soft_labels(4)[row]}


def test_the_stock_model_is_turned_to_sigmoid_by_float_labels():
    """What this section guards against; the day this fails, transformers has changed its loss."""
    stock = ViTForImageClassification(ViTConfig(**SHAPE, num_labels=8))
    stock(some_pixels(), labels=some_soft_labels())
    assert stock.config.problem_type == "multi_label_classification"


def test_the_stock_trainer_on_float_labels_saves_a_softmax(tmp_path):
    model = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**SHAPE))
    options = {"report_to": "none", "use_cpu": True, "remove_unused_columns": False}
    arguments = TrainingArguments(str(tmp_path), max_steps=2, per_device_train_batch_size=2, save_steps=1, **options)
    trainer = Trainer(model, arguments, train_dataset=Rows(), eval_dataset=Rows())
    trainer.train()
    trainer.evaluate()
    trainer.save_model(tmp_path / "out")
    for folder in (tmp_path / "checkpoint-1", tmp_path / "checkpoint-2", tmp_path / "out"):
        assert problem_type(folder) == AutoModel.from_pretrained(folder).config.problem_type == SOFTMAX


@pytest.mark.parametrize("wrong", ["multi_label_classification", "regression", None])
def test_a_configuration_that_was_changed_by_hand_is_a_softmax_again(saved, tmp_path, wrong):
    config = json.loads((saved / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"problem_type": wrong}))
    save_file(load_file(saved / "model.safetensors"), tmp_path / "model.safetensors", {"format": "pt"})
    model = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert model.config.problem_type == AutoConfig.from_pretrained(tmp_path).problem_type == SOFTMAX
    model(some_pixels(), labels=some_soft_labels())
    save_model(model, SIZE, tmp_path / "again")
    assert problem_type(tmp_path / "again") == SOFTMAX


def test_another_problem_type_asked_for_on_loading_does_not_outlive_saving(saved, tmp_path):
    model = AutoModelForImageClassification.from_pretrained(saved, problem_type="multi_label_classification")
    model.save_pretrained(tmp_path)
    assert AutoModelForImageClassification.from_pretrained(tmp_path).config.problem_type == SOFTMAX


def test_every_way_of_saving_keeps_the_softmax(saved, tmp_path):
    model = AutoModel.from_pretrained(saved)
    model(some_pixels(), labels=some_soft_labels()).loss.backward()
    model.save_pretrained(tmp_path / "model")
    model.config.save_pretrained(tmp_path / "config")
    pipeline("image-classification", model=model, image_processor=processor(saved)).save_pretrained(tmp_path / "stock")
    for name in ("model", "config", "stock"):
        assert problem_type(tmp_path / name) == SOFTMAX


# ---- restored name by name, as the stock Trainer does


def test_a_stock_vit_loses_its_encoder_when_it_is_restored_name_by_name(tmp_path):
    """If this fails, transformers restores its own checkpoints now, and FaceTrainer need not do it."""
    stock = ViTForImageClassification(ViTConfig(**SHAPE, num_labels=8))
    stock.save_pretrained(tmp_path)
    found = stock.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)
    assert len(found.missing_keys) == len(found.unexpected_keys) == 32


@pytest.mark.parametrize("original", [True, False])
def test_our_model_is_restored_whole_name_by_name(saved, logits, tmp_path, original):
    tiny(**STEM).save_pretrained(tmp_path, save_original_format=original)
    written = load_file(tmp_path / "model.safetensors")
    names = list(written)
    model = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**SHAPE, **STEM)).eval()
    for restored in (model, copy.deepcopy(model)):
        restored.load_state_dict(written, strict=True)
        torch.testing.assert_close(restored(some_pixels()).logits, logits)
    wrapped = torch.nn.ModuleDict({"module": AffectNetPlusForSoftLabels(AffectNetPlusConfig(**SHAPE, **STEM)).eval()})
    wrapped.load_state_dict({f"module.{name}": value for name, value in written.items()}, strict=True)
    torch.testing.assert_close(wrapped["module"](some_pixels()).logits, logits)
    assert list(written) == names, "what was read stays as it was"


# ---- the stock pipeline


def processor(folder) -> ViTImageProcessorPil:
    return ViTImageProcessorPil.from_pretrained(folder)


def face() -> Image.Image:
    return Image.effect_noise((24, 20), 90).convert("RGB")


def test_the_stock_pipeline_gives_the_highest_scores_when_asked_for_all(saved):
    """top_k=None gave five of the eight in every release up to 5.24, so that they do not sum to 1: ask for 8."""
    picture = face()
    classify = pipeline("image-classification", model=str(saved), image_processor=processor(saved), device="cpu")
    every, asked = classify(picture, top_k=8), classify(picture, top_k=None)
    assert sorted(entry["label"] for entry in every) == sorted(EMOTIONS)
    assert sum(entry["score"] for entry in every) == pytest.approx(1, abs=1e-6)
    assert asked == every[: len(asked)] and len(asked) in (5, 8)
    if len(asked) == 8:
        warnings.warn("the stock pipeline's top_k=None gives all scores now: say so where 8 is advised", stacklevel=1)


def test_the_stock_pipeline_takes_bfloat16_and_batches(saved):
    pictures = [face() for _ in range(5)]
    scores = []
    for dtype in (torch.float32, torch.bfloat16):
        stock = {"model": str(saved), "image_processor": processor(saved), "dtype": dtype, "device": "cpu"}
        classify = pipeline("image-classification", **stock)
        assert classify.model.dtype == dtype
        found = classify(pictures, batch_size=2, top_k=8)
        scores.append(torch.tensor([[entry["score"] for entry in sorted(one, key=str)] for one in found]))
    torch.testing.assert_close(scores[0].sum(dim=1), torch.ones(5))
    torch.testing.assert_close(scores[1].sum(dim=1), torch.ones(5), atol=1e-2, rtol=0)


# ---- where and how it runs


@pytest.mark.parametrize("place", ["cpu", "auto", {"": "cpu"}])
@pytest.mark.parametrize("loader", [AutoModel, AutoModelForImageClassification])
def test_a_device_map_places_the_model(saved, logits, loader, place):
    model = loader.from_pretrained(saved, device_map=place)
    said = model(some_pixels().to(model.device)).logits.cpu()
    torch.testing.assert_close(said, logits, atol=1e-5, rtol=0)


def test_a_device_map_splits_the_model_between_memory_and_disk(saved, logits, tmp_path):
    """No layer is cut in two, and each head and the stem may lie elsewhere than the transformer."""
    places = {"stem": "cpu", "vit.embeddings": "cpu", "vit.layers.0": "cpu", "vit.layers.1": "disk"}
    places |= {"vit.layernorm": "cpu", "classifier": "disk", "valence_arousal": "cpu"}
    model = AutoModel.from_pretrained(saved, device_map=places, offload_folder=tmp_path)
    assert model.hf_device_map == places
    with torch.no_grad():
        torch.testing.assert_close(model(some_pixels()).logits, logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{}, STEM], ids=["plain", "stem"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.slow
def test_the_whole_step_compiles_without_a_graph_break(options, attention):
    model = tiny(**options, attn_implementation=attention).train()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    targets = {"labels": some_soft_labels(), "valence_arousal": some_affect()}
    targets["labels"][1] = float("nan")
    steps = []
    for network in (model, compiled):
        model.zero_grad()
        output = network(some_pixels(), **targets)
        output.loss.backward()
        steps.append([output.loss.detach(), output.logits.detach(), *[p.grad.clone() for p in model.parameters()]])
    torch.testing.assert_close(steps[0], steps[1], atol=1e-5, rtol=1e-4)
    torch._dynamo.reset()


@pytest.mark.slow
def test_training_with_drop_path_compiles_without_a_graph_break():
    model = tiny(**STEM, drop_path_rate=0.3).train()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(some_pixels(), labels=some_soft_labels(), valence_arousal=some_affect()).loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_the_compiled_kernels_say_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model = tiny(**STEM)
    with torch.no_grad():
        said = torch.compile(model, fullgraph=True)(some_pixels()).logits
        torch.testing.assert_close(said, model(some_pixels()).logits, atol=1e-5, rtol=0)
    torch._dynamo.reset()


@pytest.mark.slow
def test_another_batch_size_compiles_without_a_graph_break_too():
    model = tiny(**STEM)
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=True)
    with torch.no_grad():
        for rows in (3, 5, 8):
            torch.testing.assert_close(compiled(some_pixels(rows)).logits, model(some_pixels(rows)).logits)
    torch._dynamo.reset()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_half_precision_agree_with_float32(saved, logits, dtype):
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        mixed = AutoModel.from_pretrained(saved)(some_pixels()).logits
    half = AutoModel.from_pretrained(saved, dtype=dtype, attn_implementation="eager")(some_pixels()).logits
    assert half.dtype == dtype
    torch.testing.assert_close(mixed.float(), logits, atol=0.1, rtol=0)
    torch.testing.assert_close(half.float(), logits, atol=0.1, rtol=0)


# ---- a checkpoint of google/vit-base-patch16-224 in small

# The names in that checkpoint, written by transformers 4, and what transformers 5 calls them; X is in each layer.
NAMES = {
    "vit.embeddings.cls_token": "embeddings.cls_token",
    "vit.embeddings.position_embeddings": "embeddings.position_embeddings",
    "vit.embeddings.patch_embeddings.projection.X": "embeddings.patch_embeddings.projection.X",
    "vit.encoder.layer.N.attention.attention.query.X": "layers.N.attention.q_proj.X",
    "vit.encoder.layer.N.attention.attention.key.X": "layers.N.attention.k_proj.X",
    "vit.encoder.layer.N.attention.attention.value.X": "layers.N.attention.v_proj.X",
    "vit.encoder.layer.N.attention.output.dense.X": "layers.N.attention.o_proj.X",
    "vit.encoder.layer.N.intermediate.dense.X": "layers.N.mlp.fc1.X",
    "vit.encoder.layer.N.output.dense.X": "layers.N.mlp.fc2.X",
    "vit.encoder.layer.N.layernorm_before.X": "layers.N.layernorm_before.X",
    "vit.encoder.layer.N.layernorm_after.X": "layers.N.layernorm_after.X",
    "vit.layernorm.X": "layernorm.X",
}


def both_names(layers=2) -> dict[str, str]:
    """Each weight's name in transformers 4: its name in our encoder."""
    return {
        old.replace("N", layer).replace("X", kind): new.replace("N", layer).replace("X", kind)
        for old, new in NAMES.items()
        for layer in (map(str, range(layers)) if "N" in old else [""])
        for kind in (["weight", "bias"] if "X" in old else [""])
    }


def google(folder, version: int, without=()) -> dict[str, torch.Tensor]:
    """Write such a checkpoint by hand, with its head of 1000 classes; the encoder's weights by their names in ours."""
    encoder = scattered(ViTModel(ViTConfig(**SHAPE), add_pooling_layer=False)).state_dict()
    stored = {(old if version == 4 else "vit." + new): encoder[new] for old, new in both_names().items()}
    stored |= {"classifier.weight": torch.ones(1000, 32), "classifier.bias": torch.ones(1000)}
    kept = {name: weight for name, weight in stored.items() if name not in without}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    names = {str(index): f"tench {index}" for index in range(1000)}
    config = SHAPE | {"architectures": ["ViTForImageClassification"], "model_type": "vit", "layer_norm_eps": 1e-12}
    config |= {"id2label": names, "label2id": {name: int(index) for index, name in names.items()}}
    (folder / "config.json").write_text(json.dumps(config))
    return encoder


@pytest.mark.parametrize("version", [4, 5])
def test_an_imagenet_checkpoint_gives_its_encoder_and_the_log_says_what_is_new(tmp_path, version, caplog):
    theirs = google(tmp_path, version)
    assert sorted(both_names().values()) == sorted(theirs), "premise: the table names every weight"
    with caplog.at_level(logging.WARNING):
        model = AffectNetPlusForSoftLabels.from_vit(tmp_path)
    ours = model.vit.state_dict()
    assert sorted(ours) == sorted(theirs)
    assert not [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert model.config.num_labels == 8 and model.classifier.weight.shape == (8, 32)
    assert not (model.classifier.weight == 1).any(), "the old head is not taken"
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("affectnet_plus")]
    assert said == f"{tmp_path} gave every weight of the encoder. New, to be trained: {', '.join(NEW)}"
    assert sorted(NEW) == sorted(set(model.state_dict()) - {f"vit.{name}" for name in theirs})


def test_a_checkpoint_without_a_weight_of_the_encoder_is_refused(tmp_path):
    google(tmp_path, 4, without=["vit.encoder.layer.1.output.dense.bias"])
    with pytest.raises(ValueError, match=r"lacks layers\.1\.mlp\.fc2\.bias; give a checkpoint with the whole encoder"):
        AffectNetPlusForSoftLabels.from_vit(tmp_path)


def test_the_size_of_the_original_checkpoint_comes_out(tmp_path):
    """What google/vit-base-patch16-224 has: 85.8 million parameters before the head, checked without their memory."""
    with torch.device("meta"):
        model = AffectNetPlusForSoftLabels(AffectNetPlusConfig())
    assert sum(parameter.numel() for parameter in model.vit.parameters()) == 85_798_656
