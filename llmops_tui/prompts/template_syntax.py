"""Whether a text can be rendered at all, told by its line before it is kept as a version.

It is read and not compiled: compiling works out what is constant, which a foreign text can make endless. What only shows when
values are there is told when it is rendered, in a process of its own; see :mod:`llmops_tui.inference.template_worker`.
"""

from __future__ import annotations

from llmops_tui.errors import InputRefusedError

_MARKS = ("{{", "{%", "{#")


def fault_of(text: str) -> str:
    """What makes a text no template, with its line; empty where nothing does."""
    if not any(mark in text for mark in _MARKS):
        return ""
    # Only here: a command that keeps plain text does not wait for Jinja.
    import jinja2
    import jinja2.nodes

    from llmops_tui.inference.template_worker import prompt_environment

    environment = prompt_environment()
    try:
        tree = environment.parse(text)
        for one in tree.find_all((jinja2.nodes.Filter, jinja2.nodes.Test)):
            kind, known = (
                ("test", environment.tests) if isinstance(one, jinja2.nodes.Test) else ("filter", environment.filters)
            )
            if one.name not in known:
                return f"line {one.lineno}: there is no {kind} {one.name!r}"
    except jinja2.TemplateSyntaxError as error:
        return f"line {error.lineno}: {error.message}"
    except RecursionError:
        return "it nests too deep"
    return ""


def unfinished(system: str, template: str) -> str:
    """Which of a prompt's two texts is no template, and why; empty where both are."""
    for which, text in (("system", system), ("user", template)):
        if fault := fault_of(text):
            return f"its {which} text is no template: {fault}"
    return ""


def refuse_unfinished(name: str, fault: str) -> None:
    """Refuse a new version of a prompt for what :func:`unfinished` found.

    Raises:
        InputRefusedError: ``template_failed``.
    """
    if fault:
        raise InputRefusedError(
            "template_failed",
            f"{name} is not saved: {fault}",
            "Mend that. Braces that are meant as such stand between {% raw %} and {% endraw %}.",
        )
