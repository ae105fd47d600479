"""The one registry of actions: it feeds bindings, footer, palette, help, the keys page and the user's keymap."""

from __future__ import annotations

from textual.binding import Binding

from screens.action import Action

ACTIONS: tuple[Action, ...] = (
    Action("app.help", "f1,question_mark", "Help", "Describe this pane, its keys and the matching command.", show=True),
    Action("app.jump", "ctrl+o,f9", "Jump", "Put a letter on every pane and a digit on every screen.", show=True, priority=True),
    Action("app.palette", "ctrl+p,f10", "Palette", "Find any action, and anything of the workspace by its name or text.", show=True, priority=True),
    Action("app.command_line", "colon,alt+c", "Command line", "Type a command of llmops, without the word itself; tab completes it."),
    Action("app.maximise", "F,f11", "Maximise", "Fill the terminal with this pane, and back."),
    Action("app.quit_app", "ctrl+q,q", "Quit", "Quit; asks only if work would be lost.", show=True),
    Action("app.enlarge", "right_curly_bracket,alt+up", "Larger", "Make this pane larger; kept for this workspace.", call="screen.enlarge"),
    Action("app.reduce", "left_curly_bracket,alt+down", "Smaller", "Make this pane smaller; kept for this workspace.", call="screen.reduce"),
    Action("app.fold", "underscore,alt+f", "Fold", "Fold this pane to its title; jumping to it unfolds it.", call="screen.fold"),
    Action("app.reset_panes", "equals_sign,alt+equals_sign", "Reset panes", "Lay out the panes of this screen as they are at first.", call="screen.reset_panes"),
    Action("app.copy", "y,alt+y", "Copy", "Copy what the cursor is on; press again to choose."),
    Action("app.command", "c,ctrl+g", "Command", "Show the command that does the same as this screen."),
    Action("app.undo", "z,ctrl+z", "Undo", "Take back what was done last, on whichever screen."),
    Action("app.redo", "Z,alt+z", "Redo", "Do again what was taken back last."),
    Action("app.history", "U,alt+s", "History", "Show what was done, and take back down to a point of it."),
    Action("app.lineage", "L,alt+h", "Lineage", "Show the inputs of the item under the cursor and what was derived from it."),
    Action("app.place_back", "left_square_bracket,alt+left", "Back", "Go back to the previous place."),
    Action("app.place_forward", "right_square_bracket,alt+right", "Forward", "Go forward again."),
    Action("app.tour_next", "ctrl+n,W", "Tour", "Begin the tour of the app, or go on to its next step.", priority=True),
    Action("app.tour_end", "alt+q,H", "End tour", "Leave the tour."),
    Action("app.trust", "T,alt+t", "Trust", "Show what trusting the workspace allows; trust it or withdraw the trust."),
    Action("app.screen_0", "0,f9 0", "Home", "Go to the home screen.", call="app.go('home')"),
    Action("app.screen_1", "1,f9 1", "Playground", "Go to the playground.", call="app.go('playground')"),
    Action("app.screen_2", "2,f9 2", "Datasets", "Go to the datasets.", call="app.go('datasets')"),
    Action("app.screen_3", "3,f9 3", "Training", "Go to the training.", call="app.go('training')"),
    Action("app.screen_4", "4,f9 4", "Evaluation", "Go to the evaluation.", call="app.go('evaluation')"),
    Action("app.screen_5", "5,f9 5", "Models", "Go to the models.", call="app.go('models')"),
    Action("app.screen_6", "6,f9 6", "Monitor", "Go to the monitor.", call="app.go('monitor')"),
    Action("app.screen_7", "7,f9 7", "Traces", "Go to the traces.", call="app.go('traces')"),
    Action("app.screen_8", "8,f9 8", "Jobs", "Go to the jobs.", call="app.go('jobs')"),
    Action("app.screen_9", "9,f9 9", "Settings", "Go to the settings.", call="app.go('settings')"),
    Action("app.screen_privacy", "Y,f9 Y", "Privacy", "Go to privacy: find and forget a person, retention.", call="app.go('privacy')"),
    Action("home.go", "enter,f4", "Go", "Open the focused item on its screen.", show=True),
    Action("home.look", "f5,ctrl+r", "Refresh", "Reload everything.", show=True),
    Action("home.queue", "r,f6", "Queue", "Go to the review queue.", show=True),
    Action("monitor.look", "f5,ctrl+r", "Refresh", "Poll now, and retry a GPU that had errors.", show=True),
    Action("monitor.series", "s,f3", "Series", "Show the next series in the chart.", show=True, pane="history"),
    Action("monitor.zoom_in", "plus,i", "Zoom in", "Show less time, down to a minute.", pane="history"),
    Action("monitor.zoom_out", "minus,o", "Zoom out", "Show more time, up to 90 days.", pane="history"),
    Action("monitor.save_chart", "f,alt+e", "Save chart", "Save the chart as SVG, or its figures as CSV.", pane="history"),
    Action("monitor.pause", "p,f6", "Hold", "Pause the chart or resume it; recording continues.", show=True, pane="history"),
    Action("monitor.inspect", "enter,f4", "What ran", "Show what ran at the crosshair or around an alert.", show=True),
    Action("monitor.choose", "w,f12", "Choose", "Choose what the chart shows.", pane="history"),
    Action("monitor.sort", "t,f7", "Sort", "Sort the processes by processor, memory, GPU memory or name.", show=True, pane="processes"),
    Action("monitor.filter", "slash,ctrl+f", "Filter", "Filter the processes.", pane="processes"),
    Action("monitor.signal", "x,f8", "Signal", "Send the process under the cursor a signal, after asking.", pane="processes"),
    Action("monitor.read_only", "r,alt+r", "Read-only", "Block signals to processes, or allow them again.", pane="processes"),
    Action("monitor.rules", "e,ctrl+e", "Rules", "Change the alert rules in $EDITOR.", pane="alerts"),
    Action("monitor.dry_run", "d,alt+d", "Dry run", "Show the alerts the rules would have raised in the last day.", pane="alerts"),
    Action("monitor.back", "escape,f13", "Back", "Remove the crosshair, resume the chart, clear the filter."),
    Action("traces.look", "f5,ctrl+r", "Refresh", "Reload the list.", pane="list"),
    Action("traces.up", "u,plus", "Thumb up", "The answer is good.", show=True, pane="list"),
    Action("traces.down", "d,minus", "Thumb down", "The answer is bad.", show=True, pane="list"),
    Action("traces.correct", "e,ctrl+e", "Correct", "Write the correct answer in $EDITOR.", show=True, pane="one"),
    Action("traces.comment", "n,f7", "Comment", "Write a comment.", pane="list"),
    Action("traces.filter", "slash,ctrl+f", "Filter", "Words, ~regex, and terms such as is:down or slow:2000.", show=True, pane="list"),
    Action("traces.order", "s,alt+o", "Sort", "The newest first, the slowest of the last hour, the slowest of all.", show=True, pane="list"),
    Action("traces.queue", "r,f3", "Queue", "Show the review queue, or all traces again.", show=True, pane="list"),
    Action("traces.accept", "a,f6", "Accept", "Accept the feedback; it may go into a dataset.", pane="list"),
    Action("traces.reject", "x,f8", "Dismiss", "Dismiss the feedback; it goes into no dataset.", pane="list"),
    Action("traces.to_dataset", "t,f2", "Dataset", "Make a dataset version from the shown traces.", show=True, pane="list"),
    Action("traces.use", "o,f4", "Playground", "Open the request in the playground.", pane="one"),
    Action("traces.delete", "D,alt+x", "Delete", "Delete the trace and its feedback from every file, after asking.", pane="list"),
    Action("traces.detail", "w,f12", "Next view", "Conversation, figures, JSON.", pane="one"),
    Action("traces.older", "O,full_stop", "Older", "The next page.", pane="list"),
    Action("traces.newer", "I,comma", "Newer", "The page before.", pane="list"),
    Action("traces.back", "escape,f13", "Back", "Clear the filter.", pane="list"),
    Action("playground.run", "f5,ctrl+r,ctrl+enter", "Run", "Run the prompt; changed text becomes a new version.", show=True, priority=True),
    Action("playground.cancel", "escape,f12", "Cancel", "Stop the answer and keep the text so far; else leave the editor."),
    Action("playground.save", "ctrl+s,f2", "Save", "Save a version with a note.", show=True, priority=True, pane="versions"),
    Action("playground.diff", "d,f3", "Diff", "Compare two marked versions, or this one with another, in words or tokens.", pane="versions"),
    Action("playground.blame", "b,alt+l", "Blame", "Show for each line of the version which version brought it.", pane="versions"),
    Action("playground.model", "m,f4", "Model", "Choose the model.", show=True, pane="answer"),
    Action("playground.parameters", "p,f6", "Parameters", "Set temperature, seed and the other parameters.", pane="answer"),
    Action("playground.tools", "t,alt+m", "Tools", "Add tool servers and switch on the tools that runs offer to the model.", pane="answer"),
    Action("playground.new", "n,f7", "New", "Start a new prompt.", pane="prompts"),
    Action("playground.label", "l,f8", "Label", "Point a label, such as production, at the version.", pane="versions"),
    Action("playground.mark", "space,ctrl+t", "Mark", "Mark the version to compare; V marks a range, ctrl+a all.", pane="versions"),
    Action("playground.delete", "D,alt+x", "Delete", "Delete the selected prompts, or the open one, with all versions, after showing what used them.", pane="prompts"),
    Action("playground.rename", "R,alt+r", "Rename", "Give the prompt another name; z undoes.", pane="prompts"),
    Action("playground.duplicate", "P,alt+b", "Duplicate", "Make a new prompt that begins with this one's newest version.", pane="prompts"),
    Action("playground.filter", "slash,ctrl+f", "Filter", "Find prompts and versions by name, note or text."),
    Action("playground.edit", "e,ctrl+e", "Editor", "Open the text in $EDITOR.", priority=True),
    Action("playground.up", "plus,alt+u", "Thumb up", "The answer is good; kept with its trace.", pane="runs"),
    Action("playground.down", "minus,alt+d", "Thumb down", "The answer is bad; kept with its trace.", pane="runs"),
    Action("playground.unfold", "h,alt+i", "Thinking", "Unfold or fold what the model thought before its answer.", pane="answer"),
    Action("playground.inside", "i,alt+w", "Inside", "Ask once more and look at each token: probabilities, alternatives, the exact prompt.", pane="answer"),
    Action("playground.catch", "C,alt+k", "Case", "Save the request and answer as a case of a suite.", pane="answer"),
    Action("playground.compare", "v,alt+v", "Compare", "Compare the marked versions, or the draft, side by side; there with other models and parameters, too.", show=True, pane="versions"),
    Action("compare.run", "f5,ctrl+r,ctrl+enter", "Run", "Ask all columns the input, at once.", show=True, priority=True, pane="columns"),
    Action("compare.cancel", "escape,f12", "Back", "Stop the answers and keep the texts so far; else go back."),
    Action("compare.add", "a,f7", "Add", "Add a column: this one with another model.", show=True),
    Action("compare.versions", "v,alt+v", "Versions", "Mark versions of the prompt that become the columns.", show=True),
    Action("compare.sweep", "s,f6", "Sweep", "Make columns of several values of a parameter, such as temperature 0 0.5 1.", show=True),
    Action("compare.diff", "d,f3", "Diff", "Show how the others differ from this column, in words, or all as they are.", show=True, pane="columns"),
    Action("compare.blind", "b,f8", "Blind", "Hide which column is which and shuffle them; 1 to 6 vote then.", show=True, pane="columns"),
    Action("compare.vote", "enter,f4", "Vote", "The column with the focus is the best.", show=True, pane="columns"),
    Action("compare.tie", "t,alt+0", "None", "No column is better than the others.", pane="columns"),
    Action("compare.again", "r,alt+r", "Again", "Run all columns with other seeds.", pane="columns"),
    Action("compare.next", "l,right", "Next", "The column at the right.", pane="columns"),
    Action("compare.previous", "h,left", "Previous", "The column at the left.", pane="columns"),
    Action("compare.model", "m,alt+m", "Model", "Another model for the column."),
    Action("compare.parameters", "p,alt+p", "Parameters", "Other parameters for the column, thinking among them."),
    Action("compare.remove", "x,backspace", "Remove", "Remove the column from the comparison; its runs stay."),
    Action("compare.edit", "e,ctrl+e", "Input", "Change a variable of the input.", pane="input"),
    Action("compare.keep", "K,alt+k", "Keep", "Make a case, preference pairs or a label of the vote."),
    Action("compare.ranking", "w,alt+w", "Ranking", "Show the columns by votes, with intervals."),
    Action("compare.over", "o,alt+o", "Dataset", "Ask the columns the rows of a dataset, and vote on those that differ."),
    Action("compare.pin", "ctrl+s,f2", "Pin", "Keep the comparison as a board with a name.", priority=True),
    Action("compare.boards", "B,alt+b", "Boards", "Open a board that was kept."),
    Action("compare.use", "u,alt+u", "Use", "Open the column's prompt and model in the playground."),
    Action("datasets.check", "f5,ctrl+r", "Check", "Run all checks over all rows, as a job.", show=True, priority=True),
    Action("datasets.import_files", "i,f7", "Import", "Preview files and import them into a version.", show=True),
    Action("datasets.filter", "slash,ctrl+f", "Filter", "Filter the rows: text, ~regex, =SQL, ?words.", show=True, pane="rows"),
    Action("datasets.meaning", "M,alt+n", "Meaning", "Embed, search by meaning, map of topics, duplicates, outliers.", show=True, pane="rows"),
    Action("datasets.alike", "a,alt+a", "Alike", "Show the rows that are like this one by meaning.", pane="rows"),
    Action("datasets.fix", "f,f8", "Fix", "Fix what the check under the cursor found, as a new version.", show=True, pane="checks"),
    Action("datasets.shape", "w,f12", "View", "The record as a conversation, tokens, template or JSON.", show=True, pane="record"),
    Action("datasets.operate", "o,f4", "Operations", "Dedup, redact, split, sample, mix, export and more.", show=True),
    Action("datasets.label", "l,ctrl+l", "Label", "Label rows with one key each.", show=True),
    Action("datasets.console", "Q,f3", "SQL", "One SELECT over all datasets and the workspace."),
    Action("datasets.profile", "p,alt+p", "Profile", "Tokens, turns, languages and labels as charts.", pane="record"),
    Action("datasets.sort", "s,f6", "Sort", "Sort by the column under the cursor: ascending, descending, off.", pane="rows"),
    Action("datasets.step_on", "full_stop,n", "Next", "The next record.", pane="rows"),
    Action("datasets.step_back", "comma,N", "Previous", "The record before.", pane="rows"),
    Action("datasets.flag", "space,asterisk", "Flag", "Flag the row; operations can take the flagged rows.", pane="rows"),
    Action("datasets.edit", "e,ctrl+e", "Edit", "Edit the row as JSON in $EDITOR; makes a new version.", pane="record"),
    Action("datasets.remove", "x,backspace", "Remove", "Remove the flagged rows, or this one; makes a new version.", pane="rows"),
    Action("datasets.delete", "D,alt+x", "Delete", "Delete the version, or the datasets of the list, after showing what is deleted and what was made from it."),
    Action("datasets.rename", "R,alt+r", "Rename", "Give the dataset another name; z undoes.", pane="list"),
    Action("datasets.duplicate", "P,alt+b", "Duplicate", "Make a new dataset that begins with this one's newest version.", pane="list"),
    Action("datasets.save", "ctrl+s,f2", "Keep view", "Keep what is shown as a version, or its filter as a view.", priority=True, pane="rows"),
    Action("datasets.views", "v,alt+v", "Views", "Show a saved view.", pane="rows"),
    Action("datasets.diff", "d,alt+d", "Diff", "Compare the version with its parent, row by row.", pane="versions"),
    Action("datasets.tag", "t,ctrl+t", "Tag", "Point a tag at the version.", pane="versions"),
    Action("datasets.restore", "b,ctrl+b", "Restore", "Make a new version with the rows of the version under the cursor.", pane="versions"),
    Action("datasets.model", "m,alt+m", "Model", "Choose the model whose tokens are counted.", pane="record"),
    Action("datasets.clear", "escape,f13", "Back", "Clear the filter."),
    Action("training.start", "f5,ctrl+r", "Start", "Start training the recipe, in the background.", show=True, priority=True, pane="recipes"),
    Action("training.plan", "p,f6", "Preflight", "Check data, template, memory and time, with two real steps.", show=True, pane="recipes"),
    Action("training.new", "n,f7", "New", "Make a recipe from a preset.", show=True, pane="recipes"),
    Action("training.change", "enter,f4", "Change", "Change the recipe in its form; makes a new version.", show=True, pane="recipes"),
    Action("training.edit", "e,ctrl+e", "Editor", "Change the recipe as YAML in $EDITOR.", pane="recipes"),
    Action("training.detail", "w,f12", "Next view", "The next kind of details.", show=True, pane="details"),
    Action("training.figure", "s,f3", "Figure", "The next figure in the chart.", show=True, pane="chart"),
    Action("training.mark", "space,ctrl+t", "Mark", "Draw the run in one chart with other marked runs.", pane="runs"),
    Action("training.smooth", "m,alt+m", "Smooth", "Smooth the lines, by a few degrees.", pane="chart"),
    Action("training.logarithm", "l,alt+l", "Log scale", "A logarithmic scale, and back.", pane="chart"),
    Action("training.save_chart", "f,alt+e", "Save chart", "Save the chart as SVG, or its figures as CSV.", pane="chart"),
    Action("training.zoom_in", "plus,i", "Zoom in", "Show less of the beginning.", pane="chart"),
    Action("training.zoom_out", "minus,I", "Zoom out", "Show more of the beginning.", pane="chart"),
    Action("training.stop", "x,f8", "Stop", "Stop the run now; it can resume from its last checkpoint.", pane="runs"),
    Action("training.stop_after_save", "X,ctrl+x", "Stop later", "Stop the run once its next checkpoint is written.", pane="runs"),
    Action("training.pause", "P,alt+p", "Pause", "Write a checkpoint now and release the device.", pane="runs"),
    Action("training.resume", "R,alt+r", "Resume", "Resume the run from its last complete checkpoint.", pane="runs"),
    Action("training.export", "E,f2", "Export", "Merge, quantize, and verify that it still answers the same.", pane="runs"),
    Action("training.use", "u,alt+u", "Use", "Use the result in the playground, with its base for comparison.", pane="runs"),
    Action("training.sweep", "v,alt+v", "Sweep", "Search for better settings around the recipe.", pane="recipes"),
    Action("training.watch", "o,alt+w", "Watch", "Watch the run of another program, from its output folder.", pane="runs"),
    Action("training.remove", "D,backspace", "Delete", "Delete the run, after showing what is deleted and what depends on it.", pane="runs"),
    Action("evaluation.run", "f5,ctrl+r", "Run", "Run every case of the suite, in the background.", show=True, priority=True, pane="suites"),
    Action("evaluation.run_fresh", "A,alt+a", "Run fresh", "Run every case and take no answer from the cache.", pane="suites"),
    Action("evaluation.plan", "B,alt+b", "Before", "Show what a run of the suite could find, what it takes, and which cases the model knows.", pane="suites"),
    Action("evaluation.mark", "space,ctrl+t", "Baseline", "Compare other runs with this one.", show=True, pane="runs"),
    Action("evaluation.detail", "w,f12", "Next view", "The next kind of figures.", show=True, pane="figures"),
    Action("evaluation.narrow", "f,f6", "Cases", "All cases, those that got worse, or those that got better.", show=True, pane="cases"),
    Action("evaluation.metric", "s,f3", "Metric", "Order the cases by the next metric."),
    Action("evaluation.gate", "t,alt+g", "Gate", "Check the run against the rules of its suite.", show=True, pane="figures"),
    Action("evaluation.judge", "p,alt+p", "Judge", "Have a judge compare the run with its baseline, in both orders.", pane="figures"),
    Action("evaluation.judge_fresh", "J,alt+j", "Judge fresh", "The same, and take no judgement from the cache.", pane="figures"),
    Action("evaluation.grade", "h,alt+n", "Grade", "Grade the answers with one key each, those of the baseline among them, blind.", pane="figures"),
    Action("evaluation.vote", "v,alt+v", "Vote", "Choose between the answers of the run and of its baseline, blind.", pane="figures"),
    Action("evaluation.keep_attacks", "K,alt+k", "Keep attacks", "Add the attacks that succeeded in the run to the suite redteam-found.", pane="figures"),
    Action("evaluation.redteam", "X,alt+x", "Red team", "Make a suite of attacks from seeds, which F5 runs.", pane="suites"),
    Action("evaluation.task", "O,alt+m", "Standard task", "Run a task of lm-eval or Inspect on a model, scored by its own harness.", pane="suites"),
    Action("evaluation.new", "n,f7", "New", "Write a suite in $EDITOR, or start from a bundled one.", pane="suites"),
    Action("evaluation.edit", "e,ctrl+e", "Editor", "Change the suite in $EDITOR; makes a new version.", pane="suites"),
    Action("evaluation.use", "u,alt+u", "Use", "Open the prompt of the run in the playground, with its model.", pane="figures"),
    Action("evaluation.export", "E,f2", "Export", "Write the run to a file: lm-eval JSON, CSV, Parquet, Markdown, JUnit.", pane="figures"),
    Action("evaluation.stop", "x,f8", "Stop", "Stop the run and keep its answers.", pane="runs"),
    Action("evaluation.resume", "R,alt+r", "Resume", "Resume a run that ended early.", pane="runs"),
    Action("evaluation.remove", "D,backspace", "Delete", "Delete the run, after showing what is deleted and what depends on it.", pane="runs"),
    Action("models.add", "a,f7", "Add", "Register a GGUF file, or any OpenAI-compatible address.", show=True, pane="list"),
    Action("models.discover", "o,f4", "Found here", "List models of other programs on this machine.", show=True, pane="list"),
    Action("models.get", "d,f2", "Get", "Download a model, after showing its size and licence.", show=True, pane="list"),
    Action("models.quantize", "s,f6", "Shrink", "Quantize the model to a smaller type, as a job.", show=True, pane="list"),
    Action("models.verify", "v,f5,ctrl+r", "Verify", "Hash the file again, as a job.", show=True, pane="list"),
    Action("models.stop", "x,f8", "Unload", "Stop the model's server and free its memory.", show=True, pane="list"),
    Action("models.use", "u,enter", "Use", "Use the model in the playground.", show=True, pane="list"),
    Action("models.remove", "D,backspace", "Delete", "Delete the model, after showing what is deleted and what depends on it.", pane="list"),
    Action("jobs.cancel_job", "x,f8", "Cancel job", "Cancel the job.", show=True, pane="list"),
    Action("jobs.resume", "r,f7", "Resume", "Resume the work of the ended job.", show=True, pane="list"),
    Action("jobs.remove", "D,backspace", "Delete", "Delete the ended job with its log and folder, after asking.", pane="list"),
    Action("jobs.dismiss_notices", "d,f6", "Dismiss", "Dismiss the notices above the jobs, once they are read."),
    Action("jobs.refresh_jobs", "f5,ctrl+r", "Refresh", "Reload the jobs.", show=True),
    Action("settings.save", "ctrl+s,f2", "Save", "Save the settings.", show=True, priority=True),
    Action("settings.theme", "t,f4", "Theme", "Choose a theme; each is seen while the cursor is on it.", show=True),
    Action("settings.reset", "r,f8", "Defaults", "Fill in the defaults; saved only with Save.", show=True),
    Action("privacy.look", "f5,ctrl+r", "Refresh", "Read the receipts and what is due again."),
    Action("privacy.find", "n,f7", "Find", "Find a person everywhere, and show what forgetting them would do.", show=True, pane="plan"),
    Action("privacy.manner", "m,f6", "Manner", "Remove rows and traces whole, or put marks into them.", show=True, pane="plan"),
    Action("privacy.forget", "f,f8", "Forget", "Erase the person that was found, after a word.", show=True, pane="plan"),
    Action("privacy.resume", "r,f3", "Resume", "Complete erasures that were interrupted.", pane="erasures"),
    Action("privacy.apply", "a,f2", "Apply", "Delete what the rules of retention say, after asking.", show=True, pane="retention"),
    Action("privacy.report", "w,f12", "Report", "Write the report on personal data into a file.", show=True),
)  # fmt: skip


