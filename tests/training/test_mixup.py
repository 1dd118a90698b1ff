"""Mixtures against their own formula, face by face, and their shares against scipy's Beta and the papers' code."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, kstest

from affectnet_plus_modeling.training.mixup import mix

NAN = float("nan")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def told_apart(rows=8, height=10, width=16) -> dict[str, torch.Tensor]:
    """Face i is of shade i / rows all over, and its soft label is all on class i."""
    shades = torch.arange(rows) / rows
    return {
        "pixel_values": shades[:, None, None, None].expand(rows, 3, height, width).clone(),
        "soft_labels": torch.eye(rows),
        "valence_arousal": torch.stack([shades, -shades], dim=1),
    }


def shares_and_partners(mixed: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Lambda and the partner of each of the faces that can be told apart."""
    shares = mixed["soft_labels"].diagonal()
    partners = (mixed["soft_labels"] - shares.diag()).argmax(dim=1)
    return shares, partners


def uneven(rows: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "pixel_values": torch.rand(rows, 3, 8, 8, generator=generator) * 2 - 1,
        "soft_labels": torch.rand(rows, 8, generator=generator).softmax(dim=1),
        "valence_arousal": torch.rand(rows, 2, generator=generator) * 2 - 1,
    }


def test_mixup_adds_picture_soft_label_and_affect_in_the_same_shares():
    batch = told_apart()
    mixed = mix(batch, mixup=1.0)
    shares, partners = shares_and_partners(mixed)
    assert torch.equal(partners, torch.arange(1, 9) % 8)
    assert len(shares.unique()) == 8, "every face draws its own share"
    for name in batch:
        own = shares.view(-1, *[1] * (batch[name].ndim - 1))
        torch.testing.assert_close(mixed[name], own * batch[name] + (1 - own) * batch[name][partners])


def test_cutmix_lays_a_rectangle_whose_area_is_the_partners_share():
    batch = told_apart(height=30, width=40)
    mixed = mix(batch, cutmix=1.0)
    shares, partners = shares_and_partners(mixed)
    for face in range(8):
        picture, own, other = mixed["pixel_values"][face], face / 8, int(partners[face]) / 8
        cut = picture[0] == other
        assert torch.equal(picture, torch.where(cut, other, own).expand(3, -1, -1))
        rows, columns = cut.any(dim=1), cut.any(dim=0)
        assert torch.equal(cut, rows[:, None] & columns[None, :]), "not a rectangle"
        for edge in (rows, columns):
            assert (edge.int().diff() != 0).sum() <= 2, "not a rectangle"
        assert float(shares[face]) == pytest.approx(1 - float(cut.float().mean()), abs=1e-6)
    torch.testing.assert_close(
        mixed["valence_arousal"],
        shares[:, None] * batch["valence_arousal"] + (1 - shares[:, None]) * batch["valence_arousal"][partners],
    )


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixups_share_has_the_beta_distribution(alpha):
    batch = {"pixel_values": torch.zeros(4000, 1, 1, 1)}
    batch["valence_arousal"] = (torch.arange(4000) % 2).float()[:, None].expand(-1, 2).clone()
    found = mix(batch, mixup=alpha)["valence_arousal"][1::2, 0]  # faces of 1 whose partners are of 0
    assert kstest(found.numpy(), "beta", args=(alpha, alpha)).pvalue > 0.001


