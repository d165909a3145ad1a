"""Which base model a reference means."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lora_core.errors import ModelError
from lora_core.models.catalogue import CATALOGUE, DEMO_MODEL, find_model


def test_ids_and_hub_ids_are_unique() -> None:
    assert len({info.id for info in CATALOGUE}) == len({info.hub_id for info in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("info", CATALOGUE, ids=lambda info: info.id)
def test_entry_is_found_by_id_and_by_hub_id(info) -> None:
    assert find_model(info.id) is info
    assert find_model(f" {info.hub_id} ") is info


@pytest.mark.parametrize("info", CATALOGUE, ids=lambda info: info.id)
def test_entry_is_complete(info) -> None:
    unknown = [name for name, value in info if value is None]
    assert set(unknown) <= {"revision", "folder", "fallback_wheel"}


def test_entry_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        DEMO_MODEL.parameters = 1


def test_unlisted_hub_model_has_no_numbers() -> None:
    info = find_model("someone/some-model")
    assert (info.hub_id, info.title, info.parameters) == ("someone/some-model", "some-model", None)


def test_revision_gets_a_folder_of_its_own_and_no_fallback() -> None:
    info = find_model(f"{DEMO_MODEL.hub_id}@v1/a")
    assert info.slug == "HuggingFaceTB--SmolLM2-135M-Instruct@v1--a"
    assert (info.parameters, info.fallback_wheel) == (DEMO_MODEL.parameters, None)


@pytest.mark.parametrize(
    "reference", ["", "nobody", "a/b/c", "a/../b", "a--b/c", "a/b@../../x", "https://x.y/a", "a/b\n", "a b/c"]
)
def test_malformed_reference_is_refused(reference: str) -> None:
    if reference == "a/b\n":  # surrounding blanks are the person's, not the name's
        assert find_model(reference).hub_id == "a/b"
        return
    with pytest.raises(ModelError, match="no base model"):
        find_model(reference)


@given(st.text(max_size=60))
def test_no_reference_escapes_the_models_folder(reference: str) -> None:
    try:
        slug = find_model(reference).slug
    except ModelError:
        return
    assert Path(slug).name == slug
    assert slug not in ("", ".", "..")


def test_local_folder_needs_an_allowed_root(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="may not be used"):
        find_model(str(tiny_model))
    with pytest.raises(ModelError, match="may not be used"):
        find_model(str(tiny_model), local_roots=[tmp_path / "elsewhere"])
    assert find_model(str(tiny_model), local_roots=[tiny_model.parent]).folder == tiny_model.resolve()


def test_link_out_of_an_allowed_root_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tiny_model)
    with pytest.raises(ModelError, match="may not be used"):
        find_model(str(tmp_path / "link"), local_roots=[tmp_path])


def test_home_is_expanded(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny_model.parent))
    assert find_model(f"~/{tiny_model.name}", local_roots=[Path("~")]).title == tiny_model.name
