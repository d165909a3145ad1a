from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from lora_core.schema.config import AdapterConfig, ModelConfig
from runner.train.hardware import Hardware
from runner.train.isolation import rows_are_apart
from runner.train.loss import CHUNK_ROWS, _HeadLoss, attach_loss
from runner.train.model import add_adapter, load_base
from runner.train.rows import IGNORED, Collator, records


@dataclass
class Row:
    input_ids: list[int]
    learned: list[bool]


def rows() -> list[Row]:
    random = torch.Generator().manual_seed(1)
    lengths = (9, 30, 4, 17, 22)
    return [
        Row(torch.randint(3, 500, (n,), generator=random).tolist(), [place >= n // 2 for place in range(n)])
        for n in lengths
    ]


@pytest.fixture
def base(tiny_model: Path) -> PreTrainedModel:
    return load_base(tiny_model, ModelConfig(), Hardware(torch.device("cpu"), torch.float32, 1))


def plain_loss(base: PreTrainedModel, row: Row) -> tuple[float, int]:
    """Sum over the learned tokens of one row alone, by torch's own cross entropy on the whole logits."""
    logits = base(input_ids=torch.tensor([row.input_ids])).logits[0, :-1]
    learned = torch.tensor(row.learned[1:])
    wanted = torch.tensor(row.input_ids[1:])
    return float(F.cross_entropy(logits[learned], wanted[learned], reduction="sum")), int(learned.sum())


def batch(chosen: Sequence[Row], capacity: int | None) -> dict[str, torch.Tensor]:
    made = Collator(0, capacity)([dict(record) for record in records(chosen)])
    return {name: made[name] for name in ("input_ids", "position_ids", "targets")}


@pytest.mark.parametrize("capacity", [None, 96, 50])
def test_the_loss_of_a_batch_is_the_mean_over_the_learned_tokens_of_its_rows_alone(
    base: PreTrainedModel, capacity: int | None
) -> None:
    with torch.no_grad():
        parts = [plain_loss(base, row) for row in rows()]
        attach_loss(base)
        loss = base(**batch(rows(), capacity)).loss
    torch.testing.assert_close(float(loss), sum(loss for loss, _ in parts) / sum(count for _, count in parts))


def test_the_gradient_of_a_pack_is_that_of_its_rows_alone(base: PreTrainedModel) -> None:
    model = add_adapter(base, AdapterConfig(rank=4, alpha=8), seed=1, reference="")
    attach_loss(base)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.manual_seed(1)
    for weight in weights:
        torch.nn.init.normal_(weight, std=0.05)
    together = torch.autograd.grad(model(**batch(rows(), 96)).loss, weights)
    targets = sum(sum(row.learned[1:]) for row in rows())
    apart = [
        torch.autograd.grad(model(**batch([row], None), items=torch.tensor(targets)).loss, weights)
        for row in rows()
    ]
    for whole, parts in zip(together, zip(*apart, strict=True), strict=True):
        torch.testing.assert_close(whole, sum(parts), rtol=1e-4, atol=1e-6)


def test_tokens_that_are_not_learned_do_not_change_the_loss(base: PreTrainedModel) -> None:
    attach_loss(base)
    one = batch(rows()[:1], None)
    other = {**one, "input_ids": one["input_ids"].clone()}
    other["input_ids"][0, 9:] = 77  # the padding
    with torch.no_grad():
        assert base(**one).loss == base(**other).loss


def test_the_chunked_head_gives_torchs_loss_and_gradient() -> None:
    random = torch.Generator().manual_seed(1)
    hidden = torch.randn(CHUNK_ROWS * 2 + 7, 16, generator=random, requires_grad=True)
    weight, bias = torch.randn(50, 16, generator=random), torch.randn(50, generator=random)
    wanted = torch.randint(0, 50, (len(hidden),), generator=random)
    loss = _HeadLoss.apply(hidden, weight, bias, wanted, torch.tensor(10))
    plain = F.cross_entropy(F.linear(hidden, weight, bias), wanted, reduction="sum") / 10
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(torch.autograd.grad(loss, hidden), torch.autograd.grad(plain, hidden))


def test_a_model_that_changes_its_logits_after_the_head_gets_its_own_loss(base: PreTrainedModel) -> None:
    capped = cast(Any, base)
    before = type(base).forward

    def soft(*args: Any, **kwargs: Any) -> Any:
        output = before(base, *args, **kwargs)
        output.logits = 2 * torch.tanh(output.logits / 2)
        return output

    capped.forward = soft
    capped.config.final_logit_softcapping = 2.0
    with torch.no_grad():
        expected, count = plain_loss(base, rows()[0])
        attach_loss(base)
        torch.testing.assert_close(float(base(**batch(rows()[:1], None)).loss), expected / count)


def test_without_targets_the_model_answers_as_before(base: PreTrainedModel) -> None:
    ids = torch.tensor([[4, 5, 6]])
    before = base(input_ids=ids).logits
    attach_loss(base)
    assert torch.equal(base(input_ids=ids).logits, before)


def test_packed_rows_are_apart_in_an_attention_model(base: PreTrainedModel) -> None:
    assert rows_are_apart(base, torch.device("cpu"))


def test_a_model_that_carries_a_state_along_is_found_out() -> None:
    class Running(torch.nn.Module):
        config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=100))

        def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
            return SimpleNamespace(logits=input_ids.float().cumsum(1)[..., None])

    assert not rows_are_apart(cast(PreTrainedModel, Running()), torch.device("cpu"))


def test_a_row_without_targets_gives_no_nan(base: PreTrainedModel) -> None:
    attach_loss(base)
    nothing = batch([Row([4, 5, 6], [False] * 3)], None)
    assert nothing["targets"].unique().tolist() == [IGNORED]
    assert float(base(**nothing).loss.detach()) == 0.0
