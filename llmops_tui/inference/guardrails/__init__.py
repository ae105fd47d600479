"""Guards in the serving path: texts are brought to one form and looked at before a model is asked, and while it answers."""
