import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")
from training.losses import LABEL_SHARE, SHARPNESS, Layout, Target, _distance, student_loss

DOCUMENTS, QUERIES = [0, 3, 4, 9], [0, 2, 5]


def vectors(count, dim=8, seed=0):
    torch.manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, dim), dim=1)


def make_target(layout, labels=(0, 1), asked=(False, False)):
    similarities = vectors(5) @ vectors(9, seed=1).T
    return similarities, Target.of(layout, similarities, torch.tensor(labels), torch.tensor(asked))


def test_matches_are_those_of_a_loop():
    layout = Layout.of(DOCUMENTS, QUERIES)
    similarities, target = make_target(layout)
    for token in range(5):
        for document in range(3):
            own = similarities[token, DOCUMENTS[document] : DOCUMENTS[document + 1]]
            assert target.matches.best[token, document] == own.max()
            assert target.matches.places[token, document] == DOCUMENTS[document] + own.argmax()
    means = layout.query_means(target.matches.best)
    np.testing.assert_allclose(means[1], target.matches.best[2:5].mean(dim=0), rtol=1e-6)


def test_a_student_that_equals_its_teacher_has_no_loss():
    layout = Layout.of(DOCUMENTS, QUERIES)
    _, target = make_target(layout)
    loss = student_loss(layout, 3 * vectors(5), 0.5 * vectors(9, seed=1), {8: 1.0}, target)
    assert abs(loss.item()) < 1e-5
    assert student_loss(layout, vectors(5, seed=2), vectors(9, seed=1), {8: 1.0}, target).item() > 0.01


def test_a_querys_ranking_is_as_sharp_whatever_its_scale():
    layout = Layout.of(DOCUMENTS, QUERIES)
    similarities, target = make_target(layout)
    means = layout.query_means(target.matches.best)
    np.testing.assert_allclose((target.sharpness * means).std(dim=1, correction=0), SHARPNESS, rtol=1e-5)
    labels, asked = torch.tensor([0, 1]), torch.tensor([False, False])
    flatter = Target.of(layout, 0.5 * similarities + 0.4, labels, asked)
    np.testing.assert_allclose(flatter.scores, target.scores, rtol=1e-4)
    flat = Target.of(layout, torch.full_like(similarities, 0.5), labels, asked)
    np.testing.assert_allclose(flat.scores, 1 / 3)


def test_a_token_that_counts_for_nothing_does_not_rank_and_may_change():
    layout = Layout.of(DOCUMENTS, QUERIES)
    similarities = vectors(5) @ vectors(9, seed=1).T
    labels, asked = torch.tensor([0, 1]), torch.tensor([False, False])
    weights = torch.tensor([1.0, 0.0, 1.5, 1.0, 0.5])
    target = Target.of(layout, similarities, labels, asked, weights)
    alone = Target.of(Layout.of(DOCUMENTS, [0, 1, 4]), similarities[[0, 2, 3, 4]], labels, asked, weights[[0, 2, 3, 4]])
    np.testing.assert_allclose(target.scores[0], alone.scores[0], rtol=1e-5)
    np.testing.assert_allclose(target.scores[1], alone.scores[1], rtol=1e-5)
    free = _distance(torch.zeros(5, 3), target)
    kept = target.matches.best.clone()
    kept[1] = 0
    assert _distance(kept, target).item() == pytest.approx(0, abs=1e-12) != free.item()
    kept[0] = 0
    assert _distance(kept, target).item() > 0.001


def test_all_dims_count_by_their_weight():
    layout = Layout.of(DOCUMENTS, QUERIES)
    _, target = make_target(layout)
    arguments = vectors(5), vectors(9, seed=1)
    whole, half = (student_loss(layout, *arguments, {dim: 1.0}, target).item() for dim in (8, 4))
    assert student_loss(layout, *arguments, {8: 3.0, 4: 1.0}, target).item() == pytest.approx((3 * whole + half) / 4)


def test_a_label_takes_its_share_of_the_target_only_where_a_person_asked():
    layout = Layout.of(DOCUMENTS, QUERIES)
    _, without = make_target(layout)
    _, target = make_target(layout, labels=(2, 1), asked=(True, False))
    expected = (1 - LABEL_SHARE) * without.scores[0] + LABEL_SHARE * torch.tensor([0.0, 0.0, 1.0])
    np.testing.assert_allclose(target.scores[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(target.scores[1], without.scores[1])
    np.testing.assert_allclose(target.scores.sum(dim=1), 1, rtol=1e-6)


def test_a_label_that_the_teacher_finds_absurd_is_not_believed():
    documents = list(range(11))
    layout = Layout.of(documents, [0, 1])
    similarities = torch.linspace(0.9, 0.0, 10)[None]
    for label, is_believed in ((4, True), (5, False), (9, False)):
        target = Target.of(layout, similarities, torch.tensor([label]), torch.tensor([True]))
        plain = Target.of(layout, similarities, torch.tensor([label]), torch.tensor([False]))
        assert torch.equal(target.scores, plain.scores) != is_believed


def test_descending_the_loss_brings_the_student_to_its_teacher():
    layout = Layout.of(DOCUMENTS, QUERIES)
    _, target = make_target(layout)
    student = torch.nn.Parameter(vectors(9, seed=3))
    optimizer = torch.optim.Adam([student], lr=0.05)
    losses = []
    for _ in range(60):
        loss = student_loss(layout, vectors(5), student, {8: 1.0}, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
