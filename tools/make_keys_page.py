"""Write docs/keys.md from the registry of actions; with --check, only say whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from screens.action import Action
from screens.actions import ACTIONS
from screens.shell.help import show_keys

PAGE = Path(__file__).resolve().parent.parent / "docs" / "keys.md"
_HEAD = """# Keys

This page lists every key, for everyone who wants to look one up or change it. It is generated from the registry that
also feeds the footer, the palette and F1; `make docs` generates it again. Every action has at least two keys, one of
which every terminal sends. Letters and digits work unless you are writing text; F-keys work everywhere. The last line of a
screen names each action by its letter, and while you write text by a key that writes nothing.

To change keys, press `K` on the settings screen. It lists all actions by screen: `enter` waits for the new key of the one
under the cursor, `a` adds a key, `x` removes the last one, `r` gives the action back the keys it has here. A key that another
action of the same screen, or of the whole app, has is refused with the name of that action, and so is one that means the same in
all lists. What you change holds at once, and is written to `keymap.toml` next to the settings (the screen shows where):

```toml
[keys]
"playground.run" = "f5,ctrl+j"
```

You can write that file yourself, too, with signs (`"alt+."`) or their names (`"alt+full_stop"`). The app reads it when it
starts, and when you open the settings screen; it reports a name that does not exist, or a key that is none or
taken, and uses the rest. Before it overwrites a file with comments, or with something it could not use, it moves that file out of
the way, and says so.

In every list, table and text that is only read, `j` and `k` go a line down and up, `g` and `G` to the first and the
last line, `ctrl+d` and `ctrl+u` half a page, beside the arrows and `pgup`, `pgdn`, `home`, `end`. No action takes one of
these. While you write text, `ctrl+z` and `ctrl+y` undo and redo what you typed. What you type while a screen or a dialog is
being opened waits for it, also where something is read before the dialog comes.

## Lists

All lists, such as prompts, versions, datasets, traces, jobs, models, runs, suites and cases, are tables with a head.
These keys are the same in all of them, and no action takes one but those that do the same on their screen:

| keys | does |
|---|---|
| `>` `<` | sort by the next column, or the one before; a click on a head does the same |
| `S` | turn the order round |
| `/` | filter: words, `~regex`, `column:word`, `column>5`; `esc` clears it |
| `space` | select the line, or take that back |
| `V` | begin a range, which moving extends; `shift+down` and `shift+up` do both |
| `ctrl+a` | select all that are shown, or none |
| `\\|` | choose the columns and their order |
| `enter` | open |

An action is about the selected lines, or else the one under the cursor. Order, filter and columns are kept for each
workspace, and so are the sizes of panes and the place where you left.

## Archive

`&` puts what is selected in a list away, or the line under the cursor: prompts, datasets, models, recipes, training runs,
suites and evaluation runs. It stays where it is, whole, and can be used by its name; lists leave it out. `%` shows what is
archived, pale, and leaves it out again; `&` on something archived takes it back, and so does `z`. What gets another name stays
archived; what is deleted does not, so that something else may have its name. `llmops archive` does the same.
Dialogs that offer such things, the palette and completion leave them out, too: what you type there with a `%` in front finds
them, and `%` alone shows them. Home counts what is not archived.

## The command line

`:` (`alt+c` while you write text) opens the command line of llmops in the app: what you type in a shell behind `llmops`.
`tab` completes nouns, verbs, options and the names of the workspace, `up` and `down` go through what you typed before,
`esc` cancels a command that runs, then closes. The output stands above the line; `pgup` and `pgdn` scroll it, `alt+y` copies
it. A command has no terminal there, so one that would ask refuses and names the option that answers.

## Undo

There is one history of a workspace, for all screens and for the command line, and it survives a restart. `z` takes back
what was done last, on whichever screen you are, and names it; `Z` does it again; `U` shows the history, and takes back
everything down to the line you choose. `llmops undo`, `llmops undo --redo` and `llmops undo --list` do the same.

In the history are moves and removals of the labels of prompts and the tags of datasets, other names of prompts, datasets,
models and chats, copies, suites and recipes that were deleted, what was archived, every new version that was made of a
dataset: imports, fixes, edits, operations, splits, labels, saved queries, restored versions; versions of suites, such as by a
case or an attack that was added, saved views of datasets, models that were registered, snippets, macros and keys. A version or
a model that a job made in the background is there as soon as the job has ended, whoever waited for it. Versions never change,
so undoing rows makes a new version with the rows from before, and undoing the first one archives the dataset, which `Z` brings
back. What was done at once, such as the parts of a split, goes back at once. If a label or a dataset was changed in another
way meanwhile, for example by the MCP server, nothing is overwritten: you are told, and the entry leaves the history. So it is
with a version of a suite that was run, and a model that something was done with. Snippets, macros and keys are yours and no
workspace's: what they were is kept beside the facts about this machine, and the history of a workspace from somebody else changes
none of them. Deleting
asks first; that of a suite or recipe can be undone, any other cannot, and says so before. A copy that something was made of
stays. Verdicts on answers are changed with the same keys, and texts of prompts have their versions. [Names, copies,
deleting](maintenance.md#names-copies-deleting) tells which of these each thing has.

## Snippets and macros

A snippet is a text with a name. In any field or editor write the name and press `alt+.`: the text takes its place. Without
such a name in front of the cursor you choose from all of them. A field of one line gets it as one line.

A macro is a row of keys. `alt+,` begins to record what you press, and ends that and asks for a name; `alt+/` plays one. Keys of
a macro wait for their screen as typed ones do; a key that you press meanwhile ends it. A macro never answers a question that
asks before an act, such as deleting: there it stops, and says so. What keys do depends on where you are, so begin at the same
place.

Both are in `snippets.toml` beside the settings; `m` on the settings screen opens it in `$EDITOR`, and `llmops snippet` lists,
adds and removes them. At most 200 of each are kept, texts up to 20,000 characters, macros up to 500 keys.

```toml
[snippets]
json = "Answer with JSON only, without a word around it."

[macros]
check = ["2", "f5"]
```
"""


def render() -> str:
    """The page."""
    scopes: dict[str, list[Action]] = {}
    for action in ACTIONS:
        scopes.setdefault(action.scope, []).append(action)
    parts = [_HEAD]
    for scope, actions in scopes.items():
        title = "Everywhere" if scope == "app" else scope.capitalize()
        parts.append(f"\n## {title}\n\n| keys | does | id |\n|---|---|---|")
        for action in actions:
            keys = " ".join(f"`{key}`" for key in show_keys(action, {}).split("  "))
            parts.append(f"| {keys} | {action.help} | `{action.id}` |")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == render() else "docs/keys.md is out of date: make docs")
    PAGE.write_text(render(), encoding="utf-8")
