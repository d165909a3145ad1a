"""Configs of Axolotl: its keys as of version 0.13 (src/axolotl/utils/schemas)."""

from typing import Any

from lora_core.config_import.rules import (
    Document,
    Fate,
    Reading,
    Rule,
    Tool,
    differs,
    dropped,
    names,
    number,
    only_if_set,
    same,
    truth,
    validation_share,
    whole,
)
from lora_core.config_import.shared import (
    DATA,
    DISPLAY,
    MACHINE,
    NO_TOKENS,
    NOT_ALL_WEIGHTS,
    ONE_GPU,
    OPTIMIZER,
    PLACE,
    SCHEDULER,
    chat_template,
    number_format,
    steps_or_nothing,
    warmup_steps,
)

METHODS = {"dpo": "dpo", "ipo": "dpo", "orpo": "orpo", "kto": "kto"}
FORMULA = "Belongs to a way of training that the studio does not have."


def _adapter(value: Any, _: Document) -> Reading:
    if value == "qlora":
        return Reading(Fate.SAME, changes={"model.quantisation": "4bit"})
    if value == "lora":
        return Reading(Fate.SAME)
    return Reading(Fate.CHANGED, NOT_ALL_WEIGHTS)


def _quantised(bits: str) -> Rule:
    def rule(value: Any, document: Document) -> Reading:
        if not value or document.get("adapter") not in ("lora", "qlora"):
            return Reading(Fate.SAME)
        return Reading(Fate.SAME, changes={"model.quantisation": bits})

    return rule


def _rl(value: Any, _: Document) -> Reading:
    method = METHODS.get(str(value))
    if method is None:
        return Reading(Fate.DROPPED, "The studio does not train this way.")
    return Reading(Fate.SAME, changes={"method": method})


def _targets(value: Any, document: Document) -> Reading:
    if document.get("lora_target_linear"):
        return Reading(Fate.SAME, "lora_target_linear takes all linear layers.")
    return Reading(Fate.SAME, changes={"adapter.targets": list(names(value))})


def _train_on_inputs(value: Any, _: Document) -> Reading:
    return Reading(Fate.SAME, changes={"data.loss_on": "all"} if truth(value) else {})


def _sample_packing(value: Any, _: Document) -> Reading:
    if not truth(value):
        return Reading(Fate.SAME, changes={"data.packing": False})
    said = "There, a sequence is filled from many rows, so an update sees more of them. The studio's packing keeps the batch."
    return Reading(Fate.CHANGED, said, {"data.packing": True})


def _micro_batch(value: Any, document: Document) -> Reading:
    changes = {"optimisation.micro_batch_size": whole(value)}
    if document.get("sample_packing"):
        return Reading(
            Fate.CHANGED, "With sample_packing it counts packed sequences; here it counts rows.", changes
        )
    return Reading(Fate.SAME, changes=changes)


def _bf16(value: Any, document: Document) -> Reading:
    if value == "auto":
        return Reading(Fate.SAME, changes={"model.dtype": "auto"})
    return number_format("bfloat16")(value, document)


def _checkpointing(value: Any, _: Document) -> Reading:
    if value in ("offload", "offload_disk"):
        said = "The studio recomputes activations, but leaves those it keeps on the GPU."
        return Reading(Fate.CHANGED, said, {"optimisation.gradient_checkpointing": True})
    return Reading(Fate.SAME, changes={"optimisation.gradient_checkpointing": truth(value)})


def _watchdog(value: Any, _: Document) -> Reading:
    return Reading(
        Fate.DROPPED,
        "A fixed limit for the loss; the studio's alerts compare with the run itself (divergence, spike).",
    )


