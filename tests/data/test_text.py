from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from ntkode.data import AGNews, DataError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "ag_news"


def ready(folder: Path, common: dict[str, Any], **keys: Any) -> AGNews:
    data = AGNews(**(common | {"dtype": "float64"} | keys), data_dir=folder)
    data.setup()
    return data


@pytest.fixture
def changed(hub_folders: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """The generated folder with columns of one split replaced by a function of them."""

    def change(split: str, **columns: Callable[[list[Any]], list[Any]]) -> Path:
        for name in ("train", "test"):
            table = pd.read_parquet(next(hub_folders["ag_news"].glob(f"{name}*.parquet")))
            if name == split:
                for column, function in columns.items():
                    table = table.drop(columns=column).assign(**{column: function(list(table[column]))})
            table.to_parquet(tmp_path / f"{name}-00000-of-00001.parquet")
        return tmp_path

    return change


def test_features_are_the_leading_directions_of_the_weights(
    common: dict[str, Any], hub_folders: dict[str, Path]
) -> None:
    data = ready(hub_folders["ag_news"], common, components=20, center=False, norm=None)
    assert data.train.x.shape == (60, 20)
    texts = [
        pd.read_parquet(next(hub_folders["ag_news"].glob(f"{name}*.parquet")))["text"][
            data.description[f"{name}_indices"]
        ]
        for name in ("train", "test")
    ]
    words = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit(texts[0])
    train, test = (words.transform(split).toarray() for split in texts)
    _, sizes, right = np.linalg.svd(train, full_matrices=False)
    assert data.description["findings"]["words"] == train.shape[1]
    # The randomised method has an error of a few per cent for a flat spectrum.
    column_norms = data.train.x.norm(dim=0).numpy()
    np.testing.assert_allclose(column_norms, sizes[:20], rtol=0.05)
    # All 60 directions: a rotation, which keeps every inner product.
    whole = ready(hub_folders["ag_news"], common, center=False, norm=None)
    gram = train @ right.T @ right @ test.T
    np.testing.assert_allclose(whole.train.x @ whole.test.x.T, gram, atol=1e-12)
    assert whole.description["findings"]["explained_variance"] == pytest.approx(1, abs=1e-12)
    assert 0 < data.description["findings"]["explained_variance"] < 0.9


def test_nothing_is_learnt_from_test_documents(
    common: dict[str, Any], hub_folders: dict[str, Path], changed: Callable[..., Path]
) -> None:
    before = ready(hub_folders["ag_news"], common)
    other = changed("test", text=lambda texts: [f"entirely other news {row}" for row in range(len(texts))])
    after = ready(other, common)
    assert torch.equal(before.train.x, after.train.x)
    assert not torch.equal(before.test.x, after.test.x)
    assert before.description["findings"]["words"] == after.description["findings"]["words"]


def test_nothing_is_learnt_from_training_documents_that_are_not_drawn(
    common: dict[str, Any], hub_folders: dict[str, Path], changed: Callable[..., Path]
) -> None:
    before = ready(hub_folders["ag_news"], common)
    drawn = set(before.description["train_indices"])
    other = changed(
        "train", text=lambda texts: [t if row in drawn else "other" for row, t in enumerate(texts)]
    )
    after = ready(other, common)
    assert after.description["train_indices"] == before.description["train_indices"]
    assert torch.equal(before.train.x, after.train.x)
    assert torch.equal(before.test.x, after.test.x)


def test_twice_the_same_bits_and_another_seed_other_documents(
    common: dict[str, Any], hub_folders: dict[str, Path]
) -> None:
    first, again = (ready(hub_folders["ag_news"], common, components=20) for _ in range(2))
    assert torch.equal(first.train.x, again.train.x)
    assert torch.equal(first.test.x, again.test.x)


def test_documents_without_known_words_are_kept_and_listed(
    common: dict[str, Any], changed: Callable[..., Path]
) -> None:
    folder = changed("test", text=lambda texts: ["", "unheard of", *texts[2:]])
    data = ready(folder, common | {"n_test": 50})
    documents = data.description["findings"]["documents_without_known_words"]
    rows = [data.description["test_indices"].index(row) for row in (0, 1)]
    assert documents == {"train": [], "test": sorted(rows)}
    assert torch.equal(data.test.x[rows[0]], data.test.x[rows[1]])
    assert float(data.test.x[rows[0]].norm()) == pytest.approx(np.sqrt(60))
    with pytest.raises(DataError, match="is zero and cannot be scaled"):
        ready(folder, common | {"n_test": 50}, center=False)


def test_two_empty_training_documents_are_duplicates(
    common: dict[str, Any], changed: Callable[..., Path]
) -> None:
    folder = changed("train", text=lambda texts: ["the", "and", *texts[2:]])
    data = ready(folder, common | {"n_train": 80})
    rows = data.description["findings"]["documents_without_known_words"]["train"]
    assert data.description["duplicates"]["first"] == [rows]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": lambda texts: [None, *texts[1:]]}, "row 0 of .*None is not a text"),
        ({"text": lambda texts: list(range(80))}, "row 0 of .*0 is not a text"),
        ({"label": lambda labels: [4, *labels[1:]]}, "labels of directory:.* run from 0 to 4, where 0 to 3"),
        ({"text": lambda texts: ["the and"] * 80}, "the 60 training documents have no words"),
        (
            {"text": lambda texts: [f"word{row % 7}" for row in range(80)]},
            "dataset.components=60, but the training documents have only 7 words",
        ),
    ],
)
def test_bad_contents(
    common: dict[str, Any], changed: Callable[..., Path], columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ready(changed("train", **columns), common)


@pytest.mark.skipif(not SHARED.is_dir(), reason="AG News is not at ../shared/data/ag_news")
def test_the_news_themselves(common: dict[str, Any]) -> None:
    data = ready(SHARED, common | {"n_train": 256, "n_test": 1600})
    assert data.train.x.shape == (256, 256)
    assert data.train.labels is not None
    assert data.train.labels.bincount().tolist() == [64] * 4
    assert data.description["findings"]["words"] > 1000
    # Classification by the nearest class mean is far better than chance, one in four.
    means = torch.stack([data.train.x[data.train.labels == label].mean(dim=0) for label in range(4)])
    assert float(((data.test.x @ means.T).argmax(1) == data.test.labels).double().mean()) > 0.6
