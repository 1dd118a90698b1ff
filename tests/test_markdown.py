"""The head of a card: what the Hub's own library would write of the same data means the same."""

import yaml
from huggingface_hub import DatasetCardData
from hypothesis import given
from hypothesis import strategies as some

from affectnet_plus_modeling.markdown import yaml_head

TEXTS = some.one_of(
    some.sampled_from(
        ["no", "1.0", "2026-11-28", "null", "a: b", "# no comment", " spaces ", "lines\n\nof text\n", "é 😀"]
    ),
    some.text(some.characters(exclude_categories=["Cs", "Cc"]), max_size=200),
)


@given(some.lists(TEXTS, min_size=1), TEXTS)
def test_it_is_read_as_what_the_library_of_the_hub_would_write(tags, name):
    data = DatasetCardData(pretty_name=name, tags=tags, configs=[{"config_name": name, "data_files": tags}])
    assert yaml.safe_load(yaml_head(data)) == yaml.safe_load(data.to_yaml())
