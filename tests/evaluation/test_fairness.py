"""Gaps between groups against worked values, plain loops and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency, entropy
from sklearn.metrics import mutual_info_score, recall_score

from affectnet_plus_modeling.evaluation.fairness import data_fairness, every_gap, group_gaps, model_fairness

TWO = ("calm", "angry")


def confusions(seed=0, groups=3, classes=4, most=30) -> dict[str, np.ndarray]:
    counts = np.random.default_rng(seed).integers(1, most, (groups, classes, classes))
    return {f"group {index}": counts[index] for index in range(groups)}


def rows_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and answers that have this confusion matrix."""
    pairs = np.array([pair for pair in np.ndindex(counts.shape) for _ in range(counts[pair])])
    return pairs[:, 0], pairs[:, 1]


# ---- what the model says


def test_the_four_differences_by_hand():
    # angry: of A 10 of 20 said, 8 of 10 hit, 2 of 10 falsely said; of B 4 of 20 said, 4 of 10 hit, none falsely.
    counts = {"A": np.array([[8, 2], [2, 8]]), "B": np.array([[10, 0], [6, 4]])}
    found = model_fairness(counts, TWO, min_cell=1)
    assert found["demographic_parity"]["max"] == pytest.approx(0.5 - 0.2)
    # of calm: A 8 of 10, B 10 of 10; of angry: A 8 of 10, B 4 of 10
    assert found["equal_opportunity"] == {
        "mean": pytest.approx((0.2 + 0.4) / 2),
        "max": pytest.approx(0.4),
        "emotion": "angry",
    }
    # The false positive rate of calm is the miss rate of angry, .2 and .6: 0.4 for both emotions.
    assert [found["equalized_odds"][key] for key in ("mean", "max")] == pytest.approx([0.4, 0.4])
    # Misses among the errors of angry: 2 of 4 of A, 6 of 6 of B.
    assert found["treatment_equality"]["max"] == pytest.approx(0.5)


def test_the_four_differences_by_a_loop_over_faces():
    counts, emotions = confusions(), ("a", "b", "c", "d")
    found = model_fairness(counts, emotions, min_cell=1)
    by_hand: dict[str, list[float]] = {name: [] for name in found}
    for index in range(4):
        rates: dict[str, list[float]] = {name: [] for name in ("said", "tpr", "fpr", "share")}
        for matrix in counts.values():
            truth, said = (part == index for part in rows_of(matrix))
            rates["said"].append(said.mean())
            rates["tpr"].append(recall_score(truth, said))
            rates["fpr"].append(said[~truth].mean())
            rates["share"].append((truth & ~said).sum() / (truth != said).sum())
        spread = {name: max(values) - min(values) for name, values in rates.items()}
        by_hand["demographic_parity"].append(spread["said"])
        by_hand["equal_opportunity"].append(spread["tpr"])
        by_hand["equalized_odds"].append(max(spread["tpr"], spread["fpr"]))
        by_hand["treatment_equality"].append(spread["share"])
    for name, values in by_hand.items():
        assert found[name]["mean"] == pytest.approx(np.mean(values)), name
        assert found[name]["max"] == pytest.approx(max(values)), name
        assert found[name]["emotion"] == emotions[int(np.argmax(values))], name


def test_groups_that_are_treated_alike_are_not_apart():
    same = np.array([[8, 2], [3, 7]])
    found = model_fairness({"A": same, "B": 5 * same}, TWO, min_cell=1)
    assert all(row["max"] == pytest.approx(0) for row in found.values())


def test_a_rate_over_too_few_faces_does_not_count():
    counts = {"A": np.array([[50, 0], [1, 2]]), "B": np.array([[40, 10], [30, 30]])}
    found = model_fairness(counts, TWO, min_cell=10)
    assert found["equal_opportunity"] == {"mean": pytest.approx(0.2), "max": pytest.approx(0.2), "emotion": "calm"}
    assert found["treatment_equality"] == {"mean": None, "max": None, "emotion": None}
    assert model_fairness(counts, TWO, min_cell=1000)["demographic_parity"]["max"] is None


def test_one_group_has_nobody_to_be_unlike():
    assert model_fairness({"A": np.eye(2)}, TWO, min_cell=1) is None


# ---- the data


def test_measures_of_the_data_are_scipys_and_scikit_learns():
    table = np.array([[30, 10, 5], [20, 40, 9]])
    found = data_fairness({"A": 50, "B": 70}, table)
    shares = np.array([50, 70]) / 120
    assert found["groups"] == 2 and found["entropy"] == pytest.approx(entropy(shares))
    assert found["effective_groups"] == pytest.approx(np.exp(entropy(shares)))
    assert found["evenness"] == pytest.approx(entropy(shares, base=2))
    assert found["normalized_deviation"] == pytest.approx(70 / 120 - 50 / 120)  # of two groups, their difference
    statistic = chi2_contingency(table, correction=False).statistic
    assert found["cramers_v"] == pytest.approx(np.sqrt(statistic / table.sum()))
    groups, labels = rows_of(table)
    assert found["mutual_information"] == pytest.approx(mutual_info_score(groups, labels))