def share_left(rng, height, width, alpha) -> float:
    """As the code of Yun et al. has it (rand_bbox)."""
    ratio = np.sqrt(1 - rng.beta(alpha, alpha))
    high, wide, y, x = int(height * ratio), int(width * ratio), rng.integers(height), rng.integers(width)
    top, bottom = np.clip([y - high // 2, y + high // 2], 0, height)
    left, right = np.clip([x - wide // 2, x + wide // 2], 0, width)
    return 1 - (bottom - top) * (right - left) / (height * width)


def test_cutmixs_share_has_the_distribution_of_the_papers_code():
    rng = np.random.default_rng(0)
    expected = [share_left(rng, 200, 100, 1.0) for _ in range(3000)]
    batch = {"pixel_values": torch.zeros(1000, 1, 200, 100)}
    batch["valence_arousal"] = (torch.arange(1000) % 2).float()[:, None].expand(-1, 2).clone()
    found = mix(batch, cutmix=1.0)["valence_arousal"][1::2, 0]
    assert ks_2samp(found.numpy(), expected).pvalue > 0.01


def test_with_both_a_coin_decides_for_each_face():
    rows = 400
    batch = {"pixel_values": (torch.arange(rows) % 2).float()[:, None, None, None].expand(rows, 3, 8, 8).clone()}
    mixed = mix(batch, mixup=8.0, cutmix=8.0)["pixel_values"]
    between = ((mixed > 0.001) & (mixed < 0.999)).flatten(1)
    assert torch.equal(between.any(dim=1), between.all(dim=1)), "a face is both added to and cut into"
    assert 0.42 < between.any(dim=1).float().mean() < 0.58


@pytest.mark.parametrize("alphas", [(0.2, 0.0), (0.0, 1.0), (0.4, 0.7), (0.01, 0.01), (300.0, 300.0)])
def test_soft_labels_still_sum_to_one_and_pictures_stay_in_the_range(alphas):
    batch = uneven(257)
    before = {name: values.clone() for name, values in batch.items()}
    mixed = mix(batch, *alphas)
    torch.testing.assert_close(mixed["soft_labels"].sum(dim=1), torch.ones(257))
    assert mixed["soft_labels"].min() >= 0 and mixed["pixel_values"].abs().max() <= 1
    assert list(mixed) == list(batch)
    for name, values in before.items():
        assert torch.equal(batch[name], values), "the batch that was given was written to"
        assert mixed[name].shape == values.shape and not torch.equal(mixed[name], values)


def test_no_known_target_is_lost_to_an_unknown_one():
    batch = uneven(64)
    batch["soft_labels"][::3] = NAN
    batch["valence_arousal"][::4, 0] = NAN
    batch["valence_arousal"][::5, 1] = NAN
    mixed = mix(batch, mixup=1.0)
    for name in ("soft_labels", "valence_arousal"):
        assert torch.equal(mixed[name].isnan(), batch[name].isnan())
        known = ~batch[name].isnan().any(dim=1)
        assert (mixed[name][known] != batch[name][known]).any(dim=1).float().mean() > 0.9


def test_the_partner_is_the_next_of_the_same_kind_and_after_the_last_the_first():
    batch = told_apart()
    batch["soft_labels"][[1, 4]] = NAN
    mixed, expected = mix(batch, mixup=1.0), torch.tensor([2, 4, 3, 5, 1, 6, 7, 0])
    known = torch.tensor([0, 2, 3, 5, 6, 7])
    shares, partners = shares_and_partners({"soft_labels": mixed["soft_labels"].nan_to_num(0.0)})
    assert torch.equal(partners[known], expected[known])
    other, own = batch["valence_arousal"][expected], batch["valence_arousal"]
    shares[[1, 4]] = ((mixed["valence_arousal"] - other) / (own - other))[[1, 4], 0]
    assert (shares > 0).all() and (shares < 1).all()
    torch.testing.assert_close(mixed["valence_arousal"], shares[:, None] * own + (1 - shares[:, None]) * other)


def test_a_row_with_one_nan_is_an_unknown_soft_label():
    batch = told_apart()
    batch["soft_labels"][2, 5] = NAN
    mixed = mix(batch, mixup=1.0)
    assert mixed["soft_labels"].isnan().any(dim=1).tolist() == [row == 2 for row in range(8)]
    assert torch.equal(mixed["pixel_values"][2], batch["pixel_values"][2]), "the only one of its kind stays as it is"
    assert float(mixed["soft_labels"][1, 3]) > 0, "the face before it takes the one after it"


def test_faces_without_any_known_target_are_mixed_with_each_other():
    batch = told_apart()
    batch["soft_labels"][:], batch["valence_arousal"][:] = NAN, NAN
    mixed = mix(batch, mixup=1.0)
    assert mixed["soft_labels"].isnan().all() and (mixed["pixel_values"] != batch["pixel_values"]).any(dim=1).all()


@pytest.mark.parametrize("alphas", [(1.0, 0.0), (0.0, 1.0)])
def test_one_face_alone_stays_as_it_is(alphas):
    batch = uneven(1)
    for name, values in mix(batch, *alphas).items():
        assert torch.equal(values, batch[name])


def test_off_draws_nothing_and_changes_nothing():
    batch, state = uneven(4), torch.get_rng_state()
    assert mix(batch) is batch and torch.equal(torch.get_rng_state(), state)


def test_the_seed_decides():
    torch.manual_seed(4)
    first = mix(uneven(8), 0.3, 0.3)
    torch.manual_seed(4)
    second = mix(uneven(8), 0.3, 0.3)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_pictures_keep_their_type():
    batch = uneven(8)
    batch["pixel_values"] = batch["pixel_values"].bfloat16()
    mixed = mix(batch, cutmix=1.0)
    assert mixed["pixel_values"].dtype == torch.bfloat16 and mixed["soft_labels"].dtype == torch.float32


@pytest.mark.parametrize(
    "extra, alphas, words",
    [
        ({}, (-0.1, 0.0), "mixup is -0.1"),
        ({}, (0.0, -1.0), "cutmix -1.0"),
        ({"labels": torch.zeros(4)}, (0.2, 0.0), "the batch has labels; only pixel_values, soft_labels"),
        ({"labels": torch.zeros(4)}, (0.0, 0.0), "the batch has labels"),
    ],
)
def test_what_cannot_be_mixed_is_refused(extra, alphas, words):
    with pytest.raises(ValueError, match=words):
        mix(uneven(4) | extra, *alphas)
