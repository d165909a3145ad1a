"""A Supabase project, for the tests of what works over one."""

from tests.supastub.fixtures import project, rig

__all__ = ["project", "rig"]