RULES: dict[str, Rule] = {
    # model
    "base_model": same("model.base", str),
    "revision_of_model": same("model.revision", str),
    "model_type": dropped("The studio reads the model's kind from its own files."),
    "tokenizer_type": dropped("The studio reads the model's kind from its own files."),
    "tokenizer_config": only_if_set(dropped("The studio takes the base model's own tokenizer.")),
    "trust_remote_code": only_if_set(dropped("The studio runs no code that comes with a model.")),
    "load_in_4bit": _quantised("4bit"),
    "load_in_8bit": _quantised("8bit"),
    "special_tokens": only_if_set(dropped(NO_TOKENS)),
    "tokens": only_if_set(dropped(NO_TOKENS)),
    "bf16": _bf16,
    "bfloat16": number_format("bfloat16"),
    "fp16": number_format("float16"),
    "float16": number_format("float16"),
    "float32": number_format("float32"),
    "tf32": dropped(MACHINE),
    "flash_attention": dropped(MACHINE),
    "sdp_attention": dropped(MACHINE),
    "xformers_attention": dropped(MACHINE),
    "eager_attention": dropped(MACHINE),
    "flex_attention": dropped(MACHINE),
    "lora_mlp_kernel": dropped(MACHINE),
    "lora_qkv_kernel": dropped(MACHINE),
    "lora_o_kernel": dropped(MACHINE),
    "torch_compile": only_if_set(dropped(MACHINE)),
    "low_cpu_mem_usage": dropped(MACHINE),
    "plugins": only_if_set(dropped("The studio loads no plugins.")),
    # method
    "adapter": _adapter,
    "rl": only_if_set(_rl),
    "rl_beta": dropped(FORMULA),
    "orpo_alpha": dropped(FORMULA),
    "lora_model_dir": only_if_set(
        dropped("A file of another machine: fork from a checkpoint in the studio.")
    ),
    "lora_r": same("adapter.rank", whole),
    "lora_alpha": same("adapter.alpha", whole),
    "lora_dropout": same("adapter.dropout", number),
    "lora_target_modules": only_if_set(_targets),
    "lora_target_linear": only_if_set(
        lambda _value, _document: Reading(Fate.SAME, changes={"adapter.targets": "all-linear"})
    ),
    "lora_modules_to_save": only_if_set(dropped("The studio trains the adapter alone, no further modules.")),
    "lora_fan_in_fan_out": dropped("The studio reads this from the model."),
    "peft_use_rslora": same("adapter.rslora", truth),
    "peft_use_dora": same("adapter.dora", truth),
    "peft_init_lora_weights": only_if_set(dropped("The studio starts adapters at zero.")),
    "peft_layers_to_transform": only_if_set(dropped("The studio adapts all layers of a kind.")),
    "loraplus_lr_ratio": only_if_set(
        dropped("The studio has one learning rate for both halves of the adapter.")
    ),
    "relora": only_if_set(dropped(FORMULA)),
    "unfrozen_parameters": only_if_set(dropped(FORMULA)),
    "neftune_noise_alpha": only_if_set(dropped("The studio adds no noise to embeddings.")),
    # data
    "datasets": dropped(DATA),
    "test_datasets": dropped("Choose an own data set for validation in the studio."),
    "pretraining_dataset": dropped(DATA),
    "dataset_prepared_path": dropped(PLACE),
    "dataset_processes": dropped(MACHINE),
    "shuffle_merged_datasets": dropped("The studio shuffles with the seed."),
    "val_set_size": validation_share("data.validation_fraction", "val_set_size above 1"),
    "sequence_len": same("data.max_length", whole),
    "sample_packing": _sample_packing,
    "eval_sample_packing": dropped("The studio packs evaluation as it packs training."),
    "pad_to_sequence_len": dropped(MACHINE),
    "group_by_length": only_if_set(dropped("The studio keeps rows in a random order.")),
    "train_on_inputs": _train_on_inputs,
    "chat_template": only_if_set(chat_template("tokenizer_default")),
    "chat_template_jinja": only_if_set(chat_template("tokenizer_default")),
    "default_system_message": only_if_set(
        dropped("Put it into the rows: the studio adds nothing to your data.")
    ),
    "dataloader_num_workers": same("data.workers", whole),
    "dataloader_prefetch_factor": dropped(MACHINE),
    "dataloader_pin_memory": dropped(MACHINE),
    # optimisation
    "micro_batch_size": _micro_batch,
    "gradient_accumulation_steps": same("optimisation.accumulation_steps", whole),
    "eval_batch_size": dropped(MACHINE),
    "num_epochs": same("optimisation.epochs", number),
    "max_steps": same("optimisation.max_steps", whole),
    "optimizer": OPTIMIZER,
    "lr_scheduler": SCHEDULER,
    "learning_rate": same("optimisation.learning_rate", number),
    "weight_decay": same("optimisation.weight_decay", number),
    "max_grad_norm": same("optimisation.max_grad_norm", number),
    "warmup_ratio": same("optimisation.warmup_ratio", number),
    "warmup_steps": warmup_steps,
    "gradient_checkpointing": _checkpointing,
    "gradient_checkpointing_kwargs": dropped(MACHINE),
    "seed": same("optimisation.seed", whole),
    # evaluation and checkpoints
    "eval_steps": steps_or_nothing("evaluation.every_steps"),
    "evals_per_epoch": differs("The studio evaluates ten times over the run, or every so many updates."),
    "eval_strategy": dropped("A job with validation rows is always evaluated."),
    "save_steps": steps_or_nothing("checkpoints.every_steps"),
    "saves_per_epoch": differs("The studio saves at each evaluation, or every so many updates."),
    "save_strategy": dropped("The studio always saves checkpoints."),
    "save_total_limit": same("checkpoints.keep", whole),
    "load_best_model_at_end": same("evaluation.keep_best", truth),
    "early_stopping_patience": only_if_set(dropped("See the alert “No improvement”, which can stop a job.")),
    "resume_from_checkpoint": only_if_set(dropped("A file of another machine: resume in the studio.")),
    "auto_resume_from_checkpoints": dropped("The studio resumes by itself."),
    "loss_watchdog_threshold": _watchdog,
    "loss_watchdog_patience": _watchdog,
    # around it
    "output_dir": dropped(PLACE),
    "logging_steps": dropped(DISPLAY),
    "wandb_project": only_if_set(dropped(DISPLAY)),
    "wandb_entity": only_if_set(dropped(DISPLAY)),
    "wandb_watch": only_if_set(dropped(DISPLAY)),
    "wandb_name": only_if_set(dropped(DISPLAY)),
    "wandb_log_model": only_if_set(dropped(DISPLAY)),
    "use_tensorboard": only_if_set(dropped(DISPLAY)),
    "local_rank": dropped(MACHINE),
    "deepspeed": only_if_set(dropped(ONE_GPU)),
    "fsdp": only_if_set(dropped(ONE_GPU)),
    "fsdp_config": only_if_set(dropped(ONE_GPU)),
    "hub_model_id": only_if_set(dropped("The studio sends nothing to the Hub by itself.")),
    "strict": dropped("The studio is always strict."),
    "debug": dropped(DISPLAY),
}

AXOLOTL = Tool(
    name="Axolotl",
    marks=frozenset({"base_model", "sequence_len", "micro_batch_size", "lora_r"}),
    rules=RULES,
    defaults={
        "sequence_len": 512,
        "sample_packing": False,
        "val_set_size": 0.0,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1.0,
        "load_best_model_at_end": False,
    },
    derived={"warmup_ratio": lambda document: None if document.get("warmup_steps") else 0.03},
)