def screen_place(name: str) -> str:
    """How a screen is named to somebody who is to go there: its title and its digit."""
    action = next(a for a in ACTIONS if a.call == f"app.go('{name}')")
    return f"{action.title} ({action.keys.partition(',')[0]})"


# The screens by their key in jump mode, in the order in which they are shown: those that an action goes to.
SCREEN_KEYS = {
    action.keys.partition(",")[0]: action.call.removeprefix("app.go('").removesuffix("')")
    for action in ACTIONS
    if action.call.startswith("app.go('")
}

BY_ID = {action.id: action for action in ACTIONS}


def actions_of(*scopes: str) -> list[Action]:
    """The actions of these scopes, in the registry's order."""
    return [action for action in ACTIONS if action.scope in scopes]


# What the id of a binding ends with that works while text is written.
ALWAYS = ".always"


def bindings_of(scope: str) -> list[Binding]:
    """The bindings of one scope. A key such as ``f9 1`` is told in help; the first of the two does the work."""
    out = []
    for action in actions_of(scope):
        target = action.target
        plain, always = action.keys_by_reach(action.keys)
        for keys, priority, suffix in ((plain, False, ""), (always, True, ALWAYS)):
            if keys:
                # The footer shows an action once, by the keys that always work where there are any.
                show = action.show and (priority or not always)
                out.append(
                    Binding(
                        keys,
                        target,
                        action.title,
                        tooltip=action.help,
                        id=action.id + suffix,
                        show=show,
                        priority=priority,
                    )
                )
    return out
