import torch

from i2i.methods.pool import ImagePool


def numbered(*values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


def test_pool_of_size_zero_hands_every_picture_back():
    x = numbered(1, 2, 3)
    assert ImagePool(0)(x) is x


def test_it_hands_back_what_it_stores_while_it_fills():
    pool = ImagePool(4)
    assert pool(numbered(1, 2, 3)).flatten().tolist() == [1, 2, 3]
    assert pool.count == 3 and pool.state()["pictures"].flatten().tolist() == [1, 2, 3]


def test_full_it_exchanges_half_of_the_pictures_and_loses_none():
    torch.manual_seed(0)
    pool, shown = ImagePool(10), []
    for start in range(0, 2000, 4):
        shown += pool(numbered(*range(start, start + 4))).flatten().tolist()
    stored = pool.state()["pictures"].flatten().tolist()
    assert len(stored) == 10
    fresh = sum(value == index for index, value in enumerate(shown[100:], start=100))
    assert 0.45 < fresh / 1900 < 0.55
    # each picture past the filling is shown at once, or is stored, and then shown when another takes its place
    once = [value for value in shown if shown.count(value) == 1]
    assert set(range(10, 2000)) == {int(v) for v in once if v >= 10} | {int(v) for v in stored}


def test_two_pictures_of_a_batch_may_meet_in_one_slot():
    torch.manual_seed(1)
    pool = ImagePool(1)
    pool(numbered(0))
    seen = set()
    for _ in range(50):
        pool.load_state({"pictures": numbered(0)})
        shown = pool(numbered(1, 2)).flatten().tolist()
        seen.add((*shown, float(pool.pictures)))
    assert seen == {(1, 2, 0), (0, 2, 1), (1, 0, 2), (0, 1, 2)}


def test_state_round_trip_in_the_middle_of_filling():
    pool, other = ImagePool(5), ImagePool(5)
    pool(numbered(1, 2))
    other.load_state(pool.state())
    assert other.count == 2 and other(numbered(3)).flatten().tolist() == [3]
    assert other.state()["pictures"].flatten().tolist() == [1, 2, 3]
    other.load_state({})
    assert other.count == 0 and other.state() == {}
