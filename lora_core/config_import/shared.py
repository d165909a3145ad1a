"""What several tools have in common: values that transformers defines, and reasons why a key has no counterpart."""

from typing import Any

from lora_core.config_import.rules import Document, Fate, Reading, Rule, choice, number

DATA = "Data sets are chosen in the studio, where each is checked first."
PLACE = "The studio keeps files in its own places."
DISPLAY = "How it is shown; the studio records every update."
MACHINE = "How it runs on the machine; the studio decides that itself."
ONE_GPU = "The studio trains on one GPU for now."
NO_TOKENS = "The studio adds no tokens to a model."
NOT_ALL_WEIGHTS = "The studio trains LoRA adapters, not all weights: this becomes another run."

SCHEDULER = choice(
    "optimisation.scheduler",
    {name: name for name in ("linear", "cosine", "constant", "constant_with_warmup")},
    "The studio has no such schedule; its own default is taken.",
)
OPTIMIZER = choice(
    "optimisation.optimizer",
    {
        "adamw_torch": "adamw_torch",
        "adamw_torch_fused": "adamw_torch_fused",
        "adamw_hf": "adamw_torch",
        "adamw_8bit": "adamw_8bit",
        "adamw_bnb_8bit": "adamw_8bit",
        "paged_adamw_8bit": "paged_adamw_8bit",
    },
    "The studio has no such optimizer; its own AdamW is taken.",
)


def steps_or_nothing(name: str) -> Rule:
    """Steps between two events: a count of steps, or a share of the run, which the studio does not have."""

    def rule(value: Any, _: Document) -> Reading:
        if isinstance(value, float) and value < 1:
            return Reading(
                Fate.DROPPED, "A share of the run; the studio counts steps. Its own default is taken."
            )
        return Reading(Fate.SAME, changes={name: int(value)})

    return rule


def number_format(name: str) -> Rule:
    """A switch for one format of numbers; off leaves the choice to the hardware."""

    def rule(value: Any, _: Document) -> Reading:
        if value is True:
            return Reading(Fate.SAME, changes={"model.dtype": name})
        return Reading(Fate.SAME, "The studio chooses by the hardware.")

    return rule


def warmup_steps(value: Any, _: Document) -> Reading:
    """A number of updates in which the learning rate rises; the studio takes a share of the run."""
    if not number(value):
        return Reading(Fate.SAME, changes={"optimisation.warmup_ratio": 0.0})
    return Reading(Fate.DROPPED, "A number of updates; the studio takes a share of the run (warm-up).")


def chat_template(models_own: str) -> Rule:
    """The name of a chat template; the studio always takes the base model's own.

    Args:
        models_own: The name under which the tool does so too.
    """

    def rule(value: Any, _: Document) -> Reading:
        if value == models_own:
            return Reading(Fate.SAME)
        return Reading(
            Fate.CHANGED,
            "The studio uses the base model's own chat template: look at the audit of your data.",
        )

    return rule
