"""The actions of jobs and of the settings, and of screens beside the ten, as :mod:`screens.actions` takes them in."""

from __future__ import annotations

from screens.action import Action

CHAINS: tuple[Action, ...] = (
    Action("chains.run", "f5,ctrl+r", "Run", "Run the version under the cursor, after its inputs and what it asks for.", show=True, priority=True, pane="list"),
    Action("chains.run_rows", "A,alt+a", "Run rows", "Run the version for each row of a dataset.", pane="list"),
    Action("chains.save", "ctrl+s,f2", "Save", "Keep the text as a new version.", show=True, priority=True, pane="text"),
    Action("chains.new", "n,f7", "New", "Write a new chain.", show=True, pane="list"),
    Action("chains.edit", "e,ctrl+e", "Editor", "Open the text in $EDITOR.", priority=True, pane="text"),
    Action("chains.drop", "u,alt+u", "Revert", "Take back what was typed since the version.", pane="text"),
    Action("chains.write", "w,f12", "Write", "Write the text into a file.", pane="text"),
    Action("chains.label", "l,f8", "Label", "Point a label, such as production, at the version.", show=True, pane="list"),
    Action("chains.diff", "d,f3", "Diff", "Compare the version with the one it was made of.", pane="list"),
    Action("chains.again", "a,f6", "From here", "Run the chain again from this step on, with an edit; what comes before stays as it was.", show=True, pane="steps"),
    Action("chains.failed", "f,alt+e", "Failed", "Show only the steps that failed, or all again.", pane="steps"),
    Action("chains.resume", "r,alt+r", "Resume", "Go on with a run that ended early; what was done is not done again.", pane="runs"),
    Action("chains.stop", "x,f4", "Stop", "Stop the run and keep what was done.", pane="runs"),
    Action("chains.remove", "D,backspace", "Delete", "Delete the chain with all its versions, after asking.", pane="list"),
    Action("chains.look", "o,alt+o", "Graph", "Show the drawing of the chain again."),
    Action("chains.leave", "escape,f13", "Back", "Leave the editor, then go back."),
)  # fmt: skip

RETRIEVAL: tuple[Action, ...] = (
    Action("retrieval.search", "f5,ctrl+r", "Search", "Ask what to search for, and show the chunks by each ranker.", show=True, priority=True, pane="found"),
    Action("retrieval.why", "w,f12", "Why not", "Say why a passage that should have come did not.", show=True, pane="found"),
    Action("retrieval.new", "n,f7", "New", "Make an index of a dataset or a folder.", show=True, pane="list"),
    Action("retrieval.build", "b,f8", "Build", "Build the index again from its documents as they are now.", show=True, pane="list"),
    Action("retrieval.tune", "t,f4", "Weigh", "Learn on labelled queries how hybrid search weighs meaning against words.", show=True, pane="list"),
    Action("retrieval.contexts", "m,f3", "Contexts", "Have a local model write a context for each chunk, after showing what it takes; or take them away.", pane="list"),
    Action("retrieval.queries", "e,f2", "Queries", "Confirm or reject queries that a local model wrote about passages, or have more written.", pane="list"),
    Action("retrieval.answers", "v,alt+v", "Answers", "Have a prompt answer the queries, as an evaluation that says what became of the passages.", pane="list"),
    Action("retrieval.remove", "x,backspace", "Remove", "Remove the index, or a document out of all its versions, after asking.", pane="list"),
    Action("retrieval.look", "r,f6", "Refresh", "Read the indexes again, and what of them is stale."),
    Action("retrieval.leave", "escape,f13", "Back", "Go back."),
)  # fmt: skip

IMPROVEMENT: tuple[Action, ...] = (
    Action("improvement.new", "n,f7", "New", "Find a better instruction or examples for a prompt, after showing what it takes.", show=True, pane="list"),
    Action("improvement.cancel", "x,f8", "Cancel", "Cancel the improvement; what was asked is kept.", pane="list"),
    Action("improvement.resume", "r,f6", "Resume", "Go on with an improvement that ended early; nothing is asked twice.", show=True, pane="list"),
    Action("improvement.promote", "p,f4", "Promote", "Make the candidate a version like any other.", show=True, pane="candidates"),
    Action("improvement.use", "u,alt+u", "Use", "Open the candidate in the playground.", pane="candidates"),
    Action("improvement.view", "w,f12", "Next view", "Verdict and front, the change against the seed, the sealed rows.", show=True, pane="detail"),
    Action("improvement.look", "f5,ctrl+r", "Refresh", "Read the improvements again."),
    Action("improvement.leave", "escape,f13", "Back", "Go back."),
)  # fmt: skip

JOBS: tuple[Action, ...] = (
    Action("jobs.open", "enter,f4", "Open", "Open what the job made, or works on: the run, the dataset, the model.", show=True, pane="list"),
    Action("jobs.cancel_job", "x,f8", "Cancel job", "Cancel the job.", show=True, pane="list"),
    Action("jobs.resume", "r,f7", "Resume", "Resume the work of the ended job.", show=True, pane="list"),
    Action("jobs.remove", "D,backspace", "Delete", "Delete the ended job with its log and folder, after asking.", pane="list"),
    Action("jobs.dismiss_notices", "d,f6", "Dismiss", "Dismiss the notices above the jobs, once they are read."),
    Action("jobs.refresh_jobs", "f5,ctrl+r", "Refresh", "Reload the jobs.", show=True),
)  # fmt: skip

SETTINGS: tuple[Action, ...] = (
    Action("settings.edit", "enter,e", "Edit", "Change the setting under the cursor; esc ends that.", show=True),
    Action("settings.save", "ctrl+s,f2", "Save", "Save the settings.", show=True, priority=True),
    Action("settings.theme", "t,f4", "Theme", "Choose a theme; each is seen while the cursor is on it.", show=True),
    Action("settings.keys", "K,f6", "Keys", "Change the keys of actions; they hold at once.", show=True),
    Action("settings.snippets", "m,f7", "Snippets", "Change snippets and macros in $EDITOR.", show=True),
    Action("settings.reset", "r,f8", "Defaults", "Fill in the defaults; saved only with Save.", show=True),
)  # fmt: skip
