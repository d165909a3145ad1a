"""Takes a config from a file: one of the studio, or one of another tool with a report of what became of each line."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from lora_core.actions import config_import, configs
from lora_core.actions.config_import import FATES, Fate, ImportedConfig
from lora_core.errors import ConfigError
from lora_core.schema.config import TrainingConfig
from pages.widgets.errors import show_error
from pages.widgets.plain import plain

MOST_MEGABYTES = 1
ICONS = {Fate.SAME: "✓", Fate.CHANGED: "≠", Fate.DROPPED: "–", Fate.UNKNOWN: "?"}


def draw_config_upload(use: Callable[[TrainingConfig], None], *, revision: int) -> None:
    """Draw the upload; a config that was read is shown, and taken only when the person says so.

    Args:
        use: Called with the config that is taken.
        revision: Changes when the form is filled anew, which puts the file away.
    """
    file = st.file_uploader(
        "A config of the studio, of LLaMA-Factory or of Axolotl (YAML)",
        type=["yaml", "yml"],
        max_upload_size=MOST_MEGABYTES,
        key=f"config_file_{revision}",
    )
    if file is None:
        return
    try:
        text = file.getvalue().decode()
        foreign = config_import.is_other_tools_config(text)
        imported = config_import.import_config(text) if foreign else None
        config = imported.config if imported else configs.config_from_yaml(text)
    except UnicodeDecodeError:
        show_error(ConfigError("This file is not text in UTF-8.", "Save it as YAML in UTF-8."))
        return
    except ConfigError as error:
        show_error(error)
        return
    if imported:
        _draw_report(imported)
    if st.button("Use this config", type="primary", icon=":material/check:", key="use_config"):
        use(config)


def _draw_report(imported: ImportedConfig) -> None:
    counts = [f"**{imported.count(fate)}** {words}" for fate, words in FATES.items() if imported.count(fate)]
    st.markdown(f"A config of {imported.tool}. Of its lines " + ", ".join(counts) + ".")
    rows = [
        {
            "Line": line.line or None,
            "Key": line.key,
            "Value": line.value,
            "Here": f"{ICONS[line.fate]} {FATES[line.fate]}",
            "Sets": line.sets(),
            "Note": imported.note(line),
        }
        for line in imported.in_order()
    ]
    st.dataframe(
        pd.DataFrame(rows).astype({"Line": "Int64"}),
        hide_index=True,
        width="stretch",
        key="import_report",
        placeholder="",
        column_config={"Note": st.column_config.TextColumn(width="large")},
    )
    unknown = [line.key for line in imported.lines if line.fate is Fate.UNKNOWN]
    if unknown:
        st.warning(plain("Not known, so without effect: " + ", ".join(unknown) + "."), icon=":material/help:")
