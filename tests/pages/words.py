"""What can be read on a page under test."""

from streamlit.testing.v1 import AppTest


def words(page: AppTest) -> str:
    """Return all headings, texts, captions, button labels and alerts."""
    elements = [*page.title, *page.header, *page.subheader, *page.markdown, *page.caption, *page.text]
    alerts = [f"{alert.value} {alert.proto.title}" for alert in [*page.error, *page.warning, *page.info]]
    labels = [button.label for button in page.button]
    return "\n".join([*(str(element.value) for element in elements), *labels, *alerts])
