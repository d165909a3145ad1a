"""What the parts of one run share: its plan, what it tells and what it has reached. Holds; does nothing."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lora_core.estimate.plan import Plan
from lora_core.monitor.alerts import Alert, AlertWatch
from lora_core.schema.config import TrainingConfig
from runner.run_folder import RunFolder
from runner.train.checkpoint_state import Best
from runner.train.curve import Curve
from runner.train.environment import Environment
from runner.train.exactness import Promise
from runner.train.hardware import Hardware
from runner.train.journal import Journal
from runner.train.progress import StepMeter
from runner.train.saving import BEST_WEIGHTS
from runner.train.watcher import Watcher


@dataclass
class Run:
    """What the parts of one run share."""

    folder: RunFolder
    config: TrainingConfig
    reference: str
    plan: Plan
    hardware: Hardware
    journal: Journal
    watcher: Watcher
    meter: StepMeter
    curve: Curve
    fingerprint: str
    template_time: datetime
    environment: Environment
    alerts: AlertWatch
    start_step: int = 0
    promise: Promise | None = None
    halt: Alert | None = None
    best: Best | None = None
    eval_loss: float | None = None
    evaluation_pending: bool = False

    @property
    def best_file(self) -> Path:
        """Weights of the best adapter so far."""
        return self.folder.root / BEST_WEIGHTS
