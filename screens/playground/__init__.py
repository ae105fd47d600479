"""The playground: prompts, versions, the editors, the streaming answer.

The panes import a flow when it begins: this is the first screen, and its first frame needs none of them.
"""
