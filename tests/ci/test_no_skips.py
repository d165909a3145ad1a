"""The step that keeps CI honest finds skipped and missing tests."""

from pathlib import Path

import pytest

from tests.ci.no_skips import complaints, main

RAN = '<testcase classname="a" name="ran"><properties><property name="must_run" value="{0}"/></properties></testcase>'
SKIPPED = RAN.replace("</testcase>", '<skipped message="no chromium"/></testcase>').replace(
    '"ran"', '"skipped"'
)
PLAIN_SKIPPED = '<testcase classname="a" name="gpu"><skipped message="no gpu"/></testcase>'


@pytest.fixture
def junit(tmp_path: Path):
    def write(*cases: str) -> Path:
        path = tmp_path / "junit.xml"
        path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
        return path

    return write


def test_run_with_both_kinds_is_fine(junit) -> None:
    path = junit(RAN.format("slow"), RAN.format("browser"), PLAIN_SKIPPED)
    assert complaints([path]) == []
    assert main([str(path)]) == 0


def test_skipped_test_is_named_with_its_reason(junit) -> None:
    path = junit(RAN.format("slow"), RAN.format("browser"), SKIPPED.format("browser"))
    assert complaints([path]) == ["browser test skipped: a::skipped (no chromium)"]


def test_kind_that_did_not_run_fails(junit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(junit(RAN.format("slow")))]) == 1
    assert capsys.readouterr().err == "no browser test ran\n"


def test_runs_are_judged_together(junit, tmp_path: Path) -> None:
    first = junit(RAN.format("slow")).rename(tmp_path / "first.xml")
    second = junit(RAN.format("browser"))
    assert main([str(first), str(second)]) == 0
    assert main([str(first), str(first)]) == 1
