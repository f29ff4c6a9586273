"""Text sets: documents as low-dimensional TF–IDF vectors, fitted to the training documents alone."""

from typing import Any

import numpy as np

from ntkode.checks import whole_number
from ntkode.data.errors import DataError
from ntkode.data.hub import HubDataset, HubModule
from ntkode.data.module import DataModule
from ntkode.data.parquet import read_parquet_texts
from ntkode.data.preprocessing import Floats
from ntkode.data.sources import Array, Source, random_generator

COMPONENTS = 256  # default number of features, if there are as many training documents


class TextModule(DataModule):
    """Documents as the leading `components` left singular directions of their TF–IDF matrix.

    scikit-learn's TfidfVectorizer (lower case, without its English stop words, 1 + log of the counts, rows of
    norm 1) and TruncatedSVD, both fitted to the drawn training documents: no word, document frequency or
    direction comes from a test document. A document without a known word is the zero vector, and minus the
    training mean after centring. The description's `findings` list such documents, the number of words, and
    the explained share of the training documents' variance.

    Args:
        components: number of features, d ≤ n_train; None: min(256, n_train).
        **common: arguments of every data set (`DataModule`).
    """

    def __init__(self, *, components: int | None = None, **common: Any) -> None:
        super().__init__(**common)
        if components is not None:
            whole_number("dataset.components", components, least=1)
            if components > self.n_train:
                raise DataError(
                    f"dataset.components={components} exceeds the {self.n_train} training documents",
                    f"dataset.components={self.n_train} or less; or dataset.n_train={components} or more",
                )
        self.components = min(COMPONENTS, self.n_train) if components is None else components

    def fit(self, train: Array) -> None:
        """Fit words, their document frequencies and singular directions to the training documents."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words = TfidfVectorizer(stop_words="english", sublinear_tf=True, dtype=np.float64)
        try:
            weights = self._words.fit_transform(train)
        except ValueError as error:  # no word is left
            raise DataError(
                f"the {len(train)} training documents have no words ({error})",
                "dataset.n_train=N with a larger N",
            ) from error
        count = weights.shape[1]
        if count < self.components:
            raise DataError(
                f"dataset.components={self.components}, but the training documents have only {count} words",
                f"dataset.components={count} or less; or a larger dataset.n_train",
            )
        state = int(random_generator(self.seed, "singular directions").integers(2**31))
        self._directions = TruncatedSVD(self.components, random_state=state).fit(weights)

    def prepare(self, x: Array) -> Floats:
        """Documents (N,) as features (N, components)."""
        return np.ascontiguousarray(self._directions.transform(self._words.transform(x)))

    def options(self) -> dict[str, Any]:
        """The key `components`, for the description."""
        return {"components": self.components}

    def findings(self, train: Floats, test: Floats) -> dict[str, Any]:
        """Number of words, explained variance, and rows of the documents without a known word."""
        unknown = {name: np.flatnonzero(~x.any(axis=1)) for name, x in (("train", train), ("test", test))}
        return {
            "words": len(self._words.vocabulary_),
            "explained_variance": float(self._directions.explained_variance_ratio_.sum()),
            "documents_without_known_words": {name: rows.tolist() for name, rows in unknown.items()},
        }


class AGNews(HubModule, TextModule):
    """Titles and first sentences of news, 4 classes (world, sports, business, science and technology).

    120,000 training and 7,600 test documents of the Hugging Face hub, or of a folder with the same layout.

    Args:
        **common: `data_dir` and `revision` (`HubModule`), `components` (`TextModule`) and arguments of every
            data set (`DataModule`).
    """

    name = "ag_news"
    licence = "for research and other non-commercial use (A. Gulli)"
    citation = (
        "X. Zhang, J. Zhao, Y. LeCun. Character-level convolutional networks for text classification. "
        "NeurIPS 2015, from A. Gulli's AG corpus of news articles"
    )
    classes = 4
    hub = HubDataset(
        "fancyzhx/ag_news",
        ("data/train-00000-of-00001.parquet",),
        ("data/test-00000-of-00001.parquet",),
    )

    def read(self) -> Source:
        """The documents of `data_dir` if it is given, else of the hub."""
        files = self.files()
        return Source(files.origin, read_parquet_texts(files.train), read_parquet_texts(files.test))
