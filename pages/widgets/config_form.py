"""Inputs for fields of the training config. Label, help, choices and bounds come from the schema, where they are written once."""

import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import streamlit as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lora_core.schema.config import TrainingConfig

FORMATS = {
    "optimisation.learning_rate": ("%.1e", 1e-5),
    "optimisation.weight_decay": ("%.3f", 0.001),
    "alerts.plateau.improvement": ("%.3f", 0.001),
}
"""Number format and step where the usual two decimals do not serve."""
COLUMNS = 4
ALERT_COLUMNS = 3
JUST_ABOVE = 1e-9
"""Lowest value offered for what must be above zero."""


def sections() -> dict[str, str]:
    """Return the parts of a training config as {name: title}."""
    return {
        name: field.title or name
        for name, field in TrainingConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def section_keys(section: str) -> list[str]:
    """Return the dotted keys of a part whose fields have an input; the others are for the YAML view."""
    model = TrainingConfig.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return [f"{section}.{name}" for name, field in model.model_fields.items() if _kind(field)[0] is not None]


def config_inputs(config: TrainingConfig, keys: Sequence[str], *, revision: int) -> dict[str, Any]:
    """Draw inputs in rows of four and return their values by dotted key."""
    values: dict[str, Any] = {}
    for start in range(0, len(keys), COLUMNS):
        columns = st.columns(COLUMNS, vertical_alignment="bottom")
        for column, key in zip(columns, keys[start : start + COLUMNS], strict=False):
            with column:
                values[key] = config_input(config, key, revision=revision)
    return values


def alert_inputs(config: TrainingConfig, *, revision: int) -> dict[str, Any]:
    """Draw every alert rule in a row of its own, what it looks for beside its inputs; return their values by dotted key."""
    values: dict[str, Any] = {}
    for name, field in type(config.alerts).model_fields.items():
        rule = field.annotation
        assert isinstance(rule, type)
        assert issubclass(rule, BaseModel)
        words, *columns = st.columns([1.4, *[1.0] * ALERT_COLUMNS], vertical_alignment="center")
        words.markdown(f"**{field.title}**")
        words.caption((rule.__doc__ or "").strip())
        for column, part in zip(columns, rule.model_fields, strict=False):
            key = f"alerts.{name}.{part}"
            with column:
                values[key] = config_input(config, key, revision=revision)
    return values


def config_input(config: TrainingConfig, key: str, *, revision: int) -> Any:
    """Draw the input that fits the field's type and return its value.

    Args:
        key: Dotted name of the field, such as "adapter.rank".
        revision: Changes when the form is to be filled anew.
    """
    field, value = _field(config, key)
    kind, optional = _kind(field)
    label, hint, name = field.title or key, field.description, f"{key}_{revision}"
    if kind is bool:
        return st.toggle(label, value, key=name, help=hint, wrap=True)
    if kind is str:
        return st.text_input(label, value or "", key=name, help=hint).strip() or (None if optional else value)
    if get_origin(kind) is Literal:
        options = list(get_args(kind))
        return st.selectbox(label, options, index=options.index(value), key=name, help=hint)
    least, most = _bounds(field)
    if kind is int:
        return st.number_input(
            label,
            min_value=None if least is None else int(least),
            max_value=None if most is None else int(most),
            value=value,
            step=1,
            key=name,
            help=hint,
            placeholder="empty" if optional else None,
        )
    number_format, step = FORMATS.get(key, ("%.2f", 0.05))
    return st.number_input(label, least, most, value, step, number_format, key=name, help=hint)


def _field(config: TrainingConfig, key: str) -> tuple[FieldInfo, Any]:
    model: BaseModel = config
    *parents, last = key.split(".")
    for parent in parents:
        model = getattr(model, parent)
    return type(model).model_fields[last], getattr(model, last)


def _kind(field: FieldInfo) -> tuple[Any, bool]:
    """The type of a field without None, and whether None is allowed; no type where the field has no input."""
    members = [field.annotation]
    if get_origin(field.annotation) in (Union, types.UnionType):
        members = list(get_args(field.annotation))
    kinds = [member for member in members if member is not type(None)]
    has_input = len(kinds) == 1 and (kinds[0] in (bool, int, float, str) or get_origin(kinds[0]) is Literal)
    return (kinds[0] if has_input else None), len(kinds) < len(members)


def _bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """Lowest and highest allowed value."""
    least: float | None = None
    most: float | None = None
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge):
            least = float(rule.ge)  # type: ignore[arg-type]
        elif isinstance(rule, annotated_types.Gt):
            least = float(rule.gt) + JUST_ABOVE  # type: ignore[arg-type]
        elif isinstance(rule, annotated_types.Le):
            most = float(rule.le)  # type: ignore[arg-type]
    return least, most