def test_the_ends_of_the_ranges():
    even = data_fairness({"A": 10, "B": 10, "C": 10}, np.full((3, 4), 2))
    assert even["evenness"] == pytest.approx(1) and even["effective_groups"] == pytest.approx(3)
    assert even["normalized_deviation"] == pytest.approx(0) and even["cramers_v"] == pytest.approx(0)
    nearly = data_fairness({"A": 10**9, "B": 1, "C": 1}, np.diag([3, 3, 3]))
    assert nearly["normalized_deviation"] == pytest.approx(1) and nearly["effective_groups"] == pytest.approx(1)
    assert nearly["cramers_v"] == pytest.approx(1) and nearly["mutual_information"] == pytest.approx(np.log(3))


def test_labels_that_no_face_has_change_nothing():
    table = np.array([[30, 10, 5], [20, 40, 9], [0, 0, 0]])
    with_nothing = np.insert(table, 1, 0, axis=1)
    sizes = {"A": 45, "B": 69, "C": 3}
    assert data_fairness(sizes, with_nothing) == data_fairness(sizes, table)


def test_one_group_or_one_label_tells_nothing():
    one = data_fairness({"A": 10}, np.array([[5, 5]]))
    assert one["evenness"] is one["normalized_deviation"] is one["cramers_v"] is one["mutual_information"] is None
    assert one["effective_groups"] == 1
    assert data_fairness({"A": 10, "B": 3}, np.array([[10, 0], [3, 0]]))["cramers_v"] is None


# ---- gaps, and those of groups by lot


def values(**accuracies) -> dict[str, dict[str, float]]:
    """Groups with these accuracies, which are the recall of calm too; that of angry is the rest."""
    nothing = dict.fromkeys(("kl", "js", "ece", "valence_ccc", "arousal_ccc"), np.nan)
    return {
        group: nothing | {"accuracy": accuracy, "recall:calm": accuracy, "recall:angry": 1 - accuracy}
        for group, accuracy in accuracies.items()
    }


def gaps_of(groups: dict, counts=None, lot=(0.0, 0.1, 0.2, 0.4)) -> dict:
    """As if by lot the first group had been so much above the others, which are equal."""
    first = next(iter(groups))
    drawn = {group: {name: np.array(lot) * (group == first) for name in numbers} for group, numbers in groups.items()}
    return group_gaps(groups, drawn, counts or MANY, TWO, 50)


MANY = {group: np.full((2, 2), 50) for group in "ABC"}


def test_a_gap_names_its_two_groups_and_says_what_chance_makes():
    gaps = gaps_of(values(A=0.5, B=0.8, C=0.6))
    gap = gaps["accuracy_gap"]
    assert (gap["highest"], gap["lowest"], gap["gap"]) == ("B", "A", pytest.approx(0.3))
    assert gap["by_chance"] == pytest.approx(0.175) and gap["p"] == pytest.approx(2 / 5)
    assert gaps["tpr_gap"]["calm"]["highest"] == "B" and gaps["tpr_gap"]["angry"]["highest"] == "A"
    assert gaps["tpr_gap"]["mean"] == pytest.approx(0.3) and gaps["tpr_gap"]["max"] == pytest.approx(0.3)
    assert len(every_gap({"gender": gaps, "age": gaps})) == 2 * 3


def test_a_number_that_is_known_of_no_two_groups_has_no_gap():
    gaps = gaps_of(values(A=0.5, B=0.8))
    assert gaps["kl_gap"] is None and gaps["valence_ccc_gap"] is None
    assert group_gaps(values(A=0.5), {}, MANY, TWO, 50)["accuracy_gap"] is None


def test_a_group_with_few_faces_of_an_emotion_takes_no_part_in_its_gap():
    counts = MANY | {"B": np.array([[100, 0], [5, 5]])}
    rates = gaps_of(values(A=0.5, B=0.8, C=0.6), counts)["tpr_gap"]
    assert rates["calm"]["highest"] == "B" and rates["angry"]["lowest"] == "C"
    few = {group: np.array([[100, 0], [5, 5]]) for group in "ABC"}
    rates = gaps_of(values(A=0.5, B=0.8, C=0.6), few)["tpr_gap"]
    assert rates["angry"] is None and rates["mean"] == rates["max"] == pytest.approx(0.3)


def test_of_equal_groups_two_are_named():
    gap = gaps_of(values(A=0.5, B=0.5))["accuracy_gap"]
    assert gap["gap"] == 0 and (gap["highest"], gap["lowest"], gap["p"]) == ("A", "B", 1)
