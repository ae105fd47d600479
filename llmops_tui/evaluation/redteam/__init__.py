"""Red team: attacks made from seeds by mutations, how many succeed by kind, and those that did as cases."""
