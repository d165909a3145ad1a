"""The background process: claims jobs, starts trainers, ships what they write. Knows no Streamlit."""
