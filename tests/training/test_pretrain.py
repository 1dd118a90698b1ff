"""Pre-training: what is hidden stays hidden, the loss counts nothing else, and training goes on from the result."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from transformers import ViTForMaskedImageModeling, ViTModel

from affectnet_plus_modeling import cli
from affectnet_plus_modeling.data.unlabelled import unlabelled
from affectnet_plus_modeling.training import pretrain as pretrain_module
from affectnet_plus_modeling.training.masked_model import MaskedFaceModel
from affectnet_plus_modeling.training.masking import draw_masks, hide, pixel_masks
from affectnet_plus_modeling.training.options import SIZES
from affectnet_plus_modeling.training.pretrain import MaskedFaceTrainer, pretrain
from affectnet_plus_modeling.training.pretrain_options import PretrainingOptions
from affectnet_plus_modeling.training.train import train
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from support.archives import as_folder, as_tar, as_zip
from support.models import TINY, quick
from support.trees import picture

PLAIN = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def short(**options) -> PretrainingOptions:
    """Options of a run that takes about a second: 3 epochs of 2 steps on `drawn`, in float32."""
    return PretrainingOptions(**({"epochs": 3, "batch_size": 16, "image_size": 48, "bf16": False} | options))


def model_of(size: dict, image_size: int = 32) -> MaskedFaceModel:
    torch.manual_seed(0)
    return MaskedFaceModel(AffectNetPlusConfig(**size, image_size=image_size, patch_size=8)).eval()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# ---- what is hidden


@settings(deadline=None)
@given(squares=st.integers(2, 8), unit=st.integers(1, 3), ratio=st.floats(0.13, 0.87), seed=st.integers(0, 1000))
def test_the_same_number_of_whole_squares_is_hidden_in_every_picture(squares, unit, ratio, seed):
    torch.manual_seed(seed)
    masks = draw_masks(7, squares * unit, ratio, unit)
    assert masks.shape == (7, (squares * unit) ** 2) and masks.dtype == torch.bool
    blocks = masks.view(7, squares, unit, squares, unit)
    assert torch.equal(blocks.all(dim=4).all(dim=2), blocks.any(dim=4).any(dim=2))
    assert (masks.sum(dim=1) == round(ratio * squares**2) * unit**2).all()


def test_every_square_is_hidden_as_often_and_pictures_differ():
    torch.manual_seed(0)
    masks = draw_masks(4000, 6, 0.6)
    expected = 22 / 36  # .6 of 36, rounded
    deviation = (expected * (1 - expected) / 4000) ** 0.5
    assert (masks.float().mean(dim=0) - expected).abs().max() < 5 * deviation
    assert len(masks.unique(dim=0)) == 4000


@pytest.mark.parametrize(("ratio", "hidden"), [(0.01, 0), (0.99, 36)])
def test_a_ratio_that_hides_nothing_or_everything_is_refused(ratio, hidden):
    with pytest.raises(ValueError, match=f"mask_ratio of {ratio} hides {hidden} of the 36 squares"):
        draw_masks(1, 6, ratio)


def test_hidden_patches_are_grey_and_the_others_as_they_are():
    pictures = torch.rand(2, 3, 16, 16) + 1
    masks = torch.tensor([[True, False, False, False], [False, False, True, False]])
    hidden = hide(pictures, pixel_masks(masks, 8))
    assert (hidden[0, :, :8, :8] == 0).all() and (hidden[1, :, 8:, :8] == 0).all()
    assert (hidden != 0).sum() == 2 * 3 * 3 * 64
    assert torch.equal(hidden[0, :, :, 8:], pictures[0, :, :, 8:])


# ---- the model


@pytest.fixture(params=[TINY, PLAIN], ids=["with a stem", "plain"])
def model(request) -> MaskedFaceModel:
    return model_of(request.param)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture
def masks() -> torch.Tensor:
    torch.manual_seed(2)
    return draw_masks(3, 4, 0.6)


@torch.no_grad()
def test_hidden_pixels_reach_neither_the_encoder_nor_the_answer(model, pictures, masks):
    encoded = []
    model.vit.register_forward_hook(lambda module, inputs, output: encoded.append(output.last_hidden_state))
    hidden = pixel_masks(masks, 8)
    changed = torch.where(hidden, torch.rand_like(pictures), pictures)
    first, second = model(pictures, masks), model(changed, masks)
    assert torch.equal(*encoded)
    assert torch.equal(first.reconstruction, second.reconstruction)
    assert first.loss != second.loss, "what is hidden is what is asked for"
    seen = torch.where(hidden, pictures, torch.rand_like(pictures))
    assert not torch.equal(model(seen, masks).reconstruction, first.reconstruction)


@torch.no_grad()
def test_through_a_stem_hidden_pixels_would_leak_were_they_not_grey_before_it(pictures, masks):
    model = model_of(TINY)
    changed = torch.where(pixel_masks(masks, 8), torch.rand_like(pictures), pictures)
    assert not torch.equal(model.encode(pictures, masks), model.encode(changed, masks))


def test_the_loss_is_the_mean_difference_of_hidden_pixels_alone(model):
    torch.nn.init.zeros_(model.decoder[0].weight)
    torch.nn.init.zeros_(model.decoder[0].bias)
    pictures = torch.full((2, 3, 32, 32), 9.0)
    masks = torch.zeros(2, 16, dtype=torch.bool)
    masks[0, :3] = True
    masks[1, 15] = True
    pictures[0, :, :8, :24] = 0.5
    pictures[1, :, 24:, 24:] = -1.0
    assert model(pictures, masks).loss.item() == pytest.approx((3 * 0.5 + 1.0) / 4)


def test_what_is_seen_has_no_gradient(model, pictures, masks):
    output = model(pictures, masks)
    (gradient,) = torch.autograd.grad(output.loss, output.reconstruction)
    hidden = pixel_masks(masks, 8).expand_as(gradient)
    assert (gradient[~hidden] == 0).all()
    assert torch.allclose(gradient[hidden].abs(), torch.tensor(1 / int(hidden.sum())))


def test_every_weight_has_a_gradient(model, pictures, masks):
    model(pictures, masks).loss.backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@torch.no_grad()
def test_without_a_stem_it_is_the_stock_model(pictures, masks):
    ours = model_of(PLAIN)
    torch.nn.init.normal_(ours.vit.embeddings.mask_token)
    config = AffectNetPlusConfig(**PLAIN, image_size=32, patch_size=8, encoder_stride=8)
    stock = ViTForMaskedImageModeling(config).eval()
    stock.load_state_dict(ours.state_dict(), strict=True)
    expected, found = stock(pictures, bool_masked_pos=masks), ours(pictures, masks)
    assert torch.allclose(found.reconstruction, expected.reconstruction, atol=1e-6)
    assert float(found.loss) == pytest.approx(float(expected.loss), rel=1e-5)


# ---- a run


@pytest.fixture(scope="module")
def uninterrupted(drawn, tmp_path_factory) -> Path:
    """What a run of 3 epochs on `drawn` wrote; read-only."""
    out = tmp_path_factory.mktemp("pretrained") / "encoder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "tiny", TINY)
        pretrain(drawn, out, short())
    return out


@pytest.mark.slow
def test_a_run_leaves_the_encoder_and_beside_it_the_picture(uninterrupted):
    assert sorted(os.listdir(uninterrupted.parent)) == ["encoder", "encoder.reconstruction.png"]
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "pretraining.json"} <= set(
        os.listdir(uninterrupted)
    )
    assert not list(uninterrupted.glob("*.png"))
    record = json.loads((uninterrupted / "pretraining.json").read_text())
    assert record["images"] == {"name": "drawn", "origin": "drawn", "faces": 32, "left_out": 0}
    assert record["steps"] == 6 and len(record["losses"]) == 3
    assert record["options"]["mask_size"] == record["options"]["patch_size"] == 8


def test_nothing_but_stem_and_encoder_is_written(uninterrupted):
    whole = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**TINY, image_size=48, patch_size=8))
    heads = {"classifier.weight", "classifier.bias", "valence_arousal.weight", "valence_arousal.bias"}
    _, report = AffectNetPlusForSoftLabels.from_pretrained(uninterrupted, output_loading_info=True)
    assert set(report["missing_keys"]) == heads and not report["unexpected_keys"]
    assert len(weights(uninterrupted)) == len(whole.state_dict()) - len(heads)


def test_training_starts_from_every_weight_of_it(drawn, tmp_path, tiny, monkeypatch):
    trained_weights = {}
    save = pretrain_module.save_encoder

    def save_and_remember(model, folder):
        trained_weights.update(model.state_dict())
        save(model, folder)

    monkeypatch.setattr(pretrain_module, "save_encoder", save_and_remember)
    pretrain(drawn, tmp_path / "encoder", short(epochs=1))
    start = AffectNetPlusForSoftLabels.from_faces(tmp_path / "encoder").state_dict()
    encoder = [name for name in start if name.startswith(("stem.", "vit."))]
    assert len(encoder) == len(start) - 4
    assert all(torch.equal(start[name], trained_weights[name]) for name in encoder)
    record = train(drawn, tmp_path / "model", quick(from_pretrained=str(tmp_path / "encoder"), epochs=1))
    assert record["options"]["from_pretrained"] == "encoder"


def test_without_a_stem_what_is_written_is_a_stock_vit(drawn, tmp_path, monkeypatch, pictures):
    monkeypatch.setitem(SIZES, "small", PLAIN)
    pretrain(drawn, tmp_path / "encoder", short(size="small", image_size=32, epochs=1))
    stock, report = ViTModel.from_pretrained(tmp_path / "encoder", add_pooling_layer=False, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    ours = AffectNetPlusForSoftLabels.from_faces(tmp_path / "encoder").eval()
    expected, found = (some(pictures, output_hidden_states=True).hidden_states for some in (ours, stock.eval()))
    assert len(found) == 3 and torch.allclose(found[-1], expected[-1], atol=1e-6)


@pytest.mark.slow
def test_the_loss_falls_below_that_of_the_best_constant(drawn, tmp_path, tiny):
    record = pretrain(drawn, tmp_path / "encoder", short(epochs=40, learning_rate=3e-3))
    faces = pretrain_module.FaceDataset(unlabelled(drawn, None), 48)
    values = pretrain_module.normalise(faces.batch(range(32))["pixels"])
    constant = (values - values.median()).abs().mean()
    assert record["losses"][-1] < 0.8 * constant < record["losses"][0]


def test_the_picture_shows_each_face_what_is_seen_of_it_and_the_rest_filled_in(uninterrupted, drawn):
    sheet = np.array(Image.open(uninterrupted.parent / "encoder.reconstruction.png"))
    assert sheet.shape == (3 * 144, 8 * 144, 3)
    originals, seen, filled = sheet[::3, ::3].reshape(3, 48, 8 * 48, 3)
    faces = pretrain_module.FaceDataset(unlabelled(drawn, None), 48)
    assert np.array_equal(originals[:, :48], faces[0]["pixels"].permute(1, 2, 0))
    assert np.array_equal(originals[:, -48:], faces[31]["pixels"].permute(1, 2, 0))
    grey = (seen == 128).all(axis=2)
    assert np.array_equal(seen[~grey], originals[~grey]) and np.array_equal(filled[~grey], originals[~grey])
    assert grey.mean() == pytest.approx(22 / 36, abs=0.01)


# ---- interruption


def interrupt(data, out, options, step: int) -> None:
    class Interrupted(MaskedFaceTrainer):
        def training_step(self, *args, **kwargs):
            if self.state.global_step == step:
                raise KeyboardInterrupt
            return super().training_step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pretrain_module, "MaskedFaceTrainer", Interrupted)
        pretrain(data, out, options)


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 5], ids=["before the first checkpoint", "in the third epoch"])
def test_a_resumed_run_ends_as_the_uninterrupted_one(drawn, tmp_path, tiny, uninterrupted, step):
    out = tmp_path / "encoder"
    interrupt(drawn, out, short(), step)
    assert os.listdir(tmp_path) == ["encoder.training"]
    if step:
        for resume in (False, True):
            with pytest.raises(ValueError, match="mask_ratio was 0.6 and is 0.5"):
                pretrain(drawn, out, short(mask_ratio=0.5), resume=resume)
    record = pretrain(drawn, out, short(), resume=step == 0)  # the same command goes on without it too
    assert same(weights(out), weights(uninterrupted))
    assert record["losses"] == json.loads((uninterrupted / "pretraining.json").read_text())["losses"]
    assert not (tmp_path / "encoder.training").exists()


@pytest.mark.slow
def test_a_run_that_was_interrupted_while_it_saved_can_be_resumed(drawn, tmp_path, tiny, uninterrupted):
    def full_disk(*_):
        raise OSError("No space left on device")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(pretrain_module, "save_encoder", full_disk)
        pretrain(drawn, tmp_path / "encoder", short())
    assert not (tmp_path / "encoder").exists()
    pretrain(drawn, tmp_path / "encoder", short(), resume=True)
    assert same(weights(tmp_path / "encoder"), weights(uninterrupted))


def test_a_loss_that_is_no_number_stops_the_run(drawn, tmp_path, tiny):
    with pytest.raises(ValueError, match="no number any more at step 2 of 6"):
        pretrain(drawn, tmp_path / "encoder", short(learning_rate=1e30, warmup=0))
    assert os.listdir(tmp_path) == ["encoder.training"]
    assert not list((tmp_path / "encoder.training").glob("checkpoint-*"))


def test_what_exists_is_not_overwritten_unless_asked(drawn, tmp_path, tiny):
    (tmp_path / "encoder").mkdir()
    with pytest.raises(FileExistsError, match="--overwrite"):
        pretrain(drawn, tmp_path / "encoder", short(epochs=1))
    pretrain(drawn, tmp_path / "encoder", short(epochs=1), overwrite=True)
    assert (tmp_path / "encoder" / "model.safetensors").is_file()
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        pretrain(drawn, tmp_path / "other", short(epochs=1), resume=True)


# ---- whose faces


def test_of_a_prepared_folder_every_face_counts_but_those_for_validation(prepared):
    found = unlabelled(prepared, None)["image_id"]
    assert {name.split("/")[0] for name in found} == {"train", "no_human"}
    assert len(found) == len(set(found)) == 36 + 5
    assert len(unlabelled(prepared, ["no_human"])) == 5


def test_no_label_is_kept(prepared):
    faces = pretrain_module.FaceDataset(unlabelled(prepared, None), 24)
    assert (faces.labels == -1).all() and faces.soft_labels.isnan().all() and faces.valence_arousal.isnan().all()


def test_a_folder_of_pictures_is_searched_in_depth(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "2.PNG").write_bytes(picture((10, 20, 30), "PNG"))
    (tmp_path / "1.jpg").write_bytes(picture())
    (tmp_path / "README.md").write_text("about")
    faces = pretrain_module.FaceDataset(unlabelled(tmp_path, None), 24)
    assert faces.image_ids == ["1.jpg", "a/2.PNG"]
    assert faces[1]["pixels"][:, 0, 0].tolist() == [10, 20, 30]


def test_grey_pictures_and_a_single_one_will_do(tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("faces")
    Image.fromarray(np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)).save("faces/grey.png")
    record = pretrain("faces", "encoder", PretrainingOptions(epochs=1, bf16=False))
    assert record["images"] == {"name": "faces", "origin": None, "faces": 1, "left_out": 0}
    assert record["options"]["image_size"] == 48
    assert Image.open("encoder.reconstruction.png").size == (144, 3 * 144)


@pytest.mark.parametrize(
    ("break_it", "options", "error", "message"),
    [
        (shutil.rmtree, {}, FileNotFoundError, "faces does not exist; give a folder, tar or zip of pictures"),
        (lambda folder: (folder / "1.jpg").unlink(), {}, FileNotFoundError, "holds no .jpg, .jpeg, .png"),
        (lambda folder: (folder / "1.jpg").write_bytes(b"no"), {}, OSError, "1.jpg.* cannot be read as JPEG or PNG"),
        (lambda folder: None, {"views": ("all",)}, ValueError, "was not prepared and has no view all"),
        (lambda folder: None, {"image_size": 50}, ValueError, "50 pixels cannot be divided into patches of 8"),
        (lambda folder: None, {"image_size": 48, "mask_size": 12}, ValueError, "mask_size is 12; .* multiple of 8"),
        (lambda folder: None, {"image_size": 48, "mask_size": 32}, ValueError, "mask_size is 32; .* divides 48"),
        (lambda folder: None, {"mask_ratio": 0.01}, ValueError, "hides 0 of the 9 squares"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(tmp_path, tiny, break_it, options, error, message):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "1.jpg").write_bytes(picture())
    break_it(tmp_path / "faces")
    with pytest.raises(error, match=message):
        pretrain(tmp_path / "faces", tmp_path / "encoder", PretrainingOptions(epochs=1, bf16=False, **options))
    assert not (tmp_path / "encoder").exists()
    assert not list(tmp_path.glob("encoder.training/checkpoint-*"))


@pytest.mark.parametrize("make", [as_tar, as_zip])
def test_the_pictures_of_an_archive_are_those_of_the_folder(tmp_path, make):
    expected = pretrain_module.FaceDataset(unlabelled(as_folder(tmp_path / "faces"), None), 24)
    faces = pretrain_module.FaceDataset(unlabelled(make(tmp_path / "archive"), None), 24)
    assert faces.image_ids == expected.image_ids and len(faces) == 4
    assert torch.equal(faces.batch(range(4))["pixels"], expected.batch(range(4))["pixels"])


def test_a_single_picture_will_do(tmp_path):
    (tmp_path / "1.jpg").write_bytes(picture())
    assert unlabelled(tmp_path / "1.jpg", None)["image_id"] == ["1.jpg"]


def test_views_that_overlap_are_refused(prepared):
    with pytest.raises(ValueError, match="the views default, easy of .* overlap"):
        unlabelled(prepared, ["default", "easy"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "huge"}, "size is 'huge'; it must be one of mini, tiny, wide, small, base"),
        ({"mask_ratio": 1.0}, "mask_ratio is 1.0; it must be in"),
        ({"epochs": 0}, "epochs is 0; it must be above 0"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PretrainingOptions(**options)


@pytest.mark.parametrize(
    ("image_size", "patch_size", "mask_size"), [(48, 8, 8), (112, 16, 16), (192, 16, 32), (224, 16, 32), (208, 16, 16)]
)
def test_squares_are_about_a_sixth_of_the_picture_where_patches_allow(drawn, image_size, patch_size, mask_size):
    decided = pretrain_module._decided(PretrainingOptions(image_size=image_size), unlabelled(drawn, None))
    assert (decided.patch_size, decided.mask_size) == (patch_size, mask_size)


def test_the_command_line_says_what_it_did(drawn_tree, tmp_path, tiny, capsys):
    out = str(tmp_path / "encoder")
    words = ["--epochs", "2", "--batch-size", "20", "--image-size", "48", "--bf16", "no", "--mask-ratio", ".5"]
    assert cli.main(["pretrain", str(drawn_tree), out, *words]) == 0
    assert "40 faces, 4 steps in" in capsys.readouterr().out
    record = json.loads((tmp_path / "encoder" / "pretraining.json").read_text())
    assert record["options"]["mask_ratio"] == 0.5
    assert cli.main(["pretrain", str(drawn_tree), out, *words]) == 1
    assert "exists" in capsys.readouterr().err
