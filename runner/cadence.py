"""How often a runner calls its store. A database beside it may be asked often; a team's project is far and shared."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cadence:
    """Pauses between calls, in seconds.

    Attributes:
        claim_seconds: Between looks into the queues; at least as long as the loop's own pause.
        announce_seconds: Between signs of life; contracts want one every 10 s.
        renew_seconds: Between renewals of a lease, which is also how soon a person's request is heard.
        ship_seconds: Between batches of an attempt; full batches follow each other at once.
        report_seconds: Between reports of a task.
    """

    claim_seconds: float = 0.0
    announce_seconds: float = 5.0
    renew_seconds: float = 1.0
    ship_seconds: float = 0.5
    report_seconds: float = 1.0


NEAR = Cadence()

FAR = Cadence(
    claim_seconds=2.0, announce_seconds=8.0, renew_seconds=1.5, ship_seconds=0.75, report_seconds=2.0
)
"""An idle runner makes about one call a second; a step is on a chart that refreshes every 2 s within about 3 s."""

POD = replace(FAR, claim_seconds=0.0)
"""It claims once; what comes after the job's end costs rent."""
