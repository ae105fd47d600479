"""The training screen: recipes, preflight, runs and their charts."""
