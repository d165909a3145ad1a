"""Presets: named differences from the default training config, each with its reason. One YAML file is one preset."""

from lora_core.presets.load import Preset, find_preset, list_presets

__all__ = ["Preset", "find_preset", "list_presets"]
