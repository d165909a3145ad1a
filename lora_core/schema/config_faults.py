"""What is wrong with the content of a training config, in words. Knows no file and no store."""

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

from lora_core.schema.config import TrainingConfig


def read_document(document: Any) -> tuple[TrainingConfig | None, str]:
    """Return a stored config, or none and why it cannot be read: it may be of another version of the studio.

    >>> read_document({"adapter": {"rnk": 8}})
    (None, 'adapter.rnk is not a field; did you mean adapter.rank?')
    """
    try:
        return TrainingConfig.model_validate(document), ""
    except ValidationError as error:
        return None, explain_validation(error)


def explain_validation(error: ValidationError) -> str:
    """Put a validation error into one sentence a field, with dotted names and the closest known key."""
    sentences = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "config"
        if problem["type"] == "extra_forbidden":
            sentences.append(f"{key} is not a field{closest_field(key)}")
        else:
            sentences.append(f"{key}: {problem['msg'][:1].lower()}{problem['msg'][1:]}.")
    return " ".join(sentences)


def closest_field(key: str) -> str:
    """Return the end of a sentence about an unknown field: the nearest one as a question, else a full stop."""
    matches = difflib.get_close_matches(key, field_names(), n=1)
    return f"; did you mean {matches[0]}?" if matches else "."


def field_names(model: type[BaseModel] = TrainingConfig, prefix: str = "") -> list[str]:
    """Return the dotted names of all fields of a config."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            names += field_names(nested, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names
