"""How often each face is drawn against the formulas, and what accelerate makes of the order in two processes."""

from collections import Counter

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, prepare_data_loader, skip_first_batches
from scipy.stats import chisquare
from torch.nn.functional import one_hot
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

from affectnet_plus_modeling.training.samplers import EpochSampler

NAN = float("nan")
KINDS = ("natural", "balanced", "square-root")
COUNTS = (64, 32, 16, 9, 4, 4, 2, 1)


def skewed() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(8).repeat_interleave(torch.tensor(COUNTS))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    return labels, one_hot(labels, 8).float()


def soft(rows=60) -> tuple[torch.Tensor, torch.Tensor]:
    spread = np.array([4, 2, 1, 0.5, 0.5, 0.3, 0.3, 0.2])
    soft_labels = torch.tensor(np.random.default_rng(0).dirichlet(spread, rows), dtype=torch.float32)
    return soft_labels.argmax(dim=1), soft_labels


def drawn(sampler: EpochSampler, epochs: int) -> list[int]:
    places = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        places += list(sampler)
    return places


def often(places: list[int], rows: int) -> np.ndarray:
    return np.bincount(places, minlength=rows)


def test_natural_order_has_every_face_once_in_another_order_each_epoch():
    labels, soft_labels = skewed()
    sampler = EpochSampler("natural", labels, soft_labels)
    assert sorted(sampler) == list(range(132)) and list(sampler) != sorted(sampler)
    assert (often(drawn(sampler, 5), 132) == 5).all() and sampler.never_drawn == 0
    first = [drawn(sampler, 1)[0] for sampler in (EpochSampler("natural", *skewed(), seed) for seed in range(2000))]
    assert chisquare(often(first, 132)).pvalue > 0.01, "not every face is as likely as any other to be the first"


def test_balanced_draws_every_class_and_every_face_of_it_as_often():
    labels, soft_labels = skewed()
    found = often(drawn(EpochSampler("balanced", labels, soft_labels), 200), len(labels))
    expected = np.array([1 / (8 * COUNTS[label]) for label in labels.tolist()])
    assert chisquare(found, expected * found.sum()).pvalue > 0.01
    by_class = np.bincount(labels.numpy(), weights=found)
    assert chisquare(by_class, np.full(8, found.sum() / 8)).pvalue > 0.01


def test_square_root_draws_classes_by_the_root_of_their_number_when_labels_are_one_hot():
    labels, soft_labels = skewed()
    found = np.bincount(labels, weights=often(drawn(EpochSampler("square-root", labels, soft_labels), 200), 132))
    expected = np.sqrt(COUNTS) / np.sqrt(COUNTS).sum()  # Kang et al. 2020, equation 1, q = 1/2
    assert chisquare(found, expected * found.sum()).pvalue > 0.01
    assert chisquare(found, np.array(COUNTS) / 132 * found.sum()).pvalue < 1e-6, "it is not the natural order"


def test_square_root_draws_a_class_first_and_then_a_face_by_its_share_of_it():
    labels, soft_labels = soft()
    found = often(drawn(EpochSampler("square-root", labels, soft_labels), 400), 60)
    expected = np.zeros(60)
    numbers = [sum(row[k] for row in soft_labels.tolist()) for k in range(8)]
    for k, number in enumerate(numbers):
        of_class = number**0.5 / sum(other**0.5 for other in numbers)
        for face, row in enumerate(soft_labels.tolist()):
            expected[face] += of_class * row[k] / number
    assert expected.sum() == pytest.approx(1) and expected.max() > 2 * expected.min()
    assert chisquare(found, expected * found.sum()).pvalue > 0.01


def test_a_class_of_which_no_face_has_a_share_takes_no_part_in_square_root():
    labels, soft_labels = torch.tensor([0, 0, 0, 0, 1]), torch.eye(8)[[0, 0, 0, 0, 1]]
    found = often(drawn(EpochSampler("square-root", labels, soft_labels), 2000), 5)
    assert chisquare(found, np.array([1, 1, 1, 1, 2]) / 6 * found.sum()).pvalue > 0.01


@pytest.mark.parametrize(
    "kind, never", [("natural", range(0)), ("balanced", range(132, 142)), ("square-root", range(20))]
)
def test_a_face_whose_label_is_unknown_comes_in_natural_order_only(kind, never):
    """The last 10 faces have no hard label, the first 20 no soft label."""
    labels, soft_labels = skewed()
    labels, soft_labels = torch.cat([labels, torch.full((10,), -1)]), torch.cat([soft_labels, soft_labels[:10]])
    soft_labels[:20, 3] = NAN
    sampler = EpochSampler(kind, labels, soft_labels)
    assert sampler.never_drawn == len(never) and len(sampler) == 142 == len(list(sampler))
    assert np.flatnonzero(often(drawn(sampler, 50), 142) == 0).tolist() == list(never)


