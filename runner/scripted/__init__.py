"""A trainer that computes nothing: a loss curve, checkpoints and faults by script. For tests and demonstrations only.

A runner uses it when LORA_STUDIO_TRAINER=scripted; LORA_STUDIO_SCRIPT holds its instructions as JSON (`script.Script`).
"""
