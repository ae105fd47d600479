"""The APIs that are answered beside OpenAI's completions: each is a chat completion in another form."""
