"""The screens. Each module defines render() and nothing runs at import."""
