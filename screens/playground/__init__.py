"""The playground: prompts, versions, the editors, the streaming answer."""
