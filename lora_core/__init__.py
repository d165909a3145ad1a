"""The domain of LoRA Studio: what a job, a data set and an adapter are. Knows neither Streamlit nor torch."""

__version__ = "0.1.0"
