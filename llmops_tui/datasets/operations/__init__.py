"""Operations: each makes a new version from others by a recipe, which can be followed again."""
