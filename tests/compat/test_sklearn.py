"""scikit-learn: fits and predicts on frozen data, with frozen parameters.

Fitting takes a millisecond or more; a round reads at least 12 frozen objects, most read 40.
"""

import pytest
from _rounds import rounds

pytest.importorskip("sklearn")

from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import GridSearchCV, ParameterGrid, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import LabelEncoder, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

fits = rounds(count=1_000)


@fits
def test_scaling(d):
    return StandardScaler().fit_transform(d.matrix).round(9).tolist()


@fits
def test_regression(d):
    model = LinearRegression().fit(d.matrix, d.matrix[0])
    return model.predict(d.matrix).round(6).tolist()


@fits
def test_neighbours(d):
    model = KNeighborsClassifier(n_neighbors=1).fit(d.matrix, d.words[:3])
    return model.predict(d.matrix).tolist()


@fits
def test_tree(d):
    model = DecisionTreeClassifier(random_state=0).fit(d.matrix, d.words[:3])
    return model.predict(d.matrix).tolist(), model.classes_.tolist()


@fits
def test_dict_vectorizer(d):
    vectorizer = DictVectorizer(sparse=False)
    return vectorizer.fit_transform(d.records).tolist(), vectorizer.feature_names_


@fits
def test_feature_hasher(d):
    return FeatureHasher(n_features=8).transform(d.records).toarray().tolist()


@fits
def test_text_vectorizers(d):
    texts = [d.text, *d.words, d.latin]
    counts = CountVectorizer(stop_words=d.words).fit_transform([*texts, d.text])
    return (
        counts.toarray().tolist(),
        TfidfVectorizer(vocabulary=d.words).fit_transform(texts).toarray().round(9).tolist(),
        CountVectorizer(vocabulary=sorted(d.tags)).fit(texts).get_feature_names_out().tolist(),
    )


@fits
def test_encoders(d):
    labels = LabelEncoder().fit(d.words)
    columns = [[word] for word in d.words]
    return (
        labels.transform(d.words).tolist(),
        labels.inverse_transform(d.matrix[0][:2]).tolist(),
        OneHotEncoder(categories=[sorted(d.words)]).fit_transform(columns).toarray().tolist(),
    )


@fits
def test_parameters(d):
    model = DecisionTreeClassifier(**d.parameters).set_params(**d.parameters)
    return (
        model.get_params()["max_depth"],
        list(ParameterGrid(d.grid)),
        repr(model),
    )


# A search fits six models, 10 ms; each reads 30 frozen rows of 3 numbers or more.
@rounds(count=30)
def test_grid_search(d):
    rows = [d.matrix[i % 3] for i in range(60)]
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), d.grid, cv=2)
    return search.fit(rows, [i % 3 for i in range(60)]).best_params_


@rounds(count=500)
def test_metrics(d):
    return (
        float(accuracy_score(d.words, [*d.words[1:], "fig"])),
        confusion_matrix(d.words, d.words, labels=d.words).tolist(),
    )


@fits
def test_splits(d):
    return train_test_split(d.rows, d.matrix, test_size=1, random_state=0)


@fits
def test_columns(d):
    transformer = ColumnTransformer([("x", StandardScaler(), d.places)])
    return transformer.fit_transform([[*map(float, row)] for row in d.matrix]).round(6).tolist()
