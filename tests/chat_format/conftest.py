"""One process that renders, for all tests of chat formats."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmops_tui.inference.template_renderer import TemplateRenderer


@pytest.fixture(scope="session")
def renderer() -> Iterator[TemplateRenderer]:
    found = TemplateRenderer()
    yield found
    found.close()
