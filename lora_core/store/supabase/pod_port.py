"""What a machine does that was handed one job and holds nothing but a token for it: a pod, a rented computer.

Its attempt was begun by the person who handed it out; the machine takes it and makes itself known to it. It announces
nothing, sees no queue, and does no tasks.
"""

from lora_core.errors import Conflict
from lora_core.schema.runner import Claim, RunnerInfo
from lora_core.secrets import Secret
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.gateway import Gateway
from lora_core.store.supabase.rows import runner_row
from lora_core.store.supabase.runner_port import SupabaseRunnerPort


class SupabasePodPort(SupabaseRunnerPort):
    """RunnerPort of one attempt of one job. Safe for several threads."""

    def __init__(self, gateway: Gateway, files: StorageFiles, key: str, token: Secret) -> None:
        super().__init__(gateway, files, key, token)
        self._taken = False

    def announce(self, runner: RunnerInfo) -> None:
        """Say nothing: the attempt itself shows which machine works on it."""

    def claim(self, runner: RunnerInfo, *, lease_seconds: float) -> Claim | None:
        """Take the job of the token; None once that was done. Taking it again after a lost answer is no harm.

        Raises:
            SignedOut: The token is not accepted (any more).
            Conflict: Another machine has taken it, or the attempt is over.
        """
        if self._taken:
            return None
        answer = self._gateway.rpc(
            "job_take",
            p_token=self._token.reveal(),
            p_runner=runner_row(runner),
            p_lease_seconds=lease_seconds,
        )
        self._taken = True
        return self._hold_readable(answer, self._token)

    def take_up(self, claim: Claim) -> None:
        """Go on with what an earlier process of this machine has taken; see `RunnerPort.take_up`.

        Raises:
            Conflict: It is the claim of another token.
        """
        if claim.job_token != self._token.reveal():
            raise Conflict("That job was taken with another token.")
        super().take_up(claim)
        self._taken = True
