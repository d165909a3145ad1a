"""What the settings page says of the studio itself: whose it is, where things are, and how to get a team's."""

import streamlit as st

from lora_core.actions.about import StudioFacts

CONNECT = """\
export SUPABASE_URL=https://YOUR-PROJECT.supabase.co
export SUPABASE_PUBLISHABLE_KEY=sb_publishable_...
make start"""


def draw_own_studio(facts: StudioFacts) -> None:
    """Draw the card of an embedded studio."""
    with st.container(border=True, key="studio"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**A studio for one person, on this machine**", width="content")
            st.badge("No sign-in", icon=":material/home:", color="gray")
        st.markdown(
            "Everything is in one folder here. Nobody else can reach it: the app listens on this machine only."
        )
        _facts({"Home": facts.home, **_versions(facts)})


def draw_connect() -> None:
    """Draw how to work with others, or on other machines."""
    st.subheader("Work with others, or on other machines", anchor=False)
    with st.container(border=True, key="connect"):
        st.markdown(
            "Connect a Supabase project: people sign in and see only what is theirs, and runners on any machine train "
            "their jobs. Set the project up as `docs/supabase.md` says, then start with its address and publishable key:"
        )
        st.code(CONNECT, language="bash", wrap_lines=True)
        st.caption(
            "The two may also stand in .streamlit/secrets.toml. What is in this studio stays here; "
            "`python -m lora_core migrate-to-supabase` copies it into the project."
        )


def draw_team_studio(facts: StudioFacts) -> None:
    """Draw the card of a team's studio."""
    with st.container(border=True, key="studio"):
        st.markdown("**A studio for a team**")
        _facts({"Project": facts.project, **_versions(facts)})


def _versions(facts: StudioFacts) -> dict[str, str]:
    return {"LoRA Studio": facts.version, "Python": facts.python}


def _facts(values: dict[str, str]) -> None:
    with st.container(horizontal=True, gap="medium"):
        for label, value in values.items():
            with st.container(gap=None, width="content"):
                st.caption(label)
                st.text(value)
