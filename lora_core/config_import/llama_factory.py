"""Configs of LLaMA-Factory: its keys as of version 0.9 (src/llamafactory/hparams) and those it takes from transformers."""

from typing import Any

from lora_core.config_import.rules import (
    Document,
    Fate,
    Reading,
    Rule,
    Tool,
    changed,
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

METHODS = {"sft": "sft", "pt": "cpt", "dpo": "dpo", "kto": "kto"}
LOSSES = {"sigmoid": "dpo", "ipo": "dpo", "hinge": "dpo", "orpo": "orpo"}
NO_METHOD = "The studio does not train this way."

OTHER_METHOD = "Belongs to a way of training that the studio does not have."


def _stage(value: Any, document: Document) -> Reading:
    method = METHODS.get(str(value))
    if method == "dpo":
        method = LOSSES.get(str(document.get("pref_loss", "sigmoid")))
    if method is None:
        return Reading(Fate.DROPPED, NO_METHOD)
    return Reading(Fate.SAME, changes={"method": method})


def _finetuning_type(value: Any, _: Document) -> Reading:
    if value == "lora":
        return Reading(Fate.SAME)
    return Reading(Fate.CHANGED, NOT_ALL_WEIGHTS)


def _quantisation_bit(value: Any, _: Document) -> Reading:
    bits = whole(value)
    if bits not in (4, 8):
        return Reading(Fate.DROPPED, "The studio quantises to 4 or 8 bits.")
    return Reading(Fate.SAME, changes={"model.quantisation": f"{bits}bit"})


def _targets(value: Any, _: Document) -> Reading:
    return Reading(
        Fate.SAME, changes={"adapter.targets": "all-linear" if value == "all" else list(names(value))}
    )


def _switch(name: str, on: Any, off: Any = None) -> Rule:
    """A switch that stands for a value of ours; off for another, or for none."""

    def rule(value: Any, _: Document) -> Reading:
        chosen = on if truth(value) else off
        return Reading(Fate.SAME, changes={} if chosen is None else {name: chosen})

    return rule


def _eval_strategy(value: Any, _: Document) -> Reading:
    if str(value) == "epoch":
        return Reading(Fate.CHANGED, "The studio evaluates ten times over the run, or every so many updates.")
    return Reading(Fate.SAME)


def _max_steps(value: Any, _: Document) -> Reading:
    steps = whole(value)
    return Reading(Fate.SAME, changes={"optimisation.max_steps": steps} if steps > 0 else {})


def _packing(value: Any, _: Document) -> Reading:
    said = "The studio packs without letting rows see each other, within a micro-batch; the batch stays the same."
    return Reading(Fate.CHANGED if value else Fate.SAME, said if value else "", {"data.packing": bool(value)})


RULES: dict[str, Rule] = {
    # model
    "model_name_or_path": same("model.base", str),
    "model_revision": same("model.revision", str),
    "quantization_bit": only_if_set(_quantisation_bit),
    "quantization_method": dropped("The studio quantises with bitsandbytes."),
    "quantization_type": dropped("The studio's four bits are NF4."),
    "double_quantization": dropped("The studio's four bits are quantised twice."),
    "adapter_name_or_path": only_if_set(
        dropped("A file of another machine: fork from a checkpoint in the studio.")
    ),
    "trust_remote_code": only_if_set(dropped("The studio runs no code that comes with a model.")),
    "flash_attn": dropped(MACHINE),
    "use_unsloth": only_if_set(dropped(MACHINE)),
    "use_unsloth_gc": only_if_set(dropped(MACHINE)),
    "enable_liger_kernel": only_if_set(dropped(MACHINE)),
    "low_cpu_mem_usage": dropped(MACHINE),
    "rope_scaling": only_if_set(dropped("The studio takes the base model as it is.")),
    "resize_vocab": only_if_set(dropped(NO_TOKENS)),
    "add_tokens": only_if_set(dropped(NO_TOKENS)),
    "add_special_tokens": only_if_set(dropped(NO_TOKENS)),
    "hf_hub_token": dropped("A secret: the studio takes none from a file. Remove it there, too."),
    "cache_dir": dropped(PLACE),
    # method
    "stage": _stage,
    "do_train": dropped("The studio's jobs always train."),
    "do_eval": dropped("A job with validation rows is always evaluated."),
    "do_predict": only_if_set(dropped("The studio writes no predictions after training.")),
    "predict_with_generate": only_if_set(dropped("The studio writes no predictions after training.")),
    "finetuning_type": _finetuning_type,
    "lora_rank": same("adapter.rank", whole),
    "lora_alpha": same("adapter.alpha", whole),
    "lora_dropout": same("adapter.dropout", number),
    "lora_target": _targets,
    "use_rslora": same("adapter.rslora", truth),
    "use_dora": same("adapter.dora", truth),
    "pissa_init": only_if_set(dropped("The studio starts adapters at zero, not by PiSSA.")),
    "pissa_iter": dropped("The studio starts adapters at zero, not by PiSSA."),
    "pissa_convert": only_if_set(dropped("The studio starts adapters at zero, not by PiSSA.")),
    "loraplus_lr_ratio": only_if_set(
        dropped("The studio has one learning rate for both halves of the adapter.")
    ),
    "additional_target": only_if_set(dropped("The studio trains the adapter alone, no further modules.")),
    "create_new_adapter": only_if_set(dropped("The studio starts each adapter anew.")),
    "freeze_trainable_layers": dropped(OTHER_METHOD),
    "freeze_trainable_modules": dropped(OTHER_METHOD),
    "use_galore": only_if_set(dropped(OTHER_METHOD)),
    "use_apollo": only_if_set(dropped(OTHER_METHOD)),
    "use_badam": only_if_set(dropped(OTHER_METHOD)),
    "use_llama_pro": only_if_set(dropped(OTHER_METHOD)),
    "neftune_noise_alpha": only_if_set(dropped("The studio adds no noise to embeddings.")),
    "pref_beta": dropped(OTHER_METHOD),
    "pref_ftx": dropped(OTHER_METHOD),
    "pref_loss": dropped(OTHER_METHOD),
    "dpo_label_smoothing": dropped(OTHER_METHOD),
    "kto_chosen_weight": dropped(OTHER_METHOD),
    "kto_rejected_weight": dropped(OTHER_METHOD),
    # data
    "dataset": dropped(DATA),
    "dataset_dir": dropped(DATA),
    "eval_dataset": dropped("Choose an own data set for validation in the studio."),
    "media_dir": dropped(DATA),
    "template": chat_template("default"),
    "cutoff_len": same("data.max_length", whole),
    "train_on_prompt": _switch("data.loss_on", "all"),
    "mask_history": _switch("data.loss_on", "last"),
    "max_samples": changed(
        "data.row_limit", "The studio draws the rows with the seed; there, the first ones are taken.", whole
    ),
    "val_size": validation_share("data.validation_fraction", "val_size above 1"),
    "packing": _packing,
    "neat_packing": _packing,
    "overwrite_cache": dropped(PLACE),
    "tokenized_path": dropped(PLACE),
    "preprocessing_num_workers": dropped(MACHINE),
    "preprocessing_batch_size": dropped(MACHINE),
    "streaming": only_if_set(dropped("The studio reads data sets from its own store.")),
    "mix_strategy": dropped(DATA),
    "interleave_probs": only_if_set(dropped(DATA)),
    "dataloader_num_workers": same("data.workers", whole),
    # optimisation
    "learning_rate": same("optimisation.learning_rate", number),
    "lr_scheduler_type": SCHEDULER,
    "warmup_ratio": same("optimisation.warmup_ratio", number),
    "warmup_steps": warmup_steps,
    "num_train_epochs": same("optimisation.epochs", number),
    "max_steps": _max_steps,
    "per_device_train_batch_size": same("optimisation.micro_batch_size", whole),
    "gradient_accumulation_steps": same("optimisation.accumulation_steps", whole),
    "optim": OPTIMIZER,
    "weight_decay": same("optimisation.weight_decay", number),
    "max_grad_norm": same("optimisation.max_grad_norm", number),
    "gradient_checkpointing": same("optimisation.gradient_checkpointing", truth),
    "disable_gradient_checkpointing": _switch("optimisation.gradient_checkpointing", False, True),
    "seed": same("optimisation.seed", whole),
    "bf16": number_format("bfloat16"),
    "fp16": number_format("float16"),
    "pure_bf16": only_if_set(
        changed("model.dtype", "The studio keeps the adapter's own weights in float32.", lambda _: "bfloat16")
    ),
    # evaluation and checkpoints
    "eval_strategy": _eval_strategy,
    "evaluation_strategy": _eval_strategy,
    "eval_steps": steps_or_nothing("evaluation.every_steps"),
    "per_device_eval_batch_size": dropped(MACHINE),
    "load_best_model_at_end": same("evaluation.keep_best", truth),
    "save_strategy": dropped("The studio always saves checkpoints."),
    "save_steps": steps_or_nothing("checkpoints.every_steps"),
    "save_total_limit": same("checkpoints.keep", whole),
    "save_only_model": only_if_set(dropped("The studio's checkpoints hold all that an exact resume needs.")),
    "resume_from_checkpoint": only_if_set(dropped("A file of another machine: resume in the studio.")),
    # around it
    "output_dir": dropped(PLACE),
    "overwrite_output_dir": dropped(PLACE),
    "logging_dir": dropped(PLACE),
    "logging_steps": dropped(DISPLAY),
    "plot_loss": dropped(DISPLAY),
    "report_to": dropped(DISPLAY),
    "run_name": dropped("A job is named when it is started."),
    "include_num_input_tokens_seen": dropped(DISPLAY),
    "ddp_timeout": dropped(MACHINE),
    "deepspeed": only_if_set(dropped(ONE_GPU)),
    "fsdp": only_if_set(dropped(ONE_GPU)),
    "fsdp_config": only_if_set(dropped(ONE_GPU)),
    "push_to_hub": only_if_set(dropped("The studio sends nothing to the Hub by itself.")),
}

LLAMA_FACTORY = Tool(
    name="LLaMA-Factory",
    marks=frozenset({"model_name_or_path", "finetuning_type", "cutoff_len", "dataset_dir"}),
    rules=RULES,
    defaults={
        "lora_rank": 8,
        "cutoff_len": 2048,
        "packing": False,
        "val_size": 0.0,
        "learning_rate": 5e-5,
        "lr_scheduler_type": "linear",
        "warmup_ratio": 0.0,
        "num_train_epochs": 3.0,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "disable_gradient_checkpointing": False,
        "load_best_model_at_end": False,
    },
    derived={"lora_alpha": lambda document: 2 * whole(document.get("lora_rank", 8))},
)
