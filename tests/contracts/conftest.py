"""A Supabase project to keep the contract."""

from tests.supastub.fixtures import project, rig

__all__ = ["project", "rig"]
