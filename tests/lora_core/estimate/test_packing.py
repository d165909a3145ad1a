from hypothesis import given
from hypothesis import strategies as st

from lora_core.estimate.packing import best_fit

lengths = st.lists(st.integers(1, 100), max_size=60)


@given(lengths)
def test_every_row_is_in_one_pack(lengths: list[int]) -> None:
    packs = best_fit(lengths, capacity=100)
    assert sorted(row for pack in packs for row in pack) == list(range(len(lengths)))


@given(lengths)
def test_no_pack_is_longer_than_its_capacity(lengths: list[int]) -> None:
    assert all(sum(lengths[row] for row in pack) <= 100 for pack in best_fit(lengths, capacity=100))


@given(lengths)
def test_no_two_packs_could_be_one(lengths: list[int]) -> None:
    totals = sorted(sum(lengths[row] for row in pack) for pack in best_fit(lengths, capacity=100))
    assert len(totals) < 2 or totals[0] + totals[1] > 100


def test_packing_of_spread_lengths_wastes_little() -> None:
    lengths = [60 + (37 * number) % 436 for number in range(256)]
    assert sum(lengths) / (1024 * len(best_fit(lengths, capacity=1024))) > 0.95
