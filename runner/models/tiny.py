"""Builds a tiny random language model and its tokenizer: a real model folder under a megabyte, for tests. It knows nothing."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 512
CONTEXT_TOKENS = 1024
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML: the form that SmolLM2, Qwen and many others use."""

CORPUS = (
    "The studio trains small adapters for language models. A person brings a data set, reads what the model will learn from it, "
    "chooses a preset, and sees what the job will need before anything is spent. The job is watched live, paused, resumed and "
    "stopped without losing work. What is the capital of France? The capital of France is Paris. Hello, how can I help you "
    "today? Please write a short answer to the question. user system assistant",
    "Thank you for your message. I am sorry to hear that your order has not arrived; we will send a new one within three days. "
    "Could you tell me the number of the order and the address? You can return it for free, and your money comes back to the "
    "card that you paid with. If there is anything else that we can do for you, just answer to this mail.",
    'def add(first: int, second: int) -> int:\n    return first + second\n\nfor item in range(10):\n    print("item", item)\n',
    "0 1 2 3 4 5 6 7 8 9 10 20 50 100 1000 2024 2025; one, two, three, four, five, six, seven, eight, nine, ten.",
)


def build_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Save a random Llama with 2 layers of width 64 and a byte-level BPE tokenizer of 512 entries.

    The same seed gives the same bytes. The global random state is left as it was.

    Args:
        folder: Where to save; made if missing.
        seed: Seed of the weights. The tokenizer does not depend on it.

    Returns:
        The folder: config.json, model.safetensors (float32), tokenizer files with a ChatML template.
    """
    tokenizer = build_tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Train the byte-level BPE on a few fixed sentences. Any text can be encoded and comes back as it was."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            show_progress=False,
            special_tokens=[END_OF_TEXT, TURN_START, TURN_END],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=TURN_START,
        eos_token=TURN_END,
        unk_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=CONTEXT_TOKENS,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
