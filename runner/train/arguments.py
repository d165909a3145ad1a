"""A run's config in the words of TRL and transformers. Knows no loop."""

import torch
from trl.trainer.sft_config import SFTConfig

from runner.train.run import Run

OPTIMIZERS = {"adamw_8bit": "adamw_bnb_8bit", "paged_adamw_8bit": "paged_adamw_8bit"}
"""Our names of optimizers where transformers has others."""


def arguments_of(run: Run) -> SFTConfig:
    """Translate our config into transformers' arguments; what our own parts do is switched off there."""
    wanted, hardware = run.config.optimisation, run.hardware
    return SFTConfig(
        output_dir=str(run.folder.checkpoints),
        max_steps=run.plan.total_steps,
        per_device_train_batch_size=wanted.micro_batch_size,
        gradient_accumulation_steps=wanted.accumulation_steps,
        learning_rate=wanted.learning_rate,
        optim=OPTIMIZERS.get(wanted.optimizer, wanted.optimizer),
        weight_decay=wanted.weight_decay,
        max_grad_norm=wanted.max_grad_norm,
        activation_checkpointing=wanted.gradient_checkpointing,
        seed=wanted.seed,
        data_seed=wanted.seed,
        bf16=hardware.autocast and hardware.dtype is torch.bfloat16,
        fp16=hardware.autocast and hardware.dtype is torch.float16,
        use_cpu=hardware.device.type == "cpu",
        dataloader_num_workers=run.config.data.workers
        or 0,  # rows are tokens in memory: a worker costs more than it saves
        dataloader_pin_memory=hardware.device.type == "cuda",
        max_length=None,
        packing=False,
        eval_on_start=run.plan.evaluate_every is not None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
