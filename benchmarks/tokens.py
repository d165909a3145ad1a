"""From a chat file to token ids, with the demo model's template and tokenizer; rows are cut at 1,024 tokens.

Ours (`prepare`) reads the file, finds duplicates, makes ids and says for each token whether it is an answer. Theirs is what TRL's
trainer does by default: datasets.load_dataset and a `map` of apply_chat_template, row by row, without a mask.
"""

from benchmarks.harness.line import ROUNDS, Line, NotMeasured, Options, compare
from benchmarks.harness.turns import Result, take_turns
from benchmarks.material.chat_rows import write_chat_file
from benchmarks.material.training_run import demo_model, tiny_model

PACKAGES = ("tokenizers", "jinja2", "transformers", "datasets")
KINDS = ("studio", "trl")


def measure(options: Options) -> list[Line]:
    """Measure tokens a second, CPU time and peak memory."""
    model = tiny_model(options) if options.quick else demo_model()
    file = options.folder / "chats.jsonl"
    rows = write_chat_file(file, options.pick(9_000_000, 300_000))
    found: dict[str, list[Result]] = {kind: [] for kind in KINDS}
    for number in range(ROUNDS):
        for kind in KINDS:
            scratch = str(options.folder / f"{kind}-{number}")
            command = ("benchmarks.sides.tokenise_rows", kind, str(file), str(model), scratch)
            found[kind].append(take_turns({kind: command}, options.folder)[kind])
    counts = {result.pieces[0].amount for results in found.values() for result in results}
    if len(counts) > 1:
        raise NotMeasured(f"the sides make different numbers of tokens: {sorted(counts)}")
    words = f"{rows:,} rows, {counts.pop():,} tokens"
    speed, cpu, peak = (
        [[figure(result.pieces[0], result) for result in found[kind]] for kind in KINDS]
        for figure in (
            lambda piece, _: piece.amount / piece.seconds,
            lambda piece, _: piece.cpu_seconds,
            lambda _, result: result.peak_mb,
        )
    )
    return [
        compare("tokens a second", *speed, "tokens/s", ">= 1", words),
        compare("CPU time", *cpu, "s", "", words),
        compare("peak memory", *peak, "MB", "<= 1", words),
    ]
