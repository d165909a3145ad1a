"""Training methods, and which of them a data set's layout serves. Does not know how a method trains."""

from collections.abc import Mapping
from enum import StrEnum

from lora_core.schema.dataset import DatasetFormat


class Method(StrEnum):
    """What a job does with rows."""

    SFT = "sft"
    CPT = "cpt"
    DPO = "dpo"
    ORPO = "orpo"
    KTO = "kto"


TITLES: Mapping[Method, str] = {
    Method.SFT: "supervised fine-tuning (SFT)",
    Method.CPT: "continued pre-training",
    Method.DPO: "DPO",
    Method.ORPO: "ORPO",
    Method.KTO: "KTO",
}

TRAINABLE = (Method.SFT, Method.CPT)
"""What the trainer can do."""

_ANSWERS = (Method.SFT,)
SERVES: Mapping[DatasetFormat, tuple[Method, ...]] = {
    DatasetFormat.MESSAGES: _ANSWERS,
    DatasetFormat.SHAREGPT: _ANSWERS,
    DatasetFormat.ALPACA: _ANSWERS,
    DatasetFormat.PROMPT_COMPLETION: _ANSWERS,
    DatasetFormat.TEXT: (Method.CPT,),
    DatasetFormat.PREFERENCE: (Method.DPO, Method.ORPO),
    DatasetFormat.UNPAIRED_PREFERENCE: (Method.KTO,),
    DatasetFormat.UNKNOWN: (),
}
"""Methods that can learn from rows of each layout."""

_ROWS = {
    DatasetFormat.PREFERENCE: "compares a chosen with a rejected answer in each row",
    DatasetFormat.UNPAIRED_PREFERENCE: "says of each answer whether it is good",
}


def in_words(methods: tuple[Method, ...]) -> str:
    """Join titles for a sentence.

    Example:
        >>> in_words((Method.DPO, Method.ORPO))
        'DPO and ORPO'
    """
    return " and ".join([TITLES[method] for method in methods])


def why_untrainable(format: DatasetFormat) -> tuple[str, str] | None:
    """Say why nothing can be trained on rows of this layout yet, and what to do; None where it can.

    Example:
        >>> why_untrainable(DatasetFormat.MESSAGES) is None
        True
    """
    serves = SERVES[format]
    if not serves or set(serves) & set(TRAINABLE):
        return None
    return (
        f"It {_ROWS[format]}: that serves {in_words(serves)}, not {TITLES[Method.SFT]}.",
        "Choose a data set with answers to learn, or make one of the good answers on the data set's page.",
    )
