"""The keys of the tour, which is loaded once somebody begins it."""

from __future__ import annotations

from screens.shell.shell import Shell


class TourActions(Shell):
    """An app with a tour."""

    def action_tour_next(self) -> None:
        """Begin the tour, or go on with it."""
        from screens.shell.tour import begin_or_go_on

        begin_or_go_on(self)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A tour can be left where there is one."""
        if action == "tour_end":
            return any(screen.has_class("-touring") for screen in self.screen_stack)
        return super().check_action(action, parameters)

    def action_tour_end(self) -> None:
        """Leave the tour."""
        from screens.shell.tour import leave

        leave(self)
