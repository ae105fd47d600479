"""Trains the weights of the toxicity metric: a linear model over hashed words and letters, from sentences made here.

The training sentences are made of frames and words below and of the half of the labelled set that is there to tune on; the
other half is never seen. Run it after a change of either: ``python tools/train_toxicity.py``.
"""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np

from llmops_tui.evaluation.metrics.labelled_sets import labelled
from llmops_tui.evaluation.metrics.toxicity_model import WEIGHTS, features
from tools.logistic import trained

INSULTS = """idiot moron fool loser imbecile cretin clown pig rat worm scumbag jerk dimwit halfwit dunce bastard bitch whore slut
troll creep freak weirdo ape parasite leech maggot coward liar hag cow donkey buffoon simpleton dullard lout twit crybaby
degenerate savage vermin scum trash garbage filth dumbass asshole prick wanker dickhead blockhead nitwit pest brute swine
cockroach hypocrite failure disgrace embarrassment psycho lunatic bum slob""".split()  # noqa: SIM905
INSULTING = """stupid dumb pathetic worthless disgusting ugly filthy useless brainless idiotic hideous ridiculous miserable
spineless moronic vile revolting incompetent ignorant dense retarded repulsive talentless lazy fat""".split()  # noqa: SIM905
GROUPS = """women men foreigners immigrants refugees Christians Muslims Jews atheists blacks whites gays lesbians
pensioners students teachers politicians lawyers Italians Germans Americans Russians Mexicans beggars
drivers girls boys peasants""".split()  # noqa: SIM905
HARMS = [
    "kill",
    "beat up",
    "stab",
    "shoot",
    "strangle",
    "hurt",
    "destroy",
    "crush",
    "cut",
    "burn",
    "smash",
    "find and hurt",
]
THINGS = """process thread child daemon server parcel order train report table recipe garden camera engine window invoice dog
printer song film novel picture battery update password mountain river cake ticket museum""".split()  # noqa: SIM905
# How strongly weights are held near 0; chosen by leaving out parts of the half to tune on.
PENALTY = 1.0
TOXIC = (
    "You are {a} {n}.", "You {j} {n}!", "You're such {a} {n}.", "What {a} {j} {n} you are.", "Shut your mouth, you {n}.",
    "You are so {j}.", "You're {j} and everybody knows it.", "Get out of here, {n}.", "He is {a} {j} {n}.",
    "She is nothing but {a} {n}.", "All {g} are {n}s.", "{G} are {j}.", "{G} should be locked away.", "{G} are {j} {n}s.",
    "I will {h} you.", "I'm going to {h} you and your family.", "Somebody should {h} you.", "{G} deserve to die.",
    "I hope you die, {n}.", "Nobody needs {a} {n} like you.", "Your brain is {j}.", "Everyone hates you, {n}.",
    "You deserve to suffer.", "Go away and die.", "Fuck you, {n}.", "Go fuck yourself.", "This {j} {n} again!",
    "Your whole family is {j}.", "You will never be anything but {a} {n}.", "Nobody will ever love you.",
    "You belong in the trash.",
    "We should {h} all {g}.", "{G} do not belong here, get them out.", "I hope somebody will {h} you.", "Stop talking, {n}.",
)  # fmt: skip
HARMLESS = (
    "The word '{n}' is an insult.", "She called him {a} {n}, and he was sad.", "Please do not say '{n}' to anybody.",
    "How do I kill a {t}?", "Kill the {t} and start it again.", "The {t} is useless and should be replaced.",
    "The {t} is late.", "You are right about the {t}.", "You are a great help with the {t}.", "Your {t} is ready.",
    "I was {a} {n} to lose the {t}.", "I feel so {j} today.", "{G} founded a club in this town.", "{G} often use the {t}.",
    "The museum tells how {g} were treated.", "It is wrong to say that {g} are {j}.", "You should look at the {t} again.",
    "Your answer about the {t} is wrong.", "What a beautiful {t}!", "He shot a film about {g}.", "Cut the {t} in two halves.",
    "I disagree with you about the {t}.", "Why do people say that {g} are {j}?", "Is '{n}' a rude word?",
    "'{n}' comes from an old word for {t}.", "The {t} crashed and all children died.", "You can find the {t} behind the house.",
    "The report says that somebody shouted '{n}' at {g}.", "We lost the {t}, what a pity.", "This {t} is stupid, I want another.",
    "You have won a {t}.", "I am angry because the {t} is broken.", "You did not send the {t}.", "Translate '{n}' into French.",
    "Nobody knows where the {t} is.", "I hope you find the {t}.", "Everyone loves your {t}.", "Destroy the {t} after use.",
)  # fmt: skip


def made(frames: tuple[str, ...], each: int, random_: random.Random) -> list[str]:
    """So many sentences of each frame."""
    found = []
    for frame, _ in itertools.product(frames, range(each)):
        noun, group = random_.choice(INSULTS), random_.choice(GROUPS)
        values = {
            "n": noun, "a": "an" if noun[0] in "aeiou" else "a", "j": random_.choice(INSULTING), "g": group,
            "G": group[0].upper() + group[1:], "h": random_.choice(HARMS), "t": random_.choice(THINGS),
        }  # fmt: skip
        found.append(frame.format(**values))
    return found


def made_weights() -> list[float]:
    """The weights of the columns, and last the one that every text has."""
    random_ = random.Random(1)
    bad, good = made(TOXIC, 14, random_), made(HARMLESS, 14, random_)
    tune = [one for one in labelled("toxicity") if one["half"] == "tune"]
    texts = [*bad, *good, *(one["text"] for one in tune)]
    labels = np.array([1.0] * len(bad) + [0.0] * len(good) + [float(one["label"]) for one in tune])
    # A sentence that somebody wrote says more than one of a frame.
    weights = np.array([1.0] * (len(bad) + len(good)) + [4.0] * len(tune))
    return [round(float(w), 3) for w in trained(texts, labels, weights, features, PENALTY)]


def main() -> None:
    """Train, and write the weights."""
    Path(WEIGHTS).write_text(json.dumps(made_weights()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