def test_only_the_classes_that_have_a_face_are_balanced_if_that_is_allowed():
    labels, soft_labels = torch.tensor([0, 0, 0, 5]), torch.eye(8)[[0, 0, 0, 5]]
    sampler = EpochSampler("balanced", labels, soft_labels, allow_empty_classes=True)
    found = often(drawn(sampler, 1000), 4)
    assert chisquare(found, np.array([1, 1, 1, 3]) / 6 * 4000).pvalue > 0.01
    with pytest.raises(ValueError, match="no face has the label happy, sad, surprise, fear, anger, contempt, so"):
        EpochSampler("balanced", labels, soft_labels)


@pytest.mark.parametrize("kind", KINDS)
def test_seed_and_epoch_decide_and_nothing_else_does(kind):
    sampler = EpochSampler(kind, *skewed(), seed=3)
    sampler.set_epoch(4)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = list(sampler)
    assert torch.equal(torch.get_rng_state(), state), "torch's own generator was used"
    torch.manual_seed(1)
    fresh = EpochSampler(kind, *skewed(), seed=3)
    fresh.set_epoch(4)
    assert list(fresh) == first == list(sampler)
    orders = {tuple(first)}
    for seed, epoch in ((3, 5), (4, 3), (4, 4), (2, 5), (7, 0), (0, 7)):
        other = EpochSampler(kind, *skewed(), seed=seed)
        other.set_epoch(epoch)
        orders.add(tuple(other))
    assert len(orders) == 7, "an epoch of one seed repeats one of another"


def test_a_real_data_loader_takes_places_as_whole_numbers():
    labels, soft_labels = skewed()
    loader = DataLoader(TensorDataset(torch.arange(132)), batch_size=50, sampler=EpochSampler("natural", *skewed()))
    assert torch.cat([batch for (batch,) in loader]).tolist() == list(EpochSampler("natural", labels, soft_labels))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [11, 9])
def test_accelerate_gives_two_processes_the_batches_of_one_in_turn(kind, batch_size):
    """132 faces are 12 batches of 11, and 14 of 9 with 6 faces left over."""
    alone = list(BatchSampler(EpochSampler(kind, *skewed()), batch_size, drop_last=False))
    shards = [
        list(
            BatchSamplerShard(
                BatchSampler(EpochSampler(kind, *skewed()), batch_size, False), 2, process, even_batches=False
            )
        )
        for process in range(2)
    ]
    assert shards[0] == alone[0::2] and shards[1] == alone[1::2]
    assert Counter(sum(shards[0] + shards[1], [])) == Counter(list(EpochSampler(kind, *skewed())))


def test_to_fill_the_last_step_of_two_processes_accelerate_repeats_the_first_faces():
    order = list(EpochSampler("natural", *skewed()))
    shards: list[list[int]] = [
        sum(BatchSamplerShard(BatchSampler(EpochSampler("natural", *skewed()), 9, False), 2, process), [])
        for process in range(2)
    ]
    assert Counter(shards[0] + shards[1]) == Counter(order + order[: 16 * 9 - 132])


def prepared(process: int, processes: int) -> DataLoader:
    loader = DataLoader(TensorDataset(torch.arange(132)), batch_size=6, sampler=EpochSampler("natural", *skewed()))
    return prepare_data_loader(loader, num_processes=processes, process_index=process, put_on_device=False)


def places_of(loader) -> list[int]:
    return torch.cat([batch for (batch,) in loader]).tolist()


@pytest.mark.parametrize("processes", [1, 2])
def test_accelerates_loader_tells_the_sampler_which_epoch_it_is(processes):
    for process in range(processes):
        sampler, loader = EpochSampler("natural", *skewed()), prepared(process, processes)
        for epoch in (0, 1, 5):
            if epoch == 5:
                loader.set_epoch(5)
            sampler.set_epoch(epoch)
            batches = list(BatchSampler(sampler, 6, False))[process::processes]
            assert places_of(loader) == sum(batches, []), f"not the order of epoch {epoch}"


def test_a_run_that_goes_on_within_an_epoch_sees_the_rest_of_its_order():
    sampler = EpochSampler("natural", *skewed())
    sampler.set_epoch(3)
    loader = skip_first_batches(prepared(0, 1), 7)
    loader.set_epoch(3)
    assert places_of(loader) == list(sampler)[42:]


@pytest.mark.parametrize(
    "kind, labels, soft_labels, words",
    [
        ("weighted", torch.zeros(2), torch.zeros(2, 8), "the sampler is 'weighted'; it must be natural, balanced or"),
        ("natural", torch.zeros(0), torch.zeros(0, 8), "there is no face to draw"),
        ("natural", torch.zeros(2), torch.zeros(3, 8), r"\(2,\) and soft_labels \(3, 8\), expected \(n,\)"),
        ("balanced", torch.full((3,), -1), torch.eye(8)[:3], "of the 3 faces none has a hard label"),
        ("square-root", torch.arange(3), torch.full((3, 8), NAN), "of the 3 faces none has a soft label"),
        ("balanced", torch.tensor([0, 8]), torch.eye(8)[:2], "face 1 has label 8"),
        ("balanced", torch.arange(7), torch.eye(8)[:7], "no face has the label contempt, so the classes cannot be"),
    ],
)
def test_what_cannot_be_drawn_is_refused(kind, labels, soft_labels, words):
    with pytest.raises(ValueError, match=words):
        EpochSampler(kind, labels, soft_labels)
