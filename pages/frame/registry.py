"""All pages of the studio: their order, groups, titles, icons and addresses. Draws nothing."""

from typing import Any

import streamlit as st

from pages import datasets, home, job, jobs, operator, runners, settings, sign_in, train


def build_pages(
    default: str = "home", *, in_team: bool = False, is_operator: bool = False
) -> dict[str, list[Any]]:
    """Return the pages by group, for st.navigation. Every page is a callable: none is served by its path.

    Args:
        default: Url path of the page at the root address.
        in_team: Whether people sign in.
        is_operator: Whether the operator's page stands in the navigation; others who open its address read whom it is for.
    """

    def page(url_path: str, render: Any, title: str, icon: str, *, visibility: Any = "visible") -> Any:
        return st.Page(
            render,
            title=title,
            icon=f":material/{icon}:",
            url_path=url_path,
            default=url_path == default,
            visibility=visibility,
        )

    for_operator = "visible" if is_operator else "hidden"
    door = [page("sign_in", sign_in.render, "Sign in", "login", visibility="hidden")] if in_team else []
    return {
        "": [page("home", home.render, "Home", "home")],
        "Build": [
            page("datasets", datasets.render, "Data sets", "dataset"),
            page("train", train.render, "New job", "model_training"),
        ],
        "Watch": [
            page("jobs", jobs.render, "Jobs", "list_alt"),
            page("job", job.render, "Job", "monitoring", visibility="hidden"),
            page("runners", runners.render, "Runners", "memory"),
        ],
        "Studio": [
            page("settings", settings.render, "Settings", "settings"),
            page("operator", operator.render, "Team", "groups", visibility=for_operator),
            *door,
        ],
    }


def by_url_path(groups: dict[str, list[Any]], default: str = "home") -> dict[str, Any]:
    """Return the pages by url path; the default page's own path is the empty string, it is listed under its name."""
    return {page.url_path or default: page for pages in groups.values() for page in pages}
