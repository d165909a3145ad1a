"""The loss chart as the browser has drawn it: which view it is, and how long its lines are."""

from playwright.sync_api import Locator

from tests.journeys.visitor import Visitor

PATHS = """view => [...view.querySelectorAll("path[aria-roledescription='line mark']")]
    .map(path => path.getAttribute("d") ?? "")"""


class LossChart:
    """The chart of the job page."""

    def __init__(self, visitor: Visitor) -> None:
        self._svg: Locator = visitor.key("loss_chart").locator("svg.marks").first

    def wait(self) -> None:
        """Wait until it is drawn."""
        self._svg.wait_for()

    def mark(self) -> None:
        """Leave a mark on the drawn view, to know it again."""
        self._svg.evaluate("view => { view.dataset.seen = 'before' }")

    def is_the_marked_one(self) -> bool:
        """Say whether the view is still the one that was marked, not one drawn anew."""
        return bool(self._svg.evaluate("view => view.dataset.seen === 'before'"))

    def lines(self) -> list[str]:
        """Return the paths of the lines."""
        return list(self._svg.evaluate(PATHS))

    def corners(self) -> int:
        """Count the points of the longest line."""
        return max((path.count("L") + path.count("M") for path in self.lines()), default=0)
