"""A renderer of templates that have nothing but variables, without a process."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from llmops_tui.errors import InputRefusedError

_VARIABLE = re.compile(r"\{\{ (\w+) \}\}")


class PlainRenderer:
    """Puts values in the place of ``{{ name }}``, as :class:`llmops_tui.inference.template_renderer.TemplateRenderer` is asked to."""

    def render(self, source: str, values: Mapping[str, object], kind: str = "prompt") -> str:
        if missing := [name for name in self.variables(source) if name not in values]:
            raise InputRefusedError("variable_missing", f"the variable {missing[0]} has no value")
        return _VARIABLE.sub(lambda found: str(values[found[1]]), source)

    def render_each(
        self, source: str, contexts: Sequence[Mapping[str, object]], kind: str = "prompt"
    ) -> list[str | InputRefusedError]:
        return [self._or_refused(source, values) for values in contexts]

    def _or_refused(self, source: str, values: Mapping[str, object]) -> str | InputRefusedError:
        try:
            return self.render(source, values)
        except InputRefusedError as error:
            return error

    def variables(self, source: str) -> list[str]:
        return list(dict.fromkeys(_VARIABLE.findall(source)))
