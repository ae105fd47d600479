"""The form of the sampling parameters."""

from __future__ import annotations

from llmops_tui.inference.sampling import SamplingParameters
from screens.widgets.form_dialog import FormDialog


class ParametersDialog(FormDialog[SamplingParameters]):
    """Edit the parameters; F5 or ctrl+s takes them, escape leaves them as they were."""

    def __init__(self, value: SamplingParameters) -> None:
        super().__init__("Sampling parameters", value, leaves="discard changes")
