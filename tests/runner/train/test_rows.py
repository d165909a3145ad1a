from dataclasses import dataclass

import torch

from runner.train.rows import IGNORED, Collator, records


@dataclass
class Row:
    input_ids: list[int]
    learned: list[bool]


ROWS = [Row([5, 6, 7, 8], [False, False, True, True]), Row([9, 10], [False, True])]


def batch(rows: list[Row], capacity: int | None) -> dict[str, torch.Tensor]:
    return Collator(0, capacity)([dict(record) for record in records(rows)])


def test_a_target_is_the_next_token_where_that_is_learned() -> None:
    assert records(ROWS)[0]["targets"] == [IGNORED, 7, 8, IGNORED]


def test_the_first_token_of_a_packed_row_is_no_target_of_the_row_before() -> None:
    rows = [Row([5, 6], [True, True]), Row([9, 10], [True, True])]
    assert batch(rows, 8)["targets"][0, :4].tolist() == [6, IGNORED, 10, IGNORED]


def test_positions_start_again_with_each_packed_row() -> None:
    assert batch(ROWS, 8)["position_ids"][0, :6].tolist() == [0, 1, 2, 3, 0, 1]


def test_padding_goes_on_with_the_positions_of_the_last_row() -> None:
    assert batch(ROWS, 8)["position_ids"][0, 6:9].tolist() == [2, 3, 4]


def test_without_packing_each_row_is_a_sequence() -> None:
    assert batch(ROWS, None)["input_ids"].shape == (2, 32)


def test_rows_that_do_not_fit_together_take_a_sequence_each() -> None:
    assert batch(ROWS, 5)["input_ids"].shape == (2, 32)


def test_padding_is_no_target() -> None:
    assert batch(ROWS, None)["targets"][1].tolist() == [10] + [IGNORED] * 31


def test_padding_counts_as_no_token_and_a_pack_as_all_its_rows() -> None:
    made = batch(ROWS, 64)
    assert (made["input_ids"].shape, int(made["real_tokens"]), int(made["rows"])) == (
        torch.Size([1, 32]),
        6,
        2,
    )
