"""One run of `register`: what is there, what would change, asking, changing, and looking whether it did."""

import sys
from collections.abc import Iterable, Iterator

import click
import msgspec

from bridge.cli.console import PersonConsole
from bridge.cli.masking import one_line, plain
from bridge.cli.urls import entrance_url, is_at, shown_url
from bridge.config import Config, SourceConfig
from bridge.errors import ConfigError, Problem, RegistrationFailed
from bridge.registration import BadPlace, Hook, Registrar, Wanted

__all__ = ["Registering"]

_MAX_NAMED = 10


class Registering:
    """Compares and shows; the registrar does what is to be done."""

    def __init__(self, config: Config, source: SourceConfig, registrar: Registrar, where: tuple[str, ...]) -> None:
        self._source = source
        self._registrar = registrar
        self._where = where
        has_url = source.public_url is not None
        self._entrance = entrance_url(config, source) if has_url else ""
        self._console = PersonConsole()

    def show_all(self) -> None:
        """What is registered now."""
        for place, hooks in self._find().items():
            for hook in hooks or (Hook(place=place),):
                details = "".join(f"; {name}: {value}" for name, value in hook.details.items())
                events = f"; events: {self._events(hook)}" if hook.url else ""
                self._say(f"{place}: {shown_url(hook.url, self._entrance)}{events}{details}")

    def run(self, wanted: Wanted, *, remove: bool, dry_run: bool, yes: bool) -> None:
        """Make it so at each place, and say whether it is.

        Raises:
            RegistrationFailed: at one it is not; what was done before stays done.
        """
        if faults := tuple(self._registrar.faults(wanted)):
            variable = self._source.variable
            raise ConfigError(Problem(variable(fault.field), fault.found, fault.expected) for fault in faults)
        places = self._find()
        if not self._where and self._registrar.at_devices and len(places) > 1:
            some = ", ".join(list(places)[:_MAX_NAMED]) + (", …" if len(places) > _MAX_NAMED else "")
            raise click.UsageError(
                f"name the {self._registrar.places} that it shall be set at; there are {one_line(some)}"
            )
        changes = [*(self._removals(places) if remove else self._changes(places, wanted))]
        # A secret cannot be asked for: to leave an old one because the rest is right would be an outage with no reason.
        due = [change for change in changes if change[0] != change[1] or (wanted.secret is not None and not remove)]
        for before, after in changes:
            self._show(before, after, wanted if not remove else None)
        if not due:
            self._say("nothing to change")
        elif dry_run:
            self._say("--dry-run: nothing was changed")
        else:
            self._agree([before for before, _after in due if not self._is_ours(before.url)], yes=yes)
            for before, after in due:
                self._do(before, after, wanted, remove=remove)
            self._confirm([after for _before, after in due])
            self._say("removed" if remove else "registered")
        if not remove and not dry_run:
            self._tell_how_to_try()

    def _find(self) -> dict[str, tuple[Hook, ...]]:
        try:
            return dict(self._registrar.find(self._where))
        except BadPlace as error:
            raise click.UsageError(str(error)) from None

    def _changes(self, places: dict[str, tuple[Hook, ...]], wanted: Wanted) -> Iterator[tuple[Hook, Hook]]:
        for place, hooks in places.items():
            ours = [hook for hook in hooks if self._is_ours(hook.url)]
            before = ours[0] if ours else Hook(place=place) if self._registrar.several or not hooks else hooks[0]
            yield before, self._registrar.changed(before, wanted)

    def _removals(self, places: dict[str, tuple[Hook, ...]]) -> Iterator[tuple[Hook, Hook]]:
        for hooks in places.values():
            for hook in hooks:
                if self._is_ours(hook.url):
                    yield hook, msgspec.structs.replace(hook, url="")

    def _do(self, before: Hook, after: Hook, wanted: Wanted, *, remove: bool) -> None:
        if remove:
            self._registrar.remove(before)
        else:
            self._registrar.write(before, after, wanted.secret)

    def _confirm(self, expected: Iterable[Hook]) -> None:
        """Look again: an API that takes a request may make something else of it."""
        found = [hook for hooks in self._find().values() for hook in hooks]
        for after in expected:
            here = [hook for hook in found if (hook.id == after.id if after.id else hook.url == after.url)]
            for hook in here:
                if lost := _lost(after, hook):
                    raise RegistrationFailed(f"{after.place}: the change was made, and {lost} is no longer what it was")
            if not any(hook.url == after.url for hook in here) if after.url else any(hook.url for hook in here):
                raise RegistrationFailed(
                    f"{after.place}: the API took the change, and the URL is not what it should be"
                )
            for hook in here:
                if (hook.events, hook.details) != (after.events, after.details):
                    shown = "; ".join((self._events(hook), *(f"{name}: {hook.details[name]}" for name in hook.details)))
                    raise RegistrationFailed(
                        f"{after.place}: the API took the change, and what is there now is: {shown}"
                    )

    def _is_ours(self, url: str) -> bool:
        """Whether the URL is this source's at this address."""
        return is_at(url, self._entrance)

    def _agree(self, losing: list[Hook], *, yes: bool) -> None:
        losing = [hook for hook in losing if hook.url]
        if not losing or yes:
            return
        taken = "; ".join(f"{hook.place} from {shown_url(hook.url)}" for hook in losing)
        if not sys.stdin.isatty():
            raise RegistrationFailed(f"this would take the webhook away: {taken}; --yes does it")
        if not click.confirm(f"This takes the webhook away: {one_line(taken)}. Do it?"):
            raise RegistrationFailed("nothing was changed")

    def _show(self, before: Hook, after: Hook, wanted: Wanted | None) -> None:
        self._say(before.place)
        old, new = shown_url(before.url, self._entrance), shown_url(after.url, self._entrance)
        other = " (another token)" if old == new and before.url != after.url else ""
        self._show_line("url", old, new + other)
        if wanted is None:
            return
        self._show_line("events", self._events(before) if before.url or before.id else "none", self._events(after))
        for name in dict.fromkeys((*before.details, *after.details)):
            self._show_line(name, before.details.get(name, "none"), after.details.get(name, "none"))
        if wanted.secret is not None:
            self._say(f"  secret: that of {self._source.variable('secret')} (which is there now cannot be asked for)")

    def _show_line(self, name: str, old: str, new: str) -> None:
        self._say(f"  {name}: {new} (unchanged)" if old == new else f"  {name}: {old} -> {new}")

    def _events(self, hook: Hook) -> str:
        return ", ".join(hook.events) or self._registrar.all_events

    def _tell_how_to_try(self) -> None:
        name = self._source.name
        self._say("To try it, with this environment:")
        self._say(f"  webhook-bridge selftest --source {name} --url {self._source.public_url}")
        self._say(f"  webhook-bridge tail --source {name}")

    def _say(self, text: str) -> None:
        self._console.print(plain(text))


def _lost(after: Hook, now: Hook) -> str:
    """What should have stayed and did not: its name."""
    return next((name for name in after.kept if now.kept.get(name, after.kept[name]) != after.kept[name]), "")
